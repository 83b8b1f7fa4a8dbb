//! Agents that speak HTTP+SSE (revision 2024-11-05): one process per stream, which ends with it.

use super::super::{
    events::event_of,
    http::Exchange,
    legacy::{endpoint_event, fresh_token, path},
    proxy::NO_STREAM,
    reply,
    upstream::Answer,
};
use super::{
    Bridge, Key,
    batch::{Unsent, hand_over},
    event_stream_of,
    process::Process,
    routes::*,
};
use crate::core::Core;
use bytes::Bytes;
use custody_model::SessionId;
use futures_util::stream;
use http::StatusCode;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{
    Mutex,
    mpsc::{Receiver, Sender},
};
use tokio_util::sync::CancellationToken;

type Processes = Arc<Mutex<HashMap<Key, Arc<Process>>>>;

/// The stream of one agent. Dropped, it takes its process along.
struct Stream {
    events: Receiver<Delivery>,
    processes: Processes,
    process: Arc<Process>,
    core: Arc<Core>,
    draining: CancellationToken,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let (processes, process) = (self.processes.clone(), self.process.clone());
        self.core.spawn(async move {
            processes.lock().await.remove(&process.key);
            process.stop().await;
        });
    }
}

impl Bridge {
    /// Starts a process and the stream of everything it says. The first event says where to post.
    pub(super) async fn open_stream(&self, exchange: Exchange, session: SessionId) -> Answer {
        let token = fresh_token();
        let process = self.process(Key::Stream(token.clone()), &exchange).await?;
        let stream = Stream {
            events: process.routes().listen(),
            processes: self.processes.clone(),
            process,
            core: self.core.clone(),
            draining: exchange.draining.clone(),
        };
        self.core.link_mcp_session(session, &exchange.peer, &token);
        let address = path(&self.name, &token).into_bytes();
        self.core.told(&exchange.peer, None, &address);
        let first = Some(endpoint_event(&address));
        Ok(event_stream_of(stream::unfold((first, stream), |(mut first, mut stream)| async move {
            let bytes = match first.take() {
                Some(event) => event,
                None => tokio::select! {
                    delivery = stream.events.recv() => event_of(&delivery?.bytes),
                    // At shutdown an agent keeps the stream while it waits for an answer on it.
                    () = stream.draining.cancelled(), if !stream.process.routes().is_awaited() && stream.events.is_empty() => return None,
                },
            };
            Some((bytes, (first, stream)))
        })))
    }

    /// See [`super::super::upstream::Upstream::post_to_stream`].
    pub async fn post_to_stream(&self, exchange: Exchange, bytes: Bytes) -> Answer {
        let token = exchange.stream.clone().unwrap_or_default();
        let gone = || reply::refuse(StatusCode::NOT_FOUND, NO_STREAM);
        let found = self.processes.lock().await.get(&Key::Stream(token.clone())).cloned();
        let process = found.filter(|found| !found.is_over() && found.principal == exchange.peer.identity.principal).ok_or_else(gone)?;
        let out = process.routes().listener().ok_or_else(gone)?;
        match hand_over(&self.core, &process, &exchange, Some(&token), &bytes, &out).await {
            Ok(()) => Ok(reply::empty(StatusCode::ACCEPTED)),
            Err(unsent) => failed(&out, unsent).await,
        }
    }
}

/// An error on the agent's stream if it waits for an answer, and else in the answer to its `POST`.
async fn failed(out: &Sender<Delivery>, Unsent { status, awaited, body }: Unsent) -> Answer {
    let delivery = |bytes| Delivery { bytes, last: true, code: None, id: None, _room: None };
    match awaited && out.send(delivery(body.clone())).await.is_ok() {
        true => Ok(reply::empty(StatusCode::ACCEPTED)),
        false => Err(reply::json_response(status, body)),
    }
}

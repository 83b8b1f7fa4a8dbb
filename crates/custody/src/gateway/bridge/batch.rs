//! Batches (revision 2025-03-26): each message is recorded, decided and handed over on its own, on a line of its own, byte for byte.
//! Between them stood only brackets and commas, which are framing.

use super::super::{http::Exchange, http::text, reply, reply::Body, upstream::Answer};
use super::{Bridge, event, event_stream_of, prefers_stream, process::Process, routes::*, unbridgeable};
use crate::core::{Core, Decision, Inbound};
use bytes::Bytes;
use custody_engine::wire::{self, Fault, Frame, What, splice};
use custody_model::Shape;
use futures_util::stream;
use http::{Response, StatusCode};
use std::sync::Arc;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// From this revision on there are no batches.
const NONE_FROM: &str = "2025-06-18";

/// A message that did not reach the server, and what its agent reads.
pub(super) struct Unsent {
    pub status: StatusCode,
    /// Whether it waits for an answer.
    pub awaited: bool,
    pub body: Vec<u8>,
}

impl Bridge {
    /// Hands over each message. Denials and errors stand among the answers.
    pub(super) async fn post_batch(&self, exchange: Exchange, bytes: Bytes, frame: Frame) -> Answer {
        if let Some(why) = refused(&frame, &exchange) {
            let inbound = exchange.inbound(&bytes, None);
            let call = match self.core.to_server(inbound).await {
                Decision::Forward(permit) => permit.call().clone(),
                Decision::Refuse(refusal) => return Err(reply::json_response(refusal.status, refusal.body)),
            };
            let body = reply::json_rpc_error(None, -32600, &why, None);
            self.core.told(&exchange.peer, Some(&call), &body);
            return Err(reply::json_response(StatusCode::BAD_REQUEST, body));
        }
        let process = self.find(&exchange).await?;
        let streamed = prefers_stream(&exchange.head.headers);
        let (out, answers) = mpsc::channel(IN_FLIGHT);
        let core = self.core.clone();
        // Beside the reading of answers: a server may stop reading until its answers are taken.
        self.core.spawn(async move {
            for item in &frame.items {
                let sent = tokio::select! {
                    sent = hand_over(&core, &process, &exchange, exchange.mcp_session.as_deref(), item.span.of(&bytes), &out) => sent,
                    () = out.closed() => return,
                };
                if let Err(Unsent { awaited: true, body, .. }) = sent {
                    let _ = out.send(Delivery { bytes: body, last: true, code: None, id: None, _room: None }).await;
                }
            }
        });
        Ok(together(answers, streamed, self.core.config().limits.frame_bytes).await)
    }
}

/// Why a batch is refused as a whole.
fn refused(frame: &Frame, exchange: &Exchange) -> Option<String> {
    if let Some(version) = text(&exchange.head.headers, "mcp-protocol-version").filter(|version| *version >= NONE_FROM) {
        return Some(format!("revision {version} has no batches"));
    }
    let fault = frame.faults.iter().find(|fault| !frame.items.iter().any(|item| item.span.contains(fault.flaw().at)));
    // Of a list of faults that is full nobody knows what it leaves out.
    fault.or(frame.faults.get(15)).map(ToString::to_string)
}

/// Whether a frame is a batch of messages and nothing else.
pub(in crate::gateway) fn is_whole(frame: &Frame) -> bool {
    frame.shape == Shape::Batch
        && frame.faults.len() < 16
        && frame.faults.iter().all(|fault| frame.items.iter().any(|item| item.span.contains(fault.flaw().at)))
}

/// Whether a frame is a batch, or was one until its limit.
pub(super) fn is_batch(frame: &Frame) -> bool {
    let too_long = |fault: &Fault| matches!(fault.flaw().what, What::BatchTooLong { .. });
    frame.shape == Shape::Batch || frame.faults.iter().any(too_long)
}

/// Records, decides and hands over one message to a process that one agent has to itself. Its answer goes to `out`.
pub(super) async fn hand_over(
    core: &Arc<Core>,
    process: &Arc<Process>,
    exchange: &Exchange,
    session: Option<&str>,
    bytes: &[u8],
    out: &Sender<Delivery>,
) -> Result<(), Unsent> {
    let peer = &exchange.peer;
    let frame = wire::read_frame(bytes, &core.wire_limits());
    let spliced = splice::splice(bytes, Vec::new(), true);
    let inbound = Inbound { mcp_session: session, ..exchange.inbound(bytes, Some(&spliced)) };
    let permit = match core.to_server(inbound).await {
        Decision::Forward(permit) => *permit,
        Decision::Refuse(refusal) => return Err(Unsent { status: refusal.status, awaited: refusal.answer, body: refusal.body }),
    };
    let call = permit.call().clone();
    let awaited = frame.shape == Shape::Request;
    let port = Port::Raw(wire::id_key(call.id.as_deref().unwrap_or_default()));
    let opened = match (unbridgeable(&frame), awaited) {
        (Some(why), _) => Err(why),
        (None, false) => Ok(()),
        (None, true) => {
            let pending = Pending::new(peer.clone(), call.clone(), None);
            let limit = core.config().limits.concurrent_calls;
            process.routes().open_on(port.clone(), pending, limit, out.clone()).map_err(|why| (-32600, why))
        }
    };
    if let Err((code, why)) = opened {
        let body = reply::json_rpc_error(call.id.as_deref(), code, why, None);
        core.told(peer, Some(&call), &body);
        return Err(Unsent { status: StatusCode::BAD_REQUEST, awaited, body });
    }
    process.write(permit, &spliced.bytes).await.map_err(|failure| {
        process.routes().close(&port);
        let (status, body) = failure.told(core, peer, &call);
        Unsent { status, awaited, body }
    })
}

/// All answers as one array when nothing else comes between them and they are not too large; a stream of events otherwise.
async fn together(mut answers: Receiver<Delivery>, streamed: bool, limit: usize) -> Response<Body> {
    let mut first = Vec::new();
    let mut size = 0;
    loop {
        match answers.recv().await {
            None if first.is_empty() => return reply::empty(StatusCode::ACCEPTED),
            None => return reply::json_response(StatusCode::OK, array(&first)),
            Some(delivery) => {
                size += delivery.bytes.len();
                let alone = delivery.last && size <= limit && !streamed;
                first.push(delivery);
                if !alone {
                    break;
                }
            }
        }
    }
    event_stream_of(stream::unfold((first.into_iter(), answers), |(mut first, mut answers)| async move {
        let delivery = match first.next() {
            Some(delivery) => delivery,
            None => answers.recv().await?,
        };
        Some((event(&delivery), (first, answers)))
    }))
}

fn array(answers: &[Delivery]) -> Vec<u8> {
    let mut bytes = vec![b'['];
    for (nth, answer) in answers.iter().enumerate() {
        if nth > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&answer.bytes);
    }
    bytes.push(b']');
    bytes
}

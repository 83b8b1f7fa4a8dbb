//! Upstream over stdio, for agents that speak HTTP: one process per protocol session, or, from 2026-07-28 on where
//! there is none, one per principal.
//!
//! Out of scope here: batches (revision 2025-03-26) and `subscriptions/listen` over several streams.

mod process;
mod routes;

use super::http::{Exchange, text};
use super::proxy::event_of;
use super::reply::{self, Body};
use super::upstream::Answer;
use crate::config::Secret;
use crate::core::{Call, Core, Decision, Inbound};
use bytes::Bytes;
use custody_engine::wire::{self, Frame, splice};
use custody_model::{Link, PrincipalName, ServerName, Shape};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use process::Process;
use routes::{Delivery, Pending, Port};
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::Mutex;

/// Processes of one server at once.
const PROCESSES: usize = 256;
/// From this revision on there is no protocol session.
const STATELESS_FROM: &str = "2026-07-28";

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, Secret>,
    /// Its directory.
    pub cwd: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// A protocol session, by the id that Custody minted.
    Session(String),
    /// Everything stateless of one principal.
    Principal(PrincipalName),
}

/// A server that Custody starts itself.
pub struct Bridge {
    name: ServerName,
    command: Command,
    core: Arc<Core>,
    processes: Mutex<HashMap<Key, Arc<Process>>>,
}

impl Bridge {
    /// Starts nothing yet.
    pub fn new(name: ServerName, command: Command, core: Arc<Core>) -> Self {
        Bridge { name, command, core, processes: Mutex::default() }
    }

    /// See [`super::upstream::Upstream::post`].
    pub async fn post(&self, exchange: Exchange, bytes: Bytes) -> Answer {
        let frame = wire::read_frame(&bytes, &self.core.wire_limits());
        let stateless = frame.version().or(text(&exchange.head.headers, "mcp-protocol-version")).is_some_and(|v| v >= STATELESS_FROM)
            || frame.method.as_deref() == Some("server/discover");
        let opens = frame.method.as_deref() == Some("initialize") && exchange.mcp_session.is_none();
        // A frozen agent starts no servers. What it wanted is recorded and denied like all the rest.
        if (stateless || opens) && self.core.is_frozen(&exchange.peer) {
            let inbound = Inbound {
                peer: &exchange.peer,
                mcp_session: exchange.mcp_session.as_deref(),
                headers: Some(&exchange.head.headers),
                bytes: &bytes,
                spliced: None,
            };
            return Err(match self.core.to_server(inbound).await {
                Decision::Refuse(refusal) => reply::json_response(refusal.status, refusal.body),
                // Let go in this very moment.
                Decision::Forward(_) => reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "try again"),
            });
        }
        let process = match (stateless && !opens, opens) {
            (true, _) => self.process(Key::Principal(exchange.peer.identity.principal.clone()), &exchange).await?,
            (false, true) => self.process(Key::Session(fresh_session_id()), &exchange).await?,
            (false, false) => self.find(&exchange).await?,
        };
        let number = process.routes().next_number();
        let edits = match process.shared {
            true => shared_edits(&bytes, &frame, number, &process),
            false => Vec::new(),
        };
        let spliced = splice::splice(&bytes, edits, true);
        let inbound = Inbound {
            peer: &exchange.peer,
            mcp_session: exchange.mcp_session.as_deref(),
            headers: Some(&exchange.head.headers),
            bytes: &bytes,
            spliced: Some(&spliced),
        };
        let permit = match self.core.to_server(inbound).await {
            Decision::Forward(permit) => *permit,
            Decision::Refuse(refusal) => return Err(self.refused(refusal, opens, &process).await),
        };
        let call = permit.call().clone();
        if let Some(why) = unbridgeable(&frame) {
            let body = reply::json_rpc_error(call.id.as_deref(), why.0, why.1, None);
            self.core.told(&exchange.peer, Some(&call), &body);
            return Err(reply::json_response(StatusCode::BAD_REQUEST, body));
        }
        if frame.shape != Shape::Request {
            return match process.write(permit, &spliced.bytes).await {
                Ok(()) => Ok(reply::empty(StatusCode::ACCEPTED)),
                Err(failure) => Err(failure.response(&self.core, &exchange.peer, &call)),
            };
        }
        let port = match process.shared {
            true => Port::Number(number),
            false => Port::Raw(wire::id_key(call.id.as_deref().unwrap_or_default())),
        };
        let pending = Pending::new(exchange.peer.clone(), call.clone(), frame.progress_token.map(|t| t.of(&bytes).to_vec()));
        let answers = process.routes().open(port.clone(), pending, self.core.config().limits.concurrent_calls).map_err(|why| {
            let body = reply::json_rpc_error(call.id.as_deref(), -32600, why, None);
            self.core.told(&exchange.peer, Some(&call), &body);
            reply::json_response(StatusCode::BAD_REQUEST, body)
        })?;
        if let Err(failure) = process.write(permit, &spliced.bytes).await {
            process.routes().close(&port);
            return Err(failure.response(&self.core, &exchange.peer, &call));
        }
        let mut response = answer(answers).await;
        if let (true, Key::Session(id)) = (opens, &process.key) {
            self.core.link(call.session, &exchange.peer, Link::McpSession(self.name.clone(), id.clone()));
            response.headers_mut().insert("mcp-session-id", HeaderValue::from_str(id).expect("hexadecimal"));
        }
        Ok(response)
    }

    /// See [`super::upstream::Upstream::listen`].
    pub async fn listen(&self, exchange: Exchange) -> Answer {
        let refused = |r: crate::core::Refusal| reply::json_response(r.status, r.body);
        self.core.admit_stream(&exchange.peer, exchange.mcp_session.as_deref()).map_err(refused)?;
        if exchange.mcp_session.is_none() {
            return Err(reply::refuse(StatusCode::METHOD_NOT_ALLOWED, "this revision has no such stream"));
        }
        let process = self.find(&exchange).await?;
        let events = process.routes().listen();
        Ok(event_stream(None, events))
    }

    /// See [`super::upstream::Upstream::end`].
    pub async fn end(&self, exchange: Exchange) -> Answer {
        let refused = |r: crate::core::Refusal| reply::json_response(r.status, r.body);
        let session = self.core.admit_stream(&exchange.peer, exchange.mcp_session.as_deref()).map_err(refused)?;
        let process = self.find(&exchange).await?;
        self.core.session_left(session, &exchange.peer).map_err(refused)?;
        self.processes.lock().await.remove(&process.key);
        process.stop().await;
        Ok(reply::empty(StatusCode::OK))
    }

    /// Stops every process.
    pub async fn close(&self) {
        let processes: Vec<_> = self.processes.lock().await.drain().map(|(_, process)| process).collect();
        futures_util::future::join_all(processes.iter().map(|process| process.stop())).await;
    }

    async fn refused(&self, refusal: crate::core::Refusal, opens: bool, process: &Arc<Process>) -> Response<Body> {
        if opens {
            self.processes.lock().await.remove(&process.key);
            process.stop().await;
        }
        reply::json_response(refusal.status, refusal.body)
    }

    /// The live process of a key, started if need be.
    async fn process(&self, key: Key, exchange: &Exchange) -> Result<Arc<Process>, Response<Body>> {
        let mut processes = self.processes.lock().await;
        processes.retain(|_, process| !process.is_over());
        if let Some(process) = processes.get(&key) {
            return Ok(process.clone());
        }
        if processes.len() >= PROCESSES {
            return Err(reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "too many sessions of this server are open"));
        }
        let process = Process::start(&self.name, &self.command, key.clone(), &exchange.peer, self.core.clone()).map_err(|error| {
            tracing::error!(server = %self.name, %error, "the server cannot be started");
            reply::json_response(
                StatusCode::BAD_GATEWAY,
                reply::json_rpc_error(None, reply::UPSTREAM_FAILED, &format!("server `{}` cannot be started: {error}", self.name), None),
            )
        })?;
        processes.insert(key, process.clone());
        Ok(process)
    }

    /// The process of the protocol session that the request names. Another principal's is as unknown as none.
    async fn find(&self, exchange: &Exchange) -> Result<Arc<Process>, Response<Body>> {
        let Some(id) = &exchange.mcp_session else {
            return Err(reply::refuse(StatusCode::BAD_REQUEST, "no Mcp-Session-Id: begin with `initialize`"));
        };
        let processes = self.processes.lock().await;
        let found = processes
            .get(&Key::Session(id.clone()))
            .filter(|process| !process.is_over() && process.principal == exchange.peer.identity.principal);
        found.cloned().ok_or_else(|| reply::refuse(StatusCode::NOT_FOUND, "no such session: begin anew with `initialize`"))
    }
}

/// In a shared process ids and tokens of different agents must not meet.
fn shared_edits(bytes: &[u8], frame: &Frame, number: u64, process: &Process) -> Vec<splice::Edit> {
    let fresh = number.to_string().into_bytes();
    let mut edits = splice::id_edits(bytes, frame, |old| match frame.cancelled {
        Some(_) => process.routes().number_of(&wire::id_key(old)).map(|n| n.to_string().into_bytes()),
        None => Some(fresh.clone()),
    });
    edits.extend(splice::token_edit(bytes, frame, |_| Some(fresh.clone())));
    edits
}

fn unbridgeable(frame: &Frame) -> Option<(i64, &'static str)> {
    match frame.shape {
        Shape::Unreadable => Some((-32700, "not a JSON-RPC message")),
        Shape::Batch => Some((-32600, "a server behind stdio takes no batches through Custody")),
        _ => None,
    }
}

/// JSON when the answer is the first thing to come; a stream of events otherwise.
async fn answer(mut answers: tokio::sync::mpsc::Receiver<Delivery>) -> Response<Body> {
    match answers.recv().await {
        Some(Delivery { bytes, last: true }) => reply::json_response(StatusCode::OK, bytes),
        Some(Delivery { bytes, last: false }) => event_stream(Some(bytes), answers),
        None => reply::empty(StatusCode::BAD_GATEWAY),
    }
}

fn event_stream(first: Option<Vec<u8>>, rest: tokio::sync::mpsc::Receiver<Delivery>) -> Response<Body> {
    let events = stream::unfold((first, Some(rest)), |(first, rest)| async move {
        if let Some(bytes) = first {
            return Some((bytes, (None, rest)));
        }
        let mut rest = rest?;
        let delivery = rest.recv().await?;
        Some((delivery.bytes, (None, (!delivery.last).then_some(rest))))
    });
    let frames = futures_util::StreamExt::map(events, |bytes| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(event_of(&bytes)))));
    let mut response = Response::new(StreamBody::new(frames).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn fresh_session_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    hex::encode(bytes)
}

/// Why a message did not reach the process.
pub(super) enum WriteFailure {
    /// A freeze came first.
    Overtaken(crate::core::Refusal),
    /// The process is gone.
    Gone(std::io::Error),
}

impl WriteFailure {
    fn response(self, core: &Core, peer: &crate::core::Peer, call: &Call) -> Response<Body> {
        match self {
            WriteFailure::Overtaken(refusal) => reply::json_response(refusal.status, refusal.body),
            WriteFailure::Gone(error) => {
                let body = reply::json_rpc_error(
                    call.id.as_deref(),
                    reply::UPSTREAM_FAILED,
                    &format!("server `{}` is gone: {error}", peer.server),
                    None,
                );
                core.told(peer, Some(call), &body);
                reply::json_response(StatusCode::BAD_GATEWAY, body)
            }
        }
    }
}

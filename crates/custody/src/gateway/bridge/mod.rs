//! Upstream over stdio, for agents that speak HTTP: one process per protocol session, or, from 2026-07-28 on where
//! there is none, one per principal, and for agents that speak HTTP+SSE, one per stream.

pub(super) mod batch;
mod hangup;
mod legacy;
pub(super) mod modern;
mod process;
mod resume;
mod routes;

use super::events::event_of;
use super::http::{Exchange, text};
use super::reply::{self, Body};
use super::upstream::Answer;
use crate::config::Secret;
use crate::core::{Call, Core, Decision};
use bytes::Bytes;
use custody_engine::wire::{self, Frame, splice};
use custody_model::{PrincipalName, ServerName, Shape};
use futures_util::{Stream, StreamExt, stream};
use hangup::Hangup;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use modern::Params;
use process::Process;
use routes::{Delivery, Pending, Port, Routes};
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::{Mutex, mpsc::Receiver};

/// Processes of one server at once.
const PROCESSES: usize = 256;
/// From this revision on there is no protocol session.
const STATELESS_FROM: &str = "2026-07-28";
/// From this revision on a stream begins with an event that has an id and no data.
const PRIMED_FROM: &str = "2025-11-25";

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
    /// A stream of HTTP+SSE, by its token.
    Stream(String),
    /// Everything stateless of one principal.
    Principal(PrincipalName),
}

/// A server that Custody starts itself.
pub struct Bridge {
    name: ServerName,
    command: Command,
    core: Arc<Core>,
    processes: Arc<Mutex<HashMap<Key, Arc<Process>>>>,
    params: Arc<Params>,
}

impl Bridge {
    /// Starts nothing yet.
    pub fn new(name: ServerName, command: Command, core: Arc<Core>) -> Self {
        Bridge { name, command, core, processes: Arc::default(), params: Arc::default() }
    }

    /// See [`super::upstream::Upstream::post`].
    pub async fn post(&self, exchange: Exchange, bytes: Bytes) -> Answer {
        let frame = wire::read_frame(&bytes, &self.core.wire_limits());
        if batch::is_batch(&frame) {
            return self.post_batch(exchange, bytes, frame).await;
        }
        let stateless = frame.version().or(text(&exchange.head.headers, "mcp-protocol-version")).is_some_and(|v| v >= STATELESS_FROM)
            || frame.method.as_deref() == Some("server/discover");
        // One that speaks the revision without sessions is refused by the server, like any method it does not have.
        let opens = frame.method.as_deref() == Some("initialize")
            && exchange.mcp_session.is_none()
            && frame.meta_version.as_deref().is_none_or(|version| version < STATELESS_FROM);
        // A frozen agent starts no servers. What it wanted is recorded and denied like all the rest.
        if (stateless || opens) && self.core.is_barred(&exchange.peer, frame.method.as_deref()) {
            let inbound = exchange.inbound(&bytes, None);
            return Err(match self.core.to_server(inbound).await {
                Decision::Refuse(refusal) => reply::json_response(refusal.status, refusal.body),
                // Let go in this very moment.
                Decision::Forward(_) => reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "try again"),
            });
        }
        let process = match (stateless && !opens, opens) {
            (true, _) => self.process(Key::Principal(exchange.peer.identity.principal.clone()), &exchange).await?,
            (false, true) => self.process(Key::Session(super::legacy::fresh_token()), &exchange).await?,
            (false, false) => self.find(&exchange).await?,
        };
        let number = process.routes().next_number();
        let edits = match process.shared {
            true => shared_edits(&bytes, &frame, number, &process),
            false => Vec::new(),
        };
        let spliced = splice::splice(&bytes, edits, true);
        let inbound = exchange.inbound(&bytes, Some(&spliced));
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
        let contradiction = || modern::contradiction(&frame, &exchange.head.headers, &bytes, &self.params);
        if let Some(why) = (process.shared && frame.shape == Shape::Request).then(contradiction).flatten() {
            let body = reply::json_rpc_error(call.id.as_deref(), modern::HEADER_MISMATCH, &why, None);
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
        let primed = text(&exchange.head.headers, "mcp-protocol-version").is_some_and(|version| version >= PRIMED_FROM);
        let resumable = !process.shared && !opens && primed;
        let opened = process.routes().open(port.clone(), pending, self.core.config().limits.concurrent_calls, resumable);
        let (answers, number_of_stream) = opened.map_err(|why| {
            let body = reply::json_rpc_error(call.id.as_deref(), -32600, why, None);
            self.core.told(&exchange.peer, Some(&call), &body);
            reply::json_response(StatusCode::BAD_REQUEST, body)
        })?;
        let hangup = process.shared.then(|| Hangup::new(self.core.clone(), process.clone(), number, exchange.peer.clone(), call.clone()));
        if let Err(failure) = process.write(permit, &spliced.bytes).await {
            process.routes().close(&port);
            return Err(failure.response(&self.core, &exchange.peer, &call));
        }
        let asked = Asked { request: &bytes, streamed: prefers_stream(&exchange.head.headers), stream: number_of_stream, hangup };
        let mut response = answer(answers, asked, process.routes()).await;
        if let (true, Key::Session(id)) = (opens, &process.key) {
            self.core.link_mcp_session(call.session, &exchange.peer, id);
            response.headers_mut().insert("mcp-session-id", HeaderValue::from_str(id).expect("hexadecimal"));
        }
        Ok(response)
    }

    /// See [`super::upstream::Upstream::listen`].
    pub async fn listen(&self, exchange: Exchange) -> Answer {
        let refused = |r: crate::core::Refusal| reply::json_response(r.status, r.body);
        let session = self.core.admit_stream(&exchange.peer, exchange.mcp_session.as_deref()).map_err(refused)?;
        if exchange.mcp_session.is_none() {
            // Agents of HTTP+SSE know no such header.
            return match exchange.head.headers.contains_key("mcp-protocol-version") {
                true => Err(reply::refuse(StatusCode::METHOD_NOT_ALLOWED, "this revision has no such stream")),
                false => self.open_stream(exchange, session).await,
            };
        }
        let process = self.find(&exchange).await?;
        let lost = text(&exchange.head.headers, "last-event-id").and_then(|id| process.routes().resume(id));
        let events = event_stream(Vec::new(), Some(lost.unwrap_or_else(|| process.routes().listen())), None);
        // At shutdown nothing keeps it: no call waits on it.
        let ended = exchange.draining.cancelled_owned();
        Ok(events.map(|body| BodyExt::boxed(StreamBody::new(StreamExt::take_until(http_body_util::BodyStream::new(body), ended)))))
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
        let process = Process::start(&self.name, &self.command, key.clone(), &exchange.peer, self.params.clone(), self.core.clone())
            .map_err(|error| {
                tracing::error!(server = %self.name, %error, "the server cannot be started");
                reply::json_response(
                    StatusCode::BAD_GATEWAY,
                    reply::json_rpc_error(
                        None,
                        reply::UPSTREAM_FAILED,
                        &format!("server `{}` cannot be started: {error}", self.name),
                        None,
                    ),
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
        Shape::Batch => Some((-32600, "a batch where one message must be")),
        _ => None,
    }
}

/// What decides in which form an answer goes out.
struct Asked<'a> {
    request: &'a [u8],
    /// Whether the agent named streams before JSON.
    streamed: bool,
    /// The stream, when the agent can take it up again.
    stream: Option<u64>,
    /// With it, an agent that leaves cancels.
    hangup: Option<Hangup>,
}

/// JSON when the answer is the first thing to come and the agent did not name streams first; a stream of events otherwise.
async fn answer(mut answers: Receiver<Delivery>, asked: Asked<'_>, routes: &Routes) -> Response<Body> {
    let Asked { request, streamed, stream, hangup } = asked;
    let primed = stream.map(resume::priming);
    if let (true, Some(primed)) = (streamed, &primed) {
        return event_stream(vec![primed.clone()], Some(answers), hangup);
    }
    let Some(first) = answers.recv().await else { return reply::empty(StatusCode::BAD_GATEWAY) };
    let status = hangup.as_ref().map_or(StatusCode::OK, |_| modern::status(first.code, request));
    if first.last && !(streamed && status == StatusCode::OK) {
        if let Some(stream) = stream {
            routes.forget_stream(stream);
        }
        return reply::json_response(status, first.bytes);
    }
    let rest = (!first.last).then_some(answers);
    event_stream(primed.into_iter().chain([event(&first)]).collect(), rest, hangup)
}

/// Which of the two forms of an answer the agent names first.
fn prefers_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut forms = accept.flat_map(|value| value.split(',')).map(|form| form.split(';').next().unwrap_or_default().trim());
    forms.find(|form| matches!(*form, "application/json" | "text/event-stream")) == Some("text/event-stream")
}

fn event(delivery: &Delivery) -> Vec<u8> {
    let mut event = delivery.id.as_ref().map(|id| format!("id: {id}\n").into_bytes()).unwrap_or_default();
    event.extend(event_of(&delivery.bytes));
    event
}

/// First these events, then what comes.
fn event_stream(first: Vec<Vec<u8>>, rest: Option<Receiver<Delivery>>, hangup: Option<Hangup>) -> Response<Body> {
    let events = stream::unfold((first.into_iter(), rest, hangup), |(mut first, rest, hangup)| async move {
        if let Some(bytes) = first.next() {
            return Some((bytes, (first, rest, hangup)));
        }
        let mut rest = rest?;
        let delivery = rest.recv().await?;
        Some((event(&delivery), (first, (!delivery.last).then_some(rest), hangup)))
    });
    event_stream_of(events)
}

fn event_stream_of(events: impl Stream<Item = Vec<u8>> + Send + Sync + 'static) -> Response<Body> {
    let frames = StreamExt::map(events, |bytes| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(bytes))));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
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
        let (status, body) = self.told(core, peer, call);
        reply::json_response(status, body)
    }

    /// What the agent reads; recorded.
    fn told(self, core: &Core, peer: &crate::core::Peer, call: &Call) -> (StatusCode, Vec<u8>) {
        match self {
            WriteFailure::Overtaken(refusal) => (refusal.status, refusal.body),
            WriteFailure::Gone(error) => {
                let body = reply::json_rpc_error(
                    call.id.as_deref(),
                    reply::UPSTREAM_FAILED,
                    &format!("server `{}` is gone: {error}", peer.server),
                    None,
                );
                core.told(peer, Some(call), &body);
                (StatusCode::BAD_GATEWAY, body)
            }
        }
    }
}

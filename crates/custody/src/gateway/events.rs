//! The server-sent events of a server behind HTTP: each is recorded, then its bytes pass on.

use super::bridge::modern::Params;
use super::coding::{Coding, Decoder};
use super::legacy::{self, Registered, Streams};
use super::pool::Answered;
use super::proxy::{Asked, Told};
use super::reply::{Body, UPSTREAM_FAILED, json_rpc_error};
use crate::core::{Attached, Call, Core, Peer, Returned};
use bytes::Bytes;
use custody_engine::wire::sse::{SseDecoder, SseEvent};
use custody_model::SessionId;
use http::Uri;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Events in flight between the server and a slow agent; then the server waits.
const EVENTS_IN_FLIGHT: usize = 16;
/// Bytes of them; one event may be larger.
const BYTES_IN_FLIGHT: usize = 4 << 20;

/// Bytes on their way to an agent.
pub struct Piece {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Piece {
    /// A small one, of Custody's own.
    pub fn small(bytes: Vec<u8>) -> Self {
        Piece { bytes: bytes.into(), _room: None }
    }
}

/// One stream on its way to an agent.
pub struct Relay {
    /// For decisions and records.
    pub core: Arc<Core>,
    /// Who reads.
    pub peer: Peer,
    /// What was asked, when the stream answers one message.
    pub call: Option<Call>,
    /// How the server coded it. The agent gets it plain: pieces of a coded stream do not end where events end.
    pub coding: Option<Coding>,
    /// Cancelled at shutdown.
    pub draining: CancellationToken,
    /// Set where the stream may turn out to be one of HTTP+SSE.
    pub opening: Option<Opening>,
    /// Set where the stream answers a batch.
    pub batch: Option<Arc<Asked>>,
    /// Set where the stream answers `tools/list`: which arguments stand in headers too.
    pub params: Option<Arc<Params>>,
}

/// A stream that was asked for outside any protocol session.
pub struct Opening {
    /// Where it registers.
    pub streams: Streams,
    /// Its address at the server.
    pub uri: Uri,
    /// The session of who opened it.
    pub session: SessionId,
}

enum Passed {
    Bytes(Vec<u8>),
    Nothing,
    /// These bytes, and then no more.
    Last(Vec<u8>),
}

impl Relay {
    /// Starts the task that relays. It ends with the server's stream, with the agent, or when the session is terminated.
    pub fn start(self, body: Answered, tasks: &TaskTracker) -> Body {
        let (out, events) = mpsc::channel::<Piece>(EVENTS_IN_FLIGHT);
        let attached = self.core.attach(&self.peer, self.call.as_ref().map(|c| c.session), None);
        tasks.spawn(self.run(body, out, attached));
        StreamBody::new(futures_util::stream::unfold(events, |mut events| async move {
            events.recv().await.map(|piece| (Ok::<_, Infallible>(Frame::data(piece.bytes)), events))
        }))
        .boxed()
    }

    async fn run(self, mut body: Answered, out: mpsc::Sender<Piece>, attached: Attached) {
        let limit = self.core.config().limits.frame_bytes;
        let mut decoder = SseDecoder::new(limit);
        let mut coded = self.coding.map(|coding| Decoder::new(coding, limit));
        let room = Arc::new(Semaphore::new(BYTES_IN_FLIGHT));
        let mut registered: Option<Registered> = None;
        'reading: loop {
            // At shutdown an agent keeps the stream while it waits for an answer on it.
            let idle = self.call.is_none() && registered.as_ref().is_none_or(|registered| !registered.open.is_awaited());
            let chunk = tokio::select! {
                () = self.draining.cancelled(), if idle => break,
                () = attached.ended() => break,
                () = out.closed() => break,
                frame = body.frame() => match frame {
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    _ => break,
                },
            };
            let chunk = match &mut coded {
                None => chunk,
                Some(coded) => match coded.push(&chunk) {
                    Ok(()) => Bytes::from(coded.take()),
                    Err(why) => {
                        tracing::warn!(server = %self.peer.server, %why, "a coded stream ends");
                        break;
                    }
                },
            };
            let Ok(events) = decoder.push(&chunk) else {
                tracing::warn!(server = %self.peer.server, "a server-sent event is over the limit; the stream ends");
                break;
            };
            for event in events {
                let (bytes, last) = match self.pass(event, &out, &mut registered).await {
                    Passed::Bytes(bytes) => (bytes, false),
                    Passed::Last(bytes) => (bytes, true),
                    Passed::Nothing => continue,
                };
                // An agent that does not read must not keep the stream from ending.
                let sending = async {
                    let weight = bytes.len().clamp(1, BYTES_IN_FLIGHT) as u32;
                    let room = room.clone().acquire_many_owned(weight).await.ok();
                    out.send(Piece { bytes: bytes.into(), _room: room }).await
                };
                tokio::select! {
                    sent = sending => if sent.is_err() || last { break 'reading },
                    () = out.closed() => break 'reading,
                    () = attached.ended() => break 'reading,
                }
            }
        }
        let Some(open) = registered.as_ref().map(|registered| registered.open.clone()) else { return };
        drop(registered);
        if !attached.is_ended() && !out.is_closed() {
            tokio::select! {
                () = open.fail_pending(&self.core, &self.peer) => {}
                () = attached.ended() => {}
            }
        }
    }

    async fn pass(&self, event: SseEvent, out: &mpsc::Sender<Piece>, registered: &mut Option<Registered>) -> Passed {
        let Some(data) = event.data.filter(|data| !data.is_empty()) else { return Passed::Bytes(event.raw) };
        if let Some(opening) = self.opening.as_ref().filter(|_| event.event.as_deref() == Some(legacy::ENDPOINT)) {
            return self.open(opening, &data, out, registered).await;
        }
        if let Some(batch) = &self.batch {
            return match batch.pass(&self.core, &self.peer, &data).await {
                Ok(Told::Same) => Passed::Bytes(event.raw),
                Ok(Told::Changed(body)) => Passed::Bytes(resumable(&event.id, event.event.as_deref(), &body)),
                Ok(Told::Nothing) => Passed::Nothing,
                Err(body) => Passed::Bytes(event_of(&body)),
            };
        }
        let answered = registered.as_ref().and_then(|registered| registered.open.answered(&data, &self.core.wire_limits()));
        match self.core.to_agent(&self.peer, answered.as_ref().or(self.call.as_ref()), &data).await {
            Returned::Pass => {
                self.learn(&data);
                Passed::Bytes(event.raw)
            }
            Returned::Sanitised(body) => {
                self.learn(&body);
                Passed::Bytes(resumable(&event.id, event.event.as_deref(), &body))
            }
            Returned::Dropped => Passed::Nothing,
            Returned::Withheld(body) | Returned::NotRecorded(body) => Passed::Bytes(event_of(&body)),
        }
    }

    fn learn(&self, listing: &[u8]) {
        if let Some(params) = &self.params {
            params.learn(listing);
        }
    }

    /// The server says where it wants messages: the stream is one of HTTP+SSE.
    async fn open(&self, opening: &Opening, said: &[u8], out: &mpsc::Sender<Piece>, registered: &mut Option<Registered>) -> Passed {
        let failed = |why: &str| {
            tracing::warn!(server = %self.peer.server, why, "a stream of HTTP+SSE ends");
            let why = format!("server `{}`: {why}", self.peer.server);
            self.core.told(&self.peer, None, &json_rpc_error(None, UPSTREAM_FAILED, &why, None));
            // A comment: before its endpoint a client reads nothing else.
            Passed::Last(format!(": {why}\n\n").into_bytes())
        };
        if registered.is_some() {
            return failed("a second `endpoint`");
        }
        let endpoint = match legacy::resolve(&opening.uri, said) {
            Ok(endpoint) => endpoint,
            Err(why) => return failed(&why.to_string()),
        };
        let Ok(uri) = endpoint.as_str().parse() else { return failed("`endpoint` is not an address") };
        let open = opening.streams.register(self.peer.identity.principal.clone(), uri, out.clone());
        let token = open.open.token.clone();
        *registered = Some(open);
        self.core.link_mcp_session(opening.session, &self.peer, &token);
        let spliced = legacy::rewritten(&self.peer.server, &token, &endpoint);
        match self.core.to_agent_spliced(&self.peer, None, said, Some(&spliced)).await {
            Returned::Pass => Passed::Bytes(legacy::endpoint_event(&spliced.bytes)),
            Returned::Sanitised(body) | Returned::Withheld(body) | Returned::NotRecorded(body) => Passed::Last(event_of(&body)),
            Returned::Dropped => Passed::Nothing,
        }
    }
}

/// One server-sent event with the id and name that it had, so that a client can still resume after it.
fn resumable(id: &Option<String>, name: Option<&str>, message: &[u8]) -> Vec<u8> {
    let mut event = Vec::with_capacity(message.len() + 64);
    for (field, value) in [("id", id.as_deref()), ("event", name)] {
        if let Some(value) = value {
            event.extend_from_slice(format!("{field}: {value}\n").as_bytes());
        }
    }
    for line in message.split(|byte| *byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    event
}

/// One server-sent event of a JSON message that has no newline in it.
pub fn event_of(message: &[u8]) -> Vec<u8> {
    let mut event = b"data: ".to_vec();
    event.extend_from_slice(message);
    event.extend_from_slice(b"\n\n");
    event
}

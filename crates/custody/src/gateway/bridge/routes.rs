//! Which stream of which agent a line of the process belongs to.

use super::resume::Kept;
use crate::core::{Call, Peer};
use custody_engine::wire::IdKey;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Messages in flight to one slow agent; the process waits then.
pub const IN_FLIGHT: usize = 64;
/// Bytes of messages in flight from one process to all its agents; one message may be larger.
const IN_FLIGHT_BYTES: usize = 4 << 20;
/// Server-initiated messages kept while the agent has no stream open; the oldest goes first.
const BACKLOG: usize = 256;
/// Bytes of them.
const BACKLOG_BYTES: usize = 1 << 20;

/// What an answer is found by: the agent's own id, or the number that replaced it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Port {
    /// The agent's own.
    Raw(IdKey),
    /// Custody's.
    Number(u64),
}

/// One message for an agent.
pub struct Delivery {
    /// Its bytes, recorded already.
    pub bytes: Vec<u8>,
    /// Whether the stream ends with it.
    pub last: bool,
    /// The code, when it is a server's error.
    pub code: Option<i64>,
    /// By which an agent can say that it was the last it saw.
    pub id: Option<String>,
    /// Held until an agent takes it.
    pub _room: Option<OwnedSemaphorePermit>,
}

/// A request that waits for its answer.
#[derive(Clone)]
pub struct Pending {
    /// Who asked.
    pub peer: Peer,
    /// What.
    pub call: Call,
    /// Its own progress token, raw.
    pub token: Option<Vec<u8>>,
    /// Where answers go; `None` before it is opened.
    pub out: Option<mpsc::Sender<Delivery>>,
    /// Its stream, when the agent can take it up again.
    pub stream: Option<u64>,
    order: u64,
}

impl Pending {
    /// Not yet opened.
    pub fn new(peer: Peer, call: Call, token: Option<Vec<u8>>) -> Self {
        Pending { peer, call, token, out: None, stream: None, order: 0 }
    }
}

/// Where answers come from, and the number of their stream if the agent can take it up again.
pub type Opened = (mpsc::Receiver<Delivery>, Option<u64>);

/// All streams of one process.
pub struct Routes {
    state: Mutex<State>,
    room: Arc<Semaphore>,
}

impl Default for Routes {
    fn default() -> Self {
        Routes { state: Mutex::default(), room: Arc::new(Semaphore::new(IN_FLIGHT_BYTES)) }
    }
}

#[derive(Default)]
struct State {
    number: u64,
    pending: HashMap<Port, Pending>,
    listener: Option<mpsc::Sender<Delivery>>,
    kept: Kept,
    backlog: VecDeque<Vec<u8>>,
    backlog_bytes: usize,
}

impl State {
    /// Whether one more request can wait at this port.
    fn check(&self, port: &Port, limit: usize) -> Result<(), &'static str> {
        if self.pending.contains_key(port) {
            return Err("this id is in use");
        }
        if self.pending.len() >= limit {
            return Err("too many calls wait for this server (limits.concurrent_calls)");
        }
        Ok(())
    }
}

impl Routes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a message of this length may be on its way to an agent.
    pub async fn room(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        let weight = length.clamp(1, IN_FLIGHT_BYTES) as u32;
        self.room.clone().acquire_many_owned(weight).await.ok()
    }

    /// Whether a request waits for its answer.
    pub fn is_awaited(&self) -> bool {
        !self.state().pending.is_empty()
    }

    /// A number never used in this process.
    pub fn next_number(&self) -> u64 {
        let mut state = self.state();
        state.number += 1;
        state.number
    }

    /// Opens a stream for one request; `resumable`, if the agent may come back for it. Its number is told then.
    ///
    /// # Errors
    /// The id is in use, or too many requests wait; in words for the agent.
    pub fn open(&self, port: Port, mut pending: Pending, limit: usize, resumable: bool) -> Result<Opened, &'static str> {
        let mut state = self.state();
        state.check(&port, limit)?;
        let (out, answers) = mpsc::channel(IN_FLIGHT);
        state.number += 1;
        pending.stream = resumable.then(|| state.kept.open(out.clone()));
        pending.out = Some(out);
        pending.order = state.number;
        let stream = pending.stream;
        state.pending.insert(port, pending);
        Ok((answers, stream))
    }

    /// A request whose answer goes where `out` goes.
    ///
    /// # Errors
    /// As [`Routes::open`].
    pub fn open_on(&self, port: Port, mut pending: Pending, limit: usize, out: mpsc::Sender<Delivery>) -> Result<(), &'static str> {
        let mut state = self.state();
        state.check(&port, limit)?;
        state.number += 1;
        pending.out = Some(out);
        pending.order = state.number;
        state.pending.insert(port, pending);
        Ok(())
    }

    /// Keeps an event of a stream that can be taken up again. Returns its id and where it goes.
    pub fn keep_event(&self, stream: u64, event: &[u8], last: bool) -> Option<(String, mpsc::Sender<Delivery>)> {
        self.state().kept.keep(stream, event, last)
    }

    /// The agent has everything of this stream, in another form.
    pub fn forget_stream(&self, stream: u64) {
        self.state().kept.forget(stream);
    }

    /// What follows an event on its stream.
    pub fn resume(&self, last_event: &str) -> Option<mpsc::Receiver<Delivery>> {
        let mut state = self.state();
        let (stream, out, events) = state.kept.resume(last_event)?;
        if let Some(pending) = state.pending.values_mut().find(|pending| pending.stream == Some(stream)) {
            pending.out = Some(out);
        }
        Some(events)
    }

    /// Takes a request off; its stream ends.
    pub fn close(&self, port: &Port) -> Option<Pending> {
        self.state().pending.remove(port)
    }

    /// The request at a port.
    pub fn find(&self, port: &Port) -> Option<Pending> {
        self.state().pending.get(port).cloned()
    }

    /// The oldest request that waits: where the server's own messages go when no stream is open for them. A stream of notifications
    /// (`subscriptions/listen`) carries only what names it.
    pub fn oldest(&self) -> Option<Pending> {
        let state = self.state();
        let answers = state.pending.values().filter(|pending| pending.call.method.as_deref() != Some("subscriptions/listen"));
        answers.min_by_key(|pending| pending.order).cloned()
    }

    /// The number that replaced an agent's id.
    pub fn number_of(&self, id: &IdKey) -> Option<u64> {
        let state = self.state();
        state.pending.iter().find_map(|(port, pending)| match port {
            Port::Number(number) if pending.call.id.as_deref().map(custody_engine::wire::id_key).as_ref() == Some(id) => Some(*number),
            _ => None,
        })
    }

    /// The stream for the server's own messages; a later one replaces an earlier one.
    pub fn listen(&self) -> mpsc::Receiver<Delivery> {
        let (out, events) = mpsc::channel(IN_FLIGHT.max(BACKLOG));
        let mut state = self.state();
        while let Some(bytes) = state.backlog.pop_front() {
            let _ = out.try_send(Delivery { bytes, last: false, code: None, id: None, _room: None });
        }
        state.backlog_bytes = 0;
        state.listener = Some(out);
        events
    }

    /// The open stream for the server's own messages.
    pub fn listener(&self) -> Option<mpsc::Sender<Delivery>> {
        self.state().listener.clone().filter(|out| !out.is_closed())
    }

    /// Keeps a message of the server's own until somebody listens.
    pub fn keep(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.backlog_bytes += bytes.len();
        state.backlog.push_back(bytes);
        while state.backlog.len() > BACKLOG || state.backlog_bytes > BACKLOG_BYTES {
            let Some(oldest) = state.backlog.pop_front() else { break };
            state.backlog_bytes -= oldest.len();
        }
    }

    /// Everything that waits, oldest first; the streams end.
    pub fn drain(&self) -> Vec<Pending> {
        let mut state = self.state();
        state.listener = None;
        let ordered: BTreeMap<u64, Pending> = state.pending.drain().map(|(_, pending)| (pending.order, pending)).collect();
        ordered.into_values().collect()
    }
}

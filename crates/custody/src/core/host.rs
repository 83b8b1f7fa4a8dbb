//! What hosts tell beside their messages (R3): recorded in the session that it belongs to, before the host is answered.
//!
//! It adds context, and nothing else: no freeze is asked or lifted here, no policy, no role. The host's client key says whose it is.

use super::{Core, Peer};
use custody_engine::{
    host::{self, Told, UserFacts},
    wire::Frame,
};
use custody_model::*;
use custody_store::ledger::{Draft, LedgerError};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};
use uuid::Uuid;

/// Sessions of which the turns told so far are remembered, and turns of each: hosts tell the whole history again and again.
const SESSIONS: usize = 2_000;
const TURNS: usize = 2_000;
/// `_meta` keys by which any host can tell what belongs to a request (`docs/hook.md`).
const META: [&str; 3] = ["custody/user", "custody/model", "custody/agent"];

/// Digests of the turns that were told in each session.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HashMap<SessionId, HashSet<[u8; 16]>>>);

impl Heard {
    /// Leaves out turns that the session has already. Whether anything is left to be said.
    fn retain_new(&self, session: SessionId, detail: &mut HostDetail) -> bool {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS && !sessions.contains_key(&session) {
            sessions.clear();
        }
        let heard = sessions.entry(session).or_default();
        if heard.len() >= TURNS {
            heard.clear();
        }
        let build = serde_json::to_vec(&detail.build).unwrap_or_default();
        let new_build = !detail.build.is_empty() && heard.insert(digest(&[b"build", &build]));
        detail.turns.retain(|turn| {
            let what = serde_json::to_vec(&(turn.what, &turn.tool, &turn.call)).unwrap_or_default();
            heard.insert(digest(&[&what, turn.text.as_bytes()]))
        });
        new_build || !detail.turns.is_empty()
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// One message of a host.
pub struct HostMessage {
    /// By which way.
    pub source: HostSource,
    /// What it says.
    pub told: Told,
    /// What ties it to a session: the host's own id, or a trace.
    pub links: Vec<Link>,
    /// Processes that the host says are its own.
    pub near: Vec<ProcessRef>,
    /// The bytes, where they are this message alone.
    pub body: Option<Vec<u8>>,
}

impl Core {
    /// Records what a host tells. `from` is an address for people.
    ///
    /// # Errors
    /// It cannot be recorded; the host is told so and goes on.
    pub fn host_told(&self, identity: &Identity, from: &str, mut message: HostMessage) -> Result<SessionId, LedgerError> {
        let now = self.now();
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        let attribution = graph.observe_host(now, identity, &message.links, &message.near, || SessionId(Uuid::now_v7()));
        let session = attribution.session;
        self.record_attribution(&mut graph, attribution, identity, from, now)?;
        drop(graph);
        let repeats = message.source == HostSource::Otlp;
        if repeats && !self.heard.retain_new(session, &mut message.told.detail) {
            return Ok(session);
        }
        if repeats && message.told.word == HostWord::UserTurn && !message.told.detail.turns.iter().any(host::is_users) {
            message.told.word = HostWord::ModelAsked;
        }
        self.record_told(session, message.source, &message.told, message.body, now)?;
        if message.source == HostSource::ClaudeCode {
            self.watch.lock().unwrap_or_else(PoisonError::into_inner).told(session, message.told.word, now);
            if message.told.word == HostWord::SessionEnded {
                let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
                message.links.iter().for_each(|link| graph.closed(&identity.principal, link));
            }
        }
        Ok(session)
    }

    fn record_told(
        &self,
        session: SessionId,
        source: HostSource,
        told: &Told,
        body: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let detail = Some(serde_json::to_value(&told.detail).expect("details are plain data"));
        let event = Event::HostTold { source, word: told.word };
        self.ledger.record(Draft { at: now, session: Some(session), event, detail, body })?;
        Ok(())
    }

    /// What the host says of a request in its `_meta`: the user's words, model and program. Recorded before the request.
    pub(super) fn told_in_meta(&self, peer: &Peer, session: SessionId, bytes: &[u8], now: Timestamp) -> Result<(), LedgerError> {
        // Nearly no message has any, and reading one twice is not free.
        if peer.identity.assurance == Assurance::Unverified || memchr::memmem::find(bytes, b"\"custody/").is_none() {
            return Ok(());
        }
        let Some(mut told) = meta_of(bytes) else { return Ok(()) };
        if !self.heard.retain_new(session, &mut told.detail) {
            return Ok(());
        }
        self.record_told(session, HostSource::Meta, &told, None, now)
    }

    /// Whether a user is there, for a call of a client in which a hook is installed (D13).
    pub(super) fn user_facts(&self, peer: &Peer, session: SessionId, call: &Frame, now: Timestamp) -> Option<UserFacts> {
        if call.method.as_deref() != Some("tools/call") || !self.clients.has_hook(&peer.identity.principal) {
            return None;
        }
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).user(session, now)
    }
}

/// The keys of Custody's in the `_meta` of a request.
fn meta_of(bytes: &[u8]) -> Option<Told> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let meta = value.get("params")?.get("_meta")?.as_object()?;
    META.iter().any(|key| meta.contains_key(*key)).then(|| host::meta::told(meta)).flatten()
}

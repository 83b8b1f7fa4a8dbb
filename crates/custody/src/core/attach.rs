//! What a termination ends: streams, bridged processes, shims, protocol sessions at a server (C3).

use super::Peer;
use custody_model::{ProcessRef, Scope, SessionId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// Live attachments. Each removes itself when dropped.
#[derive(Clone, Default)]
pub struct Attachments(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    next: u64,
    live: HashMap<u64, Live>,
}

struct Live {
    scopes: Vec<Scope>,
    process: Option<ProcessRef>,
    token: CancellationToken,
}

/// One live attachment, held by the task that serves it.
pub struct Attached {
    registry: Attachments,
    number: u64,
    token: CancellationToken,
}

impl Attached {
    /// Waits until the session is terminated.
    pub async fn ended(&self) {
        self.token.cancelled().await;
    }

    /// Whether it is terminated.
    pub fn is_ended(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.registry.0.lock().unwrap_or_else(PoisonError::into_inner).live.remove(&self.number);
    }
}

impl Attachments {
    /// Registers what belongs to this peer and session, and the server's process behind it, where Custody knows it.
    pub fn attach(&self, peer: &Peer, session: Option<SessionId>, process: Option<ProcessRef>) -> Attached {
        let mut scopes = peer.scopes();
        scopes.extend(session.map(Scope::Session));
        let token = CancellationToken::new();
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = registry.next;
        registry.next += 1;
        registry.live.insert(number, Live { scopes, process, token: token.clone() });
        Attached { registry: self.clone(), number, token }
    }

    /// Ends everything that any of these scopes names. Returns how many.
    pub fn terminate(&self, scopes: &[Scope]) -> usize {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hit: Vec<_> = registry.live.values().filter(|live| live.scopes.iter().any(|scope| scopes.contains(scope))).collect();
        hit.iter().for_each(|live| live.token.cancel());
        hit.len()
    }

    /// The server processes that any of these scopes names: their state is evidence while they run (E1).
    pub fn processes(&self, scopes: &[Scope]) -> Vec<ProcessRef> {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut processes: Vec<ProcessRef> = registry
            .live
            .values()
            .filter(|live| live.scopes.iter().any(|scope| scopes.contains(scope)))
            .filter_map(|live| live.process)
            .collect();
        processes.sort();
        processes.dedup();
        processes
    }

    /// Whether anything live belongs to this scope.
    pub fn any(&self, scope: &Scope) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).live.values().any(|live| live.scopes.contains(scope))
    }

    /// How many are live.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).live.len()
    }
}

//! Verdicts that were already computed.
//!
//! Policies never change once compiled, so the same question has the same answer, unless a policy asks for the arguments or
//! the time. Those are asked afresh each time.

use super::{Query, Verdict, slice};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Answers kept. Names come from agents, so the cache is emptied when it is full.
const MOST: usize = 8_192;
/// Bytes of a question that is kept.
const LONGEST: usize = 512;

#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<Vec<u8>, Verdict>>);

/// A question as bytes, each part with its length before it.
pub(super) struct Key(Vec<u8>);

impl Key {
    /// `None`: too long to keep.
    pub(super) fn of(q: &Query<'_>, broken: &[&str], read_only: bool) -> Option<Key> {
        let role = q.role.map(|role| role.as_str());
        let task = q.task.map(|task| task.as_str());
        let parts = [Some(q.principal.as_str()), role, task, Some(q.server.as_str()), Some(q.action.name())];
        let all = parts.into_iter().chain(broken.iter().map(|id| Some(*id)));
        let size: usize = all.clone().map(|part| part.map_or(0, str::len) + 5).sum();
        if size > LONGEST {
            return None;
        }
        let mut key = Vec::with_capacity(size + 2);
        key.push(slice::index(q.action) as u8);
        key.push(u8::from(read_only));
        for part in all {
            key.push(u8::from(part.is_some()));
            let part = part.unwrap_or_default();
            key.extend((part.len() as u32).to_be_bytes());
            key.extend(part.as_bytes());
        }
        Some(Key(key))
    }
}

impl Cache {
    pub(super) fn known(&self, key: &Key) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key.0).cloned()
    }

    pub(super) fn keep(&self, key: Key, verdict: &Verdict) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key.0, verdict.clone());
    }
}

//! Requests of the agent that the server has not answered yet.

use custody_engine::wire::{Frame, IdKey, id_key};
use custody_model::Shape;
use std::collections::HashMap;

/// Ids of requests on their way, by value, with their raw form. Bounded: beyond the limit requests are not followed.
#[derive(Debug)]
pub(super) struct Pending<C> {
    ids: HashMap<IdKey, Sent<C>>,
    next: u64,
    limit: usize,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sent<C> {
    order: u64,
    /// Its id, raw.
    pub(super) id: Vec<u8>,
    pub(super) call: C,
}

impl<C: Clone> Pending<C> {
    pub(super) fn new(limit: usize) -> Pending<C> {
        Pending { ids: HashMap::new(), next: 0, limit }
    }

    pub(super) fn sent(&mut self, bytes: &[u8], frame: &Frame, call: &C) {
        for message in frame.messages().iter().filter(|message| message.shape == Shape::Request) {
            if let Some(id) = message.id
                && self.ids.len() < self.limit
            {
                let raw = id.of(bytes);
                self.ids.insert(id_key(raw), Sent { order: self.next, id: raw.to_vec(), call: call.clone() });
                self.next += 1;
            }
        }
    }

    /// The request that the message answers; of a batch, the first.
    pub(super) fn answered(&mut self, bytes: &[u8], frame: &Frame) -> Option<C> {
        let answers = frame.messages().iter().filter(|message| matches!(message.shape, Shape::Result | Shape::Error));
        let mut calls = answers.filter_map(|message| self.ids.remove(&id_key(message.id?.of(bytes)))).map(|sent| sent.call);
        let first = calls.next();
        calls.for_each(drop);
        first
    }

    /// Takes all that are left, in the order in which they were sent.
    pub(super) fn take(&mut self) -> Vec<Sent<C>> {
        let mut left: Vec<_> = self.ids.drain().map(|(_, sent)| sent).collect();
        left.sort_by_key(|sent| sent.order);
        left
    }
}

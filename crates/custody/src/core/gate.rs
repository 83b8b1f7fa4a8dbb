//! The one lock that puts decisions in order (promise 4): whoever holds it appends the message and, in the same
//! breath, changes the freeze set. Never held across an await, never while sealing.

use custody_engine::contain::{Freeze, FreezeSet};
use custody_model::{ActionId, DenyReason, Scope};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;
use tokio::sync::Notify;

/// Freeze set and messages being handed over.
#[derive(Default)]
pub struct Gate {
    freezes: Mutex<FreezeSet>,
    sending: Arc<InFlight>,
}

#[derive(Default)]
struct InFlight {
    count: AtomicUsize,
    sent: Notify,
}

/// A message is being handed to its server. Dropped when the bytes are out.
pub struct Sending(Arc<InFlight>);

impl Drop for Sending {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.sent.notify_waiters();
        }
    }
}

impl Gate {
    /// A gate with the freezes that were active before a restart.
    pub fn restore(freezes: Vec<Freeze>) -> Self {
        Gate { freezes: Mutex::new(FreezeSet::restore(freezes)), sending: Arc::default() }
    }

    /// Holds the order of decisions.
    pub fn lock(&self) -> MutexGuard<'_, FreezeSet> {
        self.freezes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The freeze that cuts these scopes off, and the epoch of the answer.
    pub fn look<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> (Option<ActionId>, u64) {
        let freezes = self.lock();
        (freezes.find(scopes), freezes.epoch())
    }

    /// Why these scopes are cut off, if they are, and the epoch of the answer.
    pub fn denies<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope> + Clone) -> (Option<DenyReason>, u64) {
        let freezes = self.lock();
        (freezes.denies(scopes), freezes.epoch())
    }

    /// Last look before the bytes go: `None` when a freeze came after the permit.
    pub fn begin_sending<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>, epoch: u64) -> Option<Sending> {
        let freezes = self.lock();
        if freezes.epoch() != epoch && freezes.find(scopes).is_some() {
            return None;
        }
        self.sending.count.fetch_add(1, Ordering::AcqRel);
        Some(Sending(self.sending.clone()))
    }

    /// Waits until nothing that was permitted before is still being handed over, for at most `limit`.
    pub async fn sent(&self, limit: Duration) {
        let wait = async {
            loop {
                let notified = self.sending.sent.notified();
                if self.sending.count.load(Ordering::Acquire) == 0 {
                    return;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(limit, wait).await.is_err() {
            tracing::warn!(open = self.sending.count.load(Ordering::Acquire), "messages permitted before a freeze are still being written");
        }
    }
}

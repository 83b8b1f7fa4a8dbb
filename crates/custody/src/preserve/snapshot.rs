//! The snapshot that precedes every termination (promise 3).

use super::export::{Bundle, ExportRequest, export_as};
use crate::causes::chain;
use custody_model::{ActionId, Case, Receipt};
use custody_store::ledger::Reader;
use jiff::{SignedDuration, Timestamp};
use std::time::Instant;

/// What became of a snapshot. A failure is a value: it needs a person's name before anything is terminated.
#[derive(Debug, Clone)]
pub enum Snapshot {
    /// The evidence is on disk, whole and signed.
    Taken {
        /// The bag.
        bundle: Bundle,
        /// When.
        at: Timestamp,
        /// How long it took, in microseconds.
        took_us: u64,
    },
    /// It is not.
    Failed {
        /// Why, with its causes.
        why: String,
        /// When.
        at: Timestamp,
        /// How long it took, in microseconds.
        took_us: u64,
    },
}

impl Snapshot {
    /// Whether evidence is in hand.
    pub fn ok(&self) -> bool {
        matches!(self, Snapshot::Taken { .. })
    }

    /// As a receipt of the containment step. A failed one has no digest, and no name that broke the glass yet.
    pub fn receipt(&self, action: ActionId) -> Receipt {
        let (at, took_us, result, digest) = match self {
            Snapshot::Taken { bundle, at, took_us } => {
                let words = format!("{} of {} evidence items preserved in {}", bundle.present(), bundle.items.len(), bundle.path.display());
                (*at, *took_us, words, Some(bundle.digest))
            }
            Snapshot::Failed { why, at, took_us } => (*at, *took_us, format!("not preserved: {why}"), None),
        };
        Receipt { action, at, ok: self.ok(), result, took_us, digest, glass_broken_by: None }
    }
}

/// Preserves the case while its processes still run. The same bag as [`super::export()`] makes, of kind `snapshot`.
pub fn snapshot(reader: &Reader, case: &Case, request: &ExportRequest, signer: &str) -> Snapshot {
    let started = Instant::now();
    let outcome = export_as(reader, case, request, signer, "snapshot");
    let took = started.elapsed();
    let at = request.now.saturating_add(SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    match outcome {
        Ok(bundle) => Snapshot::Taken { bundle, at, took_us },
        Err(error) => Snapshot::Failed { why: chain(&error), at, took_us },
    }
}

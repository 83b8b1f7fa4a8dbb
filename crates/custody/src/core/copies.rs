//! Signed checkpoints leave the machine (promise 2): each webhook is told of the newest one.
//!
//! File copies are written by the ledger itself. A webhook that was away is told the newest checkpoint when it is back;
//! that one covers all before it.

use super::CoreError;
use crate::alerts::{ChannelConfig, http::Endpoint};
use crate::config::LedgerCopy;
use custody_tlog::SignedCheckpoint;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two tries at a webhook that does not answer well.
const RETRY: Duration = Duration::from_secs(5);
/// Longest time for one try.
const TRY: Duration = Duration::from_secs(10);

/// Opens the configured webhooks.
pub(super) fn webhooks(copies: &[LedgerCopy]) -> Result<Vec<Endpoint>, CoreError> {
    let urls = copies.iter().filter_map(|copy| match copy {
        LedgerCopy::Webhook { url } => Some(url),
        LedgerCopy::File { .. } => None,
    });
    let open = |url: &String| {
        let config = ChannelConfig {
            name: "ledger.copies".to_owned(),
            kind: "webhook".to_owned(),
            url: Some(url.clone()),
            ..ChannelConfig::default()
        };
        Endpoint::open(&config).map_err(|error| CoreError::Alerts { channel: config.name.clone(), why: error.to_string() })
    };
    urls.map(open).collect()
}

/// Tells one webhook of each new checkpoint, until stopped; the last one is tried once more then.
pub(super) async fn tell(endpoint: Endpoint, mut signed: watch::Receiver<Option<SignedCheckpoint>>, stop: CancellationToken) {
    let mut told = 0;
    loop {
        let newest = signed.borrow_and_update().clone();
        let mut failed = false;
        if let Some(checkpoint) = newest.filter(|checkpoint| checkpoint.size() > told) {
            let body = json!({"v": 1, "kind": "checkpoint", "size": checkpoint.size(), "note": checkpoint.note()}).to_string();
            match tokio::time::timeout(TRY, endpoint.post(body.as_bytes(), &[])).await {
                Ok(Ok(_)) => told = checkpoint.size(),
                Ok(Err(refusal)) => {
                    failed = true;
                    tracing::warn!(to = endpoint.shown(), answer = refusal.answer, "a checkpoint copy was not taken");
                }
                Err(_) => {
                    failed = true;
                    tracing::warn!(to = endpoint.shown(), "a checkpoint copy got no answer in time");
                }
            }
        }
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            changed = signed.changed(), if !failed => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
            () = stop.cancelled() => {}
        }
    }
}

//! Time stamps of checkpoints by an authority (RFC 3161), kept beside the ledger.

use super::{Core, CoreError};
use crate::alerts::{ChannelConfig, http::Endpoint};
use crate::config::Timestamps;
use crate::publish::{BadStamp, check_stamp, stamp_request};
use crate::trust::write_private;
use custody_model::*;
use custody_tlog::SignedCheckpoint;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// After an attempt that failed.
const RETRY: Duration = Duration::from_secs(60);
/// Longest time for one request.
const TRY: Duration = Duration::from_secs(20);
/// Longest answer.
const ANSWER: usize = 256 << 10;

/// Opens the way to the authority.
pub(super) fn open(config: &Timestamps) -> Result<Endpoint, CoreError> {
    let channel = ChannelConfig {
        name: "ledger.timestamps".to_owned(),
        kind: "webhook".to_owned(),
        url: Some(config.url.clone()),
        ca_file: config.ca_file.clone(),
        ..ChannelConfig::default()
    };
    Endpoint::open(&channel).map_err(|error| CoreError::Alerts { channel: channel.name.clone(), why: error.to_string() })
}

impl Core {
    /// Has the newest checkpoint stamped, now and then, until stopped.
    pub(super) async fn stamp(self: Arc<Self>, endpoint: Endpoint, every: Duration, mut signed: watch::Receiver<Option<SignedCheckpoint>>) {
        let (mut stamped, mut said) = (0, None);
        loop {
            let newest = signed.borrow_and_update().clone().filter(|checkpoint| checkpoint.size() > stamped);
            let mut pause = every;
            if let Some(checkpoint) = newest {
                let outcome = self.stamp_one(&endpoint, &checkpoint).await;
                let (word, why) = match &outcome {
                    Ok(at) => ("stamped", format!("existed at {at}, says {}", endpoint.shown())),
                    Err(why) => ("refused", why.clone()),
                };
                if said != Some(word) {
                    said = Some(word);
                    let event = Event::WitnessSaid { witness: "timestamps".into(), word: word.into(), size: checkpoint.size() };
                    self.note(None, event, Some(json!({"why": why})));
                }
                match outcome {
                    Ok(_) => stamped = checkpoint.size(),
                    Err(why) => {
                        tracing::warn!(to = endpoint.shown(), %why, "no time stamp");
                        pause = RETRY.min(every);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
            let more = async { signed.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size() > stamped)).await.is_ok() };
            tokio::select! {
                goes_on = more => if !goes_on { return },
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn stamp_one(&self, endpoint: &Endpoint, checkpoint: &SignedCheckpoint) -> Result<jiff::Timestamp, String> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
        let note = checkpoint.note().as_bytes().to_vec();
        let request = stamp_request(&note, nonce);
        let asked = endpoint.post_for_bytes("application/timestamp-query", &request, ANSWER);
        let response = match tokio::time::timeout(TRY, asked).await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) => return Err(refusal.answer),
            Err(_) => return Err("no answer in time".into()),
        };
        let at = check_stamp(&response, &note, nonce).map_err(|error: BadStamp| error.to_string())?;
        let dir = self.home.timestamps();
        let name = format!("{:020}", checkpoint.size());
        let keep = move || {
            std::fs::create_dir_all(&dir)?;
            // What was stamped goes first: a response without it would say nothing.
            write_private(&dir.join(format!("{name}.checkpoint")), &note)?;
            write_private(&dir.join(format!("{name}.tsr")), &response)
        };
        let kept = tokio::task::spawn_blocking(keep).await.expect("keeping a time stamp does not panic");
        kept.map(|()| at).map_err(|error| format!("the time stamp could not be kept: {error}"))
    }
}

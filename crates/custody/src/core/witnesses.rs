//! Witnesses cosign each new checkpoint (promise 2): asked all at once, what they say kept beside the ledger, and heard when it
//! changes.

use super::{Core, CoreError, alarm::Alarm};
use crate::alerts::{ChannelConfig, http::Endpoint};
use crate::config::Witness;
use crate::publish::{Cosigned, Round, Said};
use crate::trust::Home;
use custody_model::*;
use custody_store::ledger::Reader;
use custody_tlog::{Cosignature, SignedCheckpoint, WitnessKey};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Between two rounds when somebody did not cosign.
const RETRY: Duration = Duration::from_secs(5);

const OTHER_HISTORY: Alarm = Alarm {
    rule: "custody-ledger-witness",
    title: "A witness contradicts this ledger",
    requirement: "R7",
    priority: Priority::P1,
    severity: Severity::Critical,
    incident_type: IncidentType::ConfigurationManipulation,
};

/// Opens the way to each witness.
pub(super) fn open(home: &Home, witnesses: &[Witness], reader: Reader) -> Result<Option<Round>, CoreError> {
    if witnesses.is_empty() {
        return Ok(None);
    }
    let path = home.cosigned();
    let cosigned = Cosigned::read(&path).map_err(|source| CoreError::Io { doing: "read", path: path.display().to_string(), source })?;
    let way = |witness: &Witness| {
        let config = ChannelConfig {
            name: format!("ledger.witnesses {}", witness.key.name()),
            kind: "webhook".to_owned(),
            url: Some(format!("{}/add-checkpoint", witness.url)),
            ca_file: witness.ca_file.clone(),
            ..ChannelConfig::default()
        };
        let endpoint =
            Endpoint::open(&config).map_err(|error| CoreError::Alerts { channel: config.name.clone(), why: error.to_string() })?;
        Ok((witness.key.clone(), endpoint))
    };
    Ok(Some(Round::new(witnesses.iter().map(way).collect::<Result<_, CoreError>>()?, &cosigned, reader)))
}

impl Core {
    /// Asks the witnesses about each new checkpoint, until stopped; the last one is tried once more then.
    pub(super) async fn ask_witnesses(self: Arc<Self>, mut round: Round, mut signed: watch::Receiver<Option<SignedCheckpoint>>) {
        loop {
            let newest = signed.borrow_and_update().clone();
            let mut complete = true;
            if let Some(checkpoint) = newest.filter(|checkpoint| !round.is_complete(checkpoint.size())) {
                let before: Vec<Option<&'static str>> = round.asked.iter().map(|asked| asked.last.as_ref().map(Said::word)).collect();
                let answers = round.ask(&checkpoint).await;
                self.keep_cosignatures(&checkpoint, &answers).await;
                for (at, said) in &answers {
                    if before[*at] != Some(said.word()) {
                        self.heard(&round.asked[*at].key, said, checkpoint.size()).await;
                    }
                }
                complete = round.is_complete(checkpoint.size());
            }
            if self.stop.is_cancelled() {
                return;
            }
            tokio::select! {
                changed = signed.changed(), if complete => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if !complete => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn keep_cosignatures(&self, checkpoint: &SignedCheckpoint, answers: &[(usize, Said)]) {
        let lines: Vec<Cosignature> =
            answers.iter().filter_map(|(_, said)| if let Said::Cosigned(line) = said { Some(line.clone()) } else { None }).collect();
        if lines.is_empty() {
            return;
        }
        let keys: Vec<WitnessKey> = self.config.ledger.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let (path, checkpoint, quorum) = (self.home.cosigned(), checkpoint.clone(), self.config.ledger.witness_quorum);
        let keep = move || {
            let mut cosigned = Cosigned::read(&path)?;
            cosigned.add(&checkpoint, &lines, &keys, quorum);
            cosigned.write(&path)
        };
        if let Err(error) = tokio::task::spawn_blocking(keep).await.expect("keeping cosignatures does not panic") {
            tracing::error!(%error, "cosignatures could not be kept");
        }
    }

    /// A change in what a witness says is an entry; that it knows another history is an alarm.
    async fn heard(&self, key: &WitnessKey, said: &Said, size: u64) {
        let name = key.name();
        let why = match said {
            Said::Cosigned(_) => "it cosigned".to_owned(),
            Said::Unreachable(why) | Said::Refused(why) => why.clone(),
            Said::Ahead { size: known } => format!(
                "witness {name} cosigned {known} entries of this ledger, which has {size}: entries were taken away, or a copy of it runs elsewhere"
            ),
            Said::OtherHistory { size: known } => {
                format!("witness {name} cosigned {known} entries of this ledger, and they are not the first {known} that it has now")
            }
        };
        if !matches!(said, Said::Cosigned(_)) {
            tracing::warn!(witness = name, word = said.word(), %why, "a witness did not cosign");
        }
        let event = Event::WitnessSaid { witness: name.to_owned(), word: said.word().to_owned(), size };
        self.note(None, event, Some(json!({"why": why})));
        if said.is_alarm() {
            self.alarm(&OTHER_HISTORY, why).await;
        }
    }
}

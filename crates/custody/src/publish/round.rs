//! Asking witnesses for cosignatures (C2SP `tlog-witness`, the client's side).

use super::Cosigned;
use crate::alerts::http::Endpoint;
use custody_store::ledger::{LedgerError, Reader};
use custody_tlog::{AddCheckpoint, Cosignature, SignedCheckpoint, WitnessKey};
use std::time::Duration;

/// Longest time for one request.
const TRY: Duration = Duration::from_secs(5);

/// What a witness said to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It cosigned.
    Cosigned(Cosignature),
    /// Nobody answered.
    Unreachable(String),
    /// It answered with something else: the status and the text.
    Refused(String),
    /// It cosigned more entries of this ledger than there are: entries were taken away, or a copy of this ledger runs elsewhere.
    Ahead {
        /// What it cosigned last.
        size: u64,
    },
    /// It cosigned another history of this ledger.
    OtherHistory {
        /// What it cosigned last.
        size: u64,
    },
}

impl Said {
    /// One stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Said::Cosigned(_) => "cosigned",
            Said::Unreachable(_) => "unreachable",
            Said::Refused(_) => "refused",
            Said::Ahead { .. } => "ahead",
            Said::OtherHistory { .. } => "other_history",
        }
    }

    /// Whether it shows that history was changed.
    pub fn is_alarm(&self) -> bool {
        matches!(self, Said::Ahead { .. } | Said::OtherHistory { .. })
    }
}

/// One witness, and how far it stands.
pub struct Asked {
    /// Its key.
    pub key: WitnessKey,
    endpoint: Endpoint,
    /// Size of the last checkpoint that it cosigned, as far as we know.
    size: u64,
    /// The last thing it said.
    pub last: Option<Said>,
}

/// All witnesses.
pub struct Round {
    /// Each of them.
    pub asked: Vec<Asked>,
    reader: Reader,
}

impl Round {
    /// `cosigned` tells how far each of them stands.
    pub(crate) fn new(witnesses: Vec<(WitnessKey, Endpoint)>, cosigned: &Cosigned, reader: Reader) -> Round {
        let asked = witnesses.into_iter().map(|(key, endpoint)| {
            let size = cosigned.of(&key).map_or(0, |(note, _)| note.size());
            Asked { key, endpoint, size, last: None }
        });
        Round { asked: asked.collect(), reader }
    }

    /// Whether every witness has cosigned this size.
    pub fn is_complete(&self, size: u64) -> bool {
        self.asked.iter().all(|asked| asked.size >= size && matches!(asked.last, Some(Said::Cosigned(_))))
    }

    /// Asks all that have not cosigned this checkpoint, at once. Gives what is new of each: its place, and what it said.
    pub async fn ask(&mut self, checkpoint: &SignedCheckpoint) -> Vec<(usize, Said)> {
        let reader = &self.reader;
        let due = self.asked.iter_mut().enumerate();
        let due = due.filter(|(_, asked)| asked.size < checkpoint.size() || !matches!(asked.last, Some(Said::Cosigned(_))));
        let answers = due.map(|(at, asked)| async move { (at, asked.ask(checkpoint, reader).await) });
        let answers = futures_util::future::join_all(answers).await;
        for (at, said) in &answers {
            self.asked[*at].last = Some(said.clone());
        }
        answers
    }
}

impl Asked {
    async fn ask(&mut self, checkpoint: &SignedCheckpoint, reader: &Reader) -> Said {
        let size = checkpoint.size();
        let mut old = self.size;
        // A witness that stands elsewhere says where; asked once more from there, it has nothing to say against it.
        for _ in 0..2 {
            if old > size {
                return Said::Ahead { size: old };
            }
            let hashes = match prove(reader, old, size).await {
                Ok(hashes) => hashes,
                Err(error) => return Said::Refused(format!("no proof from {old} to {size} entries could be made: {error}")),
            };
            let body = AddCheckpoint { old, hashes, checkpoint: checkpoint.clone() }.to_text();
            let posted = self.endpoint.post_as("text/plain; charset=utf-8", body.as_bytes(), &[]);
            let answer = match tokio::time::timeout(TRY, posted).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(refusal)) => refusal.answer,
                Err(_) => return Said::Unreachable("no answer in time".into()),
            };
            let (status, text) = answer.split_once(' ').unwrap_or((&answer, ""));
            match status {
                "200" => return self.take(checkpoint, text),
                "422" => return Said::OtherHistory { size: old },
                "409" => match text.trim().parse::<u64>() {
                    Ok(known) if known > size => return Said::Ahead { size: known },
                    Ok(known) if known == old => return Said::OtherHistory { size: known },
                    Ok(known) => old = known,
                    Err(_) => return Said::Refused(short(&answer)),
                },
                _ if status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()) => return Said::Refused(short(&answer)),
                _ => return Said::Unreachable(short(&answer)),
            }
        }
        Said::Refused("it stands elsewhere each time it is asked".into())
    }

    fn take(&mut self, checkpoint: &SignedCheckpoint, text: &str) -> Said {
        let mut lines = text.lines().filter_map(|line| Cosignature::parse(line).ok());
        match lines.find(|cosignature| self.key.check(checkpoint, cosignature).is_ok()) {
            Some(cosignature) => {
                self.size = checkpoint.size();
                Said::Cosigned(cosignature)
            }
            None => Said::Refused("it answered without a cosignature by the configured key".into()),
        }
    }
}

async fn prove(reader: &Reader, old: u64, size: u64) -> Result<Vec<custody_tlog::Hash>, LedgerError> {
    if old == 0 || old == size {
        return Ok(Vec::new());
    }
    let reader = reader.clone();
    let proof = tokio::task::spawn_blocking(move || reader.consistency_proof(old, size)).await.expect("proving does not panic")?;
    Ok(proof.hashes)
}

/// An answer is the witness's own text: bounded before it goes anywhere.
fn short(answer: &str) -> String {
    answer.trim().chars().take(200).collect()
}

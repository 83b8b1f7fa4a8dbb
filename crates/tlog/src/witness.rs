//! What a witness is asked and how it decides (C2SP `tlog-witness`, `add-checkpoint`). Pure: keeping state and HTTP are the
//! caller's.

use crate::{ConsistencyProof, Hash, SignedCheckpoint, Verifier};
use base64::prelude::{BASE64_STANDARD, Engine};

/// Hashes of a consistency proof at most, as the specification says.
const MAX_HASHES: usize = 63;

/// The request is not what the specification says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an add-checkpoint request: {what}")]
pub struct BadRequest {
    /// What is wrong.
    pub what: &'static str,
}

/// The body of a request: the size that the log believes the witness to have cosigned last, the proof from there, and the
/// checkpoint. The same text is how a consistency proof leaves a home.
#[derive(Debug, Clone, PartialEq)]
pub struct AddCheckpoint {
    /// Size of the older tree; 0: none.
    pub old: u64,
    /// Consistency proof from `old` to the checkpoint.
    pub hashes: Vec<Hash>,
    /// The newer head, with the log's signature.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Reads a body.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub fn parse(text: &str) -> Result<Self, BadRequest> {
        let bad = |what| BadRequest { what };
        let (head, note) = text.split_once("\n\n").ok_or(bad("no checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(bad("no old size"))?;
        let old = old.parse().ok().filter(|n: &u64| n.to_string() == old).ok_or(bad("no old size"))?;
        let hash = |line: &str| Some(Hash(BASE64_STANDARD.decode(line).ok()?.try_into().ok()?));
        let hashes: Vec<Hash> = lines.map(hash).collect::<Option<_>>().ok_or(bad("not a hash"))?;
        if hashes.len() > MAX_HASHES {
            return Err(bad("more than 63 hashes"));
        }
        let checkpoint = SignedCheckpoint::parse(note).map_err(|_| bad("not a signed checkpoint"))?;
        Ok(AddCheckpoint { old, hashes, checkpoint })
    }

    /// The body.
    pub fn to_text(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.hashes {
            text.push_str(&format!("{hash}\n"));
        }
        text + "\n" + self.checkpoint.note()
    }

    /// Checks that the newer tree begins with the older one, whose root is known.
    ///
    /// # Errors
    /// [`crate::BadProof`].
    pub fn check(&self, old_root: Hash) -> Result<(), crate::BadProof> {
        let size = self.checkpoint.size();
        let holds = match self.old {
            0 => self.hashes.is_empty(),
            old if old == size => self.hashes.is_empty() && old_root == self.checkpoint.root(),
            old_size => {
                let proof = ConsistencyProof { old_size, size, hashes: self.hashes.clone() };
                return if old_size < size { proof.check(old_root, self.checkpoint.root()) } else { Err(crate::BadProof::Wrong) };
            }
        };
        if holds { Ok(()) } else { Err(crate::BadProof::Wrong) }
    }
}

/// Why a witness does not cosign, with the status that the specification gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No signature by the log's key. 403.
    #[error("no valid signature by the log's key")]
    Unsigned,
    /// The old size is larger than the checkpoint. 400.
    #[error("the old size is larger than the checkpoint")]
    Backwards,
    /// The witness stands elsewhere than the log believes. 409, with the size. A log that has fewer entries was rolled back.
    #[error("the witness cosigned {size} entries last")]
    Elsewhere {
        /// What it cosigned last.
        size: u64,
    },
    /// As many entries as were cosigned before, and another root: two histories were signed. 409.
    #[error("{size} entries were cosigned with another root: the log shows two histories")]
    SplitView {
        /// Of that many entries.
        size: u64,
    },
    /// The proof does not lead from what was cosigned to what is shown: history was rewritten, or the proof is wrong. 422.
    #[error("the first {size} entries are not those that were cosigned")]
    Rewritten {
        /// What was cosigned last.
        size: u64,
    },
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Unsigned => 403,
            Refusal::Backwards => 400,
            Refusal::Elsewhere { .. } | Refusal::SplitView { .. } => 409,
            Refusal::Rewritten { .. } => 422,
        }
    }

    /// Whether it means that the log signed what cannot stand beside what it signed before.
    pub fn is_misbehaviour(&self) -> bool {
        matches!(self, Refusal::SplitView { .. } | Refusal::Rewritten { .. })
    }
}

/// Whether a witness that last cosigned `latest` may cosign this. `log` is the key that it knows the log by.
///
/// # Errors
/// [`Refusal`].
pub fn consider(log: &Verifier, latest: Option<&SignedCheckpoint>, request: &AddCheckpoint) -> Result<(), Refusal> {
    let new = log.verify(&request.checkpoint).map_err(|_| Refusal::Unsigned)?;
    if request.old > new.size {
        return Err(Refusal::Backwards);
    }
    let known = latest.map_or(0, SignedCheckpoint::size);
    // Said even when the old size is wrong: two roots of one size need no proof.
    if let Some(latest) = latest.filter(|latest| latest.size() == new.size && latest.root() != new.root) {
        return Err(Refusal::SplitView { size: latest.size() });
    }
    if request.old != known {
        return Err(Refusal::Elsewhere { size: known });
    }
    let root = latest.map_or(new.root, SignedCheckpoint::root);
    request.check(root).map_err(|_| Refusal::Rewritten { size: known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Frontier, HashReader, ReadError, Signer, leaf_hash, root};

    struct Stored(Vec<Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, ReadError> {
            indexes.iter().map(|&i| self.0.get(i as usize).copied().ok_or(ReadError::IndexesNotInTree)).collect()
        }
    }

    /// A log of so many entries; from entry `other` on, with other ones.
    fn tree(size: u64, other: u64) -> Stored {
        let mut frontier = Frontier::default();
        let line = |n: u64| if n >= other { format!("other {n}") } else { format!("entry {n}") };
        Stored((0..size).flat_map(|n| frontier.push(leaf_hash(line(n).as_bytes()))).collect())
    }

    fn request(old: u64, size: u64, stored: &Stored) -> AddCheckpoint {
        let signer = Signer::from_seed("log", [1; 32]).unwrap();
        let checkpoint = signer.sign(&Checkpoint { origin: "log".into(), size, root: root(size, stored).unwrap() }).unwrap();
        let hashes = if old == 0 || old >= size { Vec::new() } else { ConsistencyProof::make(old, size, stored).unwrap().hashes };
        AddCheckpoint { old, hashes, checkpoint }
    }

    #[test]
    fn growth_is_cosigned_and_nothing_else() {
        let log = Signer::from_seed("log", [1; 32]).unwrap().verifier();
        let honest = tree(40, u64::MAX);
        let at = |size| request(0, size, &honest).checkpoint;
        let first = request(0, 9, &honest);
        assert_eq!(consider(&log, None, &first), Ok(()));
        let seen = at(9);
        for size in [9, 10, 17, 40] {
            assert_eq!(consider(&log, Some(&seen), &request(9, size, &honest)), Ok(()), "{size}");
        }
        // Rolled back, whatever it claims to know.
        assert_eq!(consider(&log, Some(&seen), &request(5, 7, &honest)), Err(Refusal::Elsewhere { size: 9 }));
        assert_eq!(consider(&log, Some(&seen), &request(0, 7, &honest)), Err(Refusal::Elsewhere { size: 9 }));
        assert_eq!(consider(&log, Some(&seen), &request(9, 7, &honest)), Err(Refusal::Backwards));
        // Another history, of the same size and of a larger one.
        let rewritten = tree(40, 6);
        for old in [0, 3, 9] {
            assert_eq!(consider(&log, Some(&seen), &request(old, 9, &rewritten)), Err(Refusal::SplitView { size: 9 }), "{old}");
        }
        assert_eq!(consider(&log, Some(&seen), &request(9, 20, &rewritten)), Err(Refusal::Rewritten { size: 9 }));
        // Another key.
        let mut forged = request(9, 20, &honest);
        let thief = Signer::from_seed("log", [2; 32]).unwrap();
        forged.checkpoint = thief.sign(forged.checkpoint.unverified()).unwrap();
        assert_eq!(consider(&log, Some(&seen), &forged), Err(Refusal::Unsigned));
        // A first cosignature needs no proof, and may have none.
        let mut padded = request(0, 9, &honest);
        padded.hashes.push(Hash([0; 32]));
        assert!(consider(&log, None, &padded).is_err());
    }

    #[test]
    fn a_request_survives_its_text_and_others_are_refused() {
        let honest = tree(40, u64::MAX);
        let request = request(9, 40, &honest);
        assert_eq!(AddCheckpoint::parse(&request.to_text()).unwrap(), request);
        let text = request.to_text();
        for bad in [
            "".to_owned(),
            "old 1\n\n".into(),
            text.replacen("old 9", "old 09", 1),
            text.replacen("old 9", "old -1", 1),
            text.replacen("old 9\n", "old 9\nAAAA\n", 1),
            text.replacen("old 9\n", &format!("old 9\n{}", format!("{}\n", Hash([1; 32])).repeat(64)), 1),
        ] {
            assert!(AddCheckpoint::parse(&bad).is_err(), "{bad}");
        }
    }
}

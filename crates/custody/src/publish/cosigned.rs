//! Cosigned checkpoints, kept beside the ledger: of each witness the newest, and nothing older.

use crate::trust::write_private;
use custody_tlog::{Cosignature, SignedCheckpoint, WitnessKey, notes};
use std::{io, path::Path};

/// Longest file that is read.
const MAX_FILE: u64 = 4 << 20;

/// Checkpoints with cosignatures below them, sizes rising.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cosigned {
    notes: Vec<SignedCheckpoint>,
}

impl Cosigned {
    /// Reads the file; none is an empty one.
    ///
    /// # Errors
    /// The file system's, and `InvalidData` with what is wrong.
    pub fn read(path: &Path) -> io::Result<Cosigned> {
        use io::Read as _;
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cosigned::default()),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text)?;
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut split = notes(&text);
        let notes: Result<Vec<_>, _> = split.by_ref().map(SignedCheckpoint::parse).collect();
        let notes = notes.map_err(|error| bad(error.to_string()))?;
        if !split.rest().is_empty() {
            return Err(bad("ends with what is no whole checkpoint".into()));
        }
        Ok(Cosigned { notes })
    }

    /// Replaces the file, whole or not at all.
    ///
    /// # Errors
    /// The file system's; the old content is then still there.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text: String = self.notes.iter().map(SignedCheckpoint::note).collect();
        write_private(path, text.as_bytes())
    }

    /// Takes cosignatures of one checkpoint in, and lets go what is neither a witness's newest any more nor the newest with a quorum.
    pub fn add(&mut self, checkpoint: &SignedCheckpoint, cosignatures: &[Cosignature], witnesses: &[WitnessKey], quorum: usize) {
        let at = self.notes.iter().position(|note| note.text() == checkpoint.text());
        let base = at.map_or_else(|| checkpoint.clone(), |at| self.notes.remove(at));
        match base.with(cosignatures) {
            Ok(with) => self.notes.push(with),
            // More lines than a note may have: what was there stays.
            Err(_) => self.notes.push(base),
        }
        self.notes.sort_by_key(SignedCheckpoint::size);
        let newest = witnesses.iter().filter_map(|key| self.of(key)).map(|(note, _)| note).chain(self.newest(witnesses, quorum));
        let kept: Vec<String> = newest.map(|note| note.text().to_owned()).collect();
        self.notes.retain(|note| kept.iter().any(|text| text == note.text()));
    }

    /// The newest checkpoint that a witness cosigned.
    pub fn of(&self, key: &WitnessKey) -> Option<(&SignedCheckpoint, Cosignature)> {
        self.notes.iter().rev().find_map(|note| key.find(note).map(|cosignature| (note, cosignature)))
    }

    /// The newest checkpoint with good cosignatures of at least so many of these witnesses.
    pub fn newest(&self, witnesses: &[WitnessKey], quorum: usize) -> Option<&SignedCheckpoint> {
        self.notes.iter().rev().find(|note| witnesses.iter().filter(|key| key.find(note).is_some()).count() >= quorum.max(1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use custody_tlog::{Checkpoint, Cosigner, Hash, Signer};

    #[test]
    fn of_each_witness_the_newest_is_kept_and_the_newest_with_a_quorum() {
        let log = Signer::from_seed("log", [1; 32]).unwrap();
        let at = |size| log.sign(&Checkpoint { origin: "log".into(), size, root: Hash([size as u8; 32]) }).unwrap();
        let [a, b, c] = [2, 3, 4].map(|n| Cosigner::from_seed(&format!("w{n}"), [n; 32]).unwrap());
        let keys = [a.public().clone(), b.public().clone(), c.public().clone()];
        let mut kept = Cosigned::default();
        let mut add = |size, who: &[&Cosigner]| {
            let lines: Vec<_> = who.iter().map(|w| w.cosign(&at(size), size)).collect();
            kept.add(&at(size), &lines, &keys, 2);
            let sizes: Vec<u64> = kept.notes.iter().map(SignedCheckpoint::size).collect();
            (sizes, kept.newest(&keys, 2).map(SignedCheckpoint::size))
        };
        assert_eq!(add(5, &[&a]), (vec![5], None));
        assert_eq!(add(5, &[&b]), (vec![5], Some(5)));
        assert_eq!(add(8, &[&a]), (vec![5, 8], Some(5)));
        assert_eq!(add(9, &[&b]), (vec![5, 8, 9], Some(5)));
        assert_eq!(add(12, &[&a, &b, &c]), (vec![12], Some(12)));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cosigned");
        assert_eq!(Cosigned::read(&path).unwrap(), Cosigned::default());
        kept.write(&path).unwrap();
        assert_eq!(Cosigned::read(&path).unwrap(), kept);
        std::fs::write(&path, "no note").unwrap();
        assert!(Cosigned::read(&path).is_err());
    }
}

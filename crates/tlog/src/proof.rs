//! Proofs of inclusion and of consistency.

use crate::SignedCheckpoint;
use base64::prelude::{BASE64_STANDARD, Engine};
use custody_model::LeafIndex;
use tlog_tiles::{Error, Hash, HashReader};

/// A proof does not prove what it should.
#[derive(Debug, thiserror::Error)]
pub enum BadProof {
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root")]
    Wrong,
    /// The text is no proof.
    #[error("not a tlog-proof: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

/// Proves that a tree of `size` leaves holds a certain leaf (RFC 6962 section 2.1.1).
#[derive(Debug, Clone, PartialEq)]
pub struct InclusionProof {
    /// Which leaf.
    pub leaf: LeafIndex,
    /// In the tree of that many leaves.
    pub size: u64,
    /// Audit path, from the leaf upwards.
    pub hashes: Vec<Hash>,
}

const HEADER: &str = "c2sp.org/tlog-proof@v1";

impl InclusionProof {
    /// Makes the proof.
    ///
    /// # Errors
    /// When the leaf is not in the tree, or `stored` cannot read.
    pub fn make<R: HashReader>(leaf: LeafIndex, size: u64, stored: &R) -> Result<Self, Error> {
        Ok(InclusionProof { leaf, size, hashes: tlog_tiles::prove_record(size, leaf.0, stored)? })
    }

    /// Checks it against the root of the tree and the hash of the leaf.
    ///
    /// # Errors
    /// [`BadProof::Wrong`].
    pub fn check(&self, root: Hash, leaf_hash: Hash) -> Result<(), BadProof> {
        // An audit path is at most 64 long; the crate recurses once per hash.
        if self.hashes.len() > 64 {
            return Err(BadProof::Wrong);
        }
        tlog_tiles::check_record(&self.hashes, self.size, root, self.leaf.0, leaf_hash).map_err(|_| BadProof::Wrong)
    }

    /// Written with its checkpoint as C2SP `tlog-proof`: checkable with nothing else at hand.
    pub fn to_text(&self, checkpoint: &SignedCheckpoint) -> String {
        let mut text = format!("{HEADER}\nindex {}\n", self.leaf);
        for hash in &self.hashes {
            text.push_str(&format!("{hash}\n"));
        }
        text + "\n" + checkpoint.note()
    }

    /// Reads the form of [`InclusionProof::to_text`]: the proof, and the note that must still be verified.
    ///
    /// # Errors
    /// [`BadProof::Malformed`].
    pub fn from_text(text: &str) -> Result<(Self, SignedCheckpoint), BadProof> {
        let bad = |what| BadProof::Malformed { what };
        let (head, note) = text.split_once("\n\n").ok_or(bad("no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(bad("unknown first line"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(bad("no index"))?;
        let leaf = index.parse().ok().filter(|n: &u64| n.to_string() == index).ok_or(bad("no index"))?;
        let hashes = lines.map(parse_hash).collect::<Option<Vec<_>>>().ok_or(bad("not a hash"))?;
        let checkpoint = SignedCheckpoint::parse(note).map_err(|_| bad("not a signed checkpoint"))?;
        Ok((InclusionProof { leaf: LeafIndex(leaf), size: checkpoint.size(), hashes }, checkpoint))
    }
}

fn parse_hash(line: &str) -> Option<Hash> {
    Some(Hash(BASE64_STANDARD.decode(line).ok()?.try_into().ok()?))
}

/// Proves that a tree of `size` leaves begins with the tree of `old_size` leaves (RFC 6962 section 2.1.2).
#[derive(Debug, Clone, PartialEq)]
pub struct ConsistencyProof {
    /// Leaves of the older tree, at least 1.
    pub old_size: u64,
    /// Leaves of the newer tree.
    pub size: u64,
    /// The proof.
    pub hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// Makes the proof.
    ///
    /// # Errors
    /// When the sizes are out of order, or `stored` cannot read.
    pub fn make<R: HashReader>(old_size: u64, size: u64, stored: &R) -> Result<Self, Error> {
        Ok(ConsistencyProof { old_size, size, hashes: tlog_tiles::prove_tree(size, old_size, stored)? })
    }

    /// Checks it against both roots.
    ///
    /// # Errors
    /// [`BadProof::Wrong`].
    pub fn check(&self, old_root: Hash, root: Hash) -> Result<(), BadProof> {
        if self.hashes.len() > 128 {
            return Err(BadProof::Wrong);
        }
        tlog_tiles::check_tree(&self.hashes, self.size, root, self.old_size, old_root).map_err(|_| BadProof::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Frontier, Signer, leaf_hash, root};
    use proptest::prelude::*;

    struct Stored(Vec<Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            indexes.iter().map(|&i| self.0.get(i as usize).copied().ok_or(Error::IndexesNotInTree)).collect()
        }
    }

    fn tree(size: u64) -> Stored {
        let mut frontier = Frontier::default();
        Stored((0..size).flat_map(|n| frontier.push(leaf_hash(&n.to_be_bytes()))).collect())
    }

    proptest! {
        #[test]
        fn every_leaf_is_proved_and_no_other(size in 1_u64..200, leaf in 0_u64..200, bit in 0_usize..256) {
            let leaf = leaf % size;
            let stored = tree(size);
            let top = root(size, &stored).unwrap();
            let mut proof = InclusionProof::make(LeafIndex(leaf), size, &stored).unwrap();
            let hash = leaf_hash(&leaf.to_be_bytes());
            prop_assert!(proof.check(top, hash).is_ok());
            prop_assert!(proof.check(top, leaf_hash(&(leaf + 1).to_be_bytes())).is_err());
            let mut flipped = hash;
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(proof.check(top, flipped).is_err());
            proof.hashes.push(hash);
            prop_assert!(proof.check(top, hash).is_err());
        }

        #[test]
        fn an_older_tree_is_a_prefix(size in 1_u64..200, old in 1_u64..200) {
            let (old, stored) = (1 + (old - 1) % size, tree(size));
            let (old_root, top) = (root(old, &stored).unwrap(), root(size, &stored).unwrap());
            let proof = ConsistencyProof::make(old, size, &stored).unwrap();
            prop_assert!(proof.check(old_root, top).is_ok());
            prop_assert!(proof.check(leaf_hash(b"other"), top).is_err());
        }
    }

    #[test]
    fn a_proof_travels_as_text_with_its_checkpoint() {
        let stored = tree(9);
        let top = root(9, &stored).unwrap();
        let signer = Signer::from_seed("custody.example/a", [7; 32]).unwrap();
        let signed = signer.sign(&Checkpoint { origin: "custody.example/a".into(), size: 9, root: top }).unwrap();
        let proof = InclusionProof::make(LeafIndex(4), 9, &stored).unwrap();
        let (read, note) = InclusionProof::from_text(&proof.to_text(&signed)).unwrap();
        assert_eq!(read, proof);
        let checkpoint = signer.verifier().verify(&note).unwrap();
        read.check(checkpoint.root, leaf_hash(&4_u64.to_be_bytes())).unwrap();
    }
}

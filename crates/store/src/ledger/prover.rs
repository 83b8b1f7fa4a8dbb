//! Inclusion proofs of many entries in the same tree: the file is opened once, and what neighbours share is read once.

use super::{LedgerError, stored::StoredHashes};
use custody_model::LeafIndex;
use custody_tlog::{Hash, HashReader, InclusionProof, ReadError};
use std::{cell::RefCell, collections::HashMap, path::PathBuf};

/// Hashes that are kept; then it begins anew.
const KEPT: usize = 1 << 14;

/// Proves that entries are in the tree of the first `size` entries.
#[derive(Debug)]
pub struct Prover {
    size: u64,
    path: PathBuf,
    hashes: Kept,
}

impl Prover {
    pub(super) fn new(size: u64, path: PathBuf) -> Result<Prover, LedgerError> {
        let stored = StoredHashes::open(&path).map_err(LedgerError::storage("open", &path))?;
        Ok(Prover { size, path, hashes: Kept { stored, kept: RefCell::default() } })
    }

    /// The proof of one entry.
    ///
    /// # Errors
    /// [`LedgerError::NoEntry`] when the tree does not hold it, [`LedgerError::Damaged`] when hashes are missing.
    pub fn prove(&self, leaf: LeafIndex) -> Result<InclusionProof, LedgerError> {
        if leaf.0 >= self.size {
            return Err(LedgerError::NoEntry { leaf });
        }
        InclusionProof::make(leaf, self.size, &self.hashes).map_err(|e| LedgerError::damaged(&self.path, e.to_string()))
    }
}

#[derive(Debug)]
struct Kept {
    stored: StoredHashes,
    kept: RefCell<HashMap<u64, Hash>>,
}

impl HashReader for Kept {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, ReadError> {
        let mut kept = self.kept.borrow_mut();
        let read = |index: &u64| {
            if let Some(hash) = kept.get(index) {
                return Ok(*hash);
            }
            let hash = self.stored.read_hashes(std::slice::from_ref(index))?.remove(0);
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(*index, hash);
            Ok(hash)
        };
        indexes.iter().map(read).collect()
    }
}

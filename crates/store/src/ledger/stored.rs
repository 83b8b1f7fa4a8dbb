//! The `hashes` file: every stored hash of the tree, 32 bytes each, in dense order.

use custody_tlog::{HASH_SIZE, Hash, HashReader, ReadError};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// `hashes`, open for reading.
#[derive(Debug)]
pub(super) struct StoredHashes(File);

impl StoredHashes {
    pub fn open(path: &Path) -> io::Result<StoredHashes> {
        File::open(path).map(StoredHashes)
    }
}

impl HashReader for StoredHashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, ReadError> {
        let read = |&index: &u64| {
            let mut hash = [0; HASH_SIZE];
            let offset = index.checked_mul(HASH_SIZE as u64).ok_or(ReadError::IndexesNotInTree)?;
            self.0.read_exact_at(&mut hash, offset).map_err(|e| ReadError::InvalidInput(e.to_string()))?;
            Ok(Hash(hash))
        };
        indexes.iter().map(read).collect()
    }
}

/// The bytes as they stand in the file.
pub(super) fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

//! The tree: leaf hashes, and a frontier that grows by one leaf at a time.

use tlog_tiles::{EMPTY_HASH, Error, Hash, HashReader, node_hash, record_hash, sub_tree_index};

/// Hash of a leaf: SHA-256 over a zero byte and the bytes of the line, without its newline (RFC 6962 section 2.1).
pub fn leaf_hash(line: &[u8]) -> Hash {
    record_hash(line)
}

/// Root of the first `size` leaves, from stored hashes.
///
/// # Errors
/// What `stored` gives when it cannot read.
pub fn root<R: HashReader>(size: u64, stored: &R) -> Result<Hash, Error> {
    tlog_tiles::tree_hash(size, stored)
}

/// The roots of the complete subtrees that make up a tree, largest first: all that is needed to append and to
/// compute the root. At most 64 hashes.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the first `size` leaves, from stored hashes.
    ///
    /// # Errors
    /// What `stored` gives when it cannot read.
    pub fn read<R: HashReader>(size: u64, stored: &R) -> Result<Self, Error> {
        let peaks = if size == 0 { Vec::new() } else { stored.read_hashes(&sub_tree_index(0, size, Vec::new()))? };
        Ok(Frontier { size, peaks })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes that a next leaf adds to the dense storage order of `tlog_tiles::stored_hash_index`: the leaf's own,
    /// then those of each subtree it completes. Changes nothing; [`Frontier::commit`] does.
    pub fn added_by(&self, leaf: Hash) -> Vec<Hash> {
        let mut added = vec![leaf];
        let mut hash = leaf;
        for level in 0..(self.size.trailing_ones() as usize) {
            hash = node_hash(self.peaks[self.peaks.len() - 1 - level], hash);
            added.push(hash);
        }
        added
    }

    /// Takes the leaf in whose hashes [`Frontier::added_by`] gave.
    pub fn commit(&mut self, added: &[Hash]) {
        self.peaks.truncate(self.peaks.len() + 1 - added.len());
        self.peaks.extend(added.last());
        self.size += 1;
    }

    /// Both at once.
    pub fn push(&mut self, leaf: Hash) -> Vec<Hash> {
        let added = self.added_by(leaf);
        self.commit(&added);
        added
    }

    /// The root (RFC 6962 section 2.1).
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(&last) = peaks.next() else { return EMPTY_HASH };
        peaks.fold(last, |right, &left| node_hash(left, right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stored(Vec<Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            indexes.iter().map(|&i| self.0.get(i as usize).copied().ok_or(Error::IndexesNotInTree)).collect()
        }
    }

    /// The fast path beside the slow reference.
    #[test]
    fn the_frontier_stores_and_roots_as_the_reference_does() {
        let (mut stored, mut frontier) = (Stored(Vec::new()), Frontier::default());
        assert_eq!(frontier.root(), tlog_tiles::tree_hash(0, &stored).unwrap());
        for n in 0..300_u64 {
            let line = format!("leaf {n}");
            let reference = tlog_tiles::stored_hashes(n, line.as_bytes(), &stored).unwrap();
            assert_eq!(frontier.push(leaf_hash(line.as_bytes())), reference);
            stored.0.extend(reference);
            assert_eq!(stored.0.len() as u64, tlog_tiles::stored_hash_count(n + 1));
            assert_eq!(frontier.root(), root(n + 1, &stored).unwrap());
            let again = Frontier::read(n + 1, &stored).unwrap();
            assert_eq!((again.size(), again.root()), (frontier.size(), frontier.root()));
        }
    }

    #[test]
    fn known_roots_of_rfc_6962() {
        // Test vectors of certificate-transparency: leaves "", 00, 10, 2021.
        let mut frontier = Frontier::default();
        for leaf in ["", "00", "10", "2021"] {
            frontier.push(leaf_hash(&hex::decode(leaf).unwrap()));
        }
        assert_eq!(hex::encode(frontier.root().0), "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7");
    }
}

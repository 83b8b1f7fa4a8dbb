//! The newest entries in memory, for whoever follows the ledger: it need not read back what was just written.

use custody_model::{Entry, LeafIndex};
use std::{collections::VecDeque, sync::Arc};

/// Entries kept at most; the oldest go first, and are read from the segment.
const KEPT: usize = 4096;

/// Entries without a gap, up to the last one recorded.
#[derive(Debug, Default)]
pub(super) struct Newest {
    entries: VecDeque<Arc<Entry>>,
    /// Position of the one behind the last.
    end: u64,
    /// Whether anybody follows; else nothing is kept.
    followed: bool,
}

impl Newest {
    pub fn add(&mut self, leaf: LeafIndex, entry: &Arc<Entry>) {
        if !self.followed {
            return;
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry.clone());
        self.end = leaf.0 + 1;
    }

    /// Takes the entries from `from` on, `most` of them; none when the first of them is gone or not there yet.
    pub fn take(&mut self, from: LeafIndex, most: usize) -> Vec<(LeafIndex, Arc<Entry>)> {
        self.followed = true;
        let first = self.end - self.entries.len() as u64;
        if self.entries.is_empty() || from.0 < first || from.0 >= self.end {
            return Vec::new();
        }
        self.entries.drain(..(from.0 - first) as usize);
        let count = self.entries.len().min(most);
        (from.0..).map(LeafIndex).zip(self.entries.drain(..count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custody_model::{ENTRY_VERSION, Event};

    fn entry() -> Arc<Entry> {
        let at = jiff::Timestamp::UNIX_EPOCH;
        Arc::new(Entry { v: ENTRY_VERSION, at, session: None, event: Event::DaemonStopped, detail: None, body: None })
    }

    #[test]
    fn entries_are_taken_once_in_order_and_never_with_a_gap() {
        let mut newest = Newest::default();
        newest.add(LeafIndex(0), &entry());
        let take =
            |newest: &mut Newest, from: u64| -> Vec<u64> { newest.take(LeafIndex(from), 3).into_iter().map(|(leaf, _)| leaf.0).collect() };
        assert_eq!(take(&mut newest, 0), [0_u64; 0], "nobody followed");
        for leaf in 1..6 {
            newest.add(LeafIndex(leaf), &entry());
        }
        assert_eq!(take(&mut newest, 0), [0_u64; 0], "was before it was followed");
        assert_eq!(take(&mut newest, 2), [2, 3, 4]);
        assert_eq!(take(&mut newest, 3), [0_u64; 0], "taken already");
        assert_eq!(take(&mut newest, 5), [5]);
        assert_eq!(take(&mut newest, 6), [0_u64; 0]);
        for leaf in 6..6 + KEPT as u64 + 10 {
            newest.add(LeafIndex(leaf), &entry());
        }
        assert_eq!(take(&mut newest, 6), [0_u64; 0], "too many since then");
        assert_eq!(take(&mut newest, 16), [16, 17, 18]);
    }
}

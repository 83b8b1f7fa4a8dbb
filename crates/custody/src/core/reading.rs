//! Entries for an investigation, with bounded memory: what an agent was told may be large, and an attacker may make it larger.

use custody_model::{LeafIndex, OpenEntry};

/// Entries at once.
const ENTRIES: usize = 20_000;
/// Bytes of messages at once; a message alone may be larger.
const CONTENT: usize = 64 << 20;

/// What was read.
pub struct Reading {
    /// In leaf order.
    pub entries: Vec<OpenEntry>,
    /// Older entries that were left out.
    pub left_out: usize,
}

/// The newest of these leaves that fit, without those that `open` cannot open any more. `leaves` are in order.
pub fn newest(leaves: &[LeafIndex], mut open: impl FnMut(LeafIndex) -> Option<OpenEntry>) -> Reading {
    let (mut entries, mut content, mut rest) = (Vec::new(), 0, leaves.len());
    for leaf in leaves.iter().rev() {
        if entries.len() == ENTRIES || content >= CONTENT {
            break;
        }
        rest -= 1;
        if let Some(entry) = open(*leaf) {
            content += entry.body.as_ref().map_or(0, Vec::len);
            entries.push(entry);
        }
    }
    entries.reverse();
    Reading { entries, left_out: rest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custody_model::{ENTRY_VERSION, Entry, Event};
    use jiff::Timestamp;

    fn leaves(number: u64) -> Vec<LeafIndex> {
        (0..number).map(LeafIndex).collect()
    }

    fn entry(leaf: LeafIndex, bytes: usize) -> OpenEntry {
        let event = Event::DaemonStopped;
        let entry = Entry { v: ENTRY_VERSION, at: Timestamp::UNIX_EPOCH, session: None, event, detail: None, body: None };
        OpenEntry { leaf, entry, detail: None, body: Some(vec![0; bytes]) }
    }

    #[test]
    fn large_messages_and_many_do_not_fill_the_memory() {
        let mebibyte = |leaf| Some(entry(leaf, 1 << 20));
        let reading = newest(&leaves(200), mebibyte);
        assert_eq!((reading.entries.len(), reading.left_out), (64, 136));
        assert_eq!((reading.entries[0].leaf, reading.entries[63].leaf), (LeafIndex(136), LeafIndex(199)));
        assert_eq!(newest(&leaves(30_000), |leaf| Some(entry(leaf, 1))).left_out, 10_000);
    }

    #[test]
    fn erased_entries_are_passed_over_and_count_for_nothing() {
        let reading = newest(&leaves(4), |leaf| (leaf.0 != 2).then(|| entry(leaf, 10)));
        assert_eq!(reading.entries.iter().map(|open| open.leaf.0).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(reading.left_out, 0);
    }
}

//! Names and places of a ledger's files, and the limits of the format (`docs/ledger-format.md`).

use super::LedgerError;
use custody_model::{KeyId, LeafIndex};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version in `ledger.json` and key files.
pub(super) const FORMAT_VERSION: u16 = 1;
/// Longest line, newline not counted.
pub(super) const MAX_LINE: u64 = 16 << 20;
/// Longest plaintext of a sealed part.
pub(super) const MAX_PART: u64 = 512 << 20;
/// Longest key file and `ledger.json`.
pub(super) const MAX_SMALL_FILE: u64 = 1 << 20;

/// `ledger.json`: exactly [`Head::bytes`], so that no byte of it is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub v: u16,
    pub origin: String,
    pub vkey: String,
}

impl Head {
    pub fn new(origin: &str, vkey: &str) -> Head {
        Head { v: FORMAT_VERSION, origin: origin.to_owned(), vkey: vkey.to_owned() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings and a number");
        bytes.push(b'\n');
        bytes
    }

    pub fn read(path: &Path) -> Result<Head, LedgerError> {
        let bytes = read_small(path)?;
        let head: Head = serde_json::from_slice(&bytes).map_err(|e| LedgerError::damaged(path, e.to_string()))?;
        if head.v != FORMAT_VERSION {
            return Err(LedgerError::damaged(path, format!("version {} is unknown to this program", head.v)));
        }
        if head.bytes() != bytes {
            return Err(LedgerError::damaged(path, "not in the one form the format allows"));
        }
        Ok(head)
    }
}

/// Paths below a ledger's directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub dir: PathBuf,
}

impl Layout {
    pub fn new(dir: &Path) -> Layout {
        Layout { dir: dir.to_owned() }
    }

    pub fn head(&self) -> PathBuf {
        self.dir.join("ledger.json")
    }

    pub fn segments(&self) -> PathBuf {
        self.dir.join("segments")
    }

    pub fn packs(&self) -> PathBuf {
        self.dir.join("packs")
    }

    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    pub fn hashes(&self) -> PathBuf {
        self.dir.join("hashes")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoints")
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    pub fn segment(&self, first: LeafIndex) -> PathBuf {
        self.segments().join(format!("{:020}.jsonl", first.0))
    }

    pub fn pack(&self, number: u32) -> PathBuf {
        self.packs().join(format!("{number:08}.pack"))
    }

    pub fn key(&self, key: KeyId) -> PathBuf {
        self.keys().join(format!("{key}.json"))
    }

    /// The daemon's own, passing copy of a data key.
    pub fn daemon_key(&self, key: KeyId) -> PathBuf {
        self.keys().join(format!("{key}.daemon.json"))
    }

    /// First leaves of the segments, in order. The n-th segment goes with pack n.
    pub fn list_segments(&self) -> Result<Vec<LeafIndex>, LedgerError> {
        let mut firsts = Vec::new();
        for name in names(&self.segments())? {
            let first =
                segment_first(&name).ok_or_else(|| LedgerError::damaged(&self.segments().join(&name), "not the name of a segment"))?;
            firsts.push(first);
        }
        firsts.sort_unstable();
        if firsts.first().is_some_and(|first| first.0 != 0) {
            return Err(LedgerError::damaged(&self.segments(), "the first segment is missing"));
        }
        Ok(firsts)
    }
}

pub(super) fn segment_first(name: &str) -> Option<LeafIndex> {
    digits(name.strip_suffix(".jsonl")?, 20).map(LeafIndex)
}

pub(super) fn pack_number(name: &str) -> Option<u32> {
    digits(name.strip_suffix(".pack")?, 8)?.try_into().ok()
}

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// File names in a directory, in order.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, LedgerError> {
    let failed = || LedgerError::storage("list", dir);
    let mut names = Vec::new();
    for item in std::fs::read_dir(dir).map_err(failed())? {
        names.push(item.map_err(failed())?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads a file that must be small.
pub(super) fn read_small(path: &Path) -> Result<Vec<u8>, LedgerError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(LedgerError::storage("open", path))?;
    file.take(MAX_SMALL_FILE + 1).read_to_end(&mut bytes).map_err(LedgerError::storage("read", path))?;
    if bytes.len() as u64 > MAX_SMALL_FILE {
        return Err(LedgerError::damaged(path, "too long"));
    }
    Ok(bytes)
}

//! Reading, beside a live writer or alone, without a lock and with memory for one entry at a time.

use super::{
    LedgerError,
    keys::KeyStore,
    layout::{Head, Layout},
    lines::{Line, Lines},
    notes::NoteFile,
    seal::OVERHEAD,
    stored::StoredHashes,
};
use age::x25519::Identity;
use custody_model::{Entry, KeyId, LeafIndex, OpenEntry, Sealed};
use custody_tlog::{ConsistencyProof, InclusionProof, SignedCheckpoint, Tile, TileKind, bundle_entry};
use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Every so many lines of a segment, the place of one is remembered.
const MARK_EVERY: u64 = 64;
/// Segments whose marks are kept.
const MARKED_SEGMENTS: usize = 256;

/// Reads a ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    keys: Arc<KeyStore>,
    /// The writer's word on what is recorded; without it, whole lines count.
    size: Option<watch::Receiver<u64>>,
    marks: Mutex<HashMap<LeafIndex, Vec<u64>>>,
}

impl Reader {
    /// Reads a ledger that another process may be writing to, and unseals what the identities open.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Storage`] when there is no ledger.
    pub fn open(dir: &Path, identities: Vec<Identity>) -> Result<Reader, LedgerError> {
        let layout = Layout::new(dir);
        Head::read(&layout.head())?;
        let keys = Arc::new(KeyStore::new(layout.clone(), identities));
        Ok(Reader(Arc::new(Inner { layout, keys, size: None, marks: Mutex::default() })))
    }

    pub(super) fn beside(layout: Layout, keys: Arc<KeyStore>, size: watch::Receiver<u64>) -> Reader {
        Reader(Arc::new(Inner { layout, keys, size: Some(size), marks: Mutex::default() }))
    }

    /// The entries from a position on, in order, each with its line: the bytes of the leaf. Ends with the last entry
    /// recorded when it gets there.
    pub fn entries(&self, from: LeafIndex) -> impl Iterator<Item = Result<(LeafIndex, Entry, String), LedgerError>> + use<> {
        Entries { inner: self.0.clone(), next: from, lines: None, done: false }
    }

    /// As [`Reader::entries`], with details and bodies unsealed where their key is at hand; an erased one is `None`.
    pub fn open_entries(&self, from: LeafIndex) -> impl Iterator<Item = Result<OpenEntry, LedgerError>> + use<> {
        let reader = self.clone();
        self.entries(from).map(move |item| item.and_then(|(leaf, entry, _)| reader.unseal_entry(leaf, entry)))
    }

    /// As [`Reader::open_entries`], but no body is unsealed, and a detail only of the entries that are `wanted`.
    pub fn detailed_entries(
        &self,
        from: LeafIndex,
        wanted: fn(&Entry) -> bool,
    ) -> impl Iterator<Item = Result<OpenEntry, LedgerError>> + use<> {
        let reader = self.clone();
        self.entries(from).map(move |item| {
            let (leaf, entry, _) = item?;
            reader.detailed(leaf, entry, wanted)
        })
    }

    /// An entry with its detail unsealed, if it is `wanted`.
    ///
    /// # Errors
    /// As [`Reader::unseal`], but for a key that is destroyed or not for us: then there is no detail.
    pub fn detailed(&self, leaf: LeafIndex, entry: Entry, wanted: fn(&Entry) -> bool) -> Result<OpenEntry, LedgerError> {
        let detail = if wanted(&entry) { self.unseal_detail(leaf, &entry)? } else { None };
        Ok(OpenEntry { leaf, entry, detail, body: None })
    }

    /// One entry and its line.
    ///
    /// # Errors
    /// [`LedgerError::NoEntry`], [`LedgerError::Damaged`], [`LedgerError::Storage`].
    pub fn entry(&self, leaf: LeafIndex) -> Result<(Entry, String), LedgerError> {
        let (_, entry, line) = self.entries(leaf).next().ok_or(LedgerError::NoEntry { leaf })??;
        Ok((entry, line))
    }

    /// One entry, unsealed.
    ///
    /// # Errors
    /// As [`Reader::entry`].
    pub fn open_entry(&self, leaf: LeafIndex) -> Result<OpenEntry, LedgerError> {
        let (entry, _) = self.entry(leaf)?;
        self.unseal_entry(leaf, entry)
    }

    /// The plaintext of a sealed part.
    ///
    /// # Errors
    /// [`LedgerError::NoKey`] when the key is destroyed or not for us, [`LedgerError::Damaged`] when the pack is not
    /// what was sealed.
    pub fn unseal(&self, part: &Sealed) -> Result<Vec<u8>, LedgerError> {
        self.unseal_if_known(part)?.ok_or(LedgerError::NoKey { key: part.key })
    }

    /// The HMAC-SHA-256 key of a data key's commitments: lets a third party check opened content against the ledger (E7).
    /// It does not decrypt, but it lets its holder test guesses at everything that was sealed under the same key.
    ///
    /// # Errors
    /// [`LedgerError::NoKey`] when the key is destroyed or not for us.
    pub fn commitment_key(&self, key: KeyId) -> Result<Zeroizing<[u8; 32]>, LedgerError> {
        self.0.keys.find(key).map(|key| key.commitment_key()).ok_or(LedgerError::NoKey { key })
    }

    /// Proof that the tree of the first `size` entries holds this one.
    ///
    /// # Errors
    /// [`LedgerError::NoEntry`] when it does not, [`LedgerError::Storage`].
    pub fn inclusion_proof(&self, leaf: LeafIndex, size: u64) -> Result<InclusionProof, LedgerError> {
        if leaf.0 >= size {
            return Err(LedgerError::NoEntry { leaf });
        }
        let (path, stored) = self.stored()?;
        InclusionProof::make(leaf, size, &stored).map_err(|e| LedgerError::damaged(&path, e.to_string()))
    }

    /// For proofs of many entries in the tree of the first `size`.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn prover(&self, size: u64) -> Result<super::Prover, LedgerError> {
        super::Prover::new(size, self.0.layout.hashes())
    }

    /// Proof that the tree of the first `size` entries begins with that of the first `old_size`.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`], [`LedgerError::Storage`].
    pub fn consistency_proof(&self, old_size: u64, size: u64) -> Result<ConsistencyProof, LedgerError> {
        let (path, stored) = self.stored()?;
        ConsistencyProof::make(old_size, size, &stored).map_err(|e| LedgerError::damaged(&path, e.to_string()))
    }

    /// Root of the first `size` entries, as the stored hashes have it.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`], [`LedgerError::Storage`].
    pub fn root(&self, size: u64) -> Result<custody_tlog::Hash, LedgerError> {
        let (path, stored) = self.stored()?;
        custody_tlog::root(size, &stored).map_err(|e| LedgerError::damaged(&path, e.to_string()))
    }

    /// A tile (C2SP `tlog-tiles`): hashes, or a bundle of the clear lines of entries. The caller says of how many entries it may
    /// speak; `None` when they do not fill it.
    ///
    /// # Errors
    /// [`LedgerError::TooLongForBundle`], [`LedgerError::Damaged`], [`LedgerError::Storage`].
    pub fn tile(&self, tile: Tile, size: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        if !tile.is_in(size) {
            return Ok(None);
        }
        if let TileKind::Hashes { .. } = tile.kind {
            let (path, stored) = self.stored()?;
            return tile.hashes(&stored).map(Some).map_err(|e| LedgerError::damaged(&path, e.to_string()));
        }
        let mut bundle = Vec::new();
        let mut entries = self.entries(LeafIndex(tile.first()));
        for n in 0..u64::from(tile.width) {
            let leaf = LeafIndex(tile.first() + n);
            let (_, _, line) = entries.next().ok_or(LedgerError::NoEntry { leaf })??;
            if !bundle_entry(&mut bundle, line.as_bytes()) {
                return Err(LedgerError::TooLongForBundle { leaf });
            }
        }
        Ok(Some(bundle))
    }

    /// Name of the ledger and its verifier key, as it says itself.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`], [`LedgerError::Storage`].
    pub fn identity(&self) -> Result<(String, String), LedgerError> {
        Head::read(&self.0.layout.head()).map(|head| (head.origin, head.vkey))
    }

    /// The newest checkpoint, signature unchecked.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`], [`LedgerError::Storage`].
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, LedgerError> {
        let path = self.0.layout.checkpoint();
        let bytes = super::layout::read_small(&path)?;
        let text = String::from_utf8(bytes).map_err(|_| LedgerError::damaged(&path, "not UTF-8"))?;
        SignedCheckpoint::parse(&text).map_err(|e| LedgerError::damaged(&path, e.to_string()))
    }

    /// All checkpoints, oldest first, signatures unchecked.
    ///
    /// # Errors
    /// [`LedgerError::Storage`] when the file cannot be opened; further ones come with the items.
    pub fn checkpoints(&self) -> Result<impl Iterator<Item = Result<SignedCheckpoint, LedgerError>> + use<>, LedgerError> {
        NoteFile::open(&self.0.layout.checkpoints()).map(|file| file.map(|note| note.map(|(_, signed)| signed)))
    }

    fn stored(&self) -> Result<(std::path::PathBuf, StoredHashes), LedgerError> {
        let path = self.0.layout.hashes();
        let stored = StoredHashes::open(&path).map_err(LedgerError::storage("open", &path))?;
        Ok((path, stored))
    }

    fn unseal_entry(&self, leaf: LeafIndex, entry: Entry) -> Result<OpenEntry, LedgerError> {
        let body = entry.body.as_ref().map_or(Ok(None), |part| self.unseal_if_known(part))?;
        let detail = self.unseal_detail(leaf, &entry)?;
        Ok(OpenEntry { leaf, entry, detail, body })
    }

    fn unseal_detail(&self, leaf: LeafIndex, entry: &Entry) -> Result<Option<serde_json::Value>, LedgerError> {
        let Some(part) = &entry.detail else { return Ok(None) };
        let Some(bytes) = self.unseal_if_known(part)? else { return Ok(None) };
        let bad = |e: serde_json::Error| LedgerError::damaged(&self.0.layout.pack(part.pack), format!("detail of entry {leaf}: {e}"));
        serde_json::from_slice(&bytes).map(Some).map_err(bad)
    }

    fn unseal_if_known(&self, part: &Sealed) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(key) = self.0.keys.find(part.key) else { return Ok(None) };
        let path = self.0.layout.pack(part.pack);
        let damaged = |what: String| LedgerError::damaged(&path, format!("offset {}: {what}", part.offset));
        if part.stored > part.size.saturating_add(1 + OVERHEAD) {
            return Err(damaged("the part is longer than its plaintext allows".into()));
        }
        let file = File::open(&path).map_err(LedgerError::storage("open", &path))?;
        let len = file.metadata().map_err(LedgerError::storage("read", &path))?.len();
        if part.offset.checked_add(part.stored).is_none_or(|end| end > len) {
            return Err(damaged("the pack is too short".into()));
        }
        let mut stored = vec![0; part.stored as usize];
        file.read_exact_at(&mut stored, part.offset).map_err(LedgerError::storage("read", &path))?;
        key.open(&stored, part.commitment, part.size).map(Some).map_err(|e| damaged(e.to_string()))
    }
}

impl Inner {
    /// The segment that holds a leaf, with its first leaf.
    fn segment_of(&self, leaf: LeafIndex) -> Result<Option<LeafIndex>, LedgerError> {
        let firsts = self.layout.list_segments()?;
        Ok(firsts[..firsts.partition_point(|first| *first <= leaf)].last().copied())
    }

    /// A segment, read up to a leaf; `None` when it does not reach it.
    fn seek(&self, first: LeafIndex, leaf: LeafIndex) -> Result<Option<Lines>, LedgerError> {
        let lines_before = leaf.0 - first.0;
        let (mut at, offset) = {
            let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
            let known = marks.get(&first).map_or(&[0][..], |marks| marks);
            let mark = (lines_before / MARK_EVERY).min(known.len() as u64 - 1);
            (mark * MARK_EVERY, known[mark as usize])
        };
        let mut lines = Lines::open(&self.layout.segment(first), offset)?;
        while at < lines_before {
            if lines.read()? != Line::Whole {
                return Ok(None);
            }
            at += 1;
            if at % MARK_EVERY == 0 {
                self.mark(first, at, lines.offset);
            }
        }
        Ok(Some(lines))
    }

    fn mark(&self, first: LeafIndex, at: u64, offset: u64) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MARKED_SEGMENTS && !marks.contains_key(&first) {
            marks.clear();
        }
        let marks = marks.entry(first).or_insert_with(|| vec![0]);
        if marks.len() as u64 == at / MARK_EVERY {
            marks.push(offset);
        }
    }
}

struct Entries {
    inner: Arc<Inner>,
    next: LeafIndex,
    lines: Option<Lines>,
    done: bool,
}

impl Entries {
    fn read(&mut self) -> Result<Option<(LeafIndex, Entry, String)>, LedgerError> {
        let recorded = self.inner.size.as_ref().map(|size| *size.borrow());
        if recorded.is_some_and(|size| self.next.0 >= size) {
            return Ok(None);
        }
        // Twice at most: what stands behind the end of a segment begins the next.
        for fresh in [self.lines.is_none(), true] {
            if fresh {
                let Some(first) = self.inner.segment_of(self.next)? else { return Ok(None) };
                self.lines = self.inner.seek(first, self.next)?;
            }
            let Some(lines) = &mut self.lines else { return Ok(None) };
            if lines.read()? == Line::Whole {
                return self.parse().map(Some);
            }
        }
        // A whole line may follow later; the next call looks again.
        self.lines = None;
        Ok(None)
    }

    fn parse(&mut self) -> Result<(LeafIndex, Entry, String), LedgerError> {
        let leaf = self.next;
        let bytes = &self.lines.as_ref().expect("just read").line;
        let bad = |what: String| LedgerError::damaged(&self.inner.layout.segments(), format!("entry {leaf}: {what}"));
        let line = String::from_utf8(bytes.clone()).map_err(|e| bad(e.to_string()))?;
        let entry = parse_entry(line.as_bytes()).map_err(bad)?;
        self.next.0 += 1;
        Ok((leaf, entry, line))
    }
}

impl Iterator for Entries {
    type Item = Result<(LeafIndex, Entry, String), LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = matches!(item, Some(Err(_)));
        item
    }
}

/// Reads a line as an entry of a version that this program knows.
pub(super) fn parse_entry(line: &[u8]) -> Result<Entry, String> {
    let entry: Entry = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    if entry.v == custody_model::ENTRY_VERSION { Ok(entry) } else { Err(format!("version {} is unknown to this program", entry.v)) }
}

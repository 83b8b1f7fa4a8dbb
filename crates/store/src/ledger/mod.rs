//! The ledger: what happened, in order, on disk (R1, R2, R4; promises 1, 2 and 7).
//!
//! An entry is one JSON line of a *segment*; its bytes are a leaf of an RFC 6962 tree. What could identify somebody
//! lies beside it in a *pack*, sealed under a *data key* of its session, and is erased by destroying that key.
//! The tree's head is signed as a *checkpoint*. `docs/ledger-format.md` says it byte for byte.
//!
//! Writing goes pack, line, memory, and hashes at the next sync; reading goes beside it without a lock. Deliberately absent: an index on
//! disk (the projection is one), deletion of lines, and HTTP (the daemon posts checkpoints, see
//! [`Ledger::watch_checkpoints`]).

mod erase;
mod error;
mod keys;
mod layout;
mod lines;
mod newest;
mod notes;
mod open;
mod options;
mod prover;
mod quota;
mod reader;
mod recent;
mod recover;
mod seal;
mod sign;
mod storage;
mod stored;
mod untrusted;
mod verify;
mod write;

pub use error::LedgerError;
pub use open::Recovery;
pub use options::{CreateOptions, Durability, LedgerKeys, LedgerOptions};
pub use prover::Prover;
pub use quota::Quota;
pub use reader::Reader;
pub use sign::CopyState;
pub use storage::{Disk, Storage, StoredFile};
pub use untrusted::read_untrusted;
pub use verify::{CopiedHead, Fault, Progress, Proven, SignedHead, Strength, VerifyOptions, VerifyReport, WitnessedHead, verify};

use custody_model::{Commitment, Digest, Entry, Event, KeyId, LeafIndex, SessionId};
use custody_tlog::SignedCheckpoint;
use jiff::Timestamp;
use std::{path::Path, sync::Arc};
use tokio::sync::watch;

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Wall clock.
    pub at: Timestamp,
    /// Whose data key seals the parts; `None`: the system key.
    pub session: Option<SessionId>,
    /// What happened: neutral facts, not erasable.
    pub event: Event,
    /// To be sealed: the event's detail document.
    pub detail: Option<serde_json::Value>,
    /// To be sealed: bytes as received.
    pub body: Option<Vec<u8>>,
}

impl Draft {
    /// An event without sealed parts.
    pub fn new(at: Timestamp, session: Option<SessionId>, event: Event) -> Draft {
        Draft { at, session, event, detail: None, body: None }
    }
}

/// A draft, compressed and sealed, waiting for its place.
#[derive(Debug)]
pub struct Prepared(write::Pending);

/// Proof that an entry is in the ledger. Only [`Ledger`] makes it: what must come after the record asks for it
/// (promise 1).
#[derive(Debug)]
pub struct Recorded {
    leaf: LeafIndex,
    entry: Arc<Entry>,
}

impl Recorded {
    /// Its position.
    pub fn leaf(&self) -> LeafIndex {
        self.leaf
    }

    /// The entry as it stands in the ledger.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }
}

/// A ledger open for writing. Cheap to clone; every method is synchronous and may block on the disk for as long as a
/// write (default) or a sync (strict) takes. Never hold a lock of your own across `append`.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<open::Owner>);

impl Ledger {
    /// Makes a ledger with its first entry and first checkpoint.
    ///
    /// # Errors
    /// [`LedgerError::Exists`], [`LedgerError::Storage`], [`LedgerError::BadOptions`].
    pub fn create(dir: &Path, identity: &CreateOptions) -> Result<(), LedgerError> {
        open::create(dir, identity)
    }

    /// Opens a ledger for writing, alone; cuts off what a crash left half written, and refuses one that is shorter
    /// than, or different from, what its last checkpoint signs. Reads the last segment only.
    ///
    /// # Errors
    /// [`LedgerError::Locked`], [`LedgerError::WrongKey`], [`LedgerError::Damaged`], [`LedgerError::RolledBack`],
    /// [`LedgerError::Storage`].
    pub fn open(dir: &Path, keys: LedgerKeys, options: LedgerOptions) -> Result<(Ledger, Recovery), LedgerError> {
        open::open(dir, keys, options).map(|(owner, recovery)| (Ledger(Arc::new(owner)), recovery))
    }

    /// Compresses and seals, outside the lock. The first part of a session makes its data key, with an entry.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`], and what making a key meets.
    pub fn prepare(&self, draft: Draft) -> Result<Prepared, LedgerError> {
        self.0.core.prepare(draft).map(Prepared)
    }

    /// As [`Ledger::prepare`] of a draft without a detail, with this one: nothing is built of it but its text.
    ///
    /// # Errors
    /// As [`Ledger::prepare`].
    pub fn prepare_with(&self, draft: Draft, detail: &impl serde::Serialize) -> Result<Prepared, LedgerError> {
        self.0.core.prepare_with(draft, Some(detail)).map(Prepared)
    }

    /// Gives it its place and writes it. When this returns, the entry survives the death of the process, and in
    /// strict mode a power cut (promise 1).
    ///
    /// # Errors
    /// [`LedgerError::Storage`]: nothing was recorded. [`LedgerError::KeyDestroyed`]: prepare again.
    pub fn append(&self, prepared: Prepared) -> Result<Recorded, LedgerError> {
        self.0.core.append(prepared.0)
    }

    /// Both at once.
    ///
    /// # Errors
    /// As [`Ledger::prepare`] and [`Ledger::append`].
    pub fn record(&self, draft: Draft) -> Result<Recorded, LedgerError> {
        self.append(self.prepare(draft)?)
    }

    /// The keyed commitment that a sealed part of the session would have.
    ///
    /// # Errors
    /// What making the session's key meets.
    pub fn commitment(&self, session: Option<SessionId>, bytes: &[u8]) -> Result<Commitment, LedgerError> {
        Ok(self.0.core.key_of(session, Timestamp::now())?.commitment(bytes))
    }

    /// Makes everything recorded so far survive a power cut.
    ///
    /// # Errors
    /// [`LedgerError::SyncFailed`].
    pub fn sync(&self) -> Result<(), LedgerError> {
        self.0.core.sync()
    }

    /// Syncs, and signs the tree as it is; the last checkpoint again when nothing was added.
    ///
    /// # Errors
    /// [`LedgerError::Storage`], [`LedgerError::SyncFailed`].
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, LedgerError> {
        self.0.core.checkpoint()
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        *self.0.core.size.borrow()
    }

    /// Takes entries that were just recorded from memory, from this position on, `most` at once. For one who follows the ledger;
    /// none when they are not in memory (any more), and then [`Reader`] has them. What is taken is not given again.
    pub fn take_newest(&self, from: LeafIndex, most: usize) -> Vec<(LeafIndex, Arc<Entry>)> {
        self.0.core.newest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(from, most)
    }

    /// The number of entries, as it grows.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.core.size.subscribe()
    }

    /// The newest checkpoint, as they are signed: what the daemon posts to webhooks (promise 2). A receiver that
    /// misses some loses nothing: a later one covers the earlier.
    pub fn watch_checkpoints(&self) -> watch::Receiver<Option<SignedCheckpoint>> {
        self.0.core.signed.subscribe()
    }

    /// What became of the copies of checkpoints on this machine's other disks.
    pub fn copies(&self) -> Vec<CopyState> {
        self.0.core.copies()
    }

    /// Destroys a data key: the entry first, synced, then the files. What it sealed is erased; the tree still holds.
    ///
    /// # Errors
    /// [`LedgerError::NoKey`], [`LedgerError::Storage`], [`LedgerError::SyncFailed`].
    pub fn destroy_key(&self, key: KeyId) -> Result<Recorded, LedgerError> {
        self.0.core.destroy_key(key, Timestamp::now())
    }

    /// Whether entries can still be recorded: not after a failed sync, and not after [`Ledger::close`].
    pub fn is_usable(&self) -> bool {
        self.0.core.lock().usable().is_ok()
    }

    /// Name of the ledger.
    pub fn origin(&self) -> &str {
        self.0.core.signer.name()
    }

    /// Its verifier key.
    pub fn vkey(&self) -> &str {
        self.0.core.signer.vkey()
    }

    /// Reads what is recorded, with the daemon's eyes.
    pub fn reader(&self) -> Reader {
        self.0.core.reader()
    }

    /// Last sync and last checkpoint. Other clones can only read from here on.
    ///
    /// # Errors
    /// As [`Ledger::checkpoint`].
    pub fn close(self) -> Result<(), LedgerError> {
        self.0.close()
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

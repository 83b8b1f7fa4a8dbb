//! What can go wrong with a ledger.

use custody_model::{KeyId, LeafIndex};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A ledger operation failed. `Storage`: the disk; `Damaged` and `RolledBack`: somebody or something changed files;
/// `WrongKey`, `Locked`, `Exists`, `BadOptions`: an operator's mistake; `TooLarge`, `Closed`, `KeyDestroyed`: the caller's.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file operation failed. After a failed append the ledger is as before it, and can be used again.
    #[error("cannot {doing} {}", path.display())]
    Storage {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Records already acknowledged could not be synced: nothing more is recorded until the ledger is opened again.
    #[error("the ledger stopped: an earlier sync of {} failed, open it again", path.display())]
    SyncFailed {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what it must.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        what: String,
    },
    /// The ledger is shorter than what was signed.
    #[error("the ledger holds {size} entries, but its own checkpoint signs {signed}: entries were removed")]
    RolledBack {
        /// Entries found.
        size: u64,
        /// Entries signed.
        signed: u64,
    },
    /// Another process writes this ledger.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The ledger.
        path: PathBuf,
    },
    /// There is a ledger already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// The signing key is not this ledger's.
    #[error("the signing key {found} is not this ledger's key {expected}")]
    WrongKey {
        /// Verifier key of the ledger.
        expected: String,
        /// Verifier key of the signer at hand.
        found: String,
    },
    /// A key or an option cannot be used. Secrets are never repeated.
    #[error("{what}")]
    BadOptions {
        /// What is wrong.
        what: String,
    },
    /// More than the format allows.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// What: `a sealed part`, `an entry`.
        what: &'static str,
        /// Its bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// No such entry.
    #[error("there is no entry {leaf}")]
    NoEntry {
        /// The position asked for.
        leaf: LeafIndex,
    },
    /// An entry whose line does not fit into a bundle of C2SP `tlog-tiles`, which counts in 16 bits.
    #[error("entry {leaf} is longer than 65,535 bytes, which no entry bundle can hold")]
    TooLongForBundle {
        /// The entry.
        leaf: LeafIndex,
    },
    /// No such data key: never made, or destroyed.
    #[error("there is no data key {key}")]
    NoKey {
        /// The key.
        key: KeyId,
    },
    /// The data key was destroyed after the record was prepared: prepare it again.
    #[error("the data key {key} was destroyed meanwhile")]
    KeyDestroyed {
        /// The key.
        key: KeyId,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl LedgerError {
    pub(super) fn storage(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
        let path = path.to_owned();
        move |source| LedgerError::Storage { doing, path, source }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> LedgerError {
        LedgerError::Damaged { path: path.to_owned(), what: what.into() }
    }
}

//! How a ledger is made and opened.

use super::{Disk, LedgerError, Storage};
use age::x25519::{Identity, Recipient};
use custody_tlog::Signer;
use std::{path::PathBuf, sync::Arc};

/// What a new ledger is.
#[derive(Debug)]
pub struct CreateOptions {
    /// The signing key. Its name is the ledger's origin, the first line of every checkpoint.
    pub signer: Signer,
}

/// The keys a writer needs.
pub struct LedgerKeys {
    /// Signs checkpoints.
    pub signer: Signer,
    /// Who may open sealed parts: data keys are wrapped for them. At least one.
    pub responders: Vec<Recipient>,
    /// The daemon's own, for a limited time per key.
    pub daemon: Option<Identity>,
}

impl std::fmt::Debug for LedgerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerKeys").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl LedgerKeys {
    /// From the texts in the key files: a signed-note signer key, `age1…` recipients, an `AGE-SECRET-KEY-1…` identity.
    ///
    /// # Errors
    /// [`LedgerError::BadOptions`]; secrets are not repeated.
    pub fn parse<S: AsRef<str>>(signer: &str, responders: &[S], daemon: Option<&str>) -> Result<Self, LedgerError> {
        let bad = |what: String| LedgerError::BadOptions { what };
        let signer = Signer::parse(signer.trim()).map_err(|e| bad(e.to_string()))?;
        let recipient = |text: &S| text.as_ref().trim().parse().map_err(|e| bad(format!("not an age recipient: {e}")));
        let responders = responders.iter().map(recipient).collect::<Result<_, _>>()?;
        let identity = |text: &str| text.trim().parse::<Identity>().map_err(|e| bad(format!("not an age identity: {e}")));
        Ok(LedgerKeys { signer, responders, daemon: daemon.map(identity).transpose()? })
    }
}

/// What an append survives when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of the process; a power cut but for the last `sync_ms`.
    #[default]
    Default,
    /// Both.
    Strict,
}

/// How a ledger is written.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// What an append survives.
    pub durability: Durability,
    /// Milliseconds between syncs.
    pub sync_ms: u64,
    /// Milliseconds between checkpoints, when there is something new.
    pub checkpoint_ms: u64,
    /// Days for which the daemon can open what it sealed.
    pub daemon_key_days: u32,
    /// Files that every new checkpoint is appended to; on another disk, or better, another machine.
    pub copies: Vec<PathBuf>,
    /// A new segment begins when the last is this long.
    pub segment_bytes: u64,
    /// A new segment begins, with a new pack, when the pack is this long.
    pub pack_bytes: u64,
    /// What the files are written with.
    pub storage: Arc<dyn Storage>,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        LedgerOptions {
            durability: Durability::Default,
            sync_ms: 100,
            checkpoint_ms: 1000,
            daemon_key_days: 30,
            copies: Vec::new(),
            segment_bytes: 64 << 20,
            pack_bytes: 256 << 20,
            storage: Arc::new(Disk),
        }
    }
}

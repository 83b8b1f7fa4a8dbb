//! Syncing, signing checkpoints, and the thread that does both in the background.

use super::{
    LedgerError,
    write::{Core, State},
};
use custody_tlog::{Checkpoint, SignedCheckpoint};
use serde::Serialize;
use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What became of one copy of the checkpoints (promise 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopyState {
    /// The file.
    pub path: PathBuf,
    /// Size of the tree in the last checkpoint that was copied since the ledger was opened.
    pub size: u64,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// State of the one who signs.
#[derive(Debug)]
pub(super) struct Signing {
    copies: Vec<CopyState>,
    /// Good length of `checkpoints`, once known.
    good: Option<u64>,
}

impl Signing {
    pub fn new(copies: &[PathBuf]) -> Signing {
        let copy = |path: &PathBuf| CopyState { path: path.clone(), size: 0, error: None };
        Signing { copies: copies.iter().map(copy).collect(), good: None }
    }
}

impl Core {
    /// Syncs what is recorded so far, without keeping writers waiting.
    pub fn sync(&self) -> Result<(), LedgerError> {
        self.sync_point().map(drop)
    }

    /// Syncs, and gives the head of the tree that is now safe.
    fn sync_point(&self) -> Result<Checkpoint, LedgerError> {
        let (files, paths, head, hashes, anything) = {
            let mut state = self.lock();
            if let Some(path) = &state.failed {
                return Err(LedgerError::SyncFailed { path: path.clone() });
            }
            // Without room for the hashes the entries are synced all the same: hashes can be computed again.
            let hashes = self.write_hashes(&mut state);
            let head = Checkpoint { origin: self.signer.name().to_owned(), size: state.frontier.size(), root: state.frontier.root() };
            let files = [state.pack.file.clone(), state.segment.file.clone()];
            let (segment, pack) = self.current_paths(&state);
            (files, [pack, segment], head, hashes, state.synced < state.frontier.size() || !state.unnamed_keys.is_empty())
        };
        if anything {
            // What a rotation put out of reach meanwhile was synced by it.
            for (file, path) in files.iter().zip(&paths) {
                if file.sync().is_err() {
                    self.lock().failed = Some(path.clone());
                    return Err(LedgerError::SyncFailed { path: path.clone() });
                }
            }
            let mut state = self.lock();
            self.name_keys(&mut state, head.size)?;
            state.synced = state.synced.max(head.size);
        }
        hashes.map(|()| head)
    }

    pub fn sync_locked(&self, state: &mut State) -> Result<(), LedgerError> {
        let (segment, pack) = self.current_paths(state);
        for (file, path) in [(&state.pack.file, pack), (&state.segment.file, segment)] {
            if file.sync().is_err() {
                // The kernel may have dropped what it could not write: it can no longer be known to be there.
                state.failed = Some(path.clone());
                return Err(LedgerError::SyncFailed { path });
            }
        }
        let size = state.frontier.size();
        self.name_keys(state, size)?;
        state.synced = size;
        Ok(())
    }

    pub fn checkpoint(&self) -> Result<SignedCheckpoint, LedgerError> {
        let mut signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        // Sync first: a checkpoint must never outlive what it signs.
        let head = self.sync_point()?;
        if let Some(last) = self.signed.borrow().as_ref().filter(|last| last.size() == head.size) {
            return Ok(last.clone());
        }
        let signed = self.signer.sign(&head).map_err(|e| LedgerError::BadOptions { what: e.to_string() })?;
        self.store(&mut signing, &signed)?;
        for copy in &mut signing.copies {
            match append(&copy.path, signed.note()) {
                Ok(()) => (copy.size, copy.error) = (signed.size(), None),
                Err(error) => {
                    if copy.error.is_none() {
                        tracing::warn!(path = %copy.path.display(), %error, "a checkpoint could not be copied");
                    }
                    copy.error = Some(error.to_string());
                }
            }
        }
        self.signed.send_replace(Some(signed.clone()));
        Ok(signed)
    }

    /// `checkpoints` first, then `checkpoint`: the latter is never ahead.
    fn store(&self, signing: &mut Signing, signed: &SignedCheckpoint) -> Result<(), LedgerError> {
        let storage = &self.options.storage;
        let path = self.layout.checkpoints();
        let file = storage.open_append(&path).map_err(LedgerError::storage("open", &path))?;
        let size = file.size().map_err(LedgerError::storage("read", &path))?;
        let good = *signing.good.get_or_insert(size);
        let write = || {
            if size != good {
                file.truncate(good)?;
            }
            file.append(signed.note().as_bytes())?;
            file.sync()
        };
        if let Err(source) = write() {
            drop(file.truncate(good));
            return Err(LedgerError::Storage { doing: "write", path, source });
        }
        signing.good = Some(good + signed.note().len() as u64);
        replace_checkpoint(self, signed)
    }

    pub fn copies(&self) -> Vec<CopyState> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner).copies.clone()
    }
}

fn replace_checkpoint(core: &Core, signed: &SignedCheckpoint) -> Result<(), LedgerError> {
    let (storage, path) = (&core.options.storage, core.layout.checkpoint());
    let passing = super::keys::passing(&path);
    let write = || {
        let file = storage.open_append(&passing)?;
        file.truncate(0)?;
        file.append(signed.note().as_bytes())?;
        file.sync()?;
        storage.rename(&passing, &path)?;
        storage.sync_dir(&core.layout.dir)
    };
    write().map_err(LedgerError::storage("write", &path))
}

/// Appends to a copy, which may lie on another file system.
fn append(path: &Path, note: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(note.as_bytes())?;
    file.sync_data()
}

/// The way to stop the thread.
#[derive(Debug, Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether to go on after that time.
    fn pause(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = self.changed.wait_timeout_while(stopped, time, |stopped| !*stopped).unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }
}

/// Syncs every `sync_ms` and signs every `checkpoint_ms`, when there is something new, until stopped.
pub(super) fn run(core: &Arc<Core>, stop: &Stop) {
    let sync = Duration::from_millis(core.options.sync_ms.max(1));
    let sign = Duration::from_millis(core.options.checkpoint_ms.max(1));
    let hour = Duration::from_secs(3600);
    let (mut signed, mut expired, mut failing) = (Instant::now(), Instant::now(), false);
    while stop.pause(sync.min(sign)) {
        let mut result = core.sync();
        if result.is_ok() && signed.elapsed() >= sign {
            result = core.checkpoint().map(drop);
            signed = Instant::now();
        }
        if let Err(error) = &result
            && !failing
        {
            tracing::error!(error = %error, "the ledger could not be synced and signed");
        }
        failing = result.is_err();
        if expired.elapsed() >= hour {
            super::recover::expire_daemon_keys(&core.layout, &*core.options.storage, &core.keys);
            expired = Instant::now();
        }
    }
}

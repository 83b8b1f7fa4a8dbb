//! Making, opening and closing a ledger.

use super::{
    CreateOptions, LedgerError, LedgerKeys, LedgerOptions,
    layout::{Head, Layout},
    recover,
    sign::{self, Stop},
    write::Core,
};
use custody_model::{ENTRY_VERSION, Entry, Event};
use jiff::Timestamp;
use std::{
    fs::{DirBuilder, File, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// How often the lock is tried.
const LOCK_TRIES: u32 = 10;
/// How long between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What opening a ledger had to repair after a crash. All zero after an orderly end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of a half-written line, or of lines never synced, cut from the last segment.
    pub line_bytes: u64,
    /// Bytes that no line refers to, cut from the last pack.
    pub pack_bytes: u64,
    /// Bytes of a half-written checkpoint.
    pub checkpoint_bytes: u64,
    /// Hashes computed again.
    pub hashes: u64,
}

impl Recovery {
    /// Bytes cut from the end of the last segment and pack: what `DaemonStarted` says.
    pub fn bytes(&self) -> u64 {
        self.line_bytes + self.pack_bytes
    }
}

/// The core and its thread; the last clone of a ledger stops it.
#[derive(Debug)]
pub(super) struct Owner {
    pub core: Arc<Core>,
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Holds the lock on the ledger.
    lock: File,
}

pub(super) fn create(dir: &Path, identity: &CreateOptions) -> Result<(), LedgerError> {
    let layout = Layout::new(dir);
    let signer = &identity.signer;
    if layout.head().exists() {
        return Err(LedgerError::Exists { path: layout.head() });
    }
    let mut make = DirBuilder::new();
    make.recursive(true).mode(0o700);
    for dir in [dir.to_owned(), layout.segments(), layout.packs(), layout.keys()] {
        make.create(&dir).map_err(LedgerError::storage("make", &dir))?;
    }
    let event = Event::LedgerCreated { origin: signer.name().to_owned(), vkey: signer.vkey().to_owned() };
    let entry = Entry { v: ENTRY_VERSION, at: Timestamp::now(), session: None, event, detail: None, body: None };
    let mut line = serde_json::to_vec(&entry).expect("an entry is JSON");
    line.push(b'\n');
    let options = LedgerOptions::default();
    let files = [
        (layout.pack(0), Vec::new()),
        (layout.segment(custody_model::LeafIndex(0)), line),
        (layout.head(), Head::new(signer.name(), signer.vkey()).bytes()),
    ];
    for (path, bytes) in files {
        let write = || {
            let file = options.storage.open_append(&path)?;
            file.truncate(0)?;
            file.append(&bytes)?;
            file.sync()
        };
        write().map_err(LedgerError::storage("write", &path))?;
    }
    // Opening computes the hashes, closing signs the first checkpoint.
    let keys = LedgerKeys { signer: signer.clone(), responders: Vec::new(), daemon: None };
    let (owner, _) = open_any(dir, keys, options)?;
    owner.close()
}

pub(super) fn open(dir: &Path, keys: LedgerKeys, options: LedgerOptions) -> Result<(Owner, Recovery), LedgerError> {
    if keys.responders.is_empty() {
        return Err(LedgerError::BadOptions { what: "no responder: nobody could open what is sealed".into() });
    }
    open_any(dir, keys, options)
}

fn open_any(dir: &Path, keys: LedgerKeys, options: LedgerOptions) -> Result<(Owner, Recovery), LedgerError> {
    let layout = Layout::new(dir);
    let lock = File::open(layout.head()).map_err(LedgerError::storage("open", &layout.head()))?;
    take_lock(&lock, &layout)?;
    let (core, recovery) = recover::open(layout, keys, options)?;
    let core = Arc::new(core);
    let stop = Arc::new(Stop::default());
    let thread = {
        let (core, stop) = (core.clone(), stop.clone());
        let spawn = std::thread::Builder::new().name("ledger".into()).spawn(move || sign::run(&core, &stop));
        spawn.map_err(LedgerError::storage("start the thread for", dir))?
    };
    Ok((Owner { core, stop, thread: Mutex::new(Some(thread)), lock }, recovery))
}

/// A verification that looks whether a daemon is there holds the lock for an instant: so not at the first refusal.
fn take_lock(lock: &File, layout: &Layout) -> Result<(), LedgerError> {
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(LedgerError::Storage { doing: "lock", path: layout.head(), source }),
        }
    }
    Err(LedgerError::Locked { path: layout.dir.clone() })
}

impl Owner {
    fn join(&self) {
        self.stop.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It only ever ends by being stopped; a panic in it was reported when it happened.
            drop(thread.join());
        }
    }

    pub fn close(&self) -> Result<(), LedgerError> {
        self.join();
        self.core.lock().closed = true;
        self.core.checkpoint().map(drop)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.join();
        // Nothing is lost without it; what fails here is repaired when the ledger is opened.
        drop(self.core.sync());
        // Said aloud: a child process between fork and exec may still hold the descriptor.
        drop(self.lock.unlock());
    }
}

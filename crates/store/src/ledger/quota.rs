//! A disk quota below the ledger: what would exceed it is refused as a full disk is, and written again when there is room.

use super::storage::{Disk, Storage, StoredFile};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Between two looks at what is really there, while writes are refused.
const LOOK: Duration = Duration::from_secs(1);

/// The real disk, up to so many bytes below one directory. Hashes and checkpoints are counted but never refused: they are small,
/// and what was recorded must still be signed.
#[derive(Debug, Clone)]
pub struct Quota(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    limit: u64,
    used: AtomicU64,
    looked: Mutex<Instant>,
}

impl Quota {
    /// Counts what the directory holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(dir: &Path, limit: u64) -> io::Result<Quota> {
        let used = AtomicU64::new(bytes_below(dir)?);
        Ok(Quota(Arc::new(Shared { dir: dir.to_owned(), limit, used, looked: Mutex::new(Instant::now()) })))
    }

    /// Bytes at most.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes that are there.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Whether so many more bytes fit.
    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _always = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Somebody else may have made room.
    fn look_again(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() >= LOOK
            && let Ok(used) = bytes_below(&self.dir)
        {
            self.used.store(used, Ordering::Relaxed);
            *looked = Instant::now();
        }
    }
}

fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        // A file may go between the two looks.
        match item.metadata() {
            Ok(kind) if kind.is_dir() => sum += bytes_below(&item.path())?,
            Ok(kind) => sum += kind.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

impl Storage for Quota {
    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let refused = path.parent().is_some_and(|above| above != self.0.dir);
        Ok(Arc::new(QuotaFile { inner: Disk.open_append(path)?, shared: self.0.clone(), refused }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = to.metadata().map_or(0, |file| file.len());
        Disk.rename(from, to)?;
        self.0.give_back(replaced);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let gone = path.metadata().map_or(0, |file| file.len());
        Disk.remove(path)?;
        self.0.give_back(gone);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Disk.sync_dir(path)
    }
}

#[derive(Debug)]
struct QuotaFile {
    inner: Arc<dyn StoredFile>,
    shared: Arc<Shared>,
    /// Whether the quota may refuse it: segments, packs and keys.
    refused: bool,
}

impl StoredFile for QuotaFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        if !self.refused {
            self.shared.used.fetch_add(len, Ordering::Relaxed);
        } else if !self.shared.take(len) {
            self.shared.look_again();
            if !self.shared.take(len) {
                let what = format!("the ledger has reached its quota of {} bytes (`quota_bytes` of [ledger])", self.shared.limit);
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, what));
            }
        }
        // After an error any part may be there; it is cut, and that gives back what was there.
        self.inner.append(bytes).inspect_err(|_| self.shared.give_back(len))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let before = self.inner.size()?;
        self.inner.truncate(len)?;
        self.shared.give_back(before.saturating_sub(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
}

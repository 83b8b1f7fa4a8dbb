//! The projection made anew from the ledger, beside the old one, and compared with it.

use super::CoreError;
use crate::trust::Home;
use age::x25519::Identity;
use custody_model::{Digest, LeafIndex, OpenEntry};
use custody_store::{
    ledger::{LedgerError, Reader},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Instant,
};
use tokio::sync::mpsc;

/// Entries that are applied at once, and batches that wait.
const BATCH: usize = 4096;
const WAITING: usize = 2;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// Entries of the ledger.
    pub entries: u64,
    /// Milliseconds from the first to the last.
    pub took_ms: u64,
    /// SHA-256 over the canonical dump.
    pub digest: Digest,
    /// Whether the tables in use had the same dump; `None`: they could not be read, or were behind.
    pub same: Option<bool>,
    /// Whether the new ones are in use now.
    pub replaced: bool,
}

/// Makes the projection of a home anew; nobody else may work with the home. `own`: an operator's key, which opens also what the
/// daemon no longer can. `check`: only compares.
///
/// # Errors
/// [`CoreError`]; then the tables are as they were.
pub async fn rebuild(home: &Home, own: Identity, check: bool, tell: &(dyn Fn(u64) + Sync)) -> Result<Rebuilt, CoreError> {
    let io = |doing: &'static str, path: &Path| {
        let path = path.display().to_string();
        move |source| CoreError::Io { doing, path, source }
    };
    let head = home.ledger().join("ledger.json");
    let lock = File::open(&head).map_err(io("open", &head))?;
    lock.try_lock().map_err(|error| io("lock", &head)(error.into()))?;
    let database = home.database();
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", database.display()));
    let scratch = beside(".rebuild");
    let clean = || ["", "-journal", "-wal", "-shm"].iter().for_each(|suffix| drop(fs::remove_file(beside(&format!(".rebuild{suffix}")))));
    clean();
    let reader = Reader::open(&home.ledger(), vec![own])?;
    let done = fill(&reader, &scratch, tell).await;
    if done.is_err() {
        clean();
    }
    let (entries, took_ms, digest) = done?;
    let same = before(&database, entries).await.map(|old| old == digest);
    if check {
        clean();
        return Ok(Rebuilt { entries, took_ms, digest, same, replaced: false });
    }
    File::open(&scratch).and_then(|file| file.sync_all()).map_err(io("sync", &scratch))?;
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(beside(suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &beside(suffix))(error)),
            _ => {}
        }
    }
    fs::rename(&scratch, &database).map_err(io("replace", &database))?;
    File::open(home.root()).and_then(|dir| dir.sync_all()).map_err(io("sync", home.root()))?;
    drop(lock);
    Ok(Rebuilt { entries, took_ms, digest, same, replaced: true })
}

/// Reads ahead in a thread of its own, and applies.
async fn fill(reader: &Reader, scratch: &Path, tell: &(dyn Fn(u64) + Sync)) -> Result<(u64, u64, Digest), CoreError> {
    let started = Instant::now();
    let projection = Projection::scratch(scratch).await?;
    let (send, mut receive) = mpsc::channel::<Result<Vec<OpenEntry>, LedgerError>>(WAITING);
    let reader = reader.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut entries = reader.detailed_entries(LeafIndex(0), Projection::needs_detail);
        loop {
            let batch = entries.by_ref().take(BATCH).collect::<Result<Vec<_>, _>>();
            let last = batch.as_ref().map_or(true, Vec::is_empty);
            if send.blocking_send(batch).is_err() || last {
                return;
            }
        }
    });
    let mut entries = 0;
    while let Some(batch) = receive.recv().await {
        let batch = batch?;
        if batch.is_empty() {
            break;
        }
        entries += batch.len() as u64;
        projection.apply_many(&batch).await?;
        tell(entries);
    }
    drop(receive);
    reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let digest = projection.digest().await?;
    projection.close().await;
    Ok((entries, took_ms, digest))
}

/// The dump of the tables in use, if they are as far as the ledger.
async fn before(database: &Path, entries: u64) -> Option<Digest> {
    if !database.exists() {
        return None;
    }
    let old = Projection::open(database).await.ok()?;
    let digest = if old.applied().await.ok() == Some(entries) { old.digest().await.ok() } else { None };
    old.close().await;
    digest
}

//! Adopted clients: one key each, so that every session has a principal.

use super::{
    Secret,
    files::write_private,
    operators::{pretty, read_bounded},
    secret::{find_digest, token_digest},
};
use arc_swap::ArcSwap;
use custody_model::{Digest, PrincipalName};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Prefix of client keys.
pub const KEY_PREFIX: &str = "cck_";

/// Why the list of clients cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ClientError {
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    #[diagnostic(help("check that the file exists and that your account may read and write it"))]
    Io {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not a list of clients")]
    #[diagnostic(help("restore it from your backup, or delete it and adopt your clients again"))]
    Malformed {
        /// Which.
        path: String,
        /// Why it is not.
        #[source]
        source: serde_json::Error,
    },
}

/// One line of `clients.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRecord {
    /// The name under which its sessions are recorded.
    pub principal: PrincipalName,
    /// SHA-256 of its key.
    pub key_sha256: Digest,
    /// When the key was minted.
    pub created: Timestamp,
    /// The client's configuration file, if it was adopted from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Account (uid) that owns that file: the one the client runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Whether it is the key of a hook: a client with one tells of its user (D13).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
}

/// The clients of one home, as the file says now: reloads when the file is replaced.
#[derive(Debug)]
pub struct Clients {
    path: PathBuf,
    loaded: ArcSwap<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    stamp: Option<Stamp>,
    records: Vec<ClientRecord>,
}

/// Tells one version of the file from another; each rewrite makes a new inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Clients {
    /// Reads `clients.json`.
    ///
    /// # Errors
    /// See [`ClientError`]; a missing file is an error, never an empty list.
    pub fn open(path: &Path) -> Result<Clients, ClientError> {
        let loaded = load(path)?;
        Ok(Clients { path: path.to_owned(), loaded: ArcSwap::from_pointee(loaded) })
    }

    /// Whose key this is. Takes the same time for every wrong one.
    ///
    /// A file that became unreadable or malformed authenticates nobody: closed, not open.
    pub fn authenticate(&self, bearer: &str) -> Option<PrincipalName> {
        let loaded = self.current();
        let digest = token_digest(bearer);
        let index = find_digest(loaded.records.iter().map(|one| &one.key_sha256), &digest)?;
        bearer.starts_with(KEY_PREFIX).then(|| loaded.records[index].principal.clone())
    }

    /// Everybody registered now.
    pub fn records(&self) -> Vec<ClientRecord> {
        self.current().records.clone()
    }

    /// Whether a hook is installed in this client.
    pub fn has_hook(&self, principal: &PrincipalName) -> bool {
        self.current().records.iter().any(|one| one.hook && one.principal == *principal)
    }

    /// Mints the key of a client's hook, in place of the one that was in the same file.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn mint_for_hook(path: &Path, principal: PrincipalName, file: &Path, now: Timestamp) -> Result<Secret, ClientError> {
        let io = |source| ClientError::Io { path: path.display().to_string(), source };
        let key = Secret::mint(KEY_PREFIX).map_err(io)?;
        let owner = std::fs::metadata(file).ok().map(|metadata| metadata.uid());
        let record = ClientRecord { principal, key_sha256: key.digest(), created: now, file: Some(file.to_owned()), owner, hook: true };
        rewrite(path, |records| {
            records.retain(|one| !(one.hook && one.file.as_deref() == Some(file)));
            records.push(record);
        })?;
        Ok(key)
    }

    /// Mints a key for a client and registers it. Earlier keys of the same client stay valid.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn mint(path: &Path, principal: PrincipalName, file: Option<&Path>, now: Timestamp) -> Result<Secret, ClientError> {
        let io = |source| ClientError::Io { path: path.display().to_string(), source };
        let key = Secret::mint(KEY_PREFIX).map_err(io)?;
        Self::register(path, &key, principal, file, now)?;
        Ok(key)
    }

    /// Registers a key that exists already, such as one restored from a backup.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn register(path: &Path, key: &Secret, principal: PrincipalName, file: Option<&Path>, now: Timestamp) -> Result<(), ClientError> {
        let owner = file.and_then(|file| std::fs::metadata(file).ok()).map(|metadata| metadata.uid());
        let record = ClientRecord { principal, key_sha256: key.digest(), created: now, file: file.map(Path::to_owned), owner, hook: false };
        rewrite(path, |records| {
            records.retain(|one| one.key_sha256 != record.key_sha256);
            records.push(record);
        })
    }

    /// Removes what `unwanted` picks; says how many that were.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn revoke(path: &Path, unwanted: impl Fn(&ClientRecord) -> bool) -> Result<usize, ClientError> {
        let mut removed = 0;
        rewrite(path, |records| {
            let before = records.len();
            records.retain(|one| !unwanted(one));
            removed = before - records.len();
        })?;
        Ok(removed)
    }

    /// Writes an empty list.
    pub(super) fn create(path: &Path) -> io::Result<()> {
        write_private(path, &pretty(&Vec::<ClientRecord>::new()))
    }

    fn current(&self) -> Arc<Loaded> {
        let loaded = self.loaded.load_full();
        let stamp = stamp(&self.path).ok();
        if stamp.is_some() && stamp == loaded.stamp {
            return loaded;
        }
        let fresh = Arc::new(load(&self.path).unwrap_or_else(|error| {
            tracing::error!(error = %error, "nobody can log in with a client key until the list is repaired");
            Loaded { stamp, records: Vec::new() }
        }));
        self.loaded.store(fresh.clone());
        fresh
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    Ok(stamp_of(&std::fs::metadata(path)?))
}

fn stamp_of(metadata: &std::fs::Metadata) -> Stamp {
    Stamp { inode: metadata.ino(), size: metadata.size(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
}

fn load(path: &Path) -> Result<Loaded, ClientError> {
    let named = || path.display().to_string();
    let io = |source| ClientError::Io { path: named(), source };
    // The stamp is taken before the content: a rewrite in between is then seen at the next look.
    let stamp = stamp(path).map_err(io)?;
    let bytes = read_bounded(path).map_err(io)?;
    let records = serde_json::from_slice(&bytes).map_err(|source| ClientError::Malformed { path: named(), source })?;
    Ok(Loaded { stamp: Some(stamp), records })
}

/// Changes the list under a lock that other processes respect, and replaces the file atomically.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<ClientRecord>)) -> Result<(), ClientError> {
    let io = |source| ClientError::Io { path: path.display().to_string(), source };
    // The directory is the lock: it is there already, and it stays when the file is replaced.
    let directory = File::open(super::files::parent(path)).map_err(io)?;
    flock(&directory, FlockOperation::LockExclusive).map_err(|error| io(error.into()))?;
    let mut records = load(path)?.records;
    change(&mut records);
    write_private(path, &pretty(&records)).map_err(io)
}

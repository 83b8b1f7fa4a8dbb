//! What was adopted, kept in the home: the file as it was, and each entry before and after.

use super::document::Field;
use crate::trust::write_private;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

const VERSION: u16 = 1;

/// One adopted file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub v: u16,
    pub path: PathBuf,
    pub client: String,
    pub at: Timestamp,
    /// The whole file without Custody in it.
    pub original: String,
    /// The whole file with Custody in it, as it was written.
    pub adopted: String,
    pub entries: Vec<AdoptedEntry>,
    /// Whether `[clients.NAME]` was added for it.
    pub client_added: bool,
}

/// One adopted server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdoptedEntry {
    /// Its name in the client's file.
    pub name: String,
    /// The project it is listed for there; empty: for all.
    #[serde(default)]
    pub place: String,
    /// Its name in `custody.toml`.
    pub server: String,
    pub original: String,
    pub adopted: String,
    /// Whether `[servers.NAME]` was added for it.
    pub server_added: bool,
}

impl AdoptedEntry {
    /// Whether this is the entry at a place of the file.
    pub fn is(&self, field: &Field) -> bool {
        self.name == field.name && self.place == field.place
    }

    /// For people.
    pub fn shown(&self) -> String {
        if self.place.is_empty() { self.name.clone() } else { format!("{} (in {})", self.name, self.place) }
    }
}

/// The records of a home, held exclusively.
pub(super) struct Records {
    directory: PathBuf,
    _lock: File,
}

impl Records {
    pub fn lock(home: &Path) -> io::Result<Records> {
        let directory = home.join("adopted");
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = File::open(&directory)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Records { directory, _lock: lock })
    }

    pub fn read(&self, path: &Path) -> io::Result<Option<Record>> {
        self.read_file(&self.place(path))
    }

    pub fn all(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for file in std::fs::read_dir(&self.directory)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.extend(self.read_file(&path)?);
            }
        }
        records.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(records)
    }

    pub fn write(&self, record: &Record) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
        write_private(&self.place(&record.path), &bytes)
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(self.place(path))
    }

    fn place(&self, path: &Path) -> PathBuf {
        let name = hex::encode(Sha256::digest(path.as_os_str().as_encoded_bytes()));
        self.directory.join(format!("{}.json", &name[..32]))
    }

    fn read_file(&self, place: &Path) -> io::Result<Option<Record>> {
        let bytes = match std::fs::read(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if record.v != VERSION {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("version {} of an adoption record is unknown", record.v)));
        }
        Ok(Some(record))
    }
}

impl Record {
    pub fn new(path: &Path, client: &str, at: Timestamp) -> Record {
        Record {
            v: VERSION,
            path: path.to_owned(),
            client: client.into(),
            at,
            original: String::new(),
            adopted: String::new(),
            entries: Vec::new(),
            client_added: false,
        }
    }
}

//! Writing a bag: into a temporary directory beside its place, renamed when it is whole.

use custody_model::Digest;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A bag can not be written.
#[derive(Debug, thiserror::Error)]
pub enum BagError {
    /// Storage failed: a full disk, no permission, no such directory.
    #[error("can not {doing} {}", path.display())]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} exists; a bundle is never written over", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
}

pub(super) fn storage<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BagError + 'a {
    move |source| BagError::Storage { doing, path: path.to_owned(), source }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A bag in the making. Dropped before [`BagWriter::publish`], it leaves nothing.
pub struct BagWriter {
    dir: TempDir,
    out: PathBuf,
    files: BTreeMap<String, Digest>,
    /// Directories that are made: asking the disk for each of many files costs more than writing it.
    made: RefCell<HashSet<PathBuf>>,
    payload_bytes: u64,
    payload_files: u64,
}

impl BagWriter {
    pub(super) fn begin(out: &Path) -> Result<BagWriter, BagError> {
        if out.symlink_metadata().is_ok() {
            return Err(BagError::Exists { path: out.to_owned() });
        }
        let parent = parent(out);
        let dir = tempfile::Builder::new().prefix(".custody-bag-").tempdir_in(parent).map_err(storage("create a directory in", parent))?;
        Ok(BagWriter { dir, out: out.to_owned(), files: BTreeMap::new(), made: RefCell::default(), payload_bytes: 0, payload_files: 0 })
    }

    /// Begins a file at a path inside the bag, such as `data/invocation_log.jsonl`.
    pub fn create(&self, name: impl Into<String>) -> Result<BagFile, BagError> {
        let name = name.into();
        let path = self.dir.path().join(&name);
        if let Some(parent) = path.parent().filter(|parent| !self.made.borrow().contains(*parent)) {
            fs::create_dir_all(parent).map_err(storage("create", parent))?;
            self.made.borrow_mut().insert(parent.to_owned());
        }
        // Read-only from its first byte (E3); who made it still writes through the open file.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path).map_err(storage("create", &path))?;
        Ok(BagFile { name, path, file: BufWriter::new(file), hash: Sha256::new(), size: 0 })
    }

    /// Ends a file. Returns its digest.
    pub fn close(&mut self, file: BagFile) -> Result<Digest, BagError> {
        let BagFile { name, path, file, hash, size } = file;
        file.into_inner().map_err(|e| storage("write", &path)(e.into_error()))?;
        let digest = Digest(hash.finalize().into());
        if name.starts_with("data/") {
            self.payload_bytes += size;
            self.payload_files += 1;
        }
        self.files.insert(name, digest);
        Ok(digest)
    }

    /// Writes a whole file.
    pub fn write(&mut self, name: impl Into<String>, bytes: &[u8]) -> Result<Digest, BagError> {
        let mut file = self.create(name)?;
        file.write(bytes)?;
        self.close(file)
    }

    /// Files so far, with their digests, by path.
    pub(super) fn files(&self) -> &BTreeMap<String, Digest> {
        &self.files
    }

    /// Octets and files of the payload, as `Payload-Oxum` wants them.
    pub(super) fn oxum(&self) -> String {
        format!("{}.{}", self.payload_bytes, self.payload_files)
    }

    /// A BagIt manifest of the files that `wanted` names.
    pub(super) fn manifest(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.files.iter().filter(|(name, _)| wanted(name)).map(|(name, digest)| format!("{digest}  {name}\n")).collect()
    }

    /// Makes the bag visible, all at once.
    pub(super) fn publish(self) -> Result<PathBuf, BagError> {
        let from = self.dir.path().to_owned();
        // Once for the whole bag: a sync per file would take longer than everything else together.
        let opened = File::open(&from).map_err(storage("sync", &from))?;
        rustix::fs::syncfs(&opened).map_err(|e| storage("sync", &from)(e.into()))?;
        renameat_with(CWD, &from, CWD, &self.out, RenameFlags::NOREPLACE).map_err(|error| match error {
            rustix::io::Errno::EXIST => BagError::Exists { path: self.out.clone() },
            error => storage("move the bundle to", &self.out)(error.into()),
        })?;
        // Renamed away: there is nothing left to remove.
        let _ = self.dir.keep();
        let parent = parent(&self.out);
        if let Err(error) = File::open(parent).and_then(|dir| dir.sync_all()) {
            // An error means that there is no bag; what may not outlive a power cut is not there.
            let _ = fs::remove_dir_all(&self.out);
            return Err(storage("sync", parent)(error));
        }
        Ok(self.out)
    }
}

/// A file of a bag in the making.
pub struct BagFile {
    name: String,
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

impl BagFile {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BagError> {
        self.file.write_all(bytes).map_err(storage("write", &self.path))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Appends a JSON line.
    pub fn line(&mut self, value: &impl serde::Serialize) -> Result<(), BagError> {
        let mut line = serde_json::to_vec(value).map_err(|e| storage("write", &self.path)(e.into()))?;
        line.push(b'\n');
        self.write(&line)
    }
}

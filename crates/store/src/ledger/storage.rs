//! The file operations a ledger is written with. Tests put their own below it: a disk that fills up, tears a write
//! or forgets what was not synced. Reading goes to the files directly.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

/// A directory tree to write to.
pub trait Storage: Send + Sync + std::fmt::Debug + 'static {
    /// Opens a file to append to; makes it when there is none, mode 0600.
    ///
    /// # Errors
    /// The operating system's.
    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    /// Gives a file a new name, replacing what is there.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory survive a power cut.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait StoredFile: Send + Sync + std::fmt::Debug {
    /// Appends with one `write(2)` where the system takes all at once. On an error any prefix may be written.
    ///
    /// # Errors
    /// The operating system's.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// The operating system's.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the contents survive a power cut (`fdatasync`).
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn size(&self) -> io::Result<u64>;
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Storage for Disk {
    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let file = OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl StoredFile for DiskFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// A file with the length up to which it is good. A failed append leaves at most a tail to cut, which happens at
/// once, or else before the next append.
#[derive(Debug)]
pub(super) struct Tail {
    pub file: Arc<dyn StoredFile>,
    pub good: u64,
    dirty: bool,
}

impl Tail {
    pub fn new(file: Arc<dyn StoredFile>, good: u64) -> Tail {
        Tail { file, good, dirty: false }
    }

    /// Appends all or nothing.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.heal()?;
        match self.file.append(bytes) {
            Ok(()) => {
                self.good += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.cut_to(self.good);
                Err(error)
            }
        }
    }

    /// Takes back appended bytes; when the disk refuses, the next append tries again first.
    pub fn cut_to(&mut self, len: u64) {
        self.good = len;
        self.dirty = self.file.truncate(len).is_err();
    }

    /// Cuts what an earlier failure left.
    pub fn heal(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.truncate(self.good)?;
            self.dirty = false;
        }
        Ok(())
    }
}

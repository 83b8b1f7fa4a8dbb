//! The directory the tools work in, and nothing outside it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Largest file read or written through a tool.
pub const FILE_BYTES: u64 = 1024 * 1024;
/// Largest an append-only file (outbox, mbox, payments, memory) may grow.
pub const APPEND_BYTES: u64 = 64 * 1024 * 1024;

/// Files, database, mail, payments and memory below one directory. Clones share it; one tool writes at a time.
///
/// ```text
/// files/…          what read_file, list_files and write_file see
/// database.json    {"table": [{"column": value}]}
/// mail.mbox        what send_mail sent        outbox.jsonl  what send_data sent
/// payments.jsonl   what make_payment paid     memory.jsonl  what remember was told
/// ```
#[derive(Debug, Clone)]
pub struct World {
    root: PathBuf,
    writing: Arc<Mutex<()>>,
}

/// Why a tool could not do what was asked; the caller reads it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// An argument is missing or of the wrong kind.
    #[error("argument `{name}` must be {expected}")]
    Argument {
        /// Which.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A path leads out of the files.
    #[error("path `{0}` leads outside the files")]
    Outside(String),
    /// Nothing is there.
    #[error("`{0}` does not exist")]
    Missing(String),
    /// A file or text is over its limit.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A file is not text.
    #[error("`{0}` is not UTF-8 text")]
    NotText(String),
    /// The disk failed.
    #[error("storage failed: {0}")]
    Io(#[from] io::Error),
}

impl World {
    /// Opens a directory, making what is missing.
    ///
    /// # Errors
    /// When it cannot be made or resolved.
    pub fn open(root: &Path) -> io::Result<World> {
        fs::create_dir_all(root.join("files"))?;
        Ok(World { root: root.canonicalize()?, writing: Arc::default() })
    }

    /// The directory that `read_file` and its kind see.
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// One of the files beside `files/`, such as `outbox.jsonl`.
    pub fn beside(&self, name: &'static str) -> PathBuf {
        self.root.join(name)
    }

    /// Held while a tool writes, or reads what another may be writing.
    pub(super) fn exclusive(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An existing file or directory below `files/`. Symbolic links are followed, and refused if they lead out.
    pub(super) fn existing(&self, path: &str) -> Result<PathBuf, ToolError> {
        let full = self.lexical(path)?;
        let real = full.canonicalize().map_err(|_| ToolError::Missing(path.to_owned()))?;
        if real.starts_with(self.files()) { Ok(real) } else { Err(ToolError::Outside(path.to_owned())) }
    }

    /// A place for a file below `files/`, its directory made.
    pub(super) fn place(&self, path: &str) -> Result<PathBuf, ToolError> {
        let full = self.lexical(path)?;
        let outside = || ToolError::Outside(path.to_owned());
        let (Some(parent), Some(name)) = (full.parent(), full.file_name()) else { return Err(outside()) };
        // The nearest ancestor that exists must be inside before anything is made below it.
        let nearest = parent.ancestors().find(|p| p.exists()).ok_or_else(outside)?;
        if !nearest.canonicalize()?.starts_with(self.files()) {
            return Err(outside());
        }
        fs::create_dir_all(parent)?;
        let place = parent.canonicalize()?.join(name);
        // A link in the last place would be written through.
        match place.symlink_metadata() {
            Ok(found) if !found.is_file() => Err(outside()),
            _ if !place.starts_with(self.files()) => Err(outside()),
            _ => Ok(place),
        }
    }

    fn lexical(&self, path: &str) -> Result<PathBuf, ToolError> {
        let inside = !path.contains('\0')
            && path.len() <= 1024
            && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if inside { Ok(self.files().join(path)) } else { Err(ToolError::Outside(path.chars().take(80).collect())) }
    }

    /// Appends to a file beside `files/` with one write.
    pub(super) fn append(&self, name: &'static str, bytes: &[u8]) -> Result<(), ToolError> {
        let _guard = self.exclusive();
        let mut file = OpenOptions::new().create(true).append(true).open(self.beside(name))?;
        if file.metadata()?.len() + bytes.len() as u64 > APPEND_BYTES {
            return Err(ToolError::TooLarge { what: name.to_owned(), limit: APPEND_BYTES });
        }
        file.write_all(bytes)?;
        Ok(())
    }
}

/// Reads a text file of bounded size; `shown` is its name in errors.
pub(super) fn read_text(path: &Path, shown: &str, limit: u64) -> Result<String, ToolError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(ToolError::TooLarge { what: format!("`{shown}`"), limit });
    }
    String::from_utf8(bytes).map_err(|_| ToolError::NotText(shown.to_owned()))
}

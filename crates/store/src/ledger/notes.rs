//! Signed notes appended to a file: `checkpoints` and its copies.

use super::LedgerError;
use custody_tlog::{SignedCheckpoint, notes};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Take},
    path::{Path, PathBuf},
};

/// Longest signed note.
const MAX_NOTE: usize = 64 << 10;

/// Signed notes appended to a file, one at a time.
pub(super) struct NoteFile {
    reader: BufReader<Take<File>>,
    path: PathBuf,
    /// Where the next note begins.
    offset: u64,
    /// Where the note last read begins.
    pub start: u64,
    /// The line read ahead.
    ahead: Vec<u8>,
    failed: bool,
}

impl NoteFile {
    pub fn open(path: &Path) -> Result<NoteFile, LedgerError> {
        Self::open_up_to(path, u64::MAX)
    }

    /// Reads no further than `len` bytes.
    pub fn open_up_to(path: &Path, len: u64) -> Result<NoteFile, LedgerError> {
        let file = File::open(path).map_err(LedgerError::storage("open", path))?;
        let reader = BufReader::new(file.take(len));
        Ok(NoteFile { reader, path: path.to_owned(), offset: 0, start: 0, ahead: Vec::new(), failed: false })
    }

    /// The next note with its offset: lines up to the first that follows a signature and is none.
    fn read(&mut self) -> Result<Option<(u64, SignedCheckpoint)>, LedgerError> {
        let mut note = std::mem::take(&mut self.ahead);
        let mut signed = false;
        loop {
            let from = note.len();
            let count =
                (&mut self.reader).take(MAX_NOTE as u64).read_until(b'\n', &mut note).map_err(LedgerError::storage("read", &self.path))?;
            let is_signature = note[from..].starts_with("— ".as_bytes());
            if signed && !is_signature {
                self.ahead = note.split_off(from);
                break;
            }
            signed = is_signature;
            if count == 0 || note.len() > MAX_NOTE {
                break;
            }
        }
        if note.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        self.start = offset;
        self.offset += note.len() as u64;
        let bad = |what: &str| LedgerError::damaged(&self.path, what);
        let text = std::str::from_utf8(&note).map_err(|_| bad("not UTF-8"))?;
        match notes(text).next() {
            Some(whole) if whole.len() == text.len() => {}
            _ => return Err(bad("not a whole signed checkpoint")),
        }
        Ok(Some((offset, SignedCheckpoint::parse(text).map_err(|e| bad(&e.to_string()))?)))
    }
}

impl Iterator for NoteFile {
    type Item = Result<(u64, SignedCheckpoint), LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

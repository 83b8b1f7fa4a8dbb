//! Lines of a segment, one at a time, each below the limit.

use super::{LedgerError, layout::MAX_LINE};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// What stands next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line is in the buffer.
    Whole,
    /// The file ends with that many bytes that no newline ends.
    Torn(u64),
    /// The file ends.
    End,
    /// No newline within the limit.
    TooLong,
}

/// A segment being read.
pub(super) struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    /// Where the next line begins.
    pub offset: u64,
    /// The line last read, without its newline.
    pub line: Vec<u8>,
}

impl Lines {
    pub fn open(path: &Path, offset: u64) -> Result<Lines, LedgerError> {
        let mut file = File::open(path).map_err(LedgerError::storage("open", path))?;
        file.seek(SeekFrom::Start(offset)).map_err(LedgerError::storage("read", path))?;
        Ok(Lines { reader: BufReader::with_capacity(64 << 10, file), path: path.to_owned(), offset, line: Vec::new() })
    }

    pub fn read(&mut self) -> Result<Line, LedgerError> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(MAX_LINE + 1);
        let count = limited.read_until(b'\n', &mut self.line).map_err(LedgerError::storage("read", &self.path))?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            self.offset += count as u64;
            return Ok(Line::Whole);
        }
        Ok(match count as u64 {
            0 => Line::End,
            n if n > MAX_LINE => Line::TooLong,
            n => Line::Torn(n),
        })
    }
}

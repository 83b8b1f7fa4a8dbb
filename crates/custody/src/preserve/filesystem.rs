//! The directory in which a server's process works, at the instant of collection (E5): what lies there, with digests, and
//! the contents if the operator configured so. Bounded; no link is followed, no other file system entered.

use super::bag::{BagError, BagWriter};
use custody_model::Digest;
use jiff::Timestamp;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, open, openat2, readlinkat, statat},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{fs::File, io::Read, os::fd::OwnedFd, path::PathBuf};

/// Entries that are listed, and how deep.
const ENTRIES: usize = 10_000;
const DEPTH: usize = 12;
/// Longest file that is read, and bytes that are read of one directory.
const FILE: u64 = 8 << 20;
const BYTES: u64 = 64 << 20;

/// How much of a server's directory is taken along (`evidence.directory`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryTake {
    /// Nothing.
    Off,
    /// Names, sizes, times and digests.
    #[default]
    Listing,
    /// Also the files themselves.
    Contents,
}

/// What was taken of one directory.
#[derive(Debug, Clone, Serialize)]
pub struct DirectoryEvidence {
    /// Where the process worked.
    pub directory: PathBuf,
    /// Entries that were listed.
    pub entries: u64,
    /// Files that were read, and their bytes.
    pub read: u64,
    /// See `read`.
    pub bytes: u64,
    /// What was left out, and why; empty when nothing was.
    pub left_out: Vec<String>,
}

/// One line of `files.jsonl`.
#[derive(Serialize)]
struct Line {
    path: String,
    kind: &'static str,
    mode: String,
    size: u64,
    modified: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
}

/// A process's working directory, held open: what is read later is that directory, wherever its name leads by then.
pub(super) struct WorkingDirectory {
    pid: u32,
    path: PathBuf,
    root: OwnedFd,
}

impl WorkingDirectory {
    pub fn open(pid: u32) -> Result<WorkingDirectory, String> {
        let link = format!("/proc/{pid}/cwd");
        let path = std::fs::read_link(&link).map_err(|error| error.to_string())?;
        let root = open(&link, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|error| error.to_string())?;
        Ok(WorkingDirectory { pid, path, root })
    }

    /// Writes the listing, and the files if they are wanted.
    pub fn collect(self, take: DirectoryTake, bag: &mut BagWriter) -> Result<DirectoryEvidence, BagError> {
        let mut found = DirectoryEvidence { directory: self.path.clone(), entries: 0, read: 0, bytes: 0, left_out: Vec::new() };
        let mut list = bag.create(format!("data/process/{}/files.jsonl", self.pid))?;
        let mut directories = vec![(PathBuf::from("."), 0)];
        'all: while let Some((directory, depth)) = directories.pop() {
            let names = match self.names(&directory) {
                Ok(names) => names,
                Err(error) => {
                    left_out(&mut found, format!("{}: {error}", shown(&directory)));
                    continue;
                }
            };
            for name in names {
                if found.entries >= ENTRIES as u64 {
                    left_out(&mut found, format!("everything after {ENTRIES} entries, in {} and elsewhere", shown(&directory)));
                    break 'all;
                }
                let path = if depth == 0 { PathBuf::from(&name) } else { directory.join(&name) };
                let line = self.look(&path, take, &mut found, bag)?;
                if line.kind == "directory" {
                    match depth < DEPTH {
                        true => directories.push((path, depth + 1)),
                        false => left_out(&mut found, format!("{}: deeper than {DEPTH} directories", shown(&path))),
                    }
                }
                found.entries += 1;
                list.line(&line)?;
            }
        }
        bag.close(list)?;
        Ok(found)
    }

    fn names(&self, directory: &std::path::Path) -> Result<Vec<std::ffi::OsString>, String> {
        use std::os::unix::ffi::OsStringExt as _;
        let opened = self.inside(directory, OFlags::DIRECTORY).map_err(words)?;
        let entries = rustix::fs::Dir::new(opened).map_err(words)?;
        let mut names = Vec::new();
        for entry in entries.take(ENTRIES + 3) {
            let name = entry.map_err(words)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(std::ffi::OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens something inside: no link on the way, no other file system, and never waiting for a pipe's other end.
    fn inside(&self, path: &std::path::Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.root, path, flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty(), how)
    }

    fn look(
        &self,
        path: &std::path::Path,
        take: DirectoryTake,
        found: &mut DirectoryEvidence,
        bag: &mut BagWriter,
    ) -> Result<Line, BagError> {
        let mut line = Line {
            path: shown(path),
            kind: "unknown",
            mode: String::new(),
            size: 0,
            modified: None,
            target: None,
            sha256: None,
            stored: None,
            not_read: None,
        };
        let meta = match statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(meta) => meta,
            Err(error) => {
                line.not_read = Some(words(error));
                return Ok(line);
            }
        };
        let kind = FileType::from_raw_mode(meta.st_mode);
        line.mode = format!("{:04o}", meta.st_mode & 0o7777);
        line.size = meta.st_size.try_into().unwrap_or_default();
        line.modified = Timestamp::new(meta.st_mtime as _, 0).ok();
        line.kind = match kind {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "link",
            FileType::Fifo => "pipe",
            FileType::Socket => "socket",
            FileType::CharacterDevice | FileType::BlockDevice => "device",
            FileType::Unknown => "unknown",
        };
        match kind {
            FileType::Symlink => {
                line.target = readlinkat(&self.root, path, Vec::new()).ok().map(|target| target.to_string_lossy().into_owned());
            }
            FileType::RegularFile => match self.read(path, line.size, found.bytes) {
                Ok(bytes) => {
                    line.sha256 = Some(Digest(Sha256::digest(&bytes).into()));
                    if take == DirectoryTake::Contents {
                        let stored = format!("data/process/{}/files/{}", self.pid, found.entries);
                        bag.write(stored.clone(), &bytes)?;
                        line.stored = Some(stored);
                    }
                    found.read += 1;
                    found.bytes += bytes.len() as u64;
                }
                Err(why) => line.not_read = Some(why),
            },
            _ => {}
        }
        Ok(line)
    }

    fn read(&self, path: &std::path::Path, size: u64, so_far: u64) -> Result<Vec<u8>, String> {
        if size > FILE {
            return Err(format!("longer than {FILE} bytes"));
        }
        if so_far + size > BYTES {
            return Err(format!("{BYTES} bytes of this directory were read already"));
        }
        let file = File::from(self.inside(path, OFlags::NOFOLLOW).map_err(words)?);
        // Between the look and the opening it may have become something else.
        if !file.metadata().map_err(|error| error.to_string())?.is_file() {
            return Err("is no plain file any more".into());
        }
        let mut bytes = Vec::new();
        file.take(FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > FILE { Err(format!("grew beyond {FILE} bytes")) } else { Ok(bytes) }
    }
}

fn words(error: Errno) -> String {
    match error {
        Errno::XDEV => "is on another file system".into(),
        error => std::io::Error::from(error).to_string(),
    }
}

/// A name as text: what is not UTF-8 is replaced, and control characters are shown.
fn shown(path: &std::path::Path) -> String {
    let text = path.to_string_lossy();
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.into_owned() }
}

/// Remembers what is left out; a long list needs no longer one.
fn left_out(found: &mut DirectoryEvidence, what: String) {
    if found.left_out.len() < 100 {
        found.left_out.push(what);
    }
}

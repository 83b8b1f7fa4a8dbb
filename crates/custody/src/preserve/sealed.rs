//! A bundle in one file that only its recipients can open: a tar archive in an `age` file (`age -d` and `tar` open it too).
//!
//! Unsealing reads what anybody may have made: only plain files with names that Custody writes come out of it.

use super::bag::{BagError, storage};
use age::x25519::{Identity, Recipient};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tar::{Archive, Builder, EntryType, Header};

/// Files of a sealed bundle, and depth of its directories, at most.
const FILES: usize = 2_000_000;
const DEPTH: usize = 6;

/// Nothing was written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SealError {
    /// Not one of `age`'s X25519 keys.
    #[error("`{given}` is no {wanted}")]
    #[diagnostic(help("recipients begin with `age1`, identities with `AGE-SECRET-KEY-1`; `age-keygen` makes a pair"))]
    Key {
        /// What was given; of an identity nothing.
        given: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// Not for these keys, or not sealed at all.
    #[error("{} can not be opened: {why}", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What is in it is not what Custody seals.
    #[error("{}, entry {number} (`{name}`): {why}", path.display())]
    #[diagnostic(help("nothing was unpacked; whoever sealed this file did not do it with custody"))]
    Hostile {
        /// The file.
        path: PathBuf,
        /// Which entry, from 1.
        number: usize,
        /// Its name, made harmless.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Storage failed.
    #[error(transparent)]
    Bag(#[from] BagError),
}

/// Reads recipients, `age1…` each.
///
/// # Errors
/// [`SealError::Key`].
pub fn parse_recipients<S: AsRef<str>>(texts: &[S]) -> Result<Vec<Recipient>, SealError> {
    let parse = |text: &S| {
        let given = text.as_ref().trim();
        given.parse().map_err(|_| SealError::Key { given: given.chars().take(80).collect(), wanted: "age recipient" })
    };
    texts.iter().map(parse).collect()
}

/// The identities of an `age` identity file: one a line, with comments.
fn parse_identities(text: &str) -> Result<Vec<Identity>, SealError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong = || SealError::Key { given: "[not shown]".into(), wanted: "age identity" };
    let identities = lines.map(|line| line.parse().map_err(|_| wrong())).collect::<Result<Vec<_>, _>>()?;
    if identities.is_empty() { Err(wrong()) } else { Ok(identities) }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Seals the bundle at `bundle` into the file `out`, which must not exist. The bundle stays where it is.
///
/// # Errors
/// [`SealError`]; then there is no file at `out`.
pub fn seal(bundle: &Path, recipients: &[Recipient], out: &Path) -> Result<(), SealError> {
    let dir = parent(out);
    let temporary = tempfile::Builder::new().prefix(".custody-seal-").tempfile_in(dir).map_err(storage("create a file in", dir))?;
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|recipient| recipient as _))
        .map_err(|_| SealError::Key { given: String::new(), wanted: "age recipient: nobody could open it" })?;
    let failed = |error: io::Error| SealError::Bag(storage("write", out)(error));
    let stream = encryptor.wrap_output(BufWriter::with_capacity(1 << 20, temporary.as_file())).map_err(failed)?;
    let mut archive = Builder::new(stream);
    add(&mut archive, bundle, &mut String::new(), 0)?;
    let stream = archive.into_inner().map_err(failed)?;
    stream.finish().and_then(|mut file| file.flush()).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist_noclobber(out).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => SealError::Bag(BagError::Exists { path: out.to_owned() }),
        _ => failed(error.error),
    })?;
    Ok(File::open(dir).and_then(|dir| dir.sync_all()).map_err(storage("sync", dir))?)
}

/// Adds what lies in a directory, sorted by name.
fn add(archive: &mut Builder<impl Write>, root: &Path, inside: &mut String, depth: usize) -> Result<(), SealError> {
    let directory = root.join(&*inside);
    let mut entries =
        fs::read_dir(&directory).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).map_err(storage("read", &directory))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let length = inside.len();
        let name = entry.file_name();
        let kind = entry.file_type().map_err(storage("read", &path))?;
        let odd = || SealError::Bag(storage("seal", &path)(io::Error::other("is nothing that belongs into a bundle")));
        inside.push_str(name.to_str().filter(|name| is_name(name)).ok_or_else(odd)?);
        if kind.is_dir() && depth < DEPTH {
            inside.push('/');
            add(archive, root, inside, depth + 1)?;
        } else if kind.is_file() {
            let file = super::verify::open(&path).map_err(storage("read", &path))?;
            let size = file.metadata().map_err(storage("read", &path))?.len();
            let mut header = Header::new_ustar();
            header.set_mode(0o400);
            header.set_size(size);
            header.set_entry_type(EntryType::Regular);
            archive.append_data(&mut header, &*inside, file.take(size)).map_err(storage("seal", &path))?;
        } else {
            return Err(odd());
        }
        inside.truncate(length);
    }
    Ok(())
}

/// The characters of which every name in a bundle is made.
fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && part.len() <= 200
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Opens a sealed bundle with the identities in `identities` (the text of an `age` identity file), into the directory `out`,
/// which must not exist.
///
/// # Errors
/// [`SealError`]; then there is nothing at `out`.
pub fn unseal(sealed: &Path, identities: &str, out: &Path) -> Result<(), SealError> {
    let identities = parse_identities(identities)?;
    if out.symlink_metadata().is_ok() {
        return Err(BagError::Exists { path: out.to_owned() }.into());
    }
    let closed = |why: String| SealError::Closed { path: sealed.to_owned(), why };
    let file = File::open(sealed).map_err(storage("read", sealed))?;
    let decryptor = age::Decryptor::new_buffered(BufReader::new(file)).map_err(|error| closed(error.to_string()))?;
    let plain = decryptor.decrypt(identities.iter().map(|identity| identity as _)).map_err(|error| closed(error.to_string()))?;
    let dir = parent(out);
    let temporary = tempfile::Builder::new().prefix(".custody-bag-").tempdir_in(dir).map_err(storage("create a directory in", dir))?;
    let mut archive = Archive::new(BufReader::with_capacity(1 << 20, plain));
    // Raw: names that are longer than a header, and holes in files, are Custody's never.
    let entries = archive.entries().map_err(|error| closed(error.to_string()))?.raw(true);
    let mut number = 0;
    for entry in entries {
        number += 1;
        let mut entry = entry.map_err(|error| closed(format!("entry {number}: {error}")))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let hostile = |why| SealError::Hostile { path: sealed.to_owned(), number, name: name.escape_debug().take(120).collect(), why };
        if number > FILES {
            return Err(hostile("is one too many"));
        }
        match entry.header().entry_type() {
            EntryType::Regular => {}
            EntryType::Symlink | EntryType::Link => return Err(hostile("is a link")),
            _ => return Err(hostile("is no plain file")),
        }
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return Err(hostile("leaves the bundle"));
        }
        if !name.split('/').all(is_name) || name.split('/').count() > DEPTH + 1 {
            return Err(hostile("has a name that Custody never writes"));
        }
        let path = temporary.path().join(&name);
        let size = entry.header().size().map_err(|_| hostile("has no size"))?;
        fs::create_dir_all(parent(&path)).map_err(storage("create", parent(&path)))?;
        let written = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path);
        let mut written = written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => hostile("is there twice"),
            _ => storage("create", &path)(error).into(),
        })?;
        // As long as its header says, and never longer than what is sealed: nothing in it is compressed.
        let copied = io::copy(&mut (&mut entry).take(size), &mut written).map_err(storage("unseal", &path))?;
        if copied != size {
            return Err(hostile("ends too early"));
        }
    }
    let synced = File::open(temporary.path()).map_err(storage("sync", temporary.path()))?;
    rustix::fs::syncfs(&synced).map_err(|error| storage("sync", temporary.path())(error.into()))?;
    renameat_with(CWD, temporary.path(), CWD, out, RenameFlags::NOREPLACE)
        .map_err(|error| storage("move the bundle to", out)(error.into()))?;
    let _ = temporary.keep();
    Ok(())
}

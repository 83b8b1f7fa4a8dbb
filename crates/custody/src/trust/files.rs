//! Files that only their owner may read, and that are never seen half-written.

use std::{
    fs::{DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// Writes a file of mode 0600 atomically: temporary file beside it, sync, rename, sync of the directory.
///
/// # Errors
/// Any error of the file system; the old content is then still there.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes)?.persist(path).map_err(|error| error.error)?;
    sync_directory(parent(path))
}

/// As [`write_private`], but never replaces an existing file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or any other error of the file system.
pub fn write_private_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes)?.persist_noclobber(path).map_err(|error| error.error)?;
    sync_directory(parent(path))
}

/// As [`write_private`], but a file that is replaced keeps its mode and owner, and so does the target of a symbolic link.
///
/// # Errors
/// Any error of the file system; the old content is then still there.
pub fn replace_keeping_mode(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let staged = staged(&target, bytes)?;
    if let Ok(old) = std::fs::metadata(&target) {
        let new = staged.as_file().metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(staged.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        staged.as_file().set_permissions(old.permissions())?;
    }
    staged.persist(&target).map_err(|error| error.error)?;
    sync_directory(parent(&target))
}

/// Makes a directory that only its owner may enter.
pub(super) fn make_private_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    // The umask may have taken bits away that the grade wants.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Makes a rename in `path` durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory a file lies in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn staged(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    // `tempfile` creates with mode 0600.
    let mut staged = tempfile::Builder::new().prefix(".custody-").tempfile_in(parent(path))?;
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    Ok(staged)
}

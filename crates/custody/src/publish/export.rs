//! The same as files: a directory that any web server can publish.

use super::Published;
use crate::trust::replace_keeping_mode;
use custody_store::ledger::LedgerError;
use custody_tlog::{SignedCheckpoint, TILE_WIDTH, entry_bundles, hash_tiles};
use serde::Serialize;
use std::{
    io,
    path::{Path, PathBuf},
};

/// An export did not happen, or not wholly. The checkpoint is written last: what it speaks of is there.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExportError {
    /// The ledger cannot be read.
    #[error("cannot read the ledger")]
    Ledger(#[source] LedgerError),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is something else in the directory.
    #[error("{} holds something else: {what}", path.display())]
    #[diagnostic(help("choose an empty directory, or one that an earlier `custody log export` of this ledger wrote"))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// What was exported before is not the beginning of this ledger.
    #[error("the export of {size} entries in {} is not the beginning of this ledger: history was rewritten or rolled back", path.display())]
    #[diagnostic(help("keep that directory: its checkpoint is evidence. `custody verify --checkpoint FILE` says more"))]
    OtherHistory {
        /// The checkpoint of the earlier export.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// No checkpoint may be published yet.
    #[error("no checkpoint was cosigned by enough witnesses yet")]
    #[diagnostic(help("`custody log status` names the witnesses and what they cosigned"))]
    NotWitnessed,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Where.
    pub path: PathBuf,
    /// Entries that the checkpoint speaks of.
    pub size: u64,
    /// Tiles and bundles written now.
    pub written: u64,
    /// Full ones that were there already.
    pub kept: u64,
    /// Whether entry bundles were written.
    pub entries: bool,
}

/// Writes tiles, then the checkpoint. An earlier export in the directory is continued, if it is of the same history.
///
/// # Errors
/// [`ExportError`].
pub fn export(published: &Published, dir: &Path, progress: &dyn Fn(u64)) -> Result<Written, ExportError> {
    let checkpoint = published.checkpoint().map_err(ExportError::Ledger)?.ok_or(ExportError::NotWitnessed)?;
    let head = dir.join("checkpoint");
    check_earlier(published, &checkpoint, dir, &head)?;
    let size = checkpoint.size();
    let mut done = Written { path: dir.to_owned(), size, written: 0, kept: 0, entries: published.entries() };
    let bundles = published.entries().then(|| entry_bundles(size)).into_iter().flatten();
    for tile in hash_tiles(size).chain(bundles) {
        let path = dir.join(tile.to_string());
        if tile.width == TILE_WIDTH && path.exists() {
            done.kept += 1;
            continue;
        }
        let bytes = published.reader().tile(tile, size).map_err(ExportError::Ledger)?.ok_or_else(|| {
            let what = "fewer entries than its checkpoint signs".to_owned();
            ExportError::Foreign { path: path.clone(), what }
        })?;
        write(&path, &bytes)?;
        done.written += 1;
        progress(done.written + done.kept);
    }
    write(&head, checkpoint.note().as_bytes())?;
    Ok(done)
}

fn check_earlier(published: &Published, new: &SignedCheckpoint, dir: &Path, head: &Path) -> Result<(), ExportError> {
    let foreign = |what: &str| ExportError::Foreign { path: head.to_owned(), what: what.to_owned() };
    let earlier = match std::fs::read_to_string(head) {
        Ok(text) => SignedCheckpoint::parse(&text).map_err(|error| foreign(&error.to_string()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut items = std::fs::read_dir(dir).into_iter().flatten().flatten();
            // Tiles without a checkpoint: an export that was interrupted.
            return match items.find(|item| item.file_name() != "tile") {
                None => Ok(()),
                Some(other) => Err(ExportError::Foreign { path: other.path(), what: "no export of a ledger".into() }),
            };
        }
        Err(source) => return Err(ExportError::Io { path: head.to_owned(), source }),
    };
    if earlier.unverified().origin != new.unverified().origin {
        return Err(foreign(&format!("the checkpoint of {}", earlier.unverified().origin)));
    }
    let same = earlier.size() <= new.size()
        && (earlier.size() == 0 || published.reader().root(earlier.size()).map_err(ExportError::Ledger)? == earlier.root());
    if same { Ok(()) } else { Err(ExportError::OtherHistory { path: head.to_owned(), size: earlier.size() }) }
}

/// Whole or not at all; readable by a web server.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| ExportError::Io { path: path.to_owned(), source };
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).map_err(failed)?;
    }
    replace_keeping_mode(path, bytes).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)
}

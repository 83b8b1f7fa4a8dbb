//! Checkpoint, tiles and entry bundles over HTTP: `GET /checkpoint`, `GET /tile/…`.

use super::Cosigned;
use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use custody_store::ledger::{LedgerError, Reader};
use custody_tlog::{SignedCheckpoint, TILE_WIDTH, Tile, TileKind, WitnessKey};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What is published of one ledger.
#[derive(Debug, Clone)]
pub struct Published {
    reader: Reader,
    /// Whether the clear lines of entries are shown.
    entries: bool,
    /// Where cosigned checkpoints lie, the witnesses, and how many of them a published checkpoint needs.
    cosigned: PathBuf,
    witnesses: Arc<[WitnessKey]>,
    quorum: usize,
}

impl Published {
    /// Of a ledger and the cosignatures kept in `cosigned`. With witnesses, only checkpoints that `quorum` of them cosigned are
    /// published; without, the newest that the ledger signed.
    pub fn new(reader: Reader, entries: bool, cosigned: &Path, witnesses: &[WitnessKey], quorum: usize) -> Published {
        Published { reader, entries, cosigned: cosigned.to_owned(), witnesses: witnesses.into(), quorum }
    }

    /// The reader.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Whether entries are shown.
    pub fn entries(&self) -> bool {
        self.entries
    }

    /// The checkpoint that is published; `None` while too few witnesses cosigned one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, LedgerError> {
        let cosigned = if self.witnesses.is_empty() { None } else { Cosigned::read(&self.cosigned).ok() };
        let best = cosigned.and_then(|cosigned| cosigned.newest(&self.witnesses, self.quorum).cloned());
        match best {
            Some(best) => Ok(Some(best)),
            None if self.quorum > 0 && !self.witnesses.is_empty() => Ok(None),
            None => self.reader.checkpoint().map(Some),
        }
    }

    /// A tile of the published checkpoint; `None`: it has no such tile, or entries are not shown.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, LedgerError> {
        if tile.kind == TileKind::Entries && !self.entries {
            return Ok(None);
        }
        match self.checkpoint()? {
            Some(checkpoint) => self.reader.tile(tile, checkpoint.size()),
            None => Ok(None),
        }
    }
}

/// The two kinds of address. Nothing else is answered, and nothing can be changed through it.
pub fn router(published: Published) -> Router {
    Router::new().fallback(answer).with_state(published)
}

async fn answer(State(published): State<Published>, method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let path = uri.path().trim_start_matches('/').to_owned();
    // Files are read: not on the runtime's own threads.
    let read = tokio::task::spawn_blocking(move || read(&published, &path));
    match read.await {
        Ok(Ok(Some((kind, cache, bytes)))) => ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], bytes).into_response(),
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, "not published here\n").into_response(),
        Ok(Err(LedgerError::TooLongForBundle { leaf })) => {
            (StatusCode::NOT_IMPLEMENTED, format!("entry {leaf} is too long for an entry bundle\n")).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a tile could not be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the ledger could not be read\n").into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

type Answer = (&'static str, &'static str, Vec<u8>);

fn read(published: &Published, path: &str) -> Result<Option<Answer>, LedgerError> {
    if path == "checkpoint" {
        let checkpoint = published.checkpoint()?;
        return Ok(checkpoint.map(|note| ("text/plain; charset=utf-8", "no-cache", note.note().as_bytes().to_vec())));
    }
    let Some(tile) = Tile::parse(path) else { return Ok(None) };
    // A full tile never changes; a partial one does neither, but nobody wants it for long.
    let cache = if tile.width == TILE_WIDTH { "public, max-age=31536000, immutable" } else { "public, max-age=60" };
    Ok(published.tile(tile)?.map(|bytes| ("application/octet-stream", cache, bytes)))
}

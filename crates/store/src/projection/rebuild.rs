//! Making the projection anew beside the one in use.

use super::{Projection, Result};
use custody_model::Digest;
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::Path;

impl Projection {
    /// Makes an empty database for one that is rebuilt: nothing in it is safe before [`Projection::close`] and a sync, so that it
    /// is quick. The file must not exist.
    ///
    /// # Errors
    /// [`super::ProjectionError`].
    pub async fn scratch(path: &Path) -> Result<Projection> {
        use std::os::unix::fs::OpenOptionsExt as _;
        std::fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-65536");
        let one = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await?;
        sqlx::migrate!("./migrations").run(&one).await?;
        Ok(Projection { pool: one.clone(), writer: one })
    }

    /// SHA-256 over [`Projection::dump`], row by row: two projections are the same when these are.
    ///
    /// # Errors
    /// [`super::ProjectionError`].
    pub async fn digest(&self) -> Result<Digest> {
        let mut hash = Sha256::new();
        for (table, query) in super::TABLES {
            let mut rows = sqlx::query_scalar::<_, String>(*query).fetch(&self.pool);
            while let Some(row) = rows.try_next().await? {
                hash.update(format!("{table} {row}\n"));
            }
        }
        Ok(Digest(hash.finalize().into()))
    }
}

//! The witness: what arrived, written down before it runs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// One tool call that reached the server. The line is in the file before the tool runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedCall {
    /// Counts the calls of one server process, from 0.
    pub seq: u64,
    /// Wall clock on arrival, with microseconds.
    pub at: Timestamp,
    /// Nanoseconds since the server started, from a clock that never goes back.
    pub monotonic_ns: u64,
    /// The tool as the caller named it, known or not.
    pub tool: String,
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// The caller's JSON-RPC id.
    pub rpc_id: Value,
    /// The caller's `_meta`, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
    /// `User-Agent` and `Mcp-Session-Id` of the HTTP request that brought it: who called, as far as this server can know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// Append-only file of [`LoggedCall`]s. Clones write to the same file, in one order.
#[derive(Debug, Clone)]
pub struct CallLog {
    inner: Arc<Mutex<(File, u64)>>,
    started: Instant,
}

impl CallLog {
    /// Opens `path` for appending, or makes it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<CallLog> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(CallLog { inner: Arc::new(Mutex::new((file, 0))), started: Instant::now() })
    }

    /// Writes one line with a single `write(2)`. Its time is taken inside the lock: order in the file is order of times.
    ///
    /// # Errors
    /// When the file cannot be written; then the tool must not run.
    pub fn write(
        &self,
        tool: &str,
        arguments: &Map<String, Value>,
        rpc_id: Value,
        meta: Option<Value>,
        caller: Option<String>,
    ) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, seq) = &mut *inner;
        let call = LoggedCall {
            seq: *seq,
            at: Timestamp::now(),
            monotonic_ns: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            tool: tool.to_owned(),
            arguments: arguments.clone(),
            rpc_id,
            meta,
            caller,
        };
        let mut line = serde_json::to_vec(&call)?;
        line.push(b'\n');
        file.write_all(&line)?;
        *seq += 1;
        Ok(())
    }
}

/// All calls in a log, in order.
///
/// # Errors
/// When the file cannot be read or a line is not a call; a torn last line too, for a witness that lost its last word is no witness.
pub fn read_log(path: &Path) -> io::Result<Vec<LoggedCall>> {
    BufReader::new(File::open(path)?)
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(&line?)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}, line {}: {error}", path.display(), number + 1)))
        })
        .collect()
}

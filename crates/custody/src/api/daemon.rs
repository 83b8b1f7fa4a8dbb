//! `run/daemon.json`: how a running daemon can be reached.

use crate::trust::{Home, write_private};
use custody_model::ProcessRef;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{io, net::SocketAddr, path::PathBuf};

/// What a running daemon says of itself. Left behind after a crash; [`DaemonFile::running`] tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFile {
    /// Its process.
    pub pid: u32,
    /// Start of the process, so that a later one of the same number is not taken for it.
    pub start_ticks: u64,
    /// Address of the agents' listener.
    pub agents: SocketAddr,
    /// Address of the operators' listener.
    pub operators: SocketAddr,
    /// The certificate of the operators' listener, if it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators_certificate: Option<PathBuf>,
    /// Program version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
}

impl DaemonFile {
    /// For this process.
    ///
    /// # Errors
    /// When the kernel does not say when this process started.
    pub fn of_this_process(agents: SocketAddr, operators: SocketAddr, started: Timestamp) -> io::Result<DaemonFile> {
        let pid = std::process::id();
        let start_ticks = start_ticks(pid).ok_or_else(|| io::Error::other("/proc does not know this process"))?;
        Ok(DaemonFile {
            pid,
            start_ticks,
            agents,
            operators,
            operators_certificate: None,
            version: env!("CARGO_PKG_VERSION").into(),
            started,
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write(&self, home: &Home) -> io::Result<()> {
        write_private(&home.daemon_file(), &serde_json::to_vec_pretty(self).map_err(io::Error::other)?)
    }

    /// The daemon of a home, if it runs: the process must be the one that wrote the file, for the operator's token is
    /// sent to the address in it.
    pub fn running(home: &Home) -> Option<DaemonFile> {
        let bytes = std::fs::read(home.daemon_file()).ok()?;
        let file: DaemonFile = serde_json::from_slice(&bytes).ok()?;
        (start_ticks(file.pid) == Some(file.start_ticks)).then_some(file)
    }

    /// Takes the file away.
    pub fn remove(home: &Home) {
        let _ = std::fs::remove_file(home.daemon_file());
    }

    /// The process.
    pub fn process(&self) -> ProcessRef {
        ProcessRef { pid: self.pid, start_ticks: self.start_ticks }
    }
}

/// Field 22 of `/proc/<pid>/stat`; the name in field 2 may hold blanks and parentheses.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 1..];
    // Field 3 (state) is the first here. A zombie runs no more.
    let mut fields = after_name.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

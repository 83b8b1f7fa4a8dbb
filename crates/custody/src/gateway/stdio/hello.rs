//! The first and only letter of a shim: one JSON line and five descriptors.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, IoSlice, IoSliceMut, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
};

/// Where the daemon listens, below its home.
pub const SOCKET: &str = "run/agents.sock";

/// Version of the hello.
pub(super) const VERSION: u16 = 1;
/// Client in, client out, server in, server out, pidfd.
pub(super) const DESCRIPTORS: usize = 5;
/// Longest hello in bytes.
pub(super) const LONGEST: usize = 16 * 1024;

/// The socket of a home.
pub fn socket_path(home: &Path) -> PathBuf {
    home.join(SOCKET)
}

/// What the shim says. Nothing of it is believed but the key: processes are looked up by the daemon itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the hello.
    pub v: u16,
    /// The server, as the configuration names it.
    pub server: String,
    /// The client's key (`CUSTODY_KEY`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The client: the shim's parent process.
    pub pid: u32,
    /// Its start, in clock ticks since boot.
    pub start_ticks: u64,
    /// The real server.
    pub server_pid: u32,
}

/// The key is never shown.
impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = if self.key.is_some() { "present" } else { "absent" };
        f.debug_struct("Hello")
            .field("v", &self.v)
            .field("server", &self.server)
            .field("key", &key)
            .field("pid", &self.pid)
            .field("server_pid", &self.server_pid)
            .finish_non_exhaustive()
    }
}

/// What the daemon says to a shim, one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub(super) enum Word {
    /// The handover is taken.
    Accepted,
    /// It is not; nothing was carried.
    Refused {
        /// Why, for the client.
        message: String,
    },
    /// All bytes were carried: the shim may end.
    Done,
    /// Stop, continue or end the server, where the daemon may not signal it.
    Pause,
    /// See [`Word::Pause`].
    Resume,
    /// See [`Word::Pause`].
    Stop,
}

impl Word {
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("plain strings serialize");
        line.push(b'\n');
        line
    }
}

/// Sends the hello and the descriptors.
pub(super) fn send(socket: &UnixStream, hello: &Hello, descriptors: [BorrowedFd<'_>; DESCRIPTORS]) -> io::Result<()> {
    let mut line = serde_json::to_vec(hello)?;
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    (&*socket).write_all(&line[sent..])
}

/// Reads what is there of a hello. `Ok(0)`: the peer hung up.
///
/// # Errors
/// Those of the socket, and more descriptors than belong to a hello: those that fitted are closed with `descriptors`.
pub(super) fn receive(socket: impl AsFd, line: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if got.flags.contains(rustix::net::ReturnFlags::CTRUNC) || descriptors.len() > DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than a hello has"));
    }
    line.extend_from_slice(&bytes[..got.bytes]);
    Ok(got.bytes)
}

//! The daemon's door for shims: reads hellos, with limits, and checks what a shim says against what the operating system says.

use super::{
    ServerProcess,
    hello::{DESCRIPTORS, Hello, LONGEST, VERSION, Word, receive},
    streams::{Input, Output},
};
use custody_model::ProcessRef;
use std::{fs, io, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What unfinished hellos may cost.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// Most hellos being read at once; more wait at the door.
    pub hellos: usize,
    /// How long a hello may take, and how long a whole one may wait to be taken.
    pub hello_time: Duration,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        AcceptLimits { hellos: 64, hello_time: Duration::from_secs(5) }
    }
}

/// The other end of a Unix connection, on the operating system's word (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The shim's process id.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A client's and a server's pipes, in the daemon's hands. Dropping it closes all and makes the shim stop the server.
#[derive(Debug)]
pub struct Handover {
    /// What the shim said.
    pub hello: Hello,
    /// Who the shim is.
    pub peer: Peer,
    /// The client's process, seen by the daemon: the shim's parent. `None` where the daemon may not see it, or it is not what the
    /// shim said.
    pub client: Option<ProcessRef>,
    /// The server's process.
    pub process: ServerProcess,
    pub(super) client_in: Input,
    pub(super) client_out: Output,
    pub(super) server_in: Output,
    pub(super) server_out: Input,
    pub(super) shim: Arc<UnixStream>,
}

impl Handover {
    /// Turns the shim away: it tells the client `message`, stops the server and ends.
    pub fn refuse(self, message: &str) {
        // A shim that hung up needs no answer.
        let _ = self.process.say(&Word::Refused { message: message.to_owned() });
    }
}

/// Accepts shims until `stop`. Each whole hello goes to `handovers`; when nobody takes it in time it is turned away.
///
/// # Errors
/// Those of the listener. A bad peer is logged and hung up on.
pub async fn accept_loop(
    listener: UnixListener,
    limits: AcceptLimits,
    handovers: mpsc::Sender<Handover>,
    stop: CancellationToken,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(limits.hellos));
    let mut greeted = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = greeted.join_next() => continue,
            place = Arc::clone(&room).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let socket = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                // The peer was faster away than we were here.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            },
        };
        let handovers = handovers.clone();
        greeted.spawn(async move {
            let greeting = async {
                let handover = greet(socket).await?;
                handovers.send(handover).await.map_err(|_| HelloError::Closing)
            };
            match timeout(limits.hello_time, greeting).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = %error, "a shim was turned away"),
                Err(_) => tracing::warn!(error = %HelloError::TooSlow, "a shim was turned away"),
            }
            drop(place);
        });
    }
    greeted.shutdown().await;
    Ok(())
}

/// Why a hello was not taken.
#[derive(Debug, thiserror::Error)]
enum HelloError {
    #[error("the hello took too long")]
    TooSlow,
    #[error("the hello is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the peer hung up before its hello was whole")]
    HungUp,
    #[error("{found} descriptors came with the hello, {DESCRIPTORS} belong to it")]
    Descriptors { found: usize },
    #[error("version {found} of the hello is not known")]
    Version { found: u16 },
    #[error("the hello cannot be read")]
    Json(#[source] serde_json::Error),
    #[error("the process that came with the hello is not a child of the shim")]
    NotItsChild,
    #[error("the daemon stops")]
    Closing,
    #[error(transparent)]
    Io(#[from] io::Error),
}

async fn greet(socket: UnixStream) -> Result<Handover, HelloError> {
    let credentials = socket.peer_cred()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).ok_or(HelloError::NotItsChild)?;
    let peer = Peer { pid, uid: credentials.uid(), gid: credentials.gid() };

    let (mut line, mut descriptors) = (Vec::new(), Vec::new());
    while line.last() != Some(&b'\n') {
        if line.len() > LONGEST {
            return Err(HelloError::TooLong);
        }
        if socket.async_io(Interest::READABLE, || receive(&socket, &mut line, &mut descriptors)).await? == 0 {
            return Err(HelloError::HungUp);
        }
    }
    let hello: Hello = serde_json::from_slice(&line).map_err(HelloError::Json)?;
    if hello.v != VERSION {
        return Err(HelloError::Version { found: hello.v });
    }
    let found = descriptors.len();
    let five: [OwnedFd; DESCRIPTORS] = descriptors.try_into().map_err(|_| HelloError::Descriptors { found })?;
    let [client_in, client_out, server_in, server_out, pidfd] = five;

    // The daemon signals what it is given: never a process that is not the shim's own child (it could be the daemon itself).
    let server = pid_of(&pidfd).ok_or(HelloError::NotItsChild)?;
    if server != hello.server_pid || parent_of(server) != Some(peer.pid) {
        return Err(HelloError::NotItsChild);
    }
    let client = parent_of(peer.pid).filter(|parent| *parent == hello.pid).and_then(process_ref);
    let client = client.filter(|client| client.start_ticks == hello.start_ticks);
    let shim = Arc::new(socket);
    Ok(Handover {
        process: ServerProcess::new(pidfd, Arc::clone(&shim))?,
        client_in: Input::new(client_in)?,
        client_out: Output::new(client_out)?,
        server_in: Output::new(server_in)?,
        server_out: Input::new(server_out)?,
        hello,
        peer,
        client,
        shim,
    })
}

/// The process of a pidfd; `None` if it is none, or its process was reaped.
fn pid_of(pidfd: &OwnedFd) -> Option<u32> {
    use std::os::fd::AsRawFd as _;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

/// A process by number, with its start, so that a later one of the same number is another.
pub(super) fn process_ref(pid: u32) -> Option<ProcessRef> {
    Some(ProcessRef { pid, start_ticks: stat_field(pid, 22)?.parse().ok()? })
}

fn parent_of(pid: u32) -> Option<u32> {
    stat_field(pid, 4)?.parse().ok()
}

/// A field of `/proc/<pid>/stat`, counted from 1, behind the name (field 2), which may hold spaces and parentheses.
fn stat_field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(number - 3).map(str::to_owned)
}

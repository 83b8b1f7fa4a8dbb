//! `custody stdio <server>`: starts the real server, hands the descriptors over, sleeps.

use super::{
    answer::unavailable,
    handover::process_ref,
    hello::{Hello, VERSION, Word, send, socket_path},
};
use crate::config::{Config, Upstream};
use custody_engine::wire::{
    IdKey, Limits, id_key,
    lines::{Line, LineDecoder},
    read_frame,
};
use custody_model::Shape;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// The variable that holds the client's key.
const KEY: &str = "CUSTODY_KEY";
/// How long the server may take to end when it is asked to, and the daemon to carry the last bytes.
const GRACE: Duration = Duration::from_secs(2);
/// How long a client is waited for that must be told why there is no server.
const LISTEN: Duration = Duration::from_secs(10);

/// How the real server is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCommand {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Added to the client's environment.
    pub env: Vec<(String, String)>,
    /// Its directory; `None`: the client's.
    pub cwd: Option<PathBuf>,
}

/// A shim before it runs.
#[derive(Debug)]
pub struct Shim {
    /// The daemon's home.
    pub home: PathBuf,
    /// The server's name.
    pub server: String,
    /// How it is started.
    pub command: ServerCommand,
    /// The client's key. Never logged, never passed on to the server.
    pub key: Option<String>,
    /// What the client writes to.
    pub client_in: OwnedFd,
    /// What the client reads from.
    pub client_out: OwnedFd,
}

/// Runs `custody stdio <server> [-- command args]` on this process's standard streams.
///
/// Without a command on the line it comes from the home's `custody.toml`. Whatever goes wrong the client reads as a JSON-RPC
/// error, and a person on standard error.
pub fn run_shim(home: &Path, server: &str, command: Vec<OsString>) -> ExitCode {
    let streams = io::stdin().as_fd().try_clone_to_owned().and_then(|input| Ok((input, io::stdout().as_fd().try_clone_to_owned()?)));
    let (client_in, client_out) = match streams {
        Ok(streams) => streams,
        Err(error) => {
            eprintln!("custody stdio: no standard streams: {error}");
            return ExitCode::FAILURE;
        }
    };
    let command = match server_command(home, server, command) {
        Ok(command) => command,
        Err(words) => {
            eprintln!("custody stdio: {words}");
            tell(&client_in, &client_out, &words, LISTEN);
            return ExitCode::FAILURE;
        }
    };
    let key = std::env::var(KEY).ok();
    Shim { home: home.to_owned(), server: server.to_owned(), command, key, client_in, client_out }.run()
}

fn server_command(home: &Path, server: &str, line: Vec<OsString>) -> Result<ServerCommand, String> {
    let mut line = line.into_iter();
    if let Some(program) = line.next() {
        return Ok(ServerCommand { program, args: line.collect(), env: Vec::new(), cwd: None });
    }
    let config = Config::read(&home.join("custody.toml")).map_err(|error| format!("{error:?}"))?;
    match config.servers.get(server).map(|server| &server.upstream) {
        Some(Upstream::Stdio { command, args, env, cwd }) => Ok(ServerCommand {
            program: command.into(),
            args: args.iter().map(OsString::from).collect(),
            env: env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            cwd: cwd.clone(),
        }),
        Some(Upstream::Http { .. }) => Err(format!("the server {server:?} is reached over HTTP; point the client at the gateway's URL")),
        None => Err(format!("custody.toml has no server {server:?}")),
    }
}

impl Shim {
    /// Starts the server, hands over and sleeps until one side ends. Gives the server's exit code.
    pub fn run(self) -> ExitCode {
        match self.start() {
            Ok(code) => code,
            Err(ShimError { message, detail, listen }) => {
                eprintln!("custody stdio: {message}{}", detail.map(|detail| format!(": {detail}")).unwrap_or_default());
                tell(&self.client_in, &self.client_out, &message, listen);
                ExitCode::FAILURE
            }
        }
    }

    fn start(&self) -> Result<ExitCode, ShimError> {
        // The daemon first: without it the server is not even started.
        let no_daemon = |error| ShimError::new("Custody is not running, so this MCP server is not reachable (custody up starts it)", error);
        let socket = UnixStream::connect(socket_path(&self.home)).map_err(no_daemon)?;
        let mut child =
            self.spawn().map_err(|error| ShimError::new(format!("the MCP server {:?} cannot be started", self.server), error))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(io::Error::from);
        let result = pidfd.and_then(|pidfd| self.hand_over(&socket, &mut child, &pidfd).map(|()| pidfd));
        match result {
            Ok(pidfd) => self.sleep(socket, child, &pidfd),
            Err(error) => {
                // It was ours a moment ago and has heard nothing; there is nobody left to report a failure to.
                let _ = child.kill();
                let _ = child.wait();
                Err(ShimError::new("Custody did not take this connection", error))
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let ServerCommand { program, args, env, cwd } = &self.command;
        let mut command = Command::new(program);
        command.args(args).env_remove(KEY).envs(env.iter().map(|(name, value)| (name, value)));
        if let Some(cwd) = cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    }

    /// The server's pipes are closed here when this returns: only the daemon holds them.
    fn hand_over(&self, socket: &UnixStream, child: &mut Child, pidfd: &OwnedFd) -> io::Result<()> {
        let server_in = child.stdin.take().expect("spawned with a pipe");
        let server_out = child.stdout.take().expect("spawned with a pipe");
        let pid = std::os::unix::process::parent_id();
        let hello = Hello {
            v: VERSION,
            server: self.server.clone(),
            key: self.key.clone(),
            pid,
            start_ticks: process_ref(pid).map_or(0, |process| process.start_ticks),
            server_pid: child.id(),
        };
        let descriptors = [self.client_in.as_fd(), self.client_out.as_fd(), server_in.as_fd(), server_out.as_fd(), pidfd.as_fd()];
        send(socket, &hello, descriptors)
    }

    /// Sleeps until the daemon or the server is gone.
    fn sleep(&self, mut socket: UnixStream, mut child: Child, pidfd: &OwnedFd) -> Result<ExitCode, ShimError> {
        let mut lines = LineDecoder::new(4096);
        let mut refused = None;
        let (mut accepted, mut done, mut hung_up) = (false, false, false);
        let mut ended_at: Option<Instant> = None;
        while !hung_up && !done {
            let mut wanted = vec![PollFd::new(&socket, PollFlags::IN)];
            if ended_at.is_none() {
                wanted.push(PollFd::new(pidfd, PollFlags::IN));
            }
            // After the server's end the daemon still carries its last words.
            let left = ended_at.map(|at| (GRACE * 3).saturating_sub(at.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            match poll(&mut wanted, left.map(timespec).as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(ShimError::new("poll failed", error.into())),
            }
            let readable = !wanted[0].revents().is_empty();
            if wanted.get(1).is_some_and(|server| !server.revents().is_empty()) {
                ended_at = Some(Instant::now());
            }
            if !readable {
                continue;
            }
            let mut buffer = [0; 1024];
            let read = socket.read(&mut buffer).unwrap_or(0);
            hung_up = read == 0;
            for line in lines.push(&buffer[..read]) {
                let Line::Whole { bytes, .. } = line else { continue };
                match serde_json::from_slice(&bytes) {
                    Ok(Word::Accepted) => accepted = true,
                    Ok(Word::Done) => done = true,
                    Ok(Word::Refused { message }) => refused = Some(message),
                    // ESRCH: it has ended.
                    Ok(Word::Pause) => drop(pidfd_send_signal(pidfd, Signal::STOP)),
                    Ok(Word::Resume) => drop(pidfd_send_signal(pidfd, Signal::CONT)),
                    Ok(Word::Stop) => drop(pidfd_send_signal(pidfd, Signal::TERM)),
                    Err(_) => {}
                }
            }
        }
        let code = stop(&mut child, pidfd);
        match refused {
            Some(message) => Err(ShimError { message, detail: None, listen: LISTEN }),
            None if done || (ended_at.is_some() && accepted) => Ok(code),
            // Requests may be on their way that only the daemon knew: the client learns at once, and by our end.
            None => {
                let listen = if accepted { Duration::ZERO } else { LISTEN };
                Err(ShimError { message: "Custody has stopped, so this MCP server was stopped too".into(), detail: None, listen })
            }
        }
    }
}

/// Asks the server to end, insists after a while, and gives its exit code.
fn stop(child: &mut Child, pidfd: &OwnedFd) -> ExitCode {
    for signal in [Signal::TERM, Signal::KILL] {
        if ended(pidfd, Duration::ZERO) {
            break;
        }
        // ESRCH: it has ended. A paused server hears the first signal only when it goes on.
        let _ = pidfd_send_signal(pidfd, signal);
        let _ = pidfd_send_signal(pidfd, Signal::CONT);
        if ended(pidfd, GRACE) {
            break;
        }
    }
    let code = child.wait().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

fn ended(pidfd: &OwnedFd, within: Duration) -> bool {
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timespec(within))).is_ok_and(|ready| ready > 0)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}

/// Why a shim ends without a server: a message for the client, and what only a person should read.
#[derive(Debug)]
struct ShimError {
    message: String,
    detail: Option<io::Error>,
    /// How long to wait for a request to answer.
    listen: Duration,
}

impl ShimError {
    fn new(message: impl Into<String>, detail: io::Error) -> ShimError {
        ShimError { message: message.into(), detail: Some(detail), listen: LISTEN }
    }
}

/// Answers the client's next request with an error that says why there is no server. Clients ignore errors without an id, so the
/// shim waits a while for a request to come.
fn tell(client_in: &OwnedFd, client_out: &OwnedFd, message: &str, listen: Duration) {
    let id = next_request(client_in, Instant::now() + listen).unwrap_or_else(|| b"null".to_vec());
    let mut answer = unavailable(&id, message);
    answer.push(b'\n');
    if let Ok(client_out) = client_out.try_clone() {
        // A client that hung up needs no answer.
        let _ = wait(&client_out, PollFlags::OUT, Instant::now() + GRACE);
        let _ = File::from(client_out).write_all(&answer);
    }
}

/// The id of the next request, raw.
fn next_request(client_in: &OwnedFd, deadline: Instant) -> Option<Vec<u8>> {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let mut lines = LineDecoder::new(limits.bytes);
    let mut input = File::from(client_in.try_clone().ok()?);
    let mut buffer = [0; 4096];
    while wait(client_in, PollFlags::IN, deadline) {
        let read = match input.read(&mut buffer) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
            other => other.unwrap_or(0),
        };
        for line in lines.push(&buffer[..read]) {
            let Line::Whole { bytes, .. } = line else { continue };
            let frame = read_frame(&bytes, &limits);
            if let (Shape::Request, Some(id)) = (frame.shape, frame.id)
                && !matches!(id_key(id.of(&bytes)), IdKey::Odd(_))
            {
                return Some(id.of(&bytes).to_vec());
            }
        }
        if read == 0 {
            break;
        }
    }
    None
}

fn wait(descriptor: &OwnedFd, flags: PollFlags, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    poll(&mut [PollFd::new(descriptor, flags)], Some(&timespec(left))).is_ok_and(|ready| ready > 0)
}

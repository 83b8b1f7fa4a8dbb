//! Real processes behind real pipes. The shim runs in a thread of this process, so this process is the shim.

use super::{hello::DESCRIPTORS, *};
use std::{
    io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, ExitCode, Stdio},
    sync::Mutex,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{net::UnixListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A home with a daemon's door.
struct Door {
    home: tempfile::TempDir,
    handovers: mpsc::Receiver<Handover>,
    stop: CancellationToken,
    accepting: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Door {
    fn open() -> Door {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("run")).unwrap();
        let listener = UnixListener::bind(socket_path(home.path())).unwrap();
        let (sender, handovers) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let limits = AcceptLimits { hello_time: Duration::from_millis(300), ..AcceptLimits::default() };
        let accepting = tokio::spawn(accept_loop(listener, limits, sender, stop.clone()));
        Door { home, handovers, stop, accepting }
    }

    async fn close(self) {
        self.stop.cancel();
        self.accepting.await.unwrap().unwrap();
    }
}

/// A client with a shim.
struct Client {
    to: Option<PipeWriter>,
    from: BufReader<PipeReader>,
    shim: JoinHandle<ExitCode>,
}

impl Client {
    fn start(home: &std::path::Path, program: &str, args: &[&str]) -> Client {
        let (client_in, to) = std::io::pipe().unwrap();
        let (from, client_out) = std::io::pipe().unwrap();
        let command = ServerCommand { program: program.into(), args: args.iter().map(Into::into).collect(), env: vec![], cwd: None };
        let shim = Shim {
            home: home.to_owned(),
            server: "echo".into(),
            command,
            key: Some("cck_secret".into()),
            client_in: client_in.into(),
            client_out: client_out.into(),
        };
        Client { to: Some(to), from: BufReader::new(from), shim: std::thread::spawn(move || shim.run()) }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.to.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Runs the client's part off the runtime's thread.
    async fn act<T: Send + 'static>(mut self, act: impl FnOnce(&mut Client) -> T + Send + 'static) -> (Client, T) {
        tokio::task::spawn_blocking(move || {
            let result = act(&mut self);
            (self, result)
        })
        .await
        .unwrap()
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line
    }

    /// Hangs up and gives what was still said and how the shim ended.
    async fn end(self) -> (String, String) {
        let (client, rest) = self
            .act(|client| {
                client.to = None;
                let mut rest = String::new();
                client.from.read_to_string(&mut rest).unwrap();
                rest
            })
            .await;
        let code = tokio::task::spawn_blocking(|| client.shim.join().unwrap()).await.unwrap();
        (rest, format!("{code:?}"))
    }
}

/// Lets all pass but what holds the word `forbidden`, and writes down what it saw.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<(Direction, Vec<u8>)>>,
    /// A freeze came after each decision.
    frozen: bool,
}

impl Recorder {
    fn decide(&self, direction: Direction, frame: Vec<u8>) -> Forward {
        self.seen.lock().unwrap().push((direction, frame.clone()));
        if memchr(&frame, b"forbidden") { Forward::Reply(b"{\"denied\":true}".to_vec()) } else { Forward::Send(frame, ()) }
    }
}

fn memchr(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

impl Decider for Recorder {
    type Permit = ();
    type Sending = ();
    type Call = ();

    fn call(&self, (): &()) {}

    fn redeem(&self, _: &ConnectionInfo, (): ()) -> Result<(), Option<Vec<u8>>> {
        if self.frozen { Err(Some(b"{\"frozen\":true}".to_vec())) } else { Ok(()) }
    }

    async fn to_server(&self, _: &ConnectionInfo, frame: Vec<u8>) -> Forward {
        self.decide(Direction::ToServer, frame)
    }

    async fn to_agent(&self, _: &ConnectionInfo, _: Option<()>, frame: Vec<u8>) -> Forward {
        self.decide(Direction::ToAgent, frame)
    }

    async fn oversized(&self, _: &ConnectionInfo, direction: Direction, bytes: u64) {
        self.seen.lock().unwrap().push((direction, bytes.to_string().into_bytes()));
    }
}

fn limits() -> PumpLimits {
    let frame = custody_engine::wire::Limits { bytes: 2000, ..Default::default() };
    PumpLimits { frame, grace: Duration::from_millis(300), ..PumpLimits::default() }
}

async fn carry(handover: Handover) -> (PumpEnd, Vec<(Direction, Vec<u8>)>) {
    let recorder = Recorder::default();
    let end = pump(handover, ConnectionId(Uuid::nil()), &recorder, &limits()).await;
    (end, recorder.seen.into_inner().unwrap())
}

/// A Python server: `on(line)` gives what it prints.
fn python(body: &str) -> Vec<String> {
    vec!["-uc".into(), format!("import sys,os\nfor line in sys.stdin:\n    {}", body.replace('\n', "\n    "))]
}

const CALL: &[u8] = b" {\"jsonrpc\":\"2.0\",\t\"method\":\"notifications\\/\\u0061\"}\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn frames_pass_to_the_byte_and_both_ends_close() {
    let mut door = Door::open();
    let client = Client::start(door.home.path(), "cat", &[]);
    let handover = door.handovers.recv().await.unwrap();
    assert_eq!(handover.hello.server, "echo");
    assert_eq!(handover.hello.key.as_deref(), Some("cck_secret"));
    assert!(!format!("{:?}", handover.hello).contains("secret"));
    assert_eq!(handover.peer.pid, std::process::id());
    assert_eq!(handover.client.unwrap().pid, std::os::unix::process::parent_id());
    let pumping = tokio::spawn(carry(handover));
    let (client, echo) = client
        .act(|client| {
            client.say(&CALL[..9]);
            client.say(&CALL[9..]);
            client.say(b"the last line has no newline");
            client.hear()
        })
        .await;
    assert_eq!(echo.as_bytes(), CALL);
    let (rest, code) = client.end().await;
    assert_eq!((rest.as_str(), code), ("the last line has no newline", format!("{:?}", ExitCode::SUCCESS)));
    let (end, seen) = pumping.await.unwrap();
    assert_eq!(end, PumpEnd::Client);
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0], (Direction::ToServer, CALL.strip_suffix(b"\n").unwrap().to_vec()));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_reaches_nobody_and_its_sender_reads_the_reply() {
    let mut door = Door::open();
    let client = Client::start(door.home.path(), "cat", &[]);
    let pumping = tokio::spawn(carry(door.handovers.recv().await.unwrap()));
    let (client, heard) = client
        .act(|client| {
            client.say(b"forbidden\nallowed\n");
            [client.hear(), client.hear()]
        })
        .await;
    assert_eq!(heard, ["{\"denied\":true}\n", "allowed\n"]);
    client.end().await;
    let (_, seen) = pumping.await.unwrap();
    let from_server: Vec<_> = seen.iter().filter(|(direction, _)| *direction == Direction::ToAgent).collect();
    assert_eq!(from_server, [&(Direction::ToAgent, b"allowed".to_vec())]);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_between_decision_and_first_byte_holds() {
    let mut door = Door::open();
    let client = Client::start(door.home.path(), "cat", &[]);
    let handover = door.handovers.recv().await.unwrap();
    let pumping = tokio::spawn(async move {
        let recorder = Recorder { frozen: true, ..Recorder::default() };
        pump(handover, ConnectionId(Uuid::nil()), &recorder, &limits()).await;
        recorder.seen.into_inner().unwrap()
    });
    let (client, heard) = client
        .act(|client| {
            client.say(b"permitted a moment ago\n");
            client.hear()
        })
        .await;
    assert_eq!(heard, "{\"frozen\":true}\n");
    client.end().await;
    assert!(pumping.await.unwrap().iter().all(|(direction, _)| *direction == Direction::ToServer));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_a_call_leaves_an_error_for_each_request() {
    let mut door = Door::open();
    let server = python("if 'two' in line: sys.exit(3)");
    let args: Vec<&str> = server.iter().map(String::as_str).collect();
    let client = Client::start(door.home.path(), "python3", &args);
    let pumping = tokio::spawn(carry(door.handovers.recv().await.unwrap()));
    let (client, heard) = client
        .act(|client| {
            client.say(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"one\"}\n{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"two\"}\n");
            [client.hear(), client.hear()]
        })
        .await;
    let text = r#"{"code":-32000,"message":"the MCP server \"echo\" ended before it answered"}"#;
    assert_eq!(heard[0], format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{text}}}\n"));
    assert_eq!(heard[1], format!("{{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"error\":{text}}}\n"));
    assert_eq!(client.end().await, (String::new(), format!("{:?}", ExitCode::from(3))));
    assert_eq!(pumping.await.unwrap().0, PumpEnd::Server);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_beyond_the_limit_are_answered_and_forgotten() {
    let mut door = Door::open();
    let server = python("print('x' * 3000 if 'big' in line else 'small')");
    let args: Vec<&str> = server.iter().map(String::as_str).collect();
    let client = Client::start(door.home.path(), "python3", &args);
    let pumping = tokio::spawn(carry(door.handovers.recv().await.unwrap()));
    let (client, heard) = client
        .act(|client| {
            client.say(&[vec![b'y'; 5000], b"\n".to_vec()].concat());
            let first = client.hear();
            client.say(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"big\"}\n");
            let second = client.hear();
            client.say(b"z\n");
            [first, second, client.hear()]
        })
        .await;
    assert!(heard[0].contains("a message of 5000 bytes is too large: 2000 are allowed"), "{}", heard[0]);
    assert!(heard[1].contains("\"id\":7") && heard[1].contains("3000 bytes"), "{}", heard[1]);
    assert_eq!(heard[2], "small\n");
    client.end().await;
    assert_eq!(pumping.await.unwrap().0, PumpEnd::Client);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_goes_takes_the_server_with_it_and_the_client_reads_why() {
    let mut door = Door::open();
    // A server that does not care about the end of its input.
    let client = Client::start(door.home.path(), "sleep", &["600"]);
    let handover = door.handovers.recv().await.unwrap();
    let server = handover.hello.server_pid;
    drop(handover);
    let (client, answer) = client
        .act(|client| {
            client.say(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"initialize\"}\n");
            client.hear()
        })
        .await;
    assert!(answer.starts_with("{\"jsonrpc\":\"2.0\",\"id\":5,\"error\"") && answer.contains("Custody has stopped"), "{answer}");
    assert_eq!(client.end().await.1, format!("{:?}", ExitCode::FAILURE));
    assert!(handover::process_ref(server).is_none());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_no_server_is_started_and_the_first_request_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let mark = home.path().join("started");
    let client = Client::start(home.path(), "touch", &[mark.to_str().unwrap()]);
    let (client, answer) = client
        .act(|client| {
            client.say(b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\"}\n");
            client.hear()
        })
        .await;
    assert!(answer.starts_with("{\"jsonrpc\":\"2.0\",\"id\":0,\"error\"") && answer.contains("Custody is not running"), "{answer}");
    assert_eq!(client.end().await.1, format!("{:?}", ExitCode::FAILURE));
    assert!(!mark.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_to_the_client() {
    let mut door = Door::open();
    let client = Client::start(door.home.path(), "cat", &[]);
    door.handovers.recv().await.unwrap().refuse("this client has no valid key");
    let (client, answer) = client
        .act(|client| {
            client.say(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n");
            client.hear()
        })
        .await;
    assert!(answer.contains("this client has no valid key"), "{answer}");
    client.end().await;
    door.close().await;
}

/// A server that ignores its input, and the descriptors that a shim would send.
fn deaf_server() -> (Child, OwnedFd, [OwnedFd; 4]) {
    let mut child = Command::new("sleep").arg("600").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let pidfd = rustix::process::pidfd_open(rustix::process::Pid::from_child(&child), rustix::process::PidfdFlags::empty()).unwrap();
    let (client_in, _) = std::io::pipe().unwrap();
    let (_, client_out) = std::io::pipe().unwrap();
    let pipes = [client_in.into(), client_out.into(), child.stdin.take().unwrap().into(), child.stdout.take().unwrap().into()];
    (child, pidfd, pipes)
}

fn hello(server_pid: u32) -> Hello {
    Hello { v: 1, server: "echo".into(), key: None, pid: 1, start_ticks: 0, server_pid }
}

fn send(socket: &UnixStream, hello: &Hello, pipes: &[OwnedFd; 4], pidfd: &OwnedFd) {
    let [a, b, c, d] = pipes;
    let all: [_; DESCRIPTORS] = [a.as_fd(), b.as_fd(), c.as_fd(), d.as_fd(), pidfd.as_fd()];
    super::hello::send(socket, hello, all).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_is_killed_ends_its_server_even_a_paused_one() {
    let mut door = Door::open();
    let (mut child, pidfd, mut pipes) = deaf_server();
    // A client that stays, so that only the shim's end can be the reason.
    let (client_in, _client) = std::io::pipe().unwrap();
    pipes[0] = client_in.into();
    let socket = UnixStream::connect(socket_path(door.home.path())).unwrap();
    send(&socket, &hello(child.id()), &pipes, &pidfd);
    let handover = door.handovers.recv().await.unwrap();
    assert_eq!(handover.client, None, "process 1 is not this process's parent");
    handover.process.pause().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().rsplit_once(") ").unwrap().1.chars().next();
    while state() != Some('T') {
        tokio::task::yield_now().await;
    }
    drop(socket);
    assert_eq!(carry(handover).await.0, PumpEnd::Shim);
    assert!(child.try_wait().unwrap().is_some());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_hello_is_hung_up_on() {
    let mut door = Door::open();
    let (mut child, pidfd, pipes) = deaf_server();
    let itself = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap();
    let connect = || UnixStream::connect(socket_path(door.home.path())).unwrap();

    let half = connect();
    (&half).write_all(b"{\"v\":1,").unwrap();
    let bare = connect();
    (&bare).write_all(b"{\"v\":1,\"server\":\"echo\",\"pid\":1,\"start_ticks\":0,\"server_pid\":1}\n").unwrap();
    let garbage = connect();
    (&garbage).write_all(b"GET / HTTP/1.1\n").unwrap();
    let endless = connect();
    (&endless).write_all(&[b'x'; 40_000]).unwrap();
    // The daemon must not be made to signal itself, or anything that is not the shim's child.
    let deputy = connect();
    send(&deputy, &hello(std::process::id()), &pipes, &itself);
    let liar = connect();
    send(&liar, &hello(1), &pipes, &pidfd);
    let future = connect();
    send(&future, &Hello { v: 2, ..hello(child.id()) }, &pipes, &pidfd);

    for mut socket in [half, bare, garbage, endless, deputy, liar, future] {
        // A peer that hangs up on unread bytes resets the connection.
        let read = tokio::task::spawn_blocking(move || socket.read(&mut [0; 9]).unwrap_or(0)).await.unwrap();
        assert_eq!(read, 0);
    }
    assert!(door.handovers.try_recv().is_err());
    child.kill().unwrap();
    child.wait().unwrap();
    door.close().await;
}

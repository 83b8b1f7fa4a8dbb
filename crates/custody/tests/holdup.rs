//! It holds up: limits with clear answers, slow agents and servers, an orderly end (issue 4, item 7).

#![allow(clippy::unwrap_used)]

#[path = "daemon/mod.rs"]
mod daemon;
mod stage;

use serde_json::{Value, json};
use stage::Stage;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
    time::Duration,
};

/// For what must come, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"x/unknown"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;

async fn until(mut is: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never came to that");
}

async fn refused(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
    (status, body["error"]["message"].as_str().unwrap_or_default().to_owned())
}

impl Stage {
    /// Opens a stream of HTTP+SSE on a server that is `cat`.
    async fn listen(&self) -> reqwest::Response {
        let request = self.client.get(self.url("/mcp/echo")).bearer_auth(self.key.expose()).header("accept", "text/event-stream");
        request.send().await.unwrap()
    }

    /// A raw connection that sends these bytes and reads what comes until the other side closes it.
    fn raw(&self, bytes: String) -> tokio::task::JoinHandle<String> {
        let address = self.running.agents();
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(bytes.as_bytes()).unwrap();
            let mut answer = String::new();
            // A connection that is cut is one that ended.
            if let Err(error) = stream.read_to_string(&mut answer) {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            }
            answer
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_is_a_clear_answer_and_the_rest_goes_on() {
    let stage = Stage::new("[limits]\nconcurrent_calls = 2\nstreams_per_client = 2\nheaders = 40\n").await;
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    // Headers, by number and by size.
    let mut many = stage.post("/mcp/web", CALL);
    for n in 0..50 {
        many = many.header(format!("x-{n}"), "y");
    }
    assert_eq!(many.send().await.unwrap().status(), 431);
    assert_eq!(stage.post("/mcp/web", CALL).header("x", "y".repeat(100_000)).send().await.unwrap().status(), 431);
    // Calls of one client.
    stage.server.hold();
    let under_way: Vec<_> = (0..2).map(|_| tokio::spawn(stage.post("/mcp/web", CALL).send())).collect();
    until(async || stage.server.count() == 2).await;
    let (status, why) = refused(stage.post("/mcp/web", CALL).send().await.unwrap()).await;
    assert_eq!((status, why.as_str()), (429, "this client has 2 calls under way (limits.concurrent_calls)"));
    stage.server.release();
    for call in under_way {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(stage.post("/mcp/web", CALL).send().await.unwrap().status(), 200);
    // Streams of one client.
    let streams = [stage.listen().await, stage.listen().await];
    assert!(streams.iter().all(|stream| stream.status() == 200));
    let (status, why) = refused(stage.listen().await).await;
    assert_eq!((status, why.as_str()), (429, "this client has 2 streams open (limits.streams_per_client)"));
    drop(streams);
    until(async || stage.listen().await.status() == 200).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_slowly_is_cut_off() {
    let stage = Stage::new("[limits]\nhead_ms = 500\nbody_ms = 500\n").await;
    let head = format!(
        "POST /mcp/web HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        stage.running.agents(),
        stage.key.expose()
    );
    let nothing = stage.raw(String::new());
    let half = stage.raw(head.clone());
    let slow = stage.raw(format!("{head}Content-Length: 100\r\nConnection: close\r\n\r\n{{"));
    assert_eq!(nothing.await.unwrap(), "");
    let half = half.await.unwrap();
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 408"), "{half}");
    let slow = slow.await.unwrap();
    assert!(slow.starts_with("HTTP/1.1 408") && slow.contains("limits.body_ms"), "{slow}");
    assert_eq!(stage.server.count(), 0);
    stage.close().await;
}

/// A server that floods, and an agent that does not read: the server is slowed down, not Custody filled up.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_agent_slows_its_server_and_not_custody() {
    const SIZE: usize = 64 << 10;
    let frame = json!({"jsonrpc": "2.0", "method": "x/flood", "params": {"pad": "y".repeat(SIZE)}}).to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &frame).unwrap();
    let script = format!("frame=$(cat {}); yes \"$frame\"", file.path().display());
    let script = format!("[servers.flood]\ncommand = \"sh\"\nargs = [\"-c\", {script:?}]\n");
    let stage = Stage::new(&script).await;
    let before = resident();
    let request = stage.client.get(stage.url("/mcp/flood")).bearer_auth(stage.key.expose()).header("accept", "text/event-stream");
    let mut stream = request.send().await.unwrap();
    // Until nothing more is recorded for a while.
    let (mut last, mut same) = (0, 0);
    until(async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let size = stage.core.ledger().size();
        same = if size == last && size > 5 { same + 1 } else { 0 };
        last = size;
        same > 20
    })
    .await;
    let (taken, grown) = (last as usize * SIZE, resident().saturating_sub(before));
    println!("taken from the server while the agent does not read: {} MiB; resident memory grew by {} MiB", taken >> 20, grown >> 20);
    assert!(taken < 64 << 20, "{} MiB were taken for an agent that reads nothing", taken >> 20);
    // It goes on when the agent reads.
    let mut read = 0;
    while read < 2 * taken {
        read += stream.chunk().await.unwrap().expect("the stream goes on").len();
    }
    drop(stream);
    until(async || stage.core.status().await.unwrap().live == 0).await;
    stage.close().await;
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_are_finished_at_the_end_and_idle_streams_hold_nothing_up() {
    let stage = Stage::new("[limits]\ndrain_ms = 300000\n").await;
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    let mut idle = stage.listen().await;
    stage.server.hold();
    let call = tokio::spawn(stage.post("/mcp/web", CALL).send());
    until(async || stage.server.count() == 1).await;
    let address = stage.running.agents();
    let stopping = tokio::spawn(stage.running.stop());
    until(async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    assert!(!stopping.is_finished(), "a call is under way");
    stage.server.release();
    assert_eq!(call.await.unwrap().unwrap().text().await.unwrap(), ANSWER);
    tokio::time::timeout(PATIENCE, stopping).await.expect("the idle stream holds nothing up").unwrap();
    while idle.chunk().await.unwrap().is_some() {}
    stage.core.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_in_time_is_cut() {
    let stage = Stage::new("[limits]\ndrain_ms = 200\n").await;
    stage.server.hold();
    let call = tokio::spawn(stage.post("/mcp/web", CALL).send());
    until(async || stage.server.count() == 1).await;
    tokio::time::timeout(PATIENCE, stage.running.stop()).await.expect("it does not wait for ever");
    drop(call);
    stage.server.release();
    stage.core.close().await;
}

#[test]
fn at_sigterm_a_call_over_the_shim_is_finished() {
    let home = daemon::initialised();
    let (go, seen) = (home.temp.path().join("go"), home.temp.path().join("seen"));
    let script =
        format!("read -r line; touch {}; while [ ! -e {} ]; do sleep 0.05; done; echo '{}'; cat", seen.display(), go.display(), ANSWER);
    home.add_to_config(&format!("[servers.slow]\ncommand = \"sh\"\nargs = [\"-c\", {script:?}]\n"));
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replacen("[limits]\n", "[limits]\ndrain_ms = 120000\n", 1)).unwrap();
    let now = jiff::Timestamp::now();
    let key = custody::trust::Clients::mint(&home.root.join("clients.json"), "agent".into(), None, now).unwrap();
    let daemon = home.up();
    let agents = daemon.ready["agents"].as_str().unwrap().to_owned();
    let mut shim = daemon::program()
        .arg("--home")
        .arg(&home.root)
        .args(["stdio", "slow"])
        .env("CUSTODY_KEY", key.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shim.stdin.take().unwrap();
    writeln!(input, "{CALL}").unwrap();
    let wait = |is: &dyn Fn() -> bool| {
        let until = std::time::Instant::now() + PATIENCE;
        while !is() {
            assert!(std::time::Instant::now() < until);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait(&|| seen.exists());
    let stopping = std::thread::spawn(move || daemon.stop());
    wait(&|| TcpStream::connect(&agents).is_err());
    std::fs::write(&go, "").unwrap();
    let mut line = String::new();
    BufReader::new(shim.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), ANSWER);
    assert_eq!(stopping.join().unwrap(), 0);
    drop(input);
    shim.wait().unwrap();
    assert!(home.run(&["verify"]).status.success());
}

/// Loopback only, and bounded: each is one connection that has made one request and then waits.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_idle_connections_are_nothing() {
    const IDLE: usize = 2_000;
    let stage = Stage::new("[limits]\nhead_ms = 600000\n").await;
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    let room = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    // Both ends of each are in this process.
    let count = IDLE.min((room.saturating_sub(200) / 2) as usize);
    let address = stage.running.agents();
    let request = format!("GET /mcp/none HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n", stage.key.expose());
    let before = resident();
    let idle: Vec<TcpStream> = tokio::task::spawn_blocking(move || {
        let one = |_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 404");
            stream
        };
        (0..count).map(one).collect()
    })
    .await
    .unwrap();
    let each = resident().saturating_sub(before) / count.max(1);
    println!("{count} idle connections, {each} bytes of resident memory each, both ends");
    assert!(each < 64 << 10, "{each} bytes each");
    for _ in 0..50 {
        assert_eq!(stage.post("/mcp/web", CALL).send().await.unwrap().text().await.unwrap(), ANSWER);
    }
    drop(idle);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_limited_in_total() {
    let stage = Stage::new("[limits]\nstreams = 2\n").await;
    let streams = [stage.listen().await, stage.listen().await];
    assert!(streams.iter().all(|stream| stream.status() == 200));
    let (status, why) = refused(stage.listen().await).await;
    assert_eq!((status, why.as_str()), (429, "2 streams are open (limits.streams)"));
    drop(streams);
    until(async || stage.listen().await.status() == 200).await;
    stage.close().await;
}

/// One call on a connection that stays open; the answer, whole.
fn call_on(stream: &mut TcpStream, request: &str) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    while !said.ends_with(ANSWER.as_bytes()) {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..count]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_waits_at_the_door() {
    const CALLS: usize = 20;
    let stage = Stage::new("[limits]\nconnections = 2\nhead_ms = 600000\n").await;
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    let (address, length) = (stage.running.agents(), CALL.len());
    let request = |more: &str| {
        let key = stage.key.expose();
        format!("POST /mcp/web HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n{more}Content-Length: {length}\r\n\r\n{CALL}")
    };
    let kept = request("");
    let (mut first, second) = tokio::task::spawn_blocking(move || {
        let mut two = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        two.iter_mut().for_each(|stream| call_on(stream, &kept));
        let [first, second] = two;
        ((first, kept), second)
    })
    .await
    .unwrap();
    let waiting = stage.raw(request("Connection: close\r\n"));
    let first = tokio::task::spawn_blocking(move || {
        (0..CALLS).for_each(|_| call_on(&mut first.0, &first.1));
        first
    })
    .await
    .unwrap();
    assert_eq!(stage.server.count(), 2 + CALLS, "the third is not served");
    assert!(!waiting.is_finished());
    drop(second);
    assert!(waiting.await.unwrap().ends_with(ANSWER));
    drop(first);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_large_bodies_are_limited_together() {
    let stage = Stage::new("[limits]\nframe_bytes = 100000\nbodies_bytes = 100000\nbody_ms = 1000\n").await;
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    let large = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"x/unknown","params":{{"pad":"{}"}}}}"#, "y".repeat(90_000));
    stage.server.hold();
    let first = tokio::spawn(stage.post("/mcp/web", large.clone()).send());
    until(async || stage.server.count() == 1).await;
    let (status, why) = refused(stage.post("/mcp/web", large.clone()).send().await.unwrap()).await;
    assert_eq!((status, why.as_str()), (503, "too many large bodies are under way (limits.bodies_bytes)"));
    // A small one needs no room.
    let small = tokio::spawn(stage.post("/mcp/web", CALL).send());
    until(async || stage.server.count() == 2).await;
    stage.server.release();
    for call in [first, small] {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(stage.post("/mcp/web", large).send().await.unwrap().status(), 200, "the room is free again");
    stage.close().await;
}

/// Large answers for agents that do not read them take no more than their share.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_large_answers_are_limited_together() {
    const SIZE: usize = 24 << 20;
    let stage = Stage::new("[limits]\nanswers_bytes = 33554432\nbody_ms = 1000\n").await;
    let large = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"pad":"{}"}}}}"#, "y".repeat(SIZE));
    stage.server.answers(&[("content-type", "application/json")], large.clone());
    let head = format!(
        "POST /mcp/web HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{CALL}",
        stage.running.agents(),
        stage.key.expose(),
        CALL.len()
    );
    let address = stage.running.agents();
    let mut slow = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream
    })
    .await
    .unwrap();
    let (status, why) = refused(stage.post("/mcp/web", CALL).send().await.unwrap()).await;
    assert_eq!(status, 502);
    assert!(why.contains("limits.answers_bytes"), "{why}");
    // A small one needs no room.
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    assert_eq!(stage.post("/mcp/web", CALL).send().await.unwrap().text().await.unwrap(), ANSWER);
    // The agent reads, and the room is free again.
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        slow.read_to_end(&mut answer).unwrap();
        answer
    });
    assert!(read.await.unwrap().ends_with(&large.as_bytes()[large.len() - 100..]));
    stage.server.answers(&[("content-type", "application/json")], large.clone());
    until(async || stage.post("/mcp/web", CALL).send().await.unwrap().status() == 200).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_gone_holds_no_place_and_its_call_ends() {
    let stage = Stage::new("[limits]\nconcurrent_calls = 1\n").await;
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    stage.server.hold();
    let call = format!(
        "POST /mcp/web HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{CALL}",
        stage.running.agents(),
        stage.key.expose(),
        CALL.len()
    );
    let mut agent = TcpStream::connect(stage.running.agents()).unwrap();
    agent.write_all(call.as_bytes()).unwrap();
    until(async || stage.server.count() == 1).await;
    assert_eq!(stage.post("/mcp/web", CALL).send().await.unwrap().status(), 429, "it has the only place");
    drop(agent);
    // The server still does not answer.
    let next = loop {
        let next = tokio::spawn(stage.post("/mcp/web", CALL).send());
        until(async || next.is_finished() || stage.server.count() == 2).await;
        if stage.server.count() == 2 {
            break next;
        }
        assert_eq!(next.await.unwrap().unwrap().status(), 429);
    };
    stage.server.release();
    assert_eq!(next.await.unwrap().unwrap().text().await.unwrap(), ANSWER);
    stage.close().await;
}

/// `head_ms` is for the next head of a kept connection too: whoever says nothing for so long is let go in order, without a word, and comes
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_without_a_request_is_closed_and_nothing_is_lost() {
    let stage = Stage::new("[limits]\nhead_ms = 500\n").await;
    stage.server.answers(&[("content-type", "application/json")], ANSWER);
    let call = format!(
        "POST /mcp/web HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{CALL}",
        stage.running.agents(),
        stage.key.expose(),
        CALL.len()
    );
    for _ in 0..2 {
        let said = stage.raw(call.clone()).await.unwrap();
        assert!(said.ends_with(ANSWER) && said.matches("HTTP/1.1").count() == 1, "{said}");
    }
    stage.close().await;
}

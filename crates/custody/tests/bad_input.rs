//! Bad input through the real shim: answered or dropped, and the session goes on (issue 2, promise 6).
#![allow(clippy::unwrap_used)]

mod daemon;

use custody_model::{Direction, Event, LeafIndex, Outcome};
use custody_store::ledger::Reader;
use daemon::initialised;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

#[test]
fn garbage_over_the_shim_reaches_no_server_and_the_session_goes_on() {
    let home = initialised();
    home.add_to_config("[roles.reader]\nallow = [\"practice/read_file\"]\n");
    let file = home.temp.path().join("desk.json");
    let log = home.temp.path().join("practice.log");
    let args = json!(["practice-server", "--data", home.temp.path().join("data"), "--log", log]);
    let server = json!({ "command": env!("CARGO_BIN_EXE_custody"), "args": args });
    std::fs::write(&file, json!({ "mcpServers": { "practice": server } }).to_string()).unwrap();
    home.json(&["adopt", "desk.json", "--role", "reader"]);
    let daemon = home.up();
    let entry: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let entry = &entry["mcpServers"]["practice"];
    let mut shim = std::process::Command::new(entry["command"].as_str().unwrap())
        .args(entry["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()))
        .env("CUSTODY_KEY", entry["env"]["CUSTODY_KEY"].as_str().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shim.stdin.take().unwrap();
    let mut answers = BufReader::new(shim.stdout.take().unwrap());
    let mut send = |line: &[u8]| {
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
    };
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    send(hello.to_string().as_bytes());
    send(b"\xff\xfe not json");
    send(br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"#);
    send(format!(r#"{{"jsonrpc":"2.0","id":9,"method":"ping","params":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000)).as_bytes());
    let call =
        json!({"jsonrpc": "2.0", "id": 20, "method": "tools/call", "params": {"name": "read_file", "arguments": {"path": "none.txt"}}});
    send(call.to_string().as_bytes());
    let mut last = Value::Null;
    for _ in 0..20 {
        let mut line = String::new();
        assert!(answers.read_line(&mut line).unwrap() > 0, "the shim ended; last: {last}");
        last = serde_json::from_str(&line).unwrap();
        if last["id"] == 20 {
            break;
        }
    }
    assert_eq!(last["id"], 20, "{last}");
    drop(input);
    shim.wait().unwrap();
    let reached = std::fs::read_to_string(&log).unwrap();
    assert_eq!(reached.lines().count(), 1, "only the good call reached the server: {reached}");
    assert_eq!(daemon.stop(), 0);
    assert!(home.run(&["verify"]).status.success());
}

/// Promise 1 in the default mode: the daemon dies at any instant, and whatever reached the server is in the record.
#[test]
fn what_reached_the_server_is_recorded_when_the_daemon_is_killed_under_load() {
    let home = initialised();
    let log = home.temp.path().join("practice.log");
    let args = json!(["practice-server", "--data", home.temp.path().join("data"), "--log", log]);
    home.add_to_config(&format!("[servers.practice]\ncommand = {:?}\nargs = {args}\n", env!("CARGO_BIN_EXE_custody")));
    let now = jiff::Timestamp::now();
    let key = custody::trust::Clients::mint(&home.root.join("clients.json"), "agent".into(), None, now).unwrap();
    for round in 0..4 {
        let daemon = home.up();
        let url = format!("http://{}/mcp/practice", daemon.ready["agents"].as_str().unwrap());
        let load = std::thread::spawn({
            let (url, key) = (url.clone(), key.expose().to_owned());
            move || tokio::runtime::Runtime::new().unwrap().block_on(hammer(&url, &key))
        });
        // The first call of this round has arrived: now, in the middle of the rest.
        let seen = |log: &std::path::Path| std::fs::read_to_string(log).unwrap_or_default().lines().count();
        let before = seen(&log);
        while seen(&log) < before + 5 + round {
            std::thread::yield_now();
        }
        drop(daemon); // SIGKILL
        load.join().unwrap();
    }
    let daemon = home.up();
    assert_eq!(daemon.stop(), 0);
    assert!(home.run(&["verify"]).status.success());

    let identity = std::fs::read_to_string(home.root.join("keys/daemon.age")).unwrap();
    let reader = Reader::open(&home.root.join("ledger"), vec![identity.trim().parse().unwrap()]).unwrap();
    let allowed = reader
        .entries(LeafIndex(0))
        .filter(|entry| {
            let (_, entry, _) = entry.as_ref().unwrap();
            matches!(&entry.event, Event::Message(m) if m.direction == Direction::ToServer && m.outcome == Outcome::Allowed && m.method.as_deref() == Some("tools/call"))
        })
        .count();
    let reached = std::fs::read_to_string(&log).unwrap().lines().count();
    assert!(reached >= 20, "the load was real");
    assert!(reached <= allowed, "{reached} calls reached the server, {allowed} are recorded");
}

/// Calls as fast as they are answered, until the gateway is gone.
async fn hammer(url: &str, key: &str) {
    let client = reqwest::Client::new();
    let post = |session: Option<String>, body: Value| {
        let mut request = client
            .post(url)
            .bearer_auth(key)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-06-18");
        }
        request.body(body.to_string()).send()
    };
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let Ok(answer) = post(None, hello).await else { return };
    let session = answer.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
    let _ = post(session.clone(), json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    for id in 1..10_000 {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "list_files", "arguments": {}}});
        let Ok(answer) = post(session.clone(), call).await else { return };
        if answer.bytes().await.is_err() {
            return;
        }
    }
}

/// Answers `initialize`, and dies in the middle of any other request.
const DIES: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "dies", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
    elif "id" in message:
        sys.exit(3)
"#;

#[test]
fn a_server_that_dies_in_a_call_is_a_clear_error_and_the_next_session_works() {
    let home = initialised();
    home.add_to_config(&format!("[servers.dies]\ncommand = \"python3\"\nargs = {}\n", json!(["-c", DIES])));
    let key = custody::trust::Clients::mint(&home.root.join("clients.json"), "agent".into(), None, jiff::Timestamp::now()).unwrap();
    let daemon = home.up();
    let url = format!("http://{}/mcp/dies", daemon.ready["agents"].as_str().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = reqwest::Client::new();
        let post = |session: Option<String>, body: Value| {
            let mut request = client.post(&url).bearer_auth(key.expose()).header("content-type", "application/json");
            if let Some(session) = session {
                request = request.header("mcp-session-id", session);
            }
            request.body(body.to_string()).send()
        };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        for round in 0..2 {
            let answer = post(None, hello.clone()).await.unwrap();
            let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": {}}});
            let answer: Value =
                serde_json::from_slice(&post(Some(session.clone()), call.clone()).await.unwrap().bytes().await.unwrap()).unwrap();
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(5020)), "round {round}: {answer}");
            let gone = post(Some(session), call).await.unwrap().status();
            assert!(gone == 404 || gone == 502, "the dead session is told as gone: {gone}");
        }
    });
    assert_eq!(daemon.stop(), 0);
    assert!(home.run(&["verify"]).status.success());
}

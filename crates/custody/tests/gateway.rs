//! The gateway in front of the real practice server: record, decide, freeze (promises 1, 3, 4; issue items 3, 5–9).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use custody::{config::Config, core::Core, gateway, trust::*};
use custody_model::*;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

const ROLE: &str = r#"
[clients.agent]
role = "analyst"
[roles.analyst]
allow = ["practice/read_file", "practice/search_database", "practice/list_files"]
"#;

struct Stage {
    _dir: TempDir,
    home: Home,
    key: Secret,
    core: Arc<Core>,
    running: gateway::Running,
    log: std::path::PathBuf,
    client: reqwest::Client,
}

impl Stage {
    /// A home with one client, and the practice server behind stdio.
    async fn new(extra: &str) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home");
        let home = Home::init(&root, &InitOptions::default()).unwrap().home;
        let key = Clients::mint(&home.clients(), "agent".into(), None, jiff::Timestamp::now()).unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("files/reports")).unwrap();
        std::fs::write(data.join("files/reports/q1.txt"), "Revenue grew.").unwrap();
        let log = dir.path().join("practice.log");
        Stage::open(dir, home, key, &log, &data, extra).await
    }

    async fn open(dir: TempDir, home: Home, key: Secret, log: &Path, data: &Path, extra: &str) -> Stage {
        let text = format!(
            "version = 1\n[agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n[servers.practice]\ncommand = {:?}\nargs = [\"practice-server\", \"--data\", {:?}, \"--log\", {:?}]\nmode = \"enforce\"\n{ROLE}\n{extra}",
            env!("CARGO_BIN_EXE_custody"),
            data,
            log
        );
        let config = Config::parse(&text, "custody.toml", dir.path(), &|_| None).unwrap();
        let core = Core::open(&home, config).await.unwrap();
        let running = gateway::start(&core).await.unwrap();
        Stage { _dir: dir, home, key, core, running, log: log.to_owned(), client: reqwest::Client::new() }
    }

    fn url(&self) -> String {
        format!("http://{}/mcp/practice", self.running.agents())
    }

    async fn post(&self, session: Option<&str>, body: impl Into<String>) -> (u16, Option<String>, Value) {
        let mut request = self
            .client
            .post(self.url())
            .bearer_auth(self.key.expose())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.into());
        if let Some(session) = session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-06-18");
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let session = answer.headers().get("mcp-session-id").map(|v| v.to_str().unwrap().to_owned());
        let text = answer.text().await.unwrap();
        let text = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().map_or(text.clone(), str::to_owned);
        (status, session, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn initialize(&self) -> String {
        let (status, session, answer) = self
            .post(
                None,
                json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}).to_string(),
            )
            .await;
        assert_eq!(status, 200, "{answer}");
        let session = session.expect("a protocol session");
        let (status, ..) = self.post(Some(&session), json!({"jsonrpc":"2.0","method":"notifications/initialized"}).to_string()).await;
        assert_eq!(status, 202);
        session
    }

    async fn call(&self, session: &str, id: u64, tool: &str, arguments: Value) -> Value {
        let call = json!({"jsonrpc":"2.0","id":id,"method":"tools/call","params":{"name":tool,"arguments":arguments}});
        self.post(Some(session), call.to_string()).await.2
    }

    /// Calls that reached the server, by the server's own log.
    fn reached(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["tool"].as_str().unwrap().to_owned()).collect()
    }

    async fn close(self) -> Closed {
        self.running.stop().await;
        self.core.close().await;
        Closed { dir: self._dir, home: self.home, key: self.key, log: self.log }
    }
}

struct Closed {
    dir: TempDir,
    home: Home,
    key: Secret,
    log: std::path::PathBuf,
}

fn is_denied(answer: &Value) -> bool {
    answer["error"]["code"] == 4030
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unauthorized_tool_freezes_its_agent_in_the_same_decision() {
    let stage = Stage::new("").await;
    let session = stage.initialize().await;
    let answer = stage.call(&session, 1, "read_file", json!({"path": "reports/q1.txt"})).await;
    assert!(answer["result"].to_string().contains("Revenue grew"), "{answer}");

    let answer = stage.call(&session, 2, "send_data", json!({"host": "x.example", "data": "y"})).await;
    assert!(is_denied(&answer), "{answer}");
    assert_eq!(answer["id"], 2, "the denial answers the call");
    assert!(!answer.to_string().contains("send_data") && !answer.to_string().contains("role"), "no coaching: {answer}");

    // The allowed tool, the old session: nothing passes any more. Nor does a new session.
    assert!(is_denied(&stage.call(&session, 3, "read_file", json!({"path": "reports/q1.txt"})).await));
    let (_, _, answer) = stage.post(None, json!({"jsonrpc":"2.0","id":4,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}).to_string()).await;
    assert!(is_denied(&answer), "{answer}");
    assert_eq!(stage.reached(), ["read_file"]);

    stage.core.quiet().await;
    stage.core.settled().await;
    let cases = stage.core.projection().cases().await.unwrap();
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].case.triage.disposition, Disposition::Confirmed);
    let verbs: Vec<_> = stage
        .core
        .projection()
        .actions_of(cases[0].case.id)
        .await
        .unwrap()
        .into_iter()
        .map(|a| (a.verb.0, a.receipt.unwrap().ok))
        .collect();
    assert_eq!(verbs, [("freeze_scope".to_owned(), true), ("snapshot_session".to_owned(), true)]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_concurrent_calls_none_passes_after_the_first_denial() {
    let stage = Arc::new(Stage::new("").await);
    let session = stage.initialize().await;
    let mut calls = tokio::task::JoinSet::new();
    for i in 0..1000u64 {
        let (stage, session) = (stage.clone(), session.clone());
        calls.spawn(async move {
            let (tool, arguments) =
                if i == 300 { ("send_data", json!({"host":"x.example"})) } else { ("read_file", json!({"path": "reports/q1.txt"})) };
            stage.call(&session, i + 10, tool, arguments).await
        });
    }
    calls.join_all().await;
    stage.core.quiet().await;
    stage.core.settled().await;
    let reader = stage.core.ledger().reader();
    let mut p1 = None;
    let mut permitted_before = 0;
    for entry in reader.entries(LeafIndex(0)) {
        let (leaf, entry, _) = entry.unwrap();
        match entry.event {
            Event::FindingRaised { priority: Priority::P1, .. } => p1 = p1.or(Some(leaf)),
            Event::Message(m)
                if m.direction == Direction::ToServer && m.method.as_deref() == Some("tools/call") && m.outcome == Outcome::Allowed =>
            {
                assert!(p1.is_none(), "leaf {leaf} was permitted after the P1");
                permitted_before += 1;
            }
            Event::Message(m) if m.reason == Some(DenyReason::Overtaken) => permitted_before -= 1,
            _ => {}
        }
    }
    assert!(p1.is_some());
    assert!(stage.reached().len() <= permitted_before as usize, "{} reached, {permitted_before} were handed over", stage.reached().len());
    Arc::into_inner(stage).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_survives_a_restart_and_ends_with_its_undo() {
    let stage = Stage::new("").await;
    let session = stage.initialize().await;
    assert!(is_denied(&stage.call(&session, 2, "send_data", json!({})).await));
    let Closed { dir, home, key, log } = stage.close().await;
    let data = dir.path().join("data");
    let stage = Stage::open(dir, home, key, &log, &data, "").await;
    let (_, _, answer) = stage.post(None, json!({"jsonrpc":"2.0","id":4,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}).to_string()).await;
    assert!(is_denied(&answer), "{answer}");
    let freezes = stage.core.projection().active_freezes().await.unwrap();
    assert_eq!(freezes.len(), 1);
    let receipt = stage.core.undo(&"erin".into(), freezes[0].action, "tested").await.unwrap();
    assert!(receipt.ok);
    let session = stage.initialize().await;
    assert!(stage.call(&session, 5, "read_file", json!({"path": "reports/q1.txt"})).await["result"].is_object());
    assert!(stage.core.undo(&"erin".into(), freezes[0].action, "again").await.is_err(), "undone once");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_clearly_and_costs_nothing() {
    let stage = Stage::new("[limits]\nframe_bytes = 1000000\n").await;
    let session = stage.initialize().await;
    for (what, body) in [
        ("garbage", "\u{1}\u{2}not json".to_owned()),
        ("half an object", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"#.to_owned()),
        (
            "deep nesting",
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"read_file","arguments":{{"a":{}1{}}}}}}}"#,
                "[".repeat(10_000),
                "]".repeat(10_000)
            ),
        ),
    ] {
        let (_, _, answer) = stage.post(Some(&session), body).await;
        assert!(answer["error"]["code"].is_i64(), "{what}: {answer}");
        stage.core.quiet().await;
        stage.core.settled().await;
        let findings = stage.core.projection().findings().await.unwrap();
        assert!(findings.is_empty(), "{what}: {findings:?}");
    }
    let (status, _, answer) = stage.post(Some(&session), "x".repeat(50 << 20)).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!(4130)));
    let answer = stage.client.post(stage.url()).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 401, "no key");
    let answer = stage
        .client
        .post(stage.url())
        .bearer_auth(stage.key.expose())
        .header("origin", "https://evil.example")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403, "a foreign origin");
    let answer = stage.call(&session, 9, "read_file", json!({"path": "reports/q1.txt"})).await;
    assert!(answer["result"].is_object(), "the session goes on: {answer}");

    // A frame that two parsers could read differently: denied, and since the client is new, its session is suspended (T1).
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","arguments":{"path":"a","path":"b"}}}"#;
    let (_, _, answer) = stage.post(Some(&session), twice).await;
    assert!(is_denied(&answer), "{answer}");
    stage.core.quiet().await;
    stage.core.settled().await;
    let cases = stage.core.projection().cases().await.unwrap();
    assert_eq!(cases.iter().map(|row| row.case.triage.disposition).collect::<Vec<_>>(), [Disposition::Suspicious]);
    assert!(is_denied(&stage.call(&session, 10, "read_file", json!({"path": "reports/q1.txt"})).await));
    assert_eq!(stage.reached(), ["read_file"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_waits_for_a_person_and_is_denied_at_its_deadline() {
    let stage = Arc::new(Stage::new("hold = [\"practice/list_files\"]\n[limits]\nheld_ms = 2000\n").await);
    let session = stage.initialize().await;
    let call = |id: u64| {
        let (stage, session) = (stage.clone(), session.clone());
        tokio::spawn(async move { stage.call(&session, id, "list_files", json!({})).await })
    };
    let waiting = |count: usize| {
        let core = stage.core.clone();
        async move {
            while core.held().len() != count {
                tokio::task::yield_now().await;
            }
            core.held()
        }
    };
    // Allowed by a person.
    let allowed = call(1);
    let held = waiting(1).await;
    assert!(stage.reached().is_empty(), "a held call reached the server");
    stage.core.answer_held(&"erin".into(), held[0].id, true, "as agreed").unwrap();
    assert!(allowed.await.unwrap()["result"].is_object());
    // Denied by a person.
    let denied = call(2);
    let held = waiting(1).await;
    stage.core.answer_held(&"erin".into(), held[0].id, false, "no").unwrap();
    assert!(is_denied(&denied.await.unwrap()));
    assert!(stage.core.answer_held(&"erin".into(), held[0].id, true, "too late").is_err());
    // Nobody answers.
    assert!(is_denied(&call(3).await.unwrap()));
    // The client gives up.
    let gone = call(4);
    let held = waiting(1).await;
    gone.abort();
    waiting(0).await;
    assert!(stage.core.answer_held(&"erin".into(), held[0].id, true, "nobody listens").is_err());
    assert_eq!(stage.reached(), ["list_files"]);
    stage.core.settled().await;
    let calls = stage.core.projection().calls_of(held[0].session).await.unwrap();
    let outcomes: Vec<_> = calls.iter().map(|call| (call.outcome, call.reason.as_deref().unwrap_or(""))).collect();
    assert_eq!(
        outcomes,
        [(Outcome::Allowed, ""), (Outcome::Denied, "policy operator:erin"), (Outcome::Denied, "deadline"), (Outcome::Denied, "deadline")]
    );
    Arc::into_inner(stage).unwrap().close().await;
}

/// A server that takes nothing and answers nothing; and a message that fills its pipe.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_read_is_terminated_all_the_same() {
    let stage = Stage::new("[servers.deaf]\ncommand = \"sleep\"\nargs = [\"1000\"]\n").await;
    let send = |body: String| {
        let request = stage
            .client
            .post(stage.url().replace("practice", "deaf"))
            .bearer_auth(stage.key.expose())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/list")
            .body(body);
        tokio::spawn(request.send())
    };
    let pad = "x".repeat(1 << 20);
    let list = json!({"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","pad":pad}}});
    let call = send(list.to_string());
    let wait = async {
        while stage.core.status().await.unwrap().live == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // Time to fill the pipe.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let options = custody::core::ContainOptions { terminate: true, break_glass: None };
        let target = custody::core::ContainTarget::Principal("agent".into());
        stage.core.contain(&"erin".into(), target, "tested", options).await.unwrap();
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.status(), 502, "the call that filled the pipe is answered");
        while stage.core.status().await.unwrap().live > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("the server's process ends");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_let_go_and_turns_again_is_preserved_again() {
    let stage = Stage::new("").await;
    for turn in 1..=2 {
        let session = stage.initialize().await;
        assert!(is_denied(&stage.call(&session, 2, "send_data", json!({})).await), "turn {turn}");
        stage.core.quiet().await;
        stage.core.settled().await;
        let cases = stage.core.projection().cases().await.unwrap();
        assert_eq!(cases.len(), 1, "related findings join one incident");
        let actions = stage.core.projection().actions_of(cases[0].case.id).await.unwrap();
        assert_eq!(actions.iter().filter(|a| a.verb.as_str() == "snapshot_session").count(), turn, "{actions:?}");
        let freezes = stage.core.projection().active_freezes().await.unwrap();
        stage.core.undo(&"erin".into(), freezes[0].action, "tested").await.unwrap();
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_that_a_crash_left_untriaged_is_triaged_at_the_start() {
    let stage = Stage::new("").await;
    let session = stage.initialize().await;
    stage.call(&session, 2, "send_data", json!({})).await;
    stage.core.quiet().await;
    stage.core.settled().await;
    let row = stage.core.projection().findings().await.unwrap().remove(0);
    let mut finding = row.finding.unwrap();
    finding.id = FindingId(uuid::Uuid::now_v7());
    // As if the daemon had died between the finding and its triage.
    let event = Event::FindingRaised {
        finding: finding.id,
        rule: finding.rule.clone(),
        priority: finding.priority,
        requirement: finding.requirement.clone(),
        leaf: finding.leaf,
    };
    let detail = Some(serde_json::to_value(&finding).unwrap());
    let draft = custody_store::ledger::Draft { at: jiff::Timestamp::now(), session: row.session, event, detail, body: None };
    stage.core.ledger().record(draft).unwrap();
    let Closed { dir, home, key, log } = stage.close().await;
    let data = dir.path().join("data");
    let stage = Stage::open(dir, home, key, &log, &data, "").await;
    stage.core.quiet().await;
    stage.core.settled().await;
    let rows = stage.core.projection().findings().await.unwrap();
    assert!(rows.iter().all(|row| row.triage.is_some() && row.case.is_some()), "{rows:?}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_server_could_read_is_never_passed_on() {
    let stage = Stage::new("").await;
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_data","arguments":{}}}"#;
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let core = &stage.core;
    let peer = custody::core::Peer {
        identity: core.identify(&"agent".into(), None),
        server: "elsewhere".into(),
        transport: Transport::Http,
        connection: ConnectionId(uuid::Uuid::now_v7()),
        process: None,
        source: "test".into(),
        hint: None,
    };
    let mut packed = http::HeaderMap::new();
    packed.insert("content-encoding", "gzip".parse().unwrap());
    // A server that is not in `enforce`: only observed. First, for what follows suspends the session.
    let plain = custody::core::Inbound { peer: &peer, mcp_session: None, headers: None, bytes: b"not a message", spliced: None };
    assert!(matches!(core.to_server(plain).await, custody::core::Decision::Forward(_)), "observing stays out of the way");
    for (headers, bytes) in [(None, utf16.as_slice()), (Some(&packed), b"\x1f\x8b\x08\0\0")] {
        let inbound = custody::core::Inbound { peer: &peer, mcp_session: None, headers, bytes, spliced: None };
        assert!(matches!(core.to_server(inbound).await, custody::core::Decision::Refuse(_)));
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_agent_starts_no_server() {
    let stage = Stage::new("").await;
    let session = stage.initialize().await;
    let options = custody::core::ContainOptions { terminate: true, break_glass: None };
    stage.core.contain(&"erin".into(), custody::core::ContainTarget::Principal("agent".into()), "tested", options).await.unwrap();
    while stage.core.status().await.unwrap().live > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let list = r#"{"jsonrpc":"2.0","id":7,"method":"server/discover","params":{}}"#;
    assert!(is_denied(&stage.post(None, list).await.2));
    assert_eq!(stage.core.status().await.unwrap().live, 0);
    let left = stage.client.delete(stage.url()).bearer_auth(stage.key.expose()).header("mcp-session-id", &session).send().await.unwrap();
    assert_eq!(left.status(), 403, "nor does it end anything");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_checkpoints_leave_the_machine_as_file_and_webhook() {
    use axum::{Router, extract::State, routing::post};
    type Notes = Arc<std::sync::Mutex<Vec<Value>>>;
    let notes = Notes::default();
    let take = |State(notes): State<Notes>, body: String| async move { notes.lock().unwrap().push(serde_json::from_str(&body).unwrap()) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = tokio::spawn(axum::serve(listener, Router::new().route("/", post(take)).with_state(notes.clone())).into_future());
    let copies = tempfile::tempdir().unwrap();
    let file = copies.path().join("checkpoints");
    let stage = Stage::new(&format!(
        "[[ledger.copies]]\nkind = \"webhook\"\nurl = \"http://{address}/\"\n[[ledger.copies]]\nkind = \"file\"\npath = {file:?}\n"
    ))
    .await;
    stage.initialize().await;
    let vkey = stage.core.ledger().vkey().to_owned();
    let size = stage.core.ledger().checkpoint().unwrap().size();
    let told = |notes: &Notes| notes.lock().unwrap().iter().any(|note| note["size"].as_u64() >= Some(size));
    let waiting = async {
        while !told(&notes) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap();
    stage.close().await;
    let verifier = custody_tlog::Verifier::parse(&vkey).unwrap();
    for note in notes.lock().unwrap().iter() {
        let signed = custody_tlog::SignedCheckpoint::parse(note["note"].as_str().unwrap()).unwrap();
        assert_eq!(verifier.verify(&signed).unwrap().size, note["size"].as_u64().unwrap());
    }
    let copy = std::fs::read_to_string(&file).unwrap();
    assert!(custody_tlog::notes(&copy).count() >= 1, "{copy}");
    receiver.abort();
}

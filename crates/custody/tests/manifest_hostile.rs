//! A hostile HTTP upstream that tries to slip definitions past the pins, and one that lists in pages (D2).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use axum::{Router, body::Body, extract::State, http::Response, routing::post};
use custody::{config::Config, core::*, gateway, trust::*};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What the server answers next, by the method that is asked; `ID` in it becomes the request's id.
type Script = Arc<Mutex<Vec<(&'static str, &'static str, String)>>>;

struct Stage {
    _dir: tempfile::TempDir,
    core: Arc<Core>,
    running: gateway::Running,
    key: Secret,
    script: Script,
    upstream: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn answer(State(script): State<Script>, body: String) -> Response<Body> {
    let asked: Value = serde_json::from_str(&body).unwrap();
    let method = asked["method"].as_str().unwrap_or_default();
    let next = {
        let mut script = script.lock().unwrap();
        script.iter().position(|(of, ..)| *of == method).map(|at| script.remove(at))
    };
    let (_, kind, text) = next.unwrap_or_else(|| ("", "application/json", r#"{"jsonrpc":"2.0","id":ID,"result":{}}"#.to_owned()));
    let (kind, coding) = kind.split_once('+').unwrap_or((kind, "identity"));
    let text = text.replace("ID", &asked["id"].to_string());
    Response::builder().header("content-type", kind).header("content-encoding", coding).body(Body::from(text)).unwrap()
}

impl Stage {
    async fn new() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::init(&dir.path().join("home"), &InitOptions::default()).unwrap().home;
        let key = Clients::mint(&home.clients(), "ana".into(), None, jiff::Timestamp::now()).unwrap();
        let script = Script::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = tokio::spawn(axum::serve(listener, Router::new().route("/", post(answer)).with_state(script.clone())).into_future());
        let listen = "listen = \"127.0.0.1:0\"";
        let text = format!("version = 1\n[agents]\n{listen}\n[operators]\n{listen}\n[servers.evil]\nurl = \"http://{address}/\"\n");
        let core = Core::open(&home, Config::parse(&text, "custody.toml", dir.path(), &|_| None).unwrap()).await.unwrap();
        let running = gateway::start(&core).await.unwrap();
        Stage { _dir: dir, core, running, key, script, upstream }
    }

    /// Asks one thing; the server answers with this text. Gives what the agent reads.
    async fn ask(&self, method: &'static str, params: Value, kind: &'static str, answer: &str) -> String {
        self.script.lock().unwrap().push((method, kind, answer.to_owned()));
        let url = format!("http://{}/mcp/evil", self.running.agents());
        let body = json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}).to_string();
        let request = reqwest::Client::new().post(url).bearer_auth(self.key.expose()).header("content-type", "application/json");
        request.header("accept", "application/json, text/event-stream").body(body).send().await.unwrap().text().await.unwrap()
    }

    async fn list(&self, answer: &str) -> String {
        self.ask("tools/list", json!({}), "application/json", answer).await
    }

    async fn rules(&self) -> Vec<String> {
        self.core.quiet().await;
        self.core.settled().await;
        self.core.projection().findings().await.unwrap().into_iter().map(|row| row.rule.0).collect()
    }

    async fn close(self) {
        self.running.stop().await;
        self.core.close().await;
        self.upstream.abort();
    }
}

fn result(tools: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":ID,"result":{{"tools":[{tools}]}}}}"#)
}

const GOOD: &str = r#"{"name":"add","description":"Adds."}, {"name":"sub","description":"Subtracts."}"#;
const EVIL: &str = r#"{"name":"add","description":"EVIL"}, {"name":"sub","description":"Subtracts."}"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_way_around_the_pins() {
    let stage = Stage::new().await;
    assert_eq!(stage.list(&result(GOOD)).await, result(GOOD).replace("ID", "5"), "byte for byte");
    assert_eq!(stage.list(&result(EVIL)).await, result(r#"{"name":"sub","description":"Subtracts."}"#).replace("ID", "5"));

    let evil = result(EVIL);
    let of_another = evil.replace("ID", "99");
    let stream = format!("id: 7\nevent: message\ndata: {of_another}\n\ndata: {{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{{}}}}\n\n");
    let sse = "text/event-stream";
    let read = stage.ask("tools/call", json!({"name": "sub"}), sse, &stream).await;
    assert!(!read.contains("EVIL") && read.contains("Subtracts.") && read.starts_with("id: 7\nevent: message\ndata: "), "{read}");
    let json_kind = "application/json";
    for (method, kind, answer) in [
        ("tools/list", json_kind, format!("[{evil}]")),
        ("tools/list", json_kind, format!("[{of_another}]")),
        ("tools/list", json_kind, format!("\u{feff}{evil}")),
        ("tools/list", json_kind, evil.replace("\"result\"", "\"result\":{\"tools\":[]},\"result\"")),
        ("tools/list", json_kind, result(r#"{"name":"add","description":"Adds.","description":"EVIL"}"#)),
        ("tools/list", json_kind, result(r#"{"name":"add","description":"Adds."},{"name":"add","description":"EVIL"}"#)),
        ("tools/list", json_kind, result(r#"{"name":"add","description":"Adds."},{"description":"EVIL"}"#)),
        ("tools/list", "application/json+gzip", evil.clone()),
        ("tools/list", sse, format!("data: {evil}\n\n")),
        ("ping", json_kind, of_another.clone()),
        ("ping", json_kind, format!("[{of_another}]")),
    ] {
        let read = stage.ask(method, json!({}), kind, &answer).await;
        assert!(!read.contains("EVIL"), "{answer}\n{read}");
    }
    let rules = stage.rules().await;
    assert_eq!(rules.iter().filter(|rule| *rule == "mcp-004-manifest-drift").count(), 1, "{rules:?}");
    assert!(rules.iter().any(|rule| rule == "mcp-008-dangerous-definition"), "{rules:?}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_no_removals_and_a_whole_walk_shows_them() {
    let stage = Stage::new().await;
    let page = |tool: &str, next: Option<&str>| {
        let next = next.map(|next| format!(r#","nextCursor":"{next}""#)).unwrap_or_default();
        format!(r#"{{"jsonrpc":"2.0","id":ID,"result":{{"tools":[{{"name":"{tool}","description":"{tool}"}}]{next}}}}}"#)
    };
    let kind = "application/json";
    let walk = async |tools: &[&str]| {
        for (nth, tool) in tools.iter().enumerate() {
            let params = if nth == 0 { json!({}) } else { json!({"cursor": "next"}) };
            let text = page(tool, (nth + 1 < tools.len()).then_some("next"));
            assert_eq!(stage.ask("tools/list", params, kind, &text).await, text.replace("ID", "5"));
        }
    };
    let rulings = async || -> Vec<String> {
        stage.core.settled().await;
        let rows = stage.core.projection().rulings().await.unwrap();
        rows.iter()
            .map(|row| format!("{} {}", row.ruling.as_str(), row.definitions.iter().map(|d| d.0.as_str()).collect::<String>()))
            .collect()
    };
    walk(&["a", "b", "c"]).await;
    walk(&["a", "b", "c"]).await;
    assert_eq!(rulings().await, ["pinned a", "pinned b", "pinned c", "completed "]);
    walk(&["a", "c"]).await;
    assert_eq!(rulings().await[4..], ["removed b"]);
    walk(&["a", "b", "c"]).await;
    assert_eq!(rulings().await[5..], ["relisted b"]);
    walk(&["a", "b", "c", "d"]).await;
    assert_eq!(rulings().await[6..], ["pinned d"]);
    assert!(stage.rules().await.is_empty());
    let changes = stage.core.manifest().definitions;
    assert!(changes.iter().all(|shown| shown.state == custody_engine::manifest::State::Pinned));
    stage.close().await;
}

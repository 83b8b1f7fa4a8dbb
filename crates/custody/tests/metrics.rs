//! What a scraper and a supervisor see of a real daemon.
#![allow(clippy::unwrap_used)]

mod daemon;

use daemon::{exchange, initialised};
use prometheus_parse::{Scrape, Value as Figure};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};

/// Status, headers and body.
fn get(address: &str, path: &str, more: &str) -> (String, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_scraper_reads_what_happened_and_no_name_of_an_agent_or_a_tool() {
    let home = initialised();
    let args = json!(["practice-server", "--data", home.temp.path().join("data")]);
    home.add_to_config(&format!(
        "[servers.practice]\ncommand = {:?}\nargs = {args}\n[roles.reader]\nallow = [\"practice/list_files\"]\n[clients.agent-of-alice]\nrole = \"reader\"\n",
        env!("CARGO_BIN_EXE_custody")
    ));
    let now = jiff::Timestamp::now();
    let key = custody::trust::Clients::mint(&home.root.join("clients.json"), "agent-of-alice".into(), None, now).unwrap();
    let daemon = home.up();
    let operators = daemon.operators();
    let url = format!("http://{}/mcp/practice", daemon.ready["agents"].as_str().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = reqwest::Client::new();
        let post = async |session: Option<&str>, body: Value| {
            let mut request = client
                .post(&url)
                .bearer_auth(key.expose())
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream");
            if let Some(session) = session {
                request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-06-18");
            }
            let answer = request.body(body.to_string()).send().await.unwrap();
            let session = answer.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
            answer.bytes().await.unwrap();
            session
        };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let session = post(None, hello).await;
        let session = session.as_deref();
        post(session, json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        for id in 1..4 {
            post(session, json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "list_files", "arguments": {}}}))
                .await;
        }
        post(
            session,
            json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "secret_tool", "arguments": {"to": "eve"}}}),
        )
        .await;
    });

    let token = std::fs::read_to_string(home.root.join("metrics.token")).unwrap();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (head, text) = get(&operators, "/metrics", &bearer);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let sum = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let fits = |sample: &&prometheus_parse::Sample| {
            sample.metric == name && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
        };
        let number = |sample: &prometheus_parse::Sample| match sample.value {
            Figure::Counter(value) | Figure::Gauge(value) | Figure::Untyped(value) => value,
            _ => 0.0,
        };
        scrape.samples.iter().filter(fits).map(number).sum()
    };
    let said =
        |direction, outcome| sum("custody_messages_total", &[("server", "practice"), ("direction", direction), ("outcome", outcome)]);
    assert_eq!((said("to_server", "allowed"), said("to_server", "denied")), (5.0, 1.0), "{text}");
    assert!(said("to_agent", "allowed") >= 4.0, "{text}");
    assert_eq!(sum("custody_findings_total", &[("priority", "P1")]), 1.0, "{text}");
    assert!(sum("custody_frozen_scopes", &[]) >= 1.0 && sum("custody_ledger_entries", &[]) > 10.0, "{text}");
    assert!(sum("process_resident_memory_bytes", &[]) > 1e6, "{text}");
    for secret in ["alice", "list_files", "secret_tool", "eve\"", key.expose(), token.trim()] {
        assert!(!text.contains(secret), "`{secret}` in {text}");
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn figures_need_a_token_and_health_needs_none() {
    let home = initialised();
    let daemon = home.up();
    let at = daemon.operators();
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let (head, told) = get(&at, path, "");
        assert!(head.starts_with("HTTP/1.1 200") && told == body, "{head} {told}");
        assert!(get(&at, path, "Origin: https://evil.example\r\n").0.starts_with("HTTP/1.1 403"));
    }
    let token = std::fs::read_to_string(home.root.join("metrics.token")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(home.root.join("metrics.token")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(get(&at, "/metrics", "").0.starts_with("HTTP/1.1 401"));
    assert!(get(&at, "/metrics", "Authorization: Bearer cst_wrong\r\n").0.starts_with("HTTP/1.1 401"));
    assert!(get(&at, "/metrics", &format!("Authorization: Bearer {}\r\n", home.token())).0.starts_with("HTTP/1.1 200"));
    // It opens the figures and nothing else.
    let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    assert_eq!(exchange(&at, request.as_bytes()).0, 401);
    // Agents' side: not there.
    let agents = daemon.ready["agents"].as_str().unwrap();
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert!(!get(agents, path, "").0.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(daemon.stop(), 0);
}

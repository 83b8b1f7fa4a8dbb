//! The virtual clock of drills: an operator's, recorded, and out of every agent's reach.
#![allow(clippy::unwrap_used)]

mod daemon;

use custody::trust::Clients;
use daemon::{Home, exchange, initialised};
use jiff::Timestamp;
use serde_json::{Value, json};

fn post(address: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
        Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, format!("{head}{body}").as_bytes())
}

fn shown(home: &Home) -> Timestamp {
    home.json(&["status"])["virtual_clock"]["now"].as_str().unwrap().parse().unwrap()
}

#[test]
fn an_operator_advances_it_sessions_end_and_the_record_says_so() {
    let home = initialised();
    home.add_to_config("[servers.practice]\nurl = \"http://127.0.0.1:9/mcp\"\n[clients.agent]\n");
    let key = Clients::mint(&home.root.join("clients.json"), "agent".into(), None, Timestamp::now()).unwrap();
    let start = "2027-03-01T09:00:00Z";
    let daemon = home.up_with(&["--virtual-clock", start]);
    let (operators, agents) = (daemon.operators(), daemon.ready["agents"].as_str().unwrap().to_owned());
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}});
    let first = Timestamp::now();
    // Nobody listens upstream: the session is begun and recorded all the same.
    post(&agents, "/mcp/practice", key.expose(), &initialize.to_string());
    let begun = home.json(&["sessions"]);
    assert!(begun[0]["started"].as_str().unwrap().starts_with("2027-03-01T09:0"), "{begun}");
    assert!(begun[0]["ended"].is_null(), "{begun}");

    let day = json!({"advance_ms": 86_400_000_u64}).to_string();
    let (status, reading) = post(&operators, "/api/v1/clock", &home.token(), &day);
    assert_eq!((status, &reading["advanced_ms"]), (200, &json!(86_400_000_u64)), "{reading}");
    let now = shown(&home);
    let expected: Timestamp = "2027-03-02T09:00:00Z".parse().unwrap();
    assert!(
        now >= expected && now.duration_since(expected) <= Timestamp::now().duration_since(first) + jiff::SignedDuration::from_secs(20)
    );
    assert!(!home.json(&["sessions"])[0]["ended"].is_null(), "an idle session has ended by then");
    let told = home.run(&["status"]);
    assert!(daemon::text(&told.stdout).contains("virtual clock"), "{}", daemon::text(&told.stdout));

    // Not by anybody else, not on the agents' side, not back, not for ever.
    assert_eq!(post(&operators, "/api/v1/clock", key.expose(), &day).0, 401);
    for path in ["/api/v1/clock", "/v1/clock", "/mcp/../api/v1/clock"] {
        for token in [key.expose(), &home.token()] {
            assert!(matches!(post(&agents, path, token, &day).0, 400..=499), "{path}");
        }
    }
    for (body, expected) in
        [(r#"{"advance_ms": -1}"#, 400), (r#"{"advance_ms": 18446744073709551615}"#, 404), (r#"{"advance": 1}"#, 400), ("", 400)]
    {
        assert_eq!(post(&operators, "/api/v1/clock", &home.token(), body).0, expected, "{body}");
    }
    assert!(shown(&home).duration_since(now) < jiff::SignedDuration::from_mins(5));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(home.ledger().matches("\"advance_clock\"").count(), 1);
    assert!(home.run(&["verify"]).status.success());
}

#[test]
fn with_the_machines_clock_there_is_nothing_to_advance() {
    let home = initialised();
    let daemon = home.up_with(&[]);
    let (status, answer) = post(&daemon.operators(), "/api/v1/clock", &home.token(), r#"{"advance_ms": 1000}"#);
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("not_found")), "{answer}");
    assert!(home.json(&["status"]).get("virtual_clock").is_none());
    assert_eq!(daemon.stop(), 0);
    assert!(!home.ledger().contains("advance_clock"));
}

//! The operators' listener of a real daemon, spoken to byte by byte.
#![allow(clippy::unwrap_used)]

mod daemon;

use daemon::{exchange, initialised};
use serde_json::{Value, json};

fn get(address: &str, path: &str, more: &str) -> (u16, Value) {
    exchange(address, format!("GET /api/v1/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n").as_bytes())
}

fn post(address: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let head = format!(
        "POST /api/v1/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, format!("{head}{body}").as_bytes())
}

#[test]
fn only_operators_are_answered_and_refusals_are_counted_and_recorded() {
    let home = initialised();
    let daemon = home.up();
    let at = daemon.operators();
    let bearer = format!("Authorization: Bearer {}\r\n", home.token());
    assert_eq!(get(&at, "status", &bearer).0, 200);

    let (status, body) = get(&at, "status", "");
    assert_eq!((status, body["error"]["code"].as_str()), (401, Some("unauthorized")));
    for wrong in [
        "Authorization: Bearer cok_AAAA\r\n".to_owned(),
        format!("Authorization: Basic {}\r\n", home.token()),
        format!("Authorization: Bearer {}x\r\n", home.token()),
        format!("{bearer}{bearer}"),
        "Authorization: \u{0}\r\n".replace('\u{0}', "\u{7f}"),
    ] {
        assert_ne!(get(&at, "status", &wrong).0, 200, "{wrong:?}");
    }
    // Also for what does not exist: no map of the house for strangers.
    assert_eq!(get(&at, "nothing", "").0, 401);
    assert_eq!(get(&at, "nothing", &bearer).0, 404);
    assert_eq!(get(&at, "contain", &bearer).0, 400);

    let answers: Vec<u16> = (0..30).map(|_| get(&at, "sessions", "").0).collect();
    assert_eq!(answers[29], 429);
    assert_eq!(get(&at, "status", &bearer).0, 200, "wrong tokens do not lock the right one out");
    assert!(home.ledger().contains("\"access_refused\""));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn foreign_pages_are_turned_away_even_with_a_token() {
    let home = initialised();
    let daemon = home.up();
    let at = daemon.operators();
    let token = home.token();
    let ask = |host: &str, more: &str| {
        exchange(
            &at,
            format!("GET /api/v1/status HTTP/1.1\r\n{host}Connection: close\r\nAuthorization: Bearer {token}\r\n{more}\r\n").as_bytes(),
        )
    };
    assert_eq!(ask("Host: localhost:4181\r\n", "").0, 200);
    assert_eq!(ask("Host: [::1]:4181\r\n", "Origin: http://localhost:3000\r\n").0, 200);
    for (host, more) in [
        ("Host: rebound.example\r\n", ""),
        ("Host: 127.0.0.1.rebound.example\r\n", ""),
        ("", ""),
        ("Host: localhost\r\nHost: localhost\r\n", ""),
        ("Host: localhost\r\n", "Origin: https://evil.example\r\n"),
        ("Host: localhost\r\n", "Origin: null\r\n"),
    ] {
        let (status, _) = ask(host, more);
        assert!(matches!(status, 400 | 403), "{host:?} {more:?}: {status}");
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn requests_that_make_no_sense_get_a_clear_answer() {
    let home = initialised();
    home.add_to_config("[servers.practice]\nurl = \"http://127.0.0.1:9/mcp\"\n");
    let daemon = home.up();
    let (at, token) = (daemon.operators(), home.token());
    let target = json!({"target": "server", "id": "practice"});
    for (body, part) in [
        (String::new(), "not what this path takes"),
        ("{".into(), "not what this path takes"),
        (json!({"target": target}).to_string(), "reason"),
        (json!({"target": target, "reason": "  "}).to_string(), "reason is needed"),
        (json!({"target": target, "reason": "x".repeat(3000)}).to_string(), "at most"),
        (json!({"target": target, "reason": "r", "reasons": 1}).to_string(), "reasons"),
        (json!({"target": {"target": "session", "id": "ses_1"}, "reason": "r"}).to_string(), "session id"),
        (format!("{{\"x\": \"{}\"}}", "y".repeat(70_000)), "larger than"),
        ("[".repeat(60_000), "not what this path takes"),
    ] {
        let (status, answer) = post(&at, "contain", &token, &body);
        assert_eq!(status, 400, "{body:.80}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
    let (status, answer) = post(&at, "contain", &token, &json!({"target": {"target": "server", "id": "x"}, "reason": "r"}).to_string());
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("not_found")));
    let (status, answer) = post(&at, "undo", &token, &json!({"action": "act_0", "reason": "r"}).to_string());
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("not_found")));
    let (status, answer) = post(&at, "evidence/export", &token, &json!({"case": "inc_0", "out": "relative", "reason": "r"}).to_string());
    assert_eq!(status, 400, "{answer}");
    assert_eq!(post(&at, "acts", &token, &json!({"verb": "Two Words", "detail": {}}).to_string()).0, 400);
    assert_eq!(get(&at, "sessions/%2e%2e%2fstatus", &format!("Authorization: Bearer {token}\r\n")).0, 400);

    let (status, receipts) = post(&at, "contain", &token, &json!({"target": target, "reason": "r"}).to_string());
    assert_eq!((status, receipts[0]["ok"].as_bool()), (200, Some(true)));
    assert_eq!(daemon.stop(), 0);
}

//! Agents over HTTP, a server over pipes: what the HTTP side owes them (issue 4, items 1 and 3). The server is a shell script that
//! writes down what it reads.

#![allow(clippy::unwrap_used)]

#[path = "daemon/mod.rs"]
mod daemon;

use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    home: daemon::Home,
    custody: daemon::Daemon,
    key: String,
    log: PathBuf,
}

impl Stage {
    /// `script` gets each line as `$line`, and `$id`, the raw id of it.
    fn with(script: &str) -> Stage {
        Stage::in_role(script, None)
    }

    /// With a role for the agent, and what it forbids denied. Nothing is frozen.
    fn in_role(script: &str, allow: Option<&str>) -> Stage {
        let home = daemon::initialised();
        let log = home.temp.path().join("read.txt");
        let client = home.temp.path().join(".mcp.json");
        let script = format!(
            r#"while read -r line; do printf '%s\n' "$line" >> {}; id=$(printf %s "$line" | sed -n 's/.*"id":\([^,}}]*\).*/\1/p'); {script}; done"#,
            log.display()
        );
        let entry = json!({"mcpServers": {"shell": {"command": "sh", "args": ["-c", script]}}});
        std::fs::write(&client, entry.to_string()).unwrap();
        let mut adopt = vec!["adopt", client.to_str().unwrap(), "--client", "agent"];
        if let Some(allow) = allow {
            home.add_to_config(&format!("[roles.narrow]\nallow = {allow}\n"));
            adopt.extend(["--role", "narrow"]);
        }
        let adopted = home.run(&adopt);
        assert!(adopted.status.success(), "{}", daemon::text(&adopted.stderr));
        let entry: Value = serde_json::from_slice(&std::fs::read(&client).unwrap()).unwrap();
        let key = entry["mcpServers"]["shell"]["env"]["CUSTODY_KEY"].as_str().unwrap().to_owned();
        if allow.is_some() {
            let text = std::fs::read_to_string(home.config()).unwrap();
            let text = text.replace(r#"["freeze", "snapshot", "alert"]"#, r#"["alert"]"#);
            std::fs::write(home.config(), text.replace("[servers.shell]\n", "[servers.shell]\nmode = \"enforce\"\n")).unwrap();
        }
        let custody = home.up();
        Stage { home, custody, key, log }
    }

    /// Sends one request on a connection of its own. Returns it with the head of the answer read.
    fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> (String, BufReader<TcpStream>) {
        let address = self.custody.ready["agents"].as_str().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head =
            format!("{method} /mcp/shell HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n", self.key);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut answer).unwrap() > 0, "no answer: {answer}");
        }
        (answer, reader)
    }

    /// What the server has read, once it holds `word`.
    fn read(&self, word: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let read = std::fs::read_to_string(&self.log).unwrap_or_default();
            if read.contains(word) {
                return read;
            }
            assert!(Instant::now() < until, "the server never read {word:?}: {read}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn modern(id: &str, method: &str) -> String {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"_meta":{meta}}}}}"#)
}

const MODERN: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");

#[test]
fn closing_a_stream_cancels_its_request() {
    let stage = Stage::with(
        r#"case "$line" in *subscriptions/listen*) printf '{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":{}}}\n' "$id";; esac"#,
    );
    let headers = [MODERN, ("Mcp-Method", "subscriptions/listen")];
    let (head, mut events) = stage.send("POST", &headers, &modern("\"mine\"", "subscriptions/listen"));
    assert!(head.contains("text/event-stream"), "{head}");
    let mut event = String::new();
    while !event.contains("acknowledged") {
        assert!(events.read_line(&mut event).unwrap() > 0, "{event}");
    }
    assert!(event.contains(r#""io.modelcontextprotocol/subscriptionId":"mine""#), "the agent's own id: {event}");
    drop(events);
    let read = stage.read("notifications/cancelled");
    let listen: Value = serde_json::from_str(read.lines().next().unwrap()).unwrap();
    let cancelled: Value = serde_json::from_str(read.lines().last().unwrap()).unwrap();
    assert_eq!(cancelled["params"]["requestId"], listen["id"], "{read}");
    assert_eq!(stage.custody.stop(), 0);
    assert!(stage.home.run(&["verify"]).status.success());
}

#[test]
fn headers_that_contradict_the_body_never_reach_the_server() {
    let stage = Stage::with(r#"printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}\n' "$id""#);
    let body = |mut answer: BufReader<TcpStream>| {
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let (head, answer) = stage.send("POST", &[MODERN, ("Mcp-Method", "x/unknown")], &modern("2", "x/unknown"));
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert_eq!(body(answer)["error"]["code"], -32601);
    // Last: an agent that contradicts itself is soon frozen.
    let (head, answer) = stage.send("POST", &[MODERN, ("Mcp-Method", "prompts/list")], &modern("1", "tools/list"));
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let answer = body(answer);
    assert_eq!((answer["id"].as_i64(), answer["error"]["code"].as_i64()), (Some(1), Some(-32020)));
    assert!(!stage.read("x/unknown").contains("tools/list"));
}

#[test]
fn a_stream_that_was_lost_is_taken_up_again() {
    let go = r#"case "$line" in *tools/call*) printf '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"begun"}}\n'; while [ ! -e go ]; do sleep 0.05; done; printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}\n' "$id";; *'"id"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}\n' "$id";; esac"#;
    let stage = Stage::with(&format!("cd \"$PWD\"; {go}"));
    let version = ("MCP-Protocol-Version", "2025-11-25");
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let (head, _) = stage.send("POST", &[], initialize);
    let session = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned();
    let session = ("Mcp-Session-Id", session.as_str());

    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t","arguments":{}}}"#;
    let (_, mut events) = stage.send("POST", &[version, session, ("Accept", "text/event-stream, application/json")], call);
    let mut seen = String::new();
    while !seen.contains("begun") {
        assert!(events.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    assert!(seen.contains("retry: ") && seen.contains("data: \n"), "it begins with an event without data: {seen}");
    let last = seen.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned();
    drop(events);
    std::fs::write(stage.home.root.join("go"), "").unwrap();

    let (_, mut again) = stage.send("GET", &[version, session, ("Accept", "text/event-stream"), ("Last-Event-ID", &last)], "");
    let mut rest = String::new();
    while !rest.contains(r#""result":"#) {
        assert!(again.read_line(&mut rest).unwrap() > 0, "{rest}");
    }
    assert!(!rest.contains("begun"), "nothing comes twice: {rest}");
}

const BATCHES: (&str, &str) = ("MCP-Protocol-Version", "2025-03-26");
const ANSWERS: &str = r#"case "$line" in *ping*) printf '[{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"one"}},{"jsonrpc":"2.0","id":%s,"result":{"two":2}}]\n' "$id";; *'"id"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}\n' "$id";; esac"#;

impl Stage {
    /// Opens a protocol session; its id.
    fn initialize(&self) -> String {
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
        let (head, _) = self.send("POST", &[], initialize);
        head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned()
    }

    /// Status line and body.
    fn ask(&self, session: &str, version: (&str, &str), body: &str) -> (String, String) {
        let (head, mut answer) = self.send("POST", &[version, ("Mcp-Session-Id", session)], body);
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        (head.lines().next().unwrap().to_owned(), text)
    }
}

#[test]
fn each_message_of_a_batch_is_recorded_decided_and_handed_over_on_its_own() {
    let stage = Stage::in_role(ANSWERS, Some(r#"["shell/look"]"#));
    let session = stage.initialize();
    let items = [
        r#"{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"look","arguments":{}},"odd": 123456789012345678901234567890}"#,
        r#"{"jsonrpc":"2.0","id":"s","method":"tools/call","params":{"name":"steal","arguments":{}}}"#,
        r#"{"jsonrpc":"2.0",  "method":"notifications/unknown"}"#,
        r#"{"jsonrpc":"2.0","id":12,"method":"prompts/list"}"#,
    ];
    let (status, body) = stage.ask(&session, BATCHES, &format!("[{} ,\n{},\t{},{}]", items[0], items[1], items[2], items[3]));
    assert_eq!(status, "HTTP/1.1 200 OK");
    let answers: Vec<Value> = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let answer = |id: &Value| answers.iter().find(|answer| answer["id"] == *id).unwrap_or_else(|| panic!("{id}: {body}"));
    assert_eq!(answers.len(), 3, "{body}");
    assert!(answer(&json!(10))["result"].is_object() && answer(&json!(12))["result"].is_object());
    assert_eq!(answer(&json!("s"))["error"]["code"], 4030);
    let read = stage.read("prompts/list");
    assert_eq!(read.lines().skip(1).collect::<Vec<_>>(), [items[0], items[2], items[3]], "byte for byte, and nothing of the denied one");

    let (status, _) = stage.ask(&session, BATCHES, &format!("[{}]", items[2]));
    assert_eq!(status, "HTTP/1.1 202 Accepted", "nothing waits for an answer");

    // What a server sends in a batch comes message by message too.
    let (status, body) = stage.ask(&session, BATCHES, r#"{"jsonrpc":"2.0","id":20,"method":"ping"}"#);
    assert_eq!(status, "HTTP/1.1 200 OK");
    let events: Vec<Value> = body.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    assert_eq!(events.len(), 2, "{body}");
    assert_eq!((&events[0]["params"]["data"], &events[1]["result"]["two"]), (&json!("one"), &json!(2)));
    assert_eq!(stage.custody.stop(), 0);
    let ledger = stage.home.ledger();
    assert_eq!(ledger.matches(r#""shape":"batch""#).count(), 0, "each message has an entry of its own");
    assert!(stage.home.run(&["verify"]).status.success());
}

#[test]
fn a_batch_that_is_none_is_refused_clearly() {
    let stage = Stage::with(ANSWERS);
    let session = stage.initialize();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#;
    for (version, batch, why) in [
        (BATCHES, "[]".to_owned(), "a batch of nothing"),
        (BATCHES, format!("[{}]", vec![ping; 1025].join(",")), "more than 1024 messages"),
        (BATCHES, format!("[{ping}, 7]"), "a batch item that is no message"),
        (("MCP-Protocol-Version", "2025-06-18"), format!("[{ping}]"), "revision 2025-06-18 has no batches"),
    ] {
        let (status, body) = stage.ask(&session, version, &batch);
        assert_eq!(status, "HTTP/1.1 400 Bad Request", "{why}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], -32600);
        assert!(body["error"]["message"].as_str().unwrap().contains(why), "{body}");
    }
    assert_eq!(stage.read("initialize").lines().count(), 1, "nothing of them reached the server");
}

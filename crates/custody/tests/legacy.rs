//! HTTP+SSE (revision 2024-11-05), with everything that can go wrong on it. One Custody, in front of a shell script, is the server of
//! HTTP+SSE; another stands in front of the first (issue 4, items 1 and 7).

#![allow(clippy::unwrap_used)]

#[path = "daemon/mod.rs"]
mod daemon;

use custody::trust::Clients;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers everything but `wait` and `vanish`.
const SCRIPT: &str = r#"while read -r line; do id=$(printf %s "$line" | sed -n 's/.*"id":\([^,}]*\).*/\1/p'); case "$line" in *vanish*) exit 1;; *'"wait"'*) ;; *'"id"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"seen":1}}\n' "$id";; esac; done"#;

struct Side {
    home: daemon::Home,
    custody: daemon::Daemon,
    keys: Vec<String>,
}

impl Side {
    fn up(config: &str) -> Side {
        let home = daemon::initialised();
        home.add_to_config(config);
        // An agent that is denied goes on here.
        let text = std::fs::read_to_string(home.config()).unwrap().replace(r#"["freeze", "snapshot", "alert"]"#, r#"["alert"]"#);
        std::fs::write(home.config(), text).unwrap();
        let mint = |name: &str| {
            let key = Clients::mint(&home.root.join("clients.json"), name.into(), None, jiff::Timestamp::now()).unwrap();
            key.expose().to_owned()
        };
        let keys = vec![mint("agent"), mint("other")];
        let custody = home.up();
        Side { home, custody, keys }
    }

    fn address(&self) -> &str {
        self.custody.ready["agents"].as_str().unwrap()
    }

    fn send(&self, method: &str, path: &str, key: &str, body: &str) -> (String, BufReader<TcpStream>) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address(),
            body.len()
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "no answer: {head}");
        }
        (head, reader)
    }

    /// Opens a stream. Gives the address that it says to post to.
    fn open(&self) -> (String, BufReader<TcpStream>) {
        let (head, mut events) = self.send("GET", "/mcp/shell", &self.keys[0], "");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        assert_eq!(line(&mut events, "event:").trim(), "event: endpoint");
        let said = line(&mut events, "data:");
        (said.trim().strip_prefix("data: ").unwrap().to_owned(), events)
    }

    fn post(&self, path: &str, key: usize, body: &Value) -> String {
        let (head, _) = self.send("POST", path, &self.keys[key], &body.to_string());
        head.lines().next().unwrap().to_owned()
    }
}

/// The next line of a stream that begins so.
fn line(events: &mut BufReader<TcpStream>, start: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(events.read_line(&mut line).unwrap() > 0, "the stream ended before {start:?}");
        if line.starts_with(start) {
            return line;
        }
    }
}

fn message(events: &mut BufReader<TcpStream>) -> Value {
    serde_json::from_str(line(events, "data:").strip_prefix("data: ").unwrap()).unwrap()
}

fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

fn server() -> Side {
    Side::up(&format!("[servers.shell]\ncommand = \"sh\"\nargs = [\"-c\", {SCRIPT:?}]\n"))
}

fn in_front_of(server: &Side) -> Side {
    Side::up(&format!(
        "[servers.shell]\nurl = \"http://{}/mcp/shell\"\nheaders = {{ Authorization = \"Bearer {}\" }}\nmode = \"enforce\"\n[clients.agent]\nrole = \"reader\"\n[roles.reader]\nallow = [\"shell/look\", \"shell/wait\", \"shell/vanish\"]\n",
        server.address(),
        server.keys[0]
    ))
}

#[test]
fn an_agent_posts_to_custody_and_reads_its_answers_on_the_stream() {
    let server = server();
    let front = in_front_of(&server);
    let (path, mut events) = front.open();
    assert!(path.starts_with("/mcp/shell/messages/"), "an address of Custody's: {path}");
    assert_eq!(front.post(&path, 0, &call(1, "look")), "HTTP/1.1 202 Accepted");
    let answer = message(&mut events);
    assert_eq!((answer["id"].as_u64(), &answer["result"]["seen"]), (Some(1), &json!(1)));

    // Denied: the agent reads it where it waits for it, and the server never hears of it.
    assert_eq!(front.post(&path, 0, &call(2, "steal")), "HTTP/1.1 202 Accepted");
    let answer = message(&mut events);
    assert_eq!((answer["id"].as_u64(), answer["error"]["code"].as_i64()), (Some(2), Some(4030)), "{answer}");

    // Nobody else posts to it, and nothing but POST is taken.
    assert!(front.post(&path, 1, &call(3, "look")).starts_with("HTTP/1.1 404"));
    assert!(front.post("/mcp/shell/messages/00", 0, &call(3, "look")).starts_with("HTTP/1.1 404"));
    assert!(front.send("GET", &path, &front.keys[0], "").0.starts_with("HTTP/1.1 405"));

    // With the stream its address is gone, and so is the stream at the server.
    drop(events);
    let ended = |side: &Side| {
        let until = std::time::Instant::now() + PATIENCE;
        while side.home.json(&["status"])["live"] != 0 {
            assert!(std::time::Instant::now() < until, "the stream is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    ended(&front);
    ended(&server);
    assert!(front.post(&path, 0, &call(4, "look")).starts_with("HTTP/1.1 404"));

    assert_eq!(front.custody.stop(), 0);
    let ledger = front.home.ledger();
    assert_eq!(ledger.matches(r#""spliced":["endpoint"]"#).count(), 1, "the rewritten address is recorded as such");
    assert!(!ledger.contains("steal"), "the leaf names no tool that was not listed");
    assert!(front.home.run(&["verify"]).status.success());
}

#[test]
fn a_server_that_goes_in_the_middle_of_a_call_is_told() {
    let server = server();
    let front = in_front_of(&server);
    // The process behind the stream ends.
    let (path, mut events) = front.open();
    front.post(&path, 0, &call(1, "wait"));
    front.post(&path, 0, &call(2, "vanish"));
    let mut told: Vec<_> =
        [message(&mut events), message(&mut events)].iter().map(|m| (m["id"].as_u64(), m["error"]["code"].as_i64())).collect();
    told.sort_unstable();
    assert_eq!(told, [(Some(1), Some(5020)), (Some(2), Some(5020))]);
    // The whole server dies, and comes back: the agent opens a new stream.
    let (path, mut events) = front.open();
    front.post(&path, 0, &call(3, "wait"));
    let Side { home, custody, .. } = server;
    let config = std::fs::read_to_string(home.config()).unwrap();
    let address = custody.ready["agents"].as_str().unwrap().to_owned();
    drop(custody); // SIGKILL
    let told = message(&mut events);
    assert_eq!((told["id"].as_u64(), told["error"]["code"].as_i64()), (Some(3), Some(5020)), "{told}");
    assert!(front.send("GET", "/mcp/shell", &front.keys[0], "").0.starts_with("HTTP/1.1 502"));
    std::fs::write(home.config(), config.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""), 1)).unwrap();
    let _back = home.up();
    let (path, mut events) = front.open();
    front.post(&path, 0, &call(4, "look"));
    assert_eq!(message(&mut events)["result"]["seen"], 1);
    assert_eq!(front.custody.stop(), 0);
    assert!(front.home.run(&["verify"]).status.success());
}

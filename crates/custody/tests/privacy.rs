//! What is sealed stays sealed, is opened by name, is searched, is erased, and the tables are made anew (R8): with the real
//! program, a real daemon, a real MCP server.
#![allow(clippy::unwrap_used)]

mod daemon;

use custody::trust::{Clients, Secret};
use daemon::{Home, initialised, program, text};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

/// Synthetic secrets and persons, each with what must be readable nowhere.
const CORPUS: [(&str, &str); 20] = [
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANzq81Kxw\n-----END PRIVATE KEY-----", "MIIEvQIBADANzq81Kxw"),
    ("AKIAZQ3DRSTUVWXY2345", "AKIAZQ3DRSTUVWXY2345"),
    ("aws_secret_access_key = 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", "wJalrZZtnFEMI"),
    ("ghp_zQ81Kxw42F292c6912E7710c838347Ae178", "ghp_zQ81Kxw42F292c"),
    ("xoxb-123456789012-zQ81KxwGHIJKL", "zQ81KxwGHIJKL"),
    ("sk_live_zQ81KxwqLyjWDarjtT1zdp7dc", "zQ81KxwqLyjWDarj"),
    ("AIzaSyA-zQ81Kxw890abcdefGHIJKLMNOPQRSTU", "zQ81Kxw890abcdef"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ6UTgxS3h3In0.c2lnbmF0dXJl", "eyJzdWIiOiJ6UTgxS3h3In0"),
    ("postgres://app:Tr0ubzQ81Kxw@db.corp.example/app", "Tr0ubzQ81Kxw"),
    ("Authorization: Bearer hunterzQ81Kxw", "hunterzQ81Kxw"),
    ("the password is correcthorsezq81", "correcthorsezq81"),
    ("card 4539 1488 0343 6467", "4539 1488 0343 6467"),
    ("DE75 5121 0800 1245 1261 99", "5121 0800 1245"),
    ("SSN 219-09-9999", "219-09-9999"),
    ("DNI 87654321X", "87654321X"),
    ("RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    ("CPF 111.444.777-35", "111.444.777-35"),
    ("write to wilhelmina.zq81@corp.example", "wilhelmina.zq81"),
    ("call +49 (30) 901820-4481", "901820-4481"),
    ("q7Zt0GxV3nBk9PfWm2YcR8sLdJ5hTa6E", "q7Zt0GxV3nBk9PfW"),
];

/// A daemon whose log goes to a file.
struct Daemon {
    child: Child,
    ready: Value,
}

impl Daemon {
    fn start(home: &Home, log: &Path, more: &[&str]) -> Daemon {
        let mut command = home.command(&["up", "--json"]);
        command.args(more).env("CUSTODY_LOG", "debug").stdout(Stdio::piped()).stderr(fs::File::create(log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", fs::read_to_string(log).unwrap()));
        Daemon { child, ready }
    }

    fn stop(mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent over Streamable HTTP.
struct Agent {
    client: reqwest::Client,
    url: String,
    key: Secret,
    session: Option<String>,
}

impl Agent {
    async fn hello(daemon: &Daemon, key: &Secret) -> Agent {
        let url = format!("http://{}/mcp/practice", daemon.ready["agents"].as_str().unwrap());
        let mut agent = Agent {
            client: reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).build().unwrap(),
            url,
            key: key.clone(),
            session: None,
        };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": CORPUS[17].0, "version": "1"}}});
        let answer = agent.request(hello.to_string()).send().await.unwrap();
        agent.session = answer.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        answer.bytes().await.unwrap();
        agent.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string()).await;
        agent
    }

    fn request(&self, body: String) -> reqwest::RequestBuilder {
        let mut request = self
            .client
            .post(&self.url)
            .bearer_auth(self.key.expose())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-06-18");
        }
        request.body(body)
    }

    async fn post(&self, body: String) -> String {
        self.request(body).send().await.unwrap().text().await.unwrap()
    }

    async fn call(&self, tool: &str, arguments: Value) -> String {
        self.post(json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}).to_string())
            .await
    }
}

/// A home with a practice server, two agents, and a document with secrets.
fn company() -> (Home, [Secret; 2]) {
    let home = initialised();
    let data = home.temp.path().join("data");
    let args = json!(["practice-server", "--data", data]);
    home.add_to_config(&format!(
        "[servers.practice]\nmode = \"enforce\"\ncommand = {:?}\nargs = {args}\n[roles.reader]\nallow = [\"practice/list_files\", \"practice/read_file\"]\n\
         [clients.agent-alice]\nrole = \"reader\"\n[clients.agent-bob]\nrole = \"reader\"\n",
        env!("CARGO_BIN_EXE_custody")
    ));
    // A snapshot holds opened content on purpose.
    let config = fs::read_to_string(home.config()).unwrap();
    let without = config.replace("\"snapshot\", ", "");
    assert_ne!(config, without);
    fs::write(home.config(), without).unwrap();
    let now = jiff::Timestamp::now();
    let mint = |name: &str| Clients::mint(&home.root.join("clients.json"), name.into(), None, now).unwrap();
    let keys = [mint("agent-alice"), mint("agent-bob")];
    (home, keys)
}

/// Where a text is readable: every file of the home, as it lies there.
fn readable(root: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.is_file() {
                let bytes = fs::read(&path).unwrap();
                if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()) {
                    let around = String::from_utf8_lossy(&bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())]).into_owned();
                    found.push(format!("{}: {}", path.display(), around.escape_debug()));
                }
            }
        }
    }
    found
}

#[test]
fn no_secret_of_a_corpus_is_readable_in_any_file_log_or_error() {
    let (home, [alice, bob]) = company();
    let log = home.temp.path().join("daemon.log");
    let daemon = Daemon::start(&home, &log, &[]);
    let all: String = CORPUS.iter().map(|(text, _)| format!("{text}\n")).collect();
    let document = home.temp.path().join("data/files/secrets.txt");
    let errors = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut errors = String::new();
        let agent = Agent::hello(&daemon, &bob).await;
        fs::write(&document, &all).unwrap();
        let read = agent.call("read_file", json!({"path": "secrets.txt"})).await;
        assert!(read.contains("Tr0ubzQ81Kxw"), "{read}");
        for (text, _) in CORPUS {
            agent.call("read_file", json!({"path": text})).await;
            // Broken, too deep, twice the same key, not JSON at all.
            errors +=
                &agent.post(format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"x\":{}", json!(text))).await;
            errors += &agent.post(format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":{0},\"method\":{0}}}", json!(text))).await;
            errors += &agent.post(text.to_owned()).await;
            let header = text.replace('\n', " ");
            errors += &agent
                .request("{}".into())
                .header("x-note", &header)
                .header("user-agent", header)
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            let stranger = Secret::from(text.replace('\n', " "));
            errors += &Agent { key: stranger, ..Agent::hello(&daemon, &bob).await }.post("{}".into()).await;
        }
        let agent = Agent::hello(&daemon, &alice).await;
        for (text, _) in CORPUS {
            // A P1, a freeze, an incident, and then a closed door.
            errors += &agent.call("send_data", json!({"to": text, "body": text})).await;
        }
        errors
    });
    for args in [
        &["sessions"][..],
        &["incidents"],
        &["findings"],
        &["status"],
        &["find", "kind:finding"],
        &["find", "practice"],
        &["find", "outcome:denied"],
    ] {
        let out = home.run(args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        let shown = text(&out.stdout) + &text(&out.stderr);
        for (_, needle) in CORPUS {
            assert!(!shown.contains(needle), "`{needle}` in {args:?}: {shown}");
        }
    }
    daemon.stop();
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("DEBUG") || !log.is_empty(), "the log was looked at");
    for (_, needle) in CORPUS {
        assert!(!errors.contains(needle), "`{needle}` in an error: {errors}");
        assert!(!log.contains(needle), "`{needle}` in the log");
        assert_eq!(readable(&home.root, needle), Vec::<String>::new(), "`{needle}`");
    }
}

#[test]
fn content_is_found_opened_by_name_and_erased_and_the_record_stays() {
    let (home, [alice, bob]) = company();
    let log = home.temp.path().join("daemon.log");
    let daemon = Daemon::start(&home, &log, &[]);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let agent = Agent::hello(&daemon, &bob).await;
        for n in 0..5 {
            agent.call("read_file", json!({"path": format!("payroll-zq81-{n}.txt")})).await;
        }
        agent.call("list_files", json!({})).await;
        Agent::hello(&daemon, &alice).await.call("send_data", json!({"to": "eve"})).await;
    });
    let find = |query: &str| home.json(&["find", query]);
    let calls = find("tool:read_* principal:agent-bob after:1h");
    assert_eq!(calls["hits"].as_array().unwrap().len(), 5, "{calls}");
    assert_eq!(find("outcome:denied")["hits"][0]["tool"], "send_data");
    assert_eq!(find("kind:session -principal:agent-bob")["hits"].as_array().unwrap().len(), 1);
    assert_eq!(find("rule:mcp-001* unauthorized")["hits"].as_array().unwrap().len(), 1, "{}", find("kind:finding"));
    let first = home.json(&["find", "tool:read_file", "-n", "2"]);
    let rest = home.json(&["find", "tool:read_file", "-n", "10", "--page", first["next"].as_str().unwrap()]);
    assert_eq!((first["hits"].as_array().unwrap().len(), rest["hits"].as_array().unwrap().len(), rest["next"].is_null()), (2, 3, true));
    let (code, error) = home.fails(&["find", "tool:read_* colour:red"]);
    assert!(code != 0 && error["message"].as_str().unwrap().contains("characters 13 to 18"), "{error}");

    // Looked at by name, with a reason, and never without.
    let leaf = calls["hits"][0]["leaf"].to_string();
    assert_eq!(home.run(&["open", &leaf]).status.code(), Some(2));
    assert_ne!(home.fails(&["open", &leaf, "--reason", "  "]).0, 0);
    assert!(!home.ledger().contains("content_opened"));
    let opened = home.json(&["open", &leaf, "--reason", "audit 12"]);
    assert!(opened["body"].as_str().unwrap().contains("payroll-zq81-4"), "{opened}");
    assert_eq!(home.ledger().matches("content_opened").count(), 1);
    assert_ne!(home.fails(&["open", "99999999", "--reason", "x"]).0, 0);

    // Nobody loses what an incident still needs.
    let session = |name: &str| {
        let rows = home.json(&["sessions"]);
        let row = rows.as_array().unwrap().iter().find(|row| row["principal"] == name).cloned();
        row.unwrap_or_else(|| panic!("{name}: {rows}"))["id"].as_str().unwrap().to_owned()
    };
    let (bobs, alices) = (session("agent-bob"), session("agent-alice"));
    let (_, error) = home.fails(&["erase", "session", &alices, "--reason", "r"]);
    assert!(error["message"].as_str().unwrap().contains("is not closed"), "{error}");
    assert_eq!(home.run(&["erase", "session", &bobs]).status.code(), Some(2));
    let planned = home.json(&["erase", "subject", "agent-bob", "--reason", "asked to", "--dry-run"]);
    assert_eq!((planned["sessions"][0].as_str(), planned["dry_run"].as_bool()), (Some(bobs.as_str()), Some(true)));
    assert!(!home.ledger().contains("key_destroyed"));

    // A person asks to be forgotten.
    let erased = home.json(&["erase", "subject", "agent-bob", "--reason", "asked to"]);
    assert_eq!((erased["sessions"].as_array().unwrap().len(), erased["keys"].as_u64()), (1, Some(1)), "{erased}");
    let shown = home.json(&["session", "show", &bobs]);
    assert!(shown["session"]["principal"].is_null() && shown["session"]["calls"] == 6, "{shown}");
    assert_eq!(find("principal:agent-bob")["hits"].as_array().unwrap().len(), 0);
    let out = home.run(&["open", &leaf, "--reason", "too late", "--json"]);
    let gone: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(gone["body"].is_null() && gone["missing"].as_str().unwrap().contains("erased"), "{gone}");
    assert_ne!(home.fails(&["erase", "subject", "agent-bob", "--reason", "again"]).0, 0);
    let ledger = home.ledger();
    assert!(ledger.contains("key_destroyed") && ledger.contains("erase_content"));
    let verified = home.json(&["verify"]);
    assert!(verified["ok"] == true && verified["erased_parts"].as_u64().unwrap() > 5, "{verified}");
    assert_ne!(home.fails(&["rebuild"]).0, 0, "a daemon works with this home");
    daemon.stop();

    // Made anew, everything is as it was, and what was forgotten stays so.
    assert_eq!(home.json(&["rebuild", "--check"])["same"], true);
    let rebuilt = home.json(&["rebuild"]);
    assert!(rebuilt["same"] == true && rebuilt["replaced"] == true, "{rebuilt}");
    assert_eq!(home.json(&["rebuild"])["digest"], rebuilt["digest"]);
    assert!(home.json(&["session", "show", &bobs])["session"]["principal"].is_null());
    assert_eq!(find("outcome:denied")["hits"][0]["principal"], "agent-alice");
    // A lost table is no loss.
    fs::remove_file(home.root.join("custody.db")).unwrap();
    let rebuilt_from_nothing = home.json(&["rebuild"]);
    assert!(rebuilt_from_nothing["same"].is_null() && rebuilt_from_nothing["digest"] == rebuilt["digest"], "{rebuilt_from_nothing}");
    let out = program().arg("--home").arg(&home.root).args(["find", "outcome:denied"]).output().unwrap();
    assert!(text(&out.stdout).contains("practice/send_data"), "{}", text(&out.stdout));
}

#[test]
fn retention_erases_by_class_when_its_days_are_over() {
    let (home, [alice, bob]) = company();
    home.add_to_config("[retention]\nsession_days = 30\n");
    let log = home.temp.path().join("daemon.log");
    let daemon = Daemon::start(&home, &log, &["--virtual-clock"]);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        Agent::hello(&daemon, &bob).await.call("list_files", json!({})).await;
        Agent::hello(&daemon, &alice).await.call("send_data", json!({"to": "eve"})).await;
    });
    assert_eq!(home.json(&["find", "kind:session"])["hits"].as_array().unwrap().len(), 2);
    daemon.stop();
    assert!(!home.ledger().contains("key_destroyed"));
    // A daemon that starts later looks at once.
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 31);
    let daemon = Daemon::start(&home, &log, &["--virtual-clock", &later.to_string()]);
    let begun = std::time::Instant::now();
    while !home.ledger().contains("key_destroyed") {
        assert!(begun.elapsed().as_secs() < 120, "{}", fs::read_to_string(&log).unwrap());
        std::thread::yield_now();
    }
    // Of the agent with an incident everything stays.
    daemon.stop();
    assert_eq!(home.ledger().matches("key_destroyed").count(), 1);
    assert_eq!(home.json(&["find", "principal:agent-alice kind:session"])["hits"].as_array().unwrap().len(), 1);
    assert_eq!(home.json(&["find", "principal:agent-bob"])["hits"].as_array().unwrap().len(), 0);
}

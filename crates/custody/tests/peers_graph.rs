//! One agent, the official Python client, over a modern server (2026-07-28, HTTP) and a legacy one (stdio) at once. Neither way has
//! a protocol session; it is one session all the same, and its links say why (R9).
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "shared with the other peer tests")]
#[path = "peers/harness.rs"]
mod harness;
#[allow(dead_code, reason = "shared with the other peer tests")]
#[path = "peers/servers.rs"]
mod servers;

use harness::{Server, Target, path, python};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

struct Daemon {
    folder: tempfile::TempDir,
    process: Child,
    agents: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
            self.process.wait().unwrap();
        }
    }
}

fn custody(home: &Path, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_custody")).arg("--home").arg(home).arg("--json").args(args).stdin(Stdio::null()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "custody {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

impl Daemon {
    /// A home with both servers adopted as one client.
    fn start(servers: &[&Server]) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        custody(&home, &["init"]);
        let entry = |server: &Server| match &server.target {
            Target::Stdio { command, args, env } => json!({"command": command, "args": args, "env": env}),
            Target::Http { url, headers } | Target::Sse { url, headers } => json!({"url": url, "headers": headers}),
        };
        let entries: serde_json::Map<String, Value> = servers.iter().map(|server| (server.name.to_owned(), entry(server))).collect();
        let client = folder.path().join(".mcp.json");
        std::fs::write(&client, json!({"mcpServers": entries}).to_string()).unwrap();
        custody(&home, &["adopt", client.to_str().unwrap(), "--client", "agent"]);
        let mut process = Command::new(env!("CARGO_BIN_EXE_custody"))
            .arg("--home")
            .arg(&home)
            .args(["--json", "up", "--agents", "127.0.0.1:0", "--operators", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Daemon { folder, process, agents: ready["agents"].as_str().unwrap().to_owned() }
    }

    fn ask(&self, args: &[&str]) -> Value {
        custody(&self.folder.path().join("home"), args)
    }

    fn entry(&self, server: &str) -> Value {
        let text = std::fs::read_to_string(self.folder.path().join(".mcp.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["mcpServers"][server].clone()
    }

    /// Runs one agent over both servers; says which revisions it spoke.
    fn run_agent(&self, modern: &Server, legacy: &Server) -> Value {
        let calls = |server: &Server| {
            server.calls.iter().map(|(tool, arguments)| json!({"tool": tool, "arguments": arguments})).collect::<Vec<_>>()
        };
        let mut pipes = self.entry(legacy.name);
        pipes["calls"] = calls(legacy).into();
        let key = pipes["env"]["CUSTODY_KEY"].as_str().unwrap();
        let http = json!({
            "url": format!("http://{}/mcp/{}", self.agents, modern.name),
            "headers": {"Authorization": format!("Bearer {key}")},
            "calls": calls(modern),
        });
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/drive_two.py");
        let mut command = Command::new(python("python"));
        command.arg(driver).env("PATH", path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(json!({"modern": http, "legacy": pipes}).to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn one_agent_over_a_modern_and_a_legacy_server_is_one_session() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (modern, legacy) = (servers::time(folders[0].path()), servers::memory(folders[1].path()));
    let daemon = Daemon::start(&[&modern, &legacy]);
    let spoken = daemon.run_agent(&modern, &legacy);
    assert_eq!(spoken["modern"], "2026-07-28");
    assert_ne!(spoken["legacy"], "2026-07-28");

    let sessions = daemon.ask(&["sessions"]);
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
    let view = daemon.ask(&["session", "show", sessions[0]["id"].as_str().unwrap()]);
    let servers: BTreeSet<&str> = view["calls"].as_array().unwrap().iter().map(|call| call["server"].as_str().unwrap()).collect();
    assert_eq!(servers, ["memory", "time"].into());
    let links = view["links"].as_array().unwrap();
    let kinds = |kind: &str| links.iter().filter(|link| link["kind"] == kind).count();
    assert_eq!(kinds("mcp_session"), 0, "no protocol session: {links:#?}");
    assert_eq!((kinds("process"), kinds("principal")), (1, 1), "{links:#?}");
    assert!(kinds("connection") >= 2, "pipes and HTTP: {links:#?}");
    assert!(links.iter().all(|link| link["leaf"].is_u64() && link["link"].is_object()), "{links:#?}");

    // A second agent of the same client, at once after the first: by hand it is told apart, and together again.
    let id = sessions[0]["id"].as_str().unwrap().to_owned();
    let before = view["calls"].as_array().unwrap().len();
    daemon.run_agent(&modern, &legacy);
    let whole = daemon.ask(&["session", "show", &id]);
    let first_of_second = whole["calls"][before]["leaf"].as_u64().unwrap().to_string();
    let split = daemon.ask(&["session", "split", &id, "--at", &first_of_second, "--reason", "another run"]);
    let other = split["session"]["id"].as_str().unwrap().to_owned();
    assert_eq!(split["calls"].as_array().unwrap().len(), before);
    assert_eq!(daemon.ask(&["sessions"]).as_array().unwrap().len(), 2);
    let joined = daemon.ask(&["session", "join", &id, &other, "--reason", "it was not"]);
    assert_eq!(joined["session"]["id"], id.as_str());
    assert_eq!(joined["calls"], whole["calls"]);
    assert_eq!(daemon.ask(&["session", "show", &other])["session"]["id"], id.as_str());
}

//! A running Custody in front of one server, set up the way a user does it: `init`, `adopt`, `up`.

use super::harness::{Server, Target};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// The daemon, stopped when dropped.
pub struct Daemon {
    folder: tempfile::TempDir,
    agents: String,
    process: Child,
    server: &'static str,
}

impl Daemon {
    /// A new home with this server adopted, and the daemon up.
    pub fn start(server: &Server) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");

        custody(&home, &["init"]);

        let client = folder.path().join(".mcp.json");
        let entry = match &server.target {
            Target::Stdio { command, args, env } => json!({"command": command, "args": args, "env": env}),
            // An address is an address: the transport is seen on the wire.
            Target::Http { url, headers } | Target::Sse { url, headers } => json!({"type": "http", "url": url, "headers": headers}),
        };
        std::fs::write(&client, json!({"mcpServers": {server.name: entry}}).to_string()).unwrap();
        custody(&home, &["adopt", client.to_str().unwrap(), "--client", "analyst-agent-047"]);

        let mut process = Command::new(env!("CARGO_BIN_EXE_custody"))
            .arg("--home")
            .arg(&home)
            .args(["--json", "up", "--agents", "127.0.0.1:0", "--operators", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let ready = await_ready(&mut process);
        let agents = ready["agents"].as_str().unwrap().to_owned();
        Daemon { folder, agents, process, server: server.name }
    }

    /// The server through the gateway.
    pub fn http(&self) -> Target {
        Target::Http {
            url: format!("http://{}/mcp/{}", self.agents, self.server),
            headers: BTreeMap::from([("Authorization".to_owned(), format!("Bearer {}", self.key()))]),
        }
    }

    /// The server through the gateway, for a client that speaks HTTP+SSE.
    pub fn sse(&self) -> Target {
        let Target::Http { url, headers } = self.http() else { unreachable!("it is HTTP") };
        Target::Sse { url, headers }
    }

    /// The server through the shim: exactly what the adopted client's file says.
    pub fn stdio(&self) -> Target {
        let entry = self.entry();
        Target::Stdio {
            command: entry["command"].as_str().unwrap().to_owned(),
            args: entry["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect(),
            env: serde_json::from_value(entry["env"].clone()).unwrap(),
        }
    }

    /// Stops the daemon and checks its ledger. Returns the number of entries.
    pub fn stop_and_verify(mut self) -> u64 {
        self.stop();
        let report: Value = serde_json::from_str(&custody(&self.home(), &["--json", "verify"])).unwrap();
        report["entries"].as_u64().unwrap_or_else(|| panic!("no number of entries in {report}"))
    }

    fn key(&self) -> String {
        let entry = self.entry();
        let header = || entry["headers"]["Authorization"].as_str()?.strip_prefix("Bearer ");
        entry["env"]["CUSTODY_KEY"].as_str().or_else(header).expect("an adopted entry holds a key").to_owned()
    }

    fn entry(&self) -> Value {
        let text = std::fs::read_to_string(self.folder.path().join(".mcp.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["mcpServers"][self.server].clone()
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn stop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
            self.process.wait().unwrap();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs one command to its end, and returns what it printed.
fn custody(home: &std::path::Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_custody")).arg("--home").arg(home).args(args).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "custody {args:?} ended with {}:\n{errors}\n{printed}", output.status);
    printed
}

/// Waits for the one line that `custody up` prints once it listens.
fn await_ready(process: &mut Child) -> Value {
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("custody up printed {line:?}: {error}"))
}

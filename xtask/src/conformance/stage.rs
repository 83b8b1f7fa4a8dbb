//! The processes of a run: the fixture server, and Custody in a home of its own in front of it.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use miette::miette;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::built;
use crate::step::Failure;

/// What a home does by default: it would freeze the suite, which sends on purpose what only an attacker sends.
pub const FREEZES: &str = r#"automatic = ["freeze", "snapshot", "alert"]"#;
/// What it does here.
pub const RECORDS: &str = r#"automatic = ["alert"]"#;

/// The fixture over HTTP, stopped when dropped.
pub struct Fixture {
    /// Where it listens.
    pub address: SocketAddr,
    url: String,
    process: Child,
}

/// A daemon with the fixture adopted twice: `fixture-http` and `fixture-stdio`. Stopped when dropped.
pub struct Custody {
    /// The agents' listener.
    pub agents: SocketAddr,
    /// The adopted client's key.
    pub key: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Fixture {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> Result<Fixture, Failure> {
        let (process, line) = spawned(built("custody-fixture").args(["--http", "127.0.0.1:0"]))?;
        let url = line.trim().to_owned();
        let address = url.trim_start_matches("http://").trim_end_matches("/mcp").parse().map_err(failed("the fixture's address"))?;
        Ok(Fixture { address, url, process })
    }
}

impl Custody {
    /// Sets it up the way a user does: `init`, `adopt`, `up`. What it logs goes to `results`.
    ///
    /// # Errors
    /// When one of the three fails.
    pub fn start(fixture: &Fixture, results: &Path) -> Result<Custody, Failure> {
        let folder = tempfile::tempdir().map_err(failed("a folder for the home"))?;
        let home = folder.path().join("home");
        run(&home, &["init"])?;
        let config = home.join("custody.toml");
        let text = std::fs::read_to_string(&config).map_err(failed("custody.toml"))?;
        std::fs::write(&config, text.replace(FREEZES, RECORDS)).map_err(failed("custody.toml"))?;
        let client = folder.path().join(".mcp.json");
        let entries = json!({"mcpServers": {
            "fixture-http": {"type": "http", "url": fixture.url},
            "fixture-stdio": {"command": built("custody-fixture").get_program().to_string_lossy(), "args": []},
        }});
        std::fs::write(&client, entries.to_string()).map_err(failed("the client's configuration"))?;
        run(&home, &["adopt", &client.to_string_lossy(), "--client", "conformance-suite"])?;
        let adopted: Value = std::fs::read(&client).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let key = adopted["mcpServers"]["fixture-stdio"]["env"]["CUSTODY_KEY"]
            .as_str()
            .ok_or_else(|| miette!("the adopted client holds no key: {adopted}"))?
            .to_owned();
        let log = std::fs::create_dir_all(results).and_then(|()| std::fs::File::create(results.join("custody.log")));
        let log = log.map_err(failed("custody.log"))?;
        let (process, line) =
            spawned(custody(&home).args(["--json", "up", "--agents", "127.0.0.1:0", "--operators", "127.0.0.1:0"]).stderr(log))?;
        let ready: Value = serde_json::from_str(&line).map_err(failed("what `custody up` printed"))?;
        let agents = ready["agents"].as_str().unwrap_or_default().parse().map_err(failed("the agents' address"))?;
        Ok(Custody { agents, key, process, _folder: folder })
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

/// An error of this part as a failure of the task.
pub fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| miette!("{what}: {error}").into()
}

fn custody(home: &Path) -> Command {
    let mut command = built("custody");
    command.arg("--home").arg(home).stdin(Stdio::null());
    command
}

fn run(home: &Path, args: &[&str]) -> Result<(), Failure> {
    let output = custody(home).args(args).output().map_err(failed("custody"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(miette!("custody {args:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// A process that says in one line that it is ready.
///
/// # Errors
/// When it ends instead.
pub fn spawned(command: &mut Command) -> Result<(Child, String), Failure> {
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed("a process"))?;
    let stdout = process.stdout.take().expect("stdout is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(failed("a process"))?;
    match line.is_empty() {
        true => {
            stop(&mut process);
            Err(miette!("{} ended at once", Path::new(command.get_program()).display()).into())
        }
        false => Ok((process, line)),
    }
}

/// SIGTERM, and waits.
pub fn stop(process: &mut Child) {
    let _ = kill_process(Pid::from_child(process), Signal::TERM);
    let _ = process.wait();
}

//! Everything that takes part: the echo server, the ways to it, and Custody in a home of its own with everything on.

use miette::miette;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::haproxy::{self, HaProxy};
use super::process::{Running, built, failed};
use super::{CUSTODY, DIRECT, Wire};
use crate::step::Failure;

/// Longest wait until Custody has worked off what it had put off.
const SETTLED: Duration = Duration::from_secs(60);
/// Sessions that the baseline is learned from, per era; with fewer than twenty nothing is compared.
const SESSIONS: u16 = 24;

/// All of it; stopped when dropped.
pub struct Stage {
    /// Over HTTP; the first is `direct`.
    pub ways: Vec<Way>,
    /// Over stdio; the first is `direct`.
    pub pipes: Vec<Pipe>,
    /// The daemon.
    pub custody: Custody,
    /// What is missing.
    pub left_out: Vec<String>,
    _haproxy: Option<HaProxy>,
    _echo: Running,
    _folder: tempfile::TempDir,
}

/// A way over HTTP.
pub struct Way {
    /// Its name in the table.
    pub name: String,
    /// The endpoint.
    pub url: String,
    /// A client key.
    pub key: Option<String>,
}

/// A way over stdio.
pub struct Pipe {
    /// Its name in the table.
    pub name: String,
    /// What a client starts.
    pub command: Vec<String>,
    /// With which variables.
    pub env: Vec<(String, String)>,
}

/// A daemon under load.
pub struct Custody {
    home: PathBuf,
    profile: &'static str,
    process: Running,
}

impl Stage {
    /// Starts everything, lets Custody learn what is usual, and looks that it is in force.
    ///
    /// # Errors
    /// When a part does not start.
    pub fn set(profile: &'static str, options: &Wire) -> Result<Stage, Failure> {
        let folder = tempfile::tempdir().map_err(failed("a folder"))?;
        let (echo, line) = Running::start(built(profile, "custody-bench").args(["echo", "--listen", &options.echo]))?;
        let url = line.trim().to_owned();
        let address: SocketAddr =
            url.trim_start_matches("http://").trim_end_matches("/mcp").parse().map_err(failed("the echo server's address"))?;
        let mut ways = vec![Way { name: DIRECT.into(), url: url.clone(), key: None }];
        let mut left_out = Vec::new();
        let haproxy = HaProxy::start(address, folder.path())?;
        match &haproxy {
            Some(haproxy) => ways.extend([("haproxy tcp", haproxy.tcp), ("haproxy http", haproxy.http)].map(|(name, address)| Way {
                name: name.into(),
                url: format!("http://{address}/mcp"),
                key: None,
            })),
            None => {
                eprintln!("   {}", haproxy::MISSING);
                left_out.push(haproxy::MISSING.to_owned());
            }
        }
        let (custody, way, pipe) = Custody::start(profile, &url, folder.path())?;
        ways.push(way);
        let direct = built(profile, "custody-bench").get_program().to_string_lossy().into_owned();
        let pipes = vec![Pipe { name: DIRECT.into(), command: vec![direct, "echo-stdio".into()], env: Vec::new() }, pipe];
        for gateway in &options.gateway {
            let (name, url) = match gateway.split_once('=') {
                Some((name, url)) if url.starts_with("http") => (name, url),
                _ => ("gateway", gateway.as_str()),
            };
            ways.push(Way { name: name.into(), url: url.into(), key: None });
        }
        Ok(Stage { ways, pipes, custody, left_out, _haproxy: haproxy, _echo: echo, _folder: folder })
    }
}

impl Custody {
    /// Sets it up the way a user does: `init`, `adopt`, roles, `up`, `learn`.
    fn start(profile: &'static str, echo: &str, folder: &Path) -> Result<(Custody, Way, Pipe), Failure> {
        let home = folder.join("home");
        run(profile, &home, &["init"])?;
        let client = folder.join(".mcp.json");
        let bench = built(profile, "custody-bench").get_program().to_string_lossy().into_owned();
        let entries = json!({"mcpServers": {
            "echo": {"type": "http", "url": echo},
            "pipe": {"command": bench, "args": ["echo-stdio"]},
        }});
        std::fs::write(&client, entries.to_string()).map_err(failed("the client's configuration"))?;
        run(profile, &home, &["adopt", &client.to_string_lossy(), "--client", "bench"])?;
        let config = home.join("custody.toml");
        let text = std::fs::read_to_string(&config).map_err(failed("custody.toml"))?;
        std::fs::write(&config, format!("{}{ROLE}", text.replace(FREEZES, ALERTS))).map_err(failed("custody.toml"))?;
        let adopted: Value = std::fs::read(&client).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let entry = &adopted["mcpServers"]["pipe"];
        let texts =
            |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect() };
        let key = entry["env"]["CUSTODY_KEY"].as_str().ok_or_else(|| miette!("the adopted client holds no key: {adopted}"))?.to_owned();
        let command = [vec![entry["command"].as_str().unwrap_or_default().to_owned()], texts(&entry["args"])].concat();
        let log = std::fs::File::create(folder.join("custody.log")).map_err(failed("custody.log"))?;
        let (process, line) = Running::start(
            custody(profile, &home).args(["--json", "up", "--agents", "127.0.0.1:0", "--operators", "127.0.0.1:0"]).stderr(log),
        )?;
        let ready: Value = serde_json::from_str(&line).map_err(failed("what `custody up` printed"))?;
        let agents = ready["agents"].as_str().ok_or_else(|| miette!("no agents' address in {line}"))?;
        let way = Way { name: CUSTODY.into(), url: format!("http://{agents}/mcp/echo"), key: Some(key.clone()) };
        let pipe = Pipe { name: CUSTODY.into(), command, env: vec![("CUSTODY_KEY".into(), key.clone())] };
        let started = Custody { home, profile, process };
        started.learn(&way)?;
        Ok((started, way, pipe))
    }

    /// Many short sessions, then `custody learn --apply`.
    fn learn(&self, way: &Way) -> Result<(), Failure> {
        for era in super::ERAS {
            let mut load = built(self.profile, "custody-bench");
            load.args(["load", "--url", &way.url, "--era", era, "--apart", "--connections", &SESSIONS.to_string(), "--calls", "40"]);
            load.args(["--warm-up", "60000", "--millis", "1"]).env("CUSTODY_KEY", way.key.as_deref().unwrap_or_default());
            let output = load.output().map_err(failed("the load client"))?;
            if !output.status.success() {
                return Err(miette!("learning: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
            }
        }
        let learned: Value = serde_json::from_str(&run(self.profile, &self.home, &["--json", "learn", "--apply"])?)
            .map_err(failed("what `custody learn` printed"))?;
        let sessions = learned["baseline"]["sessions"].as_u64().unwrap_or(0);
        if learned["in_force"] != true || sessions < u64::from(SESSIONS) {
            return Err(miette!("the baseline of {sessions} sessions is not in force: {learned}").into());
        }
        self.until_idle();
        Ok(())
    }

    /// Resident memory, from `/proc`.
    pub fn rss_mb(&self, field: &str) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.0)
    }

    /// Waits until it takes no more processor time; gives the seconds that it took.
    pub fn until_idle(&self) -> f64 {
        let began = (Instant::now(), self.processor_s());
        let mut before = began.1;
        while began.0.elapsed() < SETTLED {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.processor_s();
            if now - before < 0.015 {
                return now - began.1;
            }
            before = now;
        }
        before - began.1
    }

    /// Seconds of processor time so far.
    fn processor_s(&self) -> f64 {
        const TICKS: f64 = 100.0;
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).unwrap_or_default();
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = |at: usize| after_name.split_whitespace().nth(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
        (field(11) + field(12)) / TICKS
    }

    /// Entries in its ledger.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn entries(&self) -> Result<u64, Failure> {
        let status: Value = serde_json::from_str(&run(self.profile, &self.home, &["--json", "status"])?)
            .map_err(failed("what `custody status` printed"))?;
        status
            .pointer("/ledger/entries")
            .or(status.pointer("/entries"))
            .and_then(Value::as_u64)
            .ok_or_else(|| miette!("no entries in {status}").into())
    }
}

/// What a home does by default: it would freeze the load client, which is nothing like what was learned and is told of as such.
const FREEZES: &str = r#"automatic = ["freeze", "snapshot", "alert"]"#;
const ALERTS: &str = r#"automatic = ["alert"]"#;

/// Policy: a role with an allowlist and a constraint, so that every call is asked about and its arguments are looked at.
const ROLE: &str = r#"
[clients.bench]
role = "loader"

[roles.loader]
allow = ["echo/echo", "pipe/echo"]

[[roles.loader.arguments]]
tool = "*/echo"
argument = "text"
max_length = 100000
"#;

fn custody(profile: &str, home: &Path) -> Command {
    let mut command = built(profile, "custody");
    command.arg("--home").arg(home);
    command
}

fn run(profile: &str, home: &Path, args: &[&str]) -> Result<String, Failure> {
    let output = custody(profile, home).args(args).output().map_err(failed("custody"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(miette!("custody {args:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

//! The stage: a fresh home, the real daemon, the practice server and the alert's receiver.

use super::{agent::Endpoint, error::DrillError, plan::Plan, receiver::Receiver};
use crate::trust::{Clients, Home, InitOptions, Secret, write_private};
use custody_model::PrincipalName;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Longest time a part may take to come up or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a file that another process writes.
const LOOK: Duration = Duration::from_millis(3);
/// The practice server's name in the drill's configuration.
pub const SERVER: &str = "practice";

/// Everything that runs.
pub struct Stage {
    /// The home of the daemon.
    pub home: Home,
    /// Where the alerts arrive.
    pub receiver: Receiver,
    /// Key of the alerts' signature.
    pub secret: Secret,
    files: Files,
    daemon: Child,
    practice: Child,
    agents: SocketAddr,
    keys: HashMap<String, Secret>,
}

/// The drill's own files, below the home.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// The practice server's directory.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The practice server's own log of calls.
    pub fn calls(&self) -> PathBuf {
        self.root.join("calls.jsonl")
    }

    fn output(&self, part: &str) -> PathBuf {
        self.root.join(format!("{part}.log"))
    }
}

impl Stage {
    /// Makes the home, writes corpus and configuration, starts everything, and waits until agents can connect. Not `guarded`:
    /// everything is recorded and nothing enforced.
    ///
    /// # Errors
    /// When a part cannot be made or does not come up.
    pub async fn set(root: &Path, plan: &Plan, guarded: bool) -> Result<Stage, DrillError> {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let home = Home::init(root, &InitOptions { agents: free, operators: free, ..InitOptions::default() })?.home;
        let files = Files { root: home.root().join("drill") };
        std::fs::create_dir(&files.root).map_err(DrillError::io("make", &files.root))?;
        plan.write_corpus(&files.data()).map_err(DrillError::io("write the corpus to", files.data()))?;
        let mut keys = HashMap::new();
        for agent in &plan.agents {
            let principal = PrincipalName::from(agent.principal.as_str());
            keys.insert(agent.principal.clone(), Clients::mint(&home.clients(), principal, None, Timestamp::now())?);
        }
        let (mut practice, url) = start_practice(&files).await?;
        let receiver = Receiver::listen().await.map_err(DrillError::io("listen on", "127.0.0.1"))?;
        let secret = Secret::mint("").map_err(DrillError::io("make", "a secret"))?;
        let secret_file = files.root.join("alert.secret");
        write_private(&secret_file, secret.expose().as_bytes()).map_err(DrillError::io("write", &secret_file))?;
        let config = config(plan, guarded, &url, &receiver.url(), &secret_file);
        write_private(&home.config(), config.as_bytes()).map_err(DrillError::io("write", home.config()))?;
        let started = async {
            let mut daemon = start(&files, "daemon", &["--home", &home.root().to_string_lossy(), "up"])?;
            let agents = ready(&home, &mut daemon, &files).await?;
            Ok((daemon, agents))
        };
        match started.await {
            Ok((daemon, agents)) => Ok(Stage { home, receiver, secret, files, daemon, practice, agents, keys }),
            Err(error) => {
                _ = practice.kill().await;
                Err(error)
            }
        }
    }

    /// Where a principal connects.
    pub fn endpoint(&self, principal: &str) -> Endpoint {
        Endpoint { url: format!("http://{}/mcp/{SERVER}", self.agents), key: self.keys.get(principal).map(|key| key.expose().to_owned()) }
    }

    /// Ends the daemon in order, then the practice server. The home stays, and so does what arrived at the receiver.
    ///
    /// # Errors
    /// When the daemon does not end, or ends badly.
    pub async fn strike(mut self) -> Result<(Home, Files, Receiver, Secret), DrillError> {
        let daemon = end(&mut self.daemon, "daemon", &self.files).await;
        let practice = end(&mut self.practice, "practice server", &self.files).await;
        daemon.and(practice)?;
        Ok((self.home, self.files, self.receiver, self.secret))
    }
}

fn start(files: &Files, part: &'static str, arguments: &[&str]) -> Result<Child, DrillError> {
    let program = std::env::current_exe().map_err(DrillError::io("find", "this program"))?;
    let path = files.output(part);
    let output = File::create(&path).map_err(DrillError::io("make", &path))?;
    Command::new(&program)
        .args(arguments)
        // `up` takes over the `.mcp.json` of its working directory; the drill is nobody's project.
        .current_dir(&files.root)
        .env_remove("CUSTODY_OPERATOR_KEY")
        .stdin(Stdio::null())
        .stdout(if part == "daemon" { Stdio::from(output.try_clone().map_err(DrillError::io("open", &path))?) } else { Stdio::piped() })
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .map_err(DrillError::io("start", program))
}

async fn start_practice(files: &Files) -> Result<(Child, String), DrillError> {
    let (data, calls) = (files.data(), files.calls());
    let arguments = ["practice-server", "--http", "127.0.0.1:0", "--data", &data.to_string_lossy(), "--log", &calls.to_string_lossy()]
        .map(str::to_owned);
    let mut child = start(files, "practice", &arguments.each_ref().map(String::as_str))?;
    let failed = |what: &str| DrillError::Part { part: "practice server", what: what.to_owned(), log: files.output("practice") };
    let output = child.stdout.take().expect("its output is piped");
    let mut line = String::new();
    match timeout(PATIENCE, BufReader::new(output).read_line(&mut line)).await {
        Ok(Ok(_)) => match line.trim().strip_prefix("practice server on ") {
            Some(url) => Ok((child, url.to_owned())),
            None => Err(failed("ended before it listened")),
        },
        _ => Err(failed("did not come up")),
    }
}

/// Waits until the daemon has written where it listens.
async fn ready(home: &Home, daemon: &mut Child, files: &Files) -> Result<SocketAddr, DrillError> {
    let failed = |what: String| DrillError::Part { part: "daemon", what, log: files.output("daemon") };
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(address) = std::fs::read(home.daemon_file()).ok().and_then(|bytes| agents_address(&bytes)) {
            return Ok(address);
        }
        if let Ok(Some(status)) = daemon.try_wait() {
            return Err(failed(format!("ended at once ({status})")));
        }
        if Instant::now() > deadline {
            return Err(failed("did not come up".to_owned()));
        }
        sleep(LOOK).await;
    }
}

fn agents_address(daemon_file: &[u8]) -> Option<SocketAddr> {
    let value: Value = serde_json::from_slice(daemon_file).ok()?;
    value.get("agents")?.as_str()?.trim_start_matches("http://").trim_end_matches('/').parse().ok()
}

async fn end(child: &mut Child, part: &'static str, files: &Files) -> Result<(), DrillError> {
    let failed = |what: String| DrillError::Part { part, what, log: files.output(part.split(' ').next().unwrap_or(part)) };
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        // It may have ended by itself just now; then waiting says how.
        _ = kill_process(pid, Signal::TERM);
    }
    match timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("ended with {status}"))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => {
            _ = child.kill().await;
            Err(failed("did not end when told to".to_owned()))
        }
    }
}

/// The drill's `custody.toml`: server and rules enforced, everything automatic; or, not `guarded`, none of it.
fn config(plan: &Plan, guarded: bool, practice: &str, alerts: &str, secret: &Path) -> String {
    let on_server = |tools: &[String]| tools.iter().map(|tool| format!("{SERVER}/{tool}")).collect::<Vec<_>>();
    let mut roles = Map::new();
    for role in &plan.roles {
        let mut tasks = Map::new();
        tasks.insert(role.task.0.clone(), json!({"allow": on_server(&role.task.1)}));
        let constraint = |(tool, argument, matches): &(String, String, String)| json!({"tool": format!("{SERVER}/{tool}"), "argument": argument, "matches": matches});
        let arguments: Vec<Value> = role.arguments.iter().map(constraint).collect();
        roles.insert(role.name.clone(), json!({"allow": on_server(&role.allow), "tasks": tasks, "arguments": arguments}));
    }
    let clients: Map<String, Value> =
        plan.agents.iter().map(|agent| (agent.principal.clone(), json!({"role": agent.role, "task": agent.task}))).collect();
    let mode = if guarded { "enforce" } else { "observe" };
    let automatic: &[&str] = if guarded { &["freeze", "snapshot", "alert", "terminate"] } else { &[] };
    let config = json!({
        "version": 1,
        "agents": {"listen": "127.0.0.1:0"},
        "operators": {"listen": "127.0.0.1:0"},
        "servers": {SERVER: {"url": practice, "mode": mode}},
        "roles": roles,
        "clients": clients,
        "rules": {"modes": {"mcp-001-unauthorized-tool": mode}},
        "containment": {"automatic": automatic},
        "alerts": {"drill": {"kind": "webhook", "url": alerts, "secret_file": secret}},
    });
    let table = toml::Table::try_from(config).expect("the drill's configuration is plain tables");
    format!("# Written by `custody drill --scenario {} --seed {}`.\n{table}", plan.scenario, plan.seed)
}

#[cfg(test)]
mod tests {
    use super::config;
    use crate::{config::Config, drill::scenarios};
    use std::path::Path;

    #[test]
    fn the_configuration_of_every_drill_is_valid() {
        let dir = tempfile::tempdir().unwrap();
        for (scenario, seed) in scenarios::all().iter().flat_map(|scenario| (0..50).map(move |seed| (scenario, seed))) {
            let text = config(
                &(scenario.plan)(seed),
                seed % 2 == 0,
                "http://127.0.0.1:1/mcp",
                "http://127.0.0.1:2/alert",
                Path::new("/tmp/secret"),
            );
            Config::parse(&text, "custody.toml", dir.path(), &|_| None).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        }
    }
}

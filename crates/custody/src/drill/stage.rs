//! The stage: a fresh home, the real daemon, the practice server and the alert's receiver.

use super::{
    agent::Endpoint,
    error::DrillError,
    plan::{SERVER, ServerPlan, Setting},
    receiver::Receiver,
};
use crate::{
    api::ApiClient,
    trust::{Clients, Home, InitOptions, OperatorCredential, Secret, write_private},
};
use clap::ValueEnum as _;
use custody_model::PrincipalName;
use jiff::{SignedDuration, Timestamp, civil::Weekday, tz::TimeZone};
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
/// An identity is older than this when a drill with a virtual clock begins.
const KNOWN: SignedDuration = SignedDuration::from_hours(24 * 90);

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
    practice: Vec<Child>,
    agents: SocketAddr,
    operators: SocketAddr,
    keys: HashMap<String, Secret>,
    clock: Option<Timestamp>,
}

/// The drill's own files, below the home.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// The directory of the only practice server.
    pub fn data(&self) -> PathBuf {
        self.data_of(SERVER)
    }

    /// A practice server's directory.
    pub fn data_of(&self, server: &str) -> PathBuf {
        self.of(server, "data")
    }

    /// A practice server's own log of calls.
    pub fn calls_of(&self, server: &str) -> PathBuf {
        self.of(server, "calls.jsonl")
    }

    /// What is changed of a practice server's definitions.
    pub fn changes_of(&self, server: &str) -> PathBuf {
        self.of(server, "changes.json")
    }

    fn of(&self, server: &str, what: &str) -> PathBuf {
        self.root.join(if server == SERVER { what.to_owned() } else { format!("{server}-{what}") })
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
    pub async fn set(root: &Path, plan: &Setting, guarded: bool) -> Result<Stage, DrillError> {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let home = Home::init(root, &InitOptions { agents: free, operators: free, ..InitOptions::default() })?.home;
        let files = Files { root: home.root().join("drill") };
        std::fs::create_dir(&files.root).map_err(DrillError::io("make", &files.root))?;
        for server in &plan.servers {
            let data = files.data_of(server.name);
            plan.write_corpus(&data).map_err(DrillError::io("write the corpus to", &data))?;
        }
        let clock = plan.virtual_clock.then(monday);
        let made = clock.map_or_else(Timestamp::now, |clock| clock.saturating_sub(KNOWN).unwrap_or(clock));
        let mut keys = HashMap::new();
        for client in &plan.clients {
            let principal = PrincipalName::from(client.principal.as_str());
            keys.insert(client.principal.clone(), Clients::mint(&home.clients(), principal, None, made)?);
        }
        // Whoever is started here ends with its handle.
        let mut practice = Vec::new();
        let mut urls = Vec::new();
        for server in &plan.servers {
            let (child, url) = start_practice(&files, server).await?;
            practice.push(child);
            urls.push((server.name, url));
        }
        let receiver = Receiver::listen().await.map_err(DrillError::io("listen on", "127.0.0.1"))?;
        let secret = Secret::mint("").map_err(DrillError::io("make", "a secret"))?;
        let secret_file = files.root.join("alert.secret");
        write_private(&secret_file, secret.expose().as_bytes()).map_err(DrillError::io("write", &secret_file))?;
        let config = config(plan, guarded, &urls, &receiver.url(), &secret_file);
        write_private(&home.config(), config.as_bytes()).map_err(DrillError::io("write", home.config()))?;
        let root = home.root().to_string_lossy().into_owned();
        let given = clock.map(|clock| format!("--virtual-clock={clock}"));
        let arguments: Vec<&str> = ["--home", &root, "up"].into_iter().chain(given.as_deref()).collect();
        let mut daemon = start(&files, "daemon", &arguments)?;
        let (agents, operators) = ready(&home, &mut daemon, &files).await?;
        Ok(Stage { home, receiver, secret, files, daemon, practice, agents, operators, keys, clock })
    }

    /// Where a principal connects.
    pub fn endpoint(&self, principal: &str, server: &str) -> Endpoint {
        Endpoint { url: format!("http://{}/mcp/{server}", self.agents), key: self.keys.get(principal).map(|key| key.expose().to_owned()) }
    }

    /// Where the daemon's virtual clock began.
    pub fn clock(&self) -> Option<Timestamp> {
        self.clock
    }

    /// The drill's own files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Speaks to the daemon as the operator.
    ///
    /// # Errors
    /// When the operator's credential cannot be read.
    pub fn operator(&self) -> Result<ApiClient, DrillError> {
        Ok(ApiClient::new(self.operators, OperatorCredential::read(&self.home.operator_key())?.token))
    }

    /// Ends the daemon in order, then the practice server. The home stays, and so does what arrived at the receiver.
    ///
    /// # Errors
    /// When the daemon does not end, or ends badly.
    pub async fn strike(mut self) -> Result<(Home, Files, Receiver, Secret), DrillError> {
        let daemon = end(&mut self.daemon, "daemon", &self.files).await;
        let mut practice = Ok(());
        for server in &mut self.practice {
            practice = practice.and(end(server, "practice server", &self.files).await);
        }
        daemon.and(practice)?;
        Ok((self.home, self.files, self.receiver, self.secret))
    }
}

/// Midnight (UTC) of the Monday after the next one: virtual time begins there, ahead of the machine's.
fn monday() -> Timestamp {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let monday = today.nth_weekday(2, Weekday::Monday).unwrap_or(today);
    monday.to_zoned(TimeZone::UTC).map_or_else(|_| Timestamp::now() + SignedDuration::from_hours(168), |zoned| zoned.timestamp())
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

async fn start_practice(files: &Files, server: &ServerPlan) -> Result<(Child, String), DrillError> {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let (data, calls, changes) = (path(files.data_of(server.name)), path(files.calls_of(server.name)), path(files.changes_of(server.name)));
    let profile = server.profile.to_possible_value().expect("every profile has a name");
    let mut arguments = vec!["practice-server", "--http", "127.0.0.1:0", "--data", &data, "--log", &calls];
    arguments.extend(["--profile", profile.get_name(), "--changes", &changes]);
    let mut child = start(files, "practice", &arguments)?;
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
async fn ready(home: &Home, daemon: &mut Child, files: &Files) -> Result<(SocketAddr, SocketAddr), DrillError> {
    let failed = |what: String| DrillError::Part { part: "daemon", what, log: files.output("daemon") };
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(addresses) = std::fs::read(home.daemon_file()).ok().and_then(|bytes| addresses(&bytes)) {
            return Ok(addresses);
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

/// Where agents and operators connect.
fn addresses(daemon_file: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let value: Value = serde_json::from_slice(daemon_file).ok()?;
    let address = |name| value.get(name)?.as_str()?.trim_start_matches("http://").trim_end_matches('/').parse().ok();
    Some((address("agents")?, address("operators")?))
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
fn config(plan: &Setting, guarded: bool, urls: &[(&str, String)], alerts: &str, secret: &Path) -> String {
    let first = plan.servers.first().map_or(SERVER, |server| server.name);
    let full = |tool: &str| if tool.contains('/') { tool.to_owned() } else { format!("{first}/{tool}") };
    let on_server = |tools: &[String]| tools.iter().map(|tool| full(tool)).collect::<Vec<_>>();
    let mut roles = Map::new();
    for role in &plan.roles {
        let mut tasks = Map::new();
        tasks.insert(role.task.0.clone(), json!({"allow": on_server(&role.task.1)}));
        let constraint =
            |(tool, argument, matches): &(String, String, String)| json!({"tool": full(tool), "argument": argument, "matches": matches});
        let arguments: Vec<Value> = role.arguments.iter().map(constraint).collect();
        roles.insert(role.name.clone(), json!({"allow": on_server(&role.allow), "tasks": tasks, "arguments": arguments}));
    }
    let clients: Map<String, Value> =
        plan.clients.iter().map(|client| (client.principal.clone(), json!({"role": client.role, "task": client.task}))).collect();
    let mode = if guarded { "enforce" } else { "observe" };
    let automatic: &[&str] = if guarded { &["freeze", "snapshot", "alert", "terminate"] } else { &[] };
    let servers: Map<String, Value> = urls.iter().map(|(name, url)| ((*name).to_owned(), json!({"url": url, "mode": mode}))).collect();
    let config = json!({
        "version": 1,
        "agents": {"listen": "127.0.0.1:0"},
        "operators": {"listen": "127.0.0.1:0"},
        "servers": servers,
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
        for (scenario, seed) in scenarios::all().iter().flat_map(|scenario| (0..20).map(move |seed| (scenario, seed))) {
            let setting = scenario.setting(seed);
            let urls: Vec<_> = setting.servers.iter().map(|server| (server.name, "http://127.0.0.1:1/mcp".to_owned())).collect();
            let text = config(&setting, seed % 2 == 0, &urls, "http://127.0.0.1:2/alert", Path::new("/tmp/secret"));
            Config::parse(&text, "custody.toml", dir.path(), &|_| None).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        }
    }
}

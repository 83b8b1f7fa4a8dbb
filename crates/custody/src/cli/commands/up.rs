//! `custody up`: the daemon, in the foreground.

use super::{
    super::args::{Start, UpArgs},
    Failure, Output, Place, code,
};
use crate::{
    adopt,
    api::{self, DaemonFile},
    config::{Certificate, Config},
    core::{Clock, Core},
    gateway::{self, tls::Tls},
    publish,
    trust::{Clients, Home, Scraper, Standing, loopback, loopback::Names, write_private},
};
use custody_model::{OperatorName, PrincipalName};
use jiff::Timestamp;
use serde_json::json;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

pub async fn run(place: &Place, args: UpArgs, output: &Output) -> Result<ExitCode, Failure> {
    log_to_stderr();
    let home = place.open()?;
    let mut config = place.config(&home)?;
    let taken_over = take_over_working_directory(&home, &config, output)?;
    if taken_over.is_some() {
        config = place.config(&home)?;
    }
    if let Some(address) = args.agents {
        config.agents.listen = address;
    }
    if let Some(address) = args.operators {
        config.operators.listen = address;
    }
    let check =
        |name, address, remote| loopback::check_listen(name, address, remote).map_err(|error| Failure::of(code::BAD_FILE, "remote", error));
    check("agents", config.agents.listen, config.agents.allow_remote || config.agents.tls.is_some())?;
    check("operators", config.operators.listen, config.operators.allow_remote || config.operators.tls.is_some())?;
    let certificate = config.operators.tls.clone();
    let load = |name, files: &Option<Certificate>| {
        files.as_ref().map(|files| Tls::load(name, files)).transpose().map_err(|error| Failure::of(code::BAD_FILE, "tls", error))
    };
    // The agents' one is loaded by the gateway; here only its faults are found, before anything is recorded.
    load("agents", &config.agents.tls)?;
    let operators_tls = load("operators", &config.operators.tls)?;
    if let Some(daemon) = DaemonFile::running(&home) {
        let message = format!("a daemon runs for this home already (pid {})", daemon.pid);
        return Err(Failure::new(
            code::FAILED_CHECK,
            "running",
            message,
            "`custody status` says more; stop it with SIGTERM to start another",
        ));
    }

    // Before anything is recorded: an address in use is the commonest mistake.
    drop(listen("agents", config.agents.listen).await?);
    let operators = listen("operators", config.operators.listen).await?;
    let tiles = match config.ledger.tiles {
        None => None,
        Some(tiles) => Some((listen("ledger.tiles", tiles.listen).await?, tiles.entries)),
    };
    let mut stop_signals = Signals::new()?;
    let standing = Standing::assess(&home, config.grade);
    let servers: Vec<String> = config.servers.keys().cloned().collect();
    let clock = match args.virtual_clock {
        None => Clock::System,
        Some(Start::Now) => Clock::starting_at(Timestamp::now()),
        Some(Start::At(start)) => Clock::starting_at(start),
    };
    if clock.reading().is_some() {
        output.remark("virtual clock: times in this home's record are not the machine's");
    }
    let core = Core::open_at(&home, config, clock).await?;

    let stop = CancellationToken::new();
    let gateway = match gateway::start(&core).await {
        Ok(gateway) => gateway,
        Err(error) => {
            core.close().await;
            return Err(Failure::of(code::OTHER, "listen", error));
        }
    };
    let addresses = (gateway.agents(), local(&operators)?);
    let scheme = if gateway.tls().is_some() { "https" } else { "http" };
    let origin = core.config().agents.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", addresses.0));
    let shims = listen_for_shims(&home)?;
    let shims = tokio::spawn(gateway::serve_shims(core.clone(), shims, stop.clone()));
    let scraper = Scraper::open(&home.metrics_token()).map_err(|error| Failure::io("use metrics.token", &error))?;
    let router = api::router(core.clone(), home.read_operators()?, Names::default()).merge(api::outside(
        core.clone(),
        home.read_operators()?,
        scraper,
        Names::default(),
    ));
    let api = api::serve(operators, router, operators_tls.clone(), stop.clone()).map_err(|error| Failure::io("serve operators", &error))?;
    let tiles = match tiles {
        None => None,
        Some((listener, entries)) => {
            let published = super::log::published(&home, core.config(), core.reader(), entries);
            let listening = api::serve(listener, publish::router(published), None, stop.clone());
            Some(listening.map_err(|error| Failure::io("serve the ledger's tiles", &error))?)
        }
    };
    let mut file = DaemonFile::of_this_process(addresses.0, addresses.1, Timestamp::now())
        .map_err(|error| Failure::io("describe this process", &error))?;
    file.operators_certificate = certificate.map(|files| files.cert);
    file.write(&home).map_err(|error| Failure::io("write run/daemon.json", &error))?;

    let certificates: Vec<Arc<Tls>> = gateway.tls().into_iter().chain(&operators_tls).cloned().collect();
    if let Some(tls) = operators_tls {
        core.spawn(tls.follow(core.stopping()));
    }
    let client = taken_over.map(|(client, names)| client_config(&home, &client, &names, &origin)).transpose()?;
    let followed = tiles.as_ref().map(|tiles| tiles.address);
    announce(&home, (addresses.0, addresses.1, followed), &origin, &servers, client.as_deref(), &standing, output)?;
    let why = loop {
        match stop_signals.next().await {
            Some(why) => break why,
            None => {
                certificates.iter().for_each(|tls| tls.reload_and_tell());
                reload(core.clone()).await;
            }
        }
    };
    output.remark(&format!("{why}: stopping; a second one ends at once"));
    let end = async {
        stop.cancel();
        gateway.stop().await;
        if !matches!(shims.await, Ok(Ok(()))) {
            tracing::error!("the shims' socket did not close in order");
        }
        api.ended().await;
        if let Some(tiles) = tiles {
            tiles.ended().await;
        }
        core.close().await;
    };
    let code = tokio::select! {
        () = end => ExitCode::SUCCESS,
        _ = stop_signals.wait() => ExitCode::from(130),
    };
    DaemonFile::remove(&home);
    Ok(code)
}

/// The socket that `custody stdio` hands its pipes over. One left behind by a killed daemon is replaced.
fn listen_for_shims(home: &Home) -> Result<UnixListener, Failure> {
    let path = home.agents_socket();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Failure::io("replace run/agents.sock", &error)),
        _ => {}
    }
    UnixListener::bind(&path).map_err(|error| Failure::io("listen on run/agents.sock", &error))
}

fn announce(
    home: &Home,
    (agents, operators, tiles): (SocketAddr, SocketAddr, Option<SocketAddr>),
    origin: &str,
    servers: &[String],
    client: Option<&Path>,
    standing: &Standing,
    output: &Output,
) -> Result<(), Failure> {
    let urls: Vec<String> = servers.iter().map(|name| format!("{origin}/mcp/{name}")).collect();
    let value = json!({
        "event": "ready",
        "home": home.root(),
        "pid": std::process::id(),
        "agents": agents,
        "operators": operators,
        "tiles": tiles,
        "servers": servers.iter().zip(&urls).map(|(name, url)| json!({ "name": name, "url": url })).collect::<Vec<_>>(),
        "operator_key": home.operator_key(),
        "client_config": client,
        "standing": standing,
    });
    output.show(&value, || {
        let mut text = format!("Custody is up: agents on {agents}, operators on {operators}\n");
        if let Some(tiles) = tiles {
            text.push_str(&format!("  the ledger can be followed on http://{tiles}\n"));
        }
        for url in &urls {
            text.push_str(&format!("  {url}\n"));
        }
        match client {
            Some(path) => {
                text.push_str(&format!("\nThis client configuration goes through Custody; its key is in it ({}):\n", path.display()));
                text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
            }
            None if servers.is_empty() => {
                text.push_str(
                    "  no servers yet: `custody adopt` beside a .mcp.json, or [servers.NAME] in custody.toml, then start again\n",
                );
            }
            None => {
                text.push_str("\nClients send `Authorization: Bearer KEY`; `custody adopt` beside a .mcp.json gives a client its key\n")
            }
        }
        text.push_str(&format!("\nOperator key: {}\n{}\n\nCtrl-C stops.", home.operator_key().display(), standing.meaning));
        text
    })
}

/// A home without servers, in a directory with a `.mcp.json`: these servers are used, and a client configuration is written
/// for whoever wants to go through Custody. The `.mcp.json` itself stays as it is (`custody adopt` changes it).
fn take_over_working_directory(home: &Home, config: &Config, output: &Output) -> Result<Option<(String, Vec<String>)>, Failure> {
    let found = Path::new(".mcp.json");
    if !config.servers.is_empty() || !found.is_file() {
        return Ok(None);
    }
    let (definitions, left) = adopt::definitions(found)?;
    for (name, why) in &left {
        output.remark(&format!("{} of .mcp.json is left out: {why}", super::super::output::plain(name)));
    }
    if definitions.is_empty() {
        return Ok(None);
    }
    let names = adopt::add_servers(home, &definitions)?;
    output.remark(&format!("Took {} from .mcp.json into {}", names.join(", "), home.config().display()));
    let client = adopt::client_name(&std::path::absolute(found).map_err(|error| Failure::io("find .mcp.json", &error))?);
    Ok(Some((client, names)))
}

/// Writes what a client needs to go through Custody to these servers. The key of an earlier one is kept.
fn client_config(home: &Home, client: &str, names: &[String], origin: &str) -> Result<PathBuf, Failure> {
    let path = home.root().join(format!("client-{client}.mcp.json"));
    let key = match adopt::key_in_file(&path) {
        Some(key) => key,
        None => Clients::mint(&home.clients(), PrincipalName(client.to_owned()), None, Timestamp::now())
            .map_err(|error| Failure::of(code::OTHER, "clients", error))?,
    };
    let server = |name: &String| {
        let headers = json!({ "Authorization": format!("Bearer {}", key.expose()) });
        (name.clone(), json!({ "type": "http", "url": format!("{origin}/mcp/{name}"), "headers": headers }))
    };
    let servers: serde_json::Map<_, _> = names.iter().map(server).collect();
    let text = format!("{:#}\n", json!({ "mcpServers": servers }));
    write_private(&path, text.as_bytes()).map_err(|error| Failure::io("write the client configuration", &error))?;
    Ok(path)
}

async fn listen(name: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let option = if name.contains('.') { String::new() } else { format!(", or use --{name} ADDRESS") };
        let help = format!("is another daemon running? Set {name}.listen in custody.toml{option} (port 0 takes a free one)");
        Failure::new(code::OTHER, "listen", format!("cannot listen for {name} on {address}: {error}"), help)
    })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|error| Failure::io("listen", &error))
}

/// SIGHUP: rules anew, as `custody rules reload`.
async fn reload(core: Arc<Core>) {
    let reloaded = tokio::task::spawn_blocking(move || core.reload_rules(&OperatorName::from("SIGHUP"))).await;
    match reloaded {
        Ok(Ok(reloaded)) => tracing::warn!(rules = reloaded.rules, digest = %reloaded.digest, "rules are reloaded"),
        Ok(Err(error)) => {
            tracing::error!(error = %api::with_causes(&error), "the rules are refused; those before stay in force");
        }
        Err(error) => tracing::error!(%error, "reloading the rules failed"),
    }
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let hear = |kind| signal(kind).map_err(|error| Failure::io("hear signals", &error));
        Ok(Signals {
            hangup: hear(SignalKind::hangup())?,
            interrupt: hear(SignalKind::interrupt())?,
            terminate: hear(SignalKind::terminate())?,
        })
    }

    /// `None`: SIGHUP, which stops nothing.
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.hangup.recv() => None,
            _ = self.interrupt.recv() => Some("SIGINT"),
            _ = self.terminate.recv() => Some("SIGTERM"),
        }
    }

    async fn wait(&mut self) -> &'static str {
        loop {
            if let Some(why) = self.next().await {
                return why;
            }
        }
    }
}

/// Logs go to standard error; `CUSTODY_LOG` filters them.
pub(super) fn log_to_stderr() {
    use std::io::IsTerminal as _;
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("CUSTODY_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let _ = subscriber.try_init();
}

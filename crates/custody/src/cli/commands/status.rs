//! `custody status`.

use super::{
    super::{
        backend::Backend,
        output::{instant, plain, word},
    },
    Failure, Output, Place,
};
use crate::{config::Authorization, core::ServerStatus};
use std::{fmt::Write as _, process::ExitCode};

pub async fn run(place: &Place, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let config = place.config(&home)?;
    let backend = Backend::connect(place, &home).await?;
    let status = backend.status().await?;
    let daemon = backend.daemon();
    // Only a daemon judges by one.
    let baseline = if daemon.is_some() { backend.baseline().await? } else { None };
    let mut value = serde_json::to_value(&status).unwrap_or_default();
    value["home"] = home.root().to_string_lossy().as_ref().into();
    value["daemon"] = daemon.map_or(serde_json::Value::Null, |daemon| serde_json::to_value(daemon).unwrap_or_default());
    value["baseline"] = baseline.as_ref().map_or(
        serde_json::Value::Null,
        |learned| serde_json::json!({"name": learned.name, "digest": learned.digest, "sessions": learned.baseline.sessions}),
    );
    value["agents"] = daemon.map_or(config.agents.listen, |daemon| daemon.agents).to_string().into();
    output.show(&value, || {
        let mut text = String::new();
        let _ = match daemon {
            Some(daemon) => {
                writeln!(
                    text,
                    "Daemon {} runs (pid {}), agents on {}, operators on {}",
                    status.version, daemon.pid, daemon.agents, daemon.operators
                )
            }
            None => writeln!(text, "No daemon runs; `custody up` starts it"),
        };
        if let Some(clock) = &status.virtual_clock {
            let _ = writeln!(text, "virtual clock: {:.0}, {} s ahead by hand", clock.now, clock.advanced_ms / 1000);
        }
        let _ = writeln!(
            text,
            "Home {}, {} ledger entries, {} open cases, {} live connections\n",
            home.root().display(),
            status.entries,
            status.open_cases,
            status.live
        );
        let _ = writeln!(text, "{}", status.standing.meaning);
        for check in &status.standing.checks {
            let _ = writeln!(text, "  {} {} ({})", if check.ok { "ok    " } else { "FAILED" }, check.what, plain(&check.found));
        }
        if !status.servers.is_empty() {
            let agents = |server: &ServerStatus| match server.authorization {
                Authorization::Own => "known",
                Authorization::Transparent => "unverified unless they show a key",
            };
            let rows = status
                .servers
                .iter()
                .map(|server| vec![server.name.to_string(), word(&server.mode), server.upstream.clone(), agents(server).into()]);
            let _ = writeln!(text, "\n{}", output.table(&["SERVER", "MODE", "UPSTREAM", "AGENTS"], rows));
        }
        if !status.clients.is_empty() {
            let names: Vec<_> = status.clients.iter().map(|name| plain(name.as_str())).collect();
            let _ = writeln!(text, "\nClients: {}", names.join(", "));
        }
        if !status.frozen.is_empty() {
            let rows = status
                .frozen
                .iter()
                .map(|(scope, action)| vec!["frozen".into(), scope.to_string(), format!("custody undo {action} --reason …")]);
            let _ = writeln!(text, "\n{}", output.table(&["", "SCOPE", "UNDO"], rows));
        }
        if let Some(rules) = &status.rules {
            let _ = writeln!(text, "\nRules {} since {}, {} silenced", rules.digest, instant(rules.since), rules.silenced);
            if let Some(fault) = &rules.fault {
                let _ = writeln!(text, "  FAILED the rules of {} are refused, those before stay in force:", instant(fault.at));
                for line in fault.faults.lines() {
                    let _ = writeln!(text, "         {}", plain(line));
                }
            }
        }
        match (&baseline, daemon) {
            (Some(learned), _) => {
                let _ = writeln!(text, "Baseline {} of {} sessions", plain(&learned.name), learned.baseline.sessions);
            }
            (None, Some(_)) => {
                let _ = writeln!(text, "No baseline: agents are not held against their usual work until `custody learn --apply`");
            }
            (None, None) => {}
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

//! What serde cannot know: whether the file makes sense. Collects every fault instead of stopping at the first.

mod issuers;
mod names;
mod report;
mod sections;
mod servers;

pub(crate) use names::reads_as;
pub(super) use report::Report;
pub(super) use servers::servers;

use super::{Config, Fault, Secret, raw};
use std::path::Path;

/// Server names of a `.mcp.json`: unique, and fit for a path.
pub(super) fn unique_servers<'a>(servers: impl Iterator<Item = &'a String>, report: &mut Report<'_>) {
    names::unique("mcpServers", servers, report);
}

/// Turns the written file into the typed one.
pub(super) fn check(raw: raw::Config, text: &str, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Fault>> {
    let mut report = Report::toml(text);
    if raw.version != 1 {
        let help = "this program reads version 1".to_owned();
        report.fault(&["version"], format!("version {} is not known", raw.version), "unknown version", Some(help));
    }
    names::collisions(&raw, &mut report);
    let (agents, operators) = sections::listeners(raw.agents, raw.operators, base, &mut report);
    let ledger = sections::ledger(raw.ledger, base, &mut report);
    sections::limits(&raw.limits, &mut report);
    sections::sessions(&raw.sessions, &mut report);
    sections::retention(&raw.retention, &mut report);
    let servers = servers(raw.servers, base, env, &mut report);
    names::clients(&raw.clients, &raw.roles, &mut report);
    names::roles(&raw.roles, &servers, &mut report);
    let issuers = issuers::issuers(raw.issuers, &raw.roles, base, env, &mut report);
    sections::containment(&raw.containment, &mut report);
    let alerts = sections::alerts(raw.alerts, base, env, &mut report);
    let config = Config {
        grade: raw.grade,
        agents,
        operators,
        ledger,
        limits: raw.limits,
        sessions: raw.sessions,
        servers,
        clients: raw.clients,
        issuers,
        roles: raw.roles,
        rules: super::Rules { dir: raw.rules.dir.map(|dir| base.join(dir)), modes: raw.rules.modes },
        policies: super::Policies { dir: raw.policies.dir.map(|dir| base.join(dir)) },
        containment: raw.containment,
        alerts,
        evidence: raw.evidence,
        retention: raw.retention,
        redaction: super::Redaction { patterns: raw.redaction.patterns.map(|path| base.join(path)) },
        telemetry: raw.telemetry,
        text: Secret::new(text),
    };
    report.finish(config)
}

//! Listeners, ledger, limits, containment and alerts.

use super::{
    Report, raw,
    servers::{check_url, expanded},
};
use crate::config::{
    Agents, AlertChannel, Automatic, Containment, Ledger, LedgerCopy, Limits, Operators, Retention, Secret, SecretSource, Sessions, Smtp,
    Tiles, Timestamps, Witness,
};
use std::{collections::BTreeMap, net::SocketAddr, ops::RangeInclusive, path::Path};

pub(super) fn listeners(agents: raw::Agents, operators: raw::Operators, base: &Path, report: &mut Report<'_>) -> (Agents, Operators) {
    let defaults = (Agents::default(), Operators::default());
    let agents_listen = listen(agents.listen, defaults.0.listen, agents.allow_remote || agents.tls.is_some(), "agents", report);
    let operators_listen =
        listen(operators.listen, defaults.1.listen, operators.allow_remote || operators.tls.is_some(), "operators", report);
    if agents_listen == operators_listen && agents_listen.port() != 0 {
        let help = "agents and operators never share a listener: choose another port".to_owned();
        report.fault(&["operators", "listen"], format!("{agents_listen} is the agents' listener too"), "taken", Some(help));
    }
    (
        Agents {
            listen: agents_listen,
            allowed_hosts: agents.allowed_hosts,
            allow_remote: agents.allow_remote,
            public_url: super::issuers::public_url(agents.public_url, report),
            tls: agents.tls.map(|files| files.resolved(base)),
        },
        Operators { listen: operators_listen, allow_remote: operators.allow_remote, tls: operators.tls.map(|files| files.resolved(base)) },
    )
}

fn listen(text: Option<String>, default: SocketAddr, allow_remote: bool, section: &str, report: &mut Report<'_>) -> SocketAddr {
    let Some(text) = text else { return default };
    listen_at(&text, default, allow_remote, &[section, "listen"], report)
}

fn listen_at(text: &str, default: SocketAddr, allow_remote: bool, path: &[&str], report: &mut Report<'_>) -> SocketAddr {
    let section = path[..path.len() - 1].join(".");
    // `localhost` is what people write; it need not be looked up.
    let Ok(address) = text.replacen("localhost:", "127.0.0.1:", 1).parse::<SocketAddr>() else {
        let help = format!("write an address and a port, such as `{default}` or `[::1]:{}`", default.port());
        report.fault(path, format!("`{text}` is not an address with a port"), "not an address", Some(help));
        return default;
    };
    if !address.ip().is_loopback() && !allow_remote {
        let help = match path {
            ["ledger", ..] => {
                format!("listen on 127.0.0.1, or say `allow_remote = true` in [{section}]: everybody who reaches it may read")
            }
            _ => format!("listen on 127.0.0.1, give [{section}] a certificate (`tls`), or say `allow_remote = true` there"),
        };
        report.fault(path, format!("{address} can be reached from other machines"), "not loopback", Some(help));
    }
    address
}

pub(super) fn ledger(table: raw::LedgerTable, base: &Path, report: &mut Report<'_>) -> Ledger {
    duration(&["ledger", "sync_ms"], table.sync_ms, 1..=60_000, "milliseconds", report);
    duration(&["ledger", "checkpoint_ms"], table.checkpoint_ms, 1..=3_600_000, "milliseconds", report);
    duration(&["ledger", "daemon_key_days"], table.daemon_key_days.into(), 1..=3_650, "days", report);
    if let Some(quota) = table.quota_bytes {
        duration(&["ledger", "quota_bytes"], quota, 1 << 20..=1 << 50, "bytes", report);
    }
    let mut copies = Vec::new();
    for (i, copy) in table.copies.into_iter().enumerate() {
        let at = i.to_string();
        match (copy.kind, copy.path, copy.url) {
            (raw::CopyKind::File, Some(path), None) => copies.push(LedgerCopy::File { path: base.join(path) }),
            (raw::CopyKind::Webhook, None, Some(url)) => {
                check_url(&url, &["ledger", "copies", &at, "url"], report);
                copies.push(LedgerCopy::Webhook { url });
            }
            (raw::CopyKind::File, ..) => {
                report.fault(
                    &["ledger", "copies", &at, "kind"],
                    "a copy of kind `file` has a `path` and nothing else",
                    "which file?",
                    None,
                );
            }
            (raw::CopyKind::Webhook, ..) => {
                report.fault(
                    &["ledger", "copies", &at, "kind"],
                    "a copy of kind `webhook` has a `url` and nothing else",
                    "which address?",
                    None,
                );
            }
        }
    }
    let tiles = table.tiles.map(|tiles| {
        let default = SocketAddr::from(([127, 0, 0, 1], 4182));
        Tiles {
            listen: listen_at(&tiles.listen, default, tiles.allow_remote, &["ledger", "tiles", "listen"], report),
            entries: tiles.entries,
        }
    });
    let timestamps = table.timestamps.map(|raw::Timestamps { url, every_minutes, ca_file }| {
        check_url(&url, &["ledger", "timestamps", "url"], report);
        duration(&["ledger", "timestamps", "every_minutes"], every_minutes, 1..=10_080, "minutes", report);
        Timestamps { url, every_minutes, ca_file: ca_file.map(|path| base.join(path)) }
    });
    let (witnesses, witness_quorum) = witnesses(table.witnesses, table.witness_quorum, base, report);
    let raw::LedgerTable { durability, sync_ms, checkpoint_ms, daemon_key_days, quota_bytes, .. } = table;
    Ledger { durability, sync_ms, checkpoint_ms, daemon_key_days, copies, tiles, witnesses, witness_quorum, quota_bytes, timestamps }
}

/// Without a word on it, more than half of them are needed.
fn witnesses(raw: Vec<raw::Witness>, quorum: Option<usize>, base: &Path, report: &mut Report<'_>) -> (Vec<Witness>, usize) {
    let mut witnesses: Vec<Witness> = Vec::new();
    for (i, witness) in raw.into_iter().enumerate() {
        let at = i.to_string();
        check_url(&witness.url, &["ledger", "witnesses", &at, "url"], report);
        match custody_tlog::WitnessKey::parse(&witness.vkey) {
            Ok(key) if witnesses.iter().any(|other| other.key.name() == key.name()) => {
                let help = "each witness counts once".to_owned();
                report.fault(&["ledger", "witnesses", &at, "vkey"], format!("{} is there already", key.name()), "twice", Some(help));
            }
            Ok(key) => {
                let url = witness.url.trim_end_matches('/').to_owned();
                witnesses.push(Witness { url, key, ca_file: witness.ca_file.map(|path| base.join(path)) });
            }
            Err(error) => {
                let help = "the witness prints its key when it starts: NAME+8 digits+base64".to_owned();
                report.fault(&["ledger", "witnesses", &at, "vkey"], error.to_string(), "not a witness's key", Some(help));
            }
        }
    }
    let count = witnesses.len();
    match quorum {
        Some(quorum) if quorum == 0 || quorum > count => {
            let help = format!("from 1 to the number of witnesses, {count}");
            report.fault(&["ledger", "witness_quorum"], format!("{quorum} of {count} witnesses"), "out of range", Some(help));
            (witnesses, count)
        }
        Some(quorum) => (witnesses, quorum),
        None if count == 0 => (witnesses, 0),
        None => (witnesses, count / 2 + 1),
    }
}

pub(super) fn limits(limits: &Limits, report: &mut Report<'_>) {
    duration(&["limits", "frame_bytes"], limits.frame_bytes as u64, 1_024..=1 << 30, "bytes", report);
    duration(&["limits", "depth"], limits.depth as u64, 8..=10_000, "levels", report);
    duration(&["limits", "held_ms"], limits.held_ms, 1..=3_600_000, "milliseconds", report);
    duration(&["limits", "concurrent_calls"], limits.concurrent_calls as u64, 1..=1_000_000, "calls", report);
    duration(&["limits", "streams_per_client"], limits.streams_per_client as u64, 1..=1_000_000, "streams", report);
    duration(&["limits", "streams"], limits.streams as u64, 1..=1_000_000, "streams", report);
    duration(&["limits", "connections"], limits.connections as u64, 1..=1_000_000, "connections", report);
    duration(&["limits", "headers"], limits.headers as u64, 8..=10_000, "headers", report);
    duration(&["limits", "header_bytes"], limits.header_bytes as u64, 8_192..=1 << 20, "bytes", report);
    duration(&["limits", "head_ms"], limits.head_ms, 1..=3_600_000, "milliseconds", report);
    duration(&["limits", "body_ms"], limits.body_ms, 1..=3_600_000, "milliseconds", report);
    duration(&["limits", "drain_ms"], limits.drain_ms, 1..=600_000, "milliseconds", report);
    // One message of the largest size must fit, and permits are counted in 32 bits.
    let least = limits.frame_bytes as u64;
    duration(&["limits", "bodies_bytes"], limits.bodies_bytes as u64, least..=1 << 32, "bytes", report);
    duration(&["limits", "answers_bytes"], limits.answers_bytes as u64, least..=1 << 32, "bytes", report);
}

pub(super) fn sessions(sessions: &Sessions, report: &mut Report<'_>) {
    duration(&["sessions", "idle_minutes"], sessions.idle_minutes, 1..=10_080, "minutes", report);
}

pub(super) fn retention(retention: &Retention, report: &mut Report<'_>) {
    let all =
        [("session_days", retention.session_days), ("finding_days", retention.finding_days), ("incident_days", retention.incident_days)];
    for (name, days) in all {
        duration(&["retention", name], days.unwrap_or(1).into(), 1..=36_500, "days", report);
    }
}

/// A quantity within its range; both ends are told.
fn duration(path: &[&str], value: u64, range: RangeInclusive<u64>, unit: &str, report: &mut Report<'_>) {
    if !range.contains(&value) {
        let help = format!("from {} to {} {unit}", range.start(), range.end());
        report.fault(path, format!("{value} {unit} is out of range"), "out of range", Some(help));
    }
}

pub(super) fn containment(containment: &Containment, report: &mut Report<'_>) {
    let has = |action| containment.automatic.contains(&action);
    if has(Automatic::Terminate) && !has(Automatic::Snapshot) {
        let help = "add \"snapshot\"".to_owned();
        report.fault(&["containment", "automatic"], "terminate needs a snapshot before it", "evidence would be lost", Some(help));
    }
}

pub(super) fn alerts(
    raw: BTreeMap<String, raw::Alert>,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report<'_>,
) -> BTreeMap<String, AlertChannel> {
    let mut channels = BTreeMap::new();
    for (name, alert) in raw {
        if let Some(channel) = alert_channel(&name, alert, base, env, report) {
            channels.insert(name, channel);
        }
    }
    channels
}

fn alert_channel(
    name: &str,
    alert: raw::Alert,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report<'_>,
) -> Option<AlertChannel> {
    use raw::AlertKind::*;
    let secret = source(["alerts", name], "secret", alert.secret_env, alert.secret_file, base, report);
    let password = source(["alerts", name], "password", alert.password_env, alert.password_file, base, report);
    let to = alert.to.map(raw::Texts::list);
    let given = [
        ("url", alert.url.is_some()),
        ("secret_env", secret.is_some()),
        ("server", alert.server.is_some()),
        ("port", alert.port.is_some()),
        ("from", alert.from.is_some()),
        ("to", to.is_some()),
        ("username", alert.username.is_some()),
        ("password_env", password.is_some()),
        ("tls", alert.tls.is_some()),
    ];
    let (kind, needs, may): (&str, &[&str], &[&str]) = match alert.kind {
        Webhook => ("webhook", &["url"], &["secret_env"]),
        Slack => ("slack", &["url"], &[]),
        Smtp => ("smtp", &["server", "from", "to"], &["port", "username", "password_env", "tls"]),
    };
    let mut usable = true;
    for (key, is_there) in given {
        if is_there && !needs.contains(&key) && !may.contains(&key) {
            report.fault(&["alerts", name, key], format!("alert `{name}` is a {kind} and has no `{key}`"), "not for this kind", None);
            usable = false;
        }
        if !is_there && needs.contains(&key) {
            report.fault(&["alerts", name], format!("alert `{name}` is a {kind} and needs `{key}`"), "incomplete", None);
            usable = false;
        }
    }
    if !usable {
        return None;
    }
    let url = match &alert.url {
        Some(url) => {
            let url = expanded(url, &["alerts", name, "url"], env, report)?;
            check_url(&url, &["alerts", name, "url"], report);
            Secret::new(url)
        }
        None => Secret::default(),
    };
    match alert.kind {
        Webhook => Some(AlertChannel::Webhook { url, secret }),
        Slack => Some(AlertChannel::Slack { url }),
        Smtp => mail(name, alert.server?, alert.port, alert.from?, to?, alert.username, password, alert.tls.unwrap_or_default(), report),
    }
}

#[allow(clippy::too_many_arguments, reason = "one per key of the table")]
fn mail(
    name: &str,
    server: String,
    port: Option<u16>,
    from: String,
    to: Vec<String>,
    username: Option<String>,
    password: Option<SecretSource>,
    tls: crate::config::Tls,
    report: &mut Report<'_>,
) -> Option<AlertChannel> {
    use crate::config::Tls;
    if to.is_empty() {
        report.fault(&["alerts", name, "to"], format!("alert `{name}` has nobody to write to"), "empty", None);
    }
    for (key, address) in to.iter().map(|a| ("to", a)).chain([("from", &from)]) {
        // Whether it can be delivered is the mail server's to say; this catches a name where an address belongs.
        if !address.contains('@') || address.contains(['\r', '\n']) {
            report.fault(&["alerts", name, key], format!("`{address}` is not a mail address"), "no `@`", None);
        }
    }
    if username.is_some() != password.is_some() {
        let what = format!("alert `{name}` needs both `username` and `password_env` (or `password_file`), or neither");
        report.fault(&["alerts", name], what, "half an account", None);
    }
    if password.is_some() && tls == Tls::None {
        let what = format!("alert `{name}` would send its password in the clear");
        report.fault(&["alerts", name, "tls"], what, "no encryption", Some("use \"starttls\" or \"tls\"".to_owned()));
    }
    let port = port.unwrap_or(match tls {
        Tls::None => 25,
        Tls::Starttls => 587,
        Tls::Tls => 465,
    });
    Some(AlertChannel::Smtp(Smtp { server, port, from, to, username, password, tls }))
}

pub(super) fn source(
    [section, name]: [&str; 2],
    what: &str,
    env: Option<String>,
    file: Option<std::path::PathBuf>,
    base: &Path,
    report: &mut Report<'_>,
) -> Option<SecretSource> {
    match (env, file) {
        (Some(_), Some(_)) => {
            let key = format!("{what}_file");
            report.fault(&[section, name, &key], format!("`{name}` has both `{what}_env` and `{key}`"), "one of them", None);
            None
        }
        (Some(variable), None) => Some(SecretSource::Env(variable)),
        (None, Some(path)) => Some(SecretSource::File(base.join(path))),
        (None, None) => None,
    }
}

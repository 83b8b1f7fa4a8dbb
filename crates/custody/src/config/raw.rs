//! The file as it is written, before anything is made of it.

use super::{Client, Containment, Grade, Ledger, Limits, Mode, Role, Sessions, Tls};
use custody_engine::manifest::FirstUse;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    pub version: i64,
    pub grade: Grade,
    pub agents: Agents,
    pub operators: Operators,
    pub ledger: LedgerTable,
    pub limits: Limits,
    pub sessions: Sessions,
    pub servers: BTreeMap<String, Server>,
    pub clients: BTreeMap<String, Client>,
    pub issuers: BTreeMap<String, Issuer>,
    pub roles: BTreeMap<String, Role>,
    pub rules: Rules,
    pub policies: Policies,
    pub containment: Containment,
    pub alerts: BTreeMap<String, Alert>,
    pub evidence: super::Evidence,
    pub retention: super::Retention,
    pub redaction: super::Redaction,
    pub telemetry: super::Telemetry,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            version: 1,
            grade: Grade::default(),
            agents: Agents::default(),
            operators: Operators::default(),
            ledger: LedgerTable::default(),
            limits: Limits::default(),
            sessions: Sessions::default(),
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            issuers: BTreeMap::new(),
            roles: BTreeMap::new(),
            rules: Rules::default(),
            policies: Policies::default(),
            containment: Containment::default(),
            alerts: BTreeMap::new(),
            evidence: super::Evidence::default(),
            retention: super::Retention::default(),
            redaction: super::Redaction::default(),
            telemetry: super::Telemetry::default(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Agents {
    pub listen: Option<String>,
    pub allowed_hosts: Vec<String>,
    pub allow_remote: bool,
    pub public_url: Option<String>,
    pub tls: Option<super::Certificate>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Operators {
    pub listen: Option<String>,
    pub allow_remote: bool,
    pub tls: Option<super::Certificate>,
}

/// The public `Ledger` plus its copies. (`flatten` would lose unknown-key errors and spans.)
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LedgerTable {
    pub durability: super::Durability,
    pub sync_ms: u64,
    pub checkpoint_ms: u64,
    pub daemon_key_days: u32,
    pub copies: Vec<Copy>,
    pub tiles: Option<Tiles>,
    pub witnesses: Vec<Witness>,
    pub witness_quorum: Option<usize>,
    pub quota_bytes: Option<u64>,
    pub timestamps: Option<Timestamps>,
}

impl Default for LedgerTable {
    fn default() -> Self {
        let Ledger { durability, sync_ms, checkpoint_ms, daemon_key_days, .. } = Ledger::default();
        LedgerTable {
            durability,
            sync_ms,
            checkpoint_ms,
            daemon_key_days,
            copies: Vec::new(),
            tiles: None,
            witnesses: Vec::new(),
            witness_quorum: None,
            quota_bytes: None,
            timestamps: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Copy {
    pub kind: CopyKind,
    pub path: Option<PathBuf>,
    pub url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tiles {
    pub listen: String,
    #[serde(default)]
    pub entries: bool,
    #[serde(default)]
    pub allow_remote: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timestamps {
    pub url: String,
    #[serde(default = "an_hour")]
    pub every_minutes: u64,
    pub ca_file: Option<PathBuf>,
}

fn an_hour() -> u64 {
    60
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Witness {
    pub url: String,
    pub vkey: String,
    pub ca_file: Option<PathBuf>,
}

#[derive(Deserialize, Clone, std::marker::Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum CopyKind {
    File,
    Webhook,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub command: Option<String>,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: Option<PathBuf>,
    pub url: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub mode: Mode,
    pub reads: Vec<String>,
    pub trust_annotations: bool,
    pub first_use: FirstUse,
    pub manifest: super::Manifest,
    pub authorization: super::Authorization,
    pub bearer_env: Option<String>,
    pub bearer_file: Option<PathBuf>,
    pub principals: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub issuer: String,
    pub audience: Option<Texts>,
    pub algorithms: Option<Vec<super::Algorithm>>,
    pub jwks_url: Option<String>,
    pub principal_claim: Option<String>,
    pub role_claim: Option<String>,
    pub role: Option<String>,
    pub task_claim: Option<String>,
    #[serde(default = "a_minute")]
    pub skew_seconds: u64,
    pub ca_file: Option<PathBuf>,
}

fn a_minute() -> u64 {
    60
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rules {
    pub dir: Option<PathBuf>,
    pub modes: BTreeMap<String, custody_engine::detect::RuleMode>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policies {
    pub dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alert {
    pub kind: AlertKind,
    pub url: Option<String>,
    pub secret_env: Option<String>,
    pub secret_file: Option<PathBuf>,
    pub server: Option<String>,
    pub port: Option<u16>,
    pub from: Option<String>,
    #[serde(default)]
    pub to: Option<Texts>,
    pub username: Option<String>,
    pub password_env: Option<String>,
    pub password_file: Option<PathBuf>,
    pub tls: Option<Tls>,
}

#[derive(Deserialize, Clone, std::marker::Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum AlertKind {
    Webhook,
    Slack,
    Smtp,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub fn list(self) -> Vec<String> {
        match self {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        }
    }
}

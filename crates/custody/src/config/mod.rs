//! `custody.toml`: what people write, checked once, typed from then on.
//!
//! A file is read in two steps. Serde refuses unknown keys and wrong types; `check` then refuses what is well-formed
//! but cannot mean anything (a server with neither command nor url, a client in a role that does not exist). Both end
//! in a [`ConfigError`] that shows the line, the key and what was probably meant. Every key has a default: an empty
//! file observes on loopback.
//!
//! Deliberately absent: client keys (they live in `clients.json`) and any way to turn recording off.

mod alerts;
mod check;
mod error;
mod expand;
mod issuers;
mod keeping;
mod listeners;
mod mask;
mod mcp_json;
mod people;
mod policy_source;
mod raw;
mod secret;
mod servers;
mod settings;
#[cfg(test)]
mod tests;

pub use alerts::{AlertChannel, SecretError, SecretSource, Smtp, Tls};
pub(crate) use check::reads_as;
pub(crate) use error::nearest;
pub use error::{ConfigError, Fault};
pub use issuers::{Algorithm, Issuer};
pub use keeping::{Evidence, Redaction, Retention};
pub use listeners::{Agents, Certificate, Operators};
pub use people::{Argument, Client, Role, Task, Text};
pub use secret::Secret;
pub use servers::{Authorization, Manifest, Server, Upstream};
pub use settings::{
    Automatic, Containment, Durability, Ledger, LedgerCopy, Limits, Policies, Rules, Sessions, Telemetry, Tiles, Timestamps, Witness,
};

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io::Read, path::Path};

/// The whole configuration, checked. Relative paths are already resolved against the file's directory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Whether the daemon runs apart from its agents.
    pub grade: Grade,
    /// The agents' listener.
    pub agents: Agents,
    /// The operators' listener.
    pub operators: Operators,
    /// The ledger.
    pub ledger: Ledger,
    /// What an agent may ask of Custody at most.
    pub limits: Limits,
    /// When a session ends by itself.
    pub sessions: Sessions,
    /// MCP servers by name.
    pub servers: BTreeMap<String, Server>,
    /// Adopted clients by principal.
    pub clients: BTreeMap<String, Client>,
    /// Issuers of tokens by name.
    pub issuers: BTreeMap<String, Issuer>,
    /// Roles by name; none declared: Custody observes.
    pub roles: BTreeMap<String, Role>,
    /// Detection rules.
    pub rules: Rules,
    /// Cedar policies.
    pub policies: Policies,
    /// What Custody does without being told.
    pub containment: Containment,
    /// Where alerts go, by name.
    pub alerts: BTreeMap<String, AlertChannel>,
    /// What goes into evidence.
    pub evidence: Evidence,
    /// How long content can be opened.
    pub retention: Retention,
    /// What is taken out of texts before people see them.
    pub redaction: Redaction,
    /// What is shown to those who watch machines.
    pub telemetry: Telemetry,
    /// The text it was read from: what the ledger records (R5). It may hold secrets, so it is shown to nobody.
    pub text: Secret,
}

/// How far Custody can be believed on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The daemon runs under the user's own account: an agent with a shell could tamper with it.
    #[default]
    Observe,
    /// The daemon has its own account and home; agents have only their listener.
    Enforcing,
}

/// What a server or a rule does about what it sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Record, find, alert.
    #[default]
    Observe,
    /// Deny as well.
    Enforce,
}

impl Config {
    /// Reads and checks a `custody.toml`. `${NAME}` and `${NAME:-default}` in server environments, headers, urls and
    /// alert urls are replaced from the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault that was found, each at its place in the file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let (text, base) = open(path)?;
        Config::parse(&text, &path.display().to_string(), &base, &environment)
    }

    /// Checks a text as if it had been read from `name` in the directory `base`.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, name: &str, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let raw: raw::Config = toml::from_str(text).map_err(|e| error::from_toml(name, text, &e))?;
        check::check(raw, text, base, env).map_err(|faults| ConfigError::invalid(name, mask::toml(text), faults))
    }

    /// Servers from a generic `.mcp.json`; everything else is as in an empty `custody.toml`.
    ///
    /// Keys that Custody does not know are left alone there: the file belongs to other programs.
    ///
    /// # Errors
    /// [`ConfigError`], as for [`Config::read`].
    pub fn from_mcp_json(path: &Path) -> Result<Config, ConfigError> {
        let (text, base) = open(path)?;
        mcp_json::parse(&text, &path.display().to_string(), &base, &environment)
    }

    /// The commented file that `custody init` writes. It says the same as an empty one.
    pub fn template() -> &'static str {
        include_str!("template.toml")
    }
}

/// Bytes of a configuration file.
const LARGEST: u64 = 4 << 20;

fn open(path: &Path) -> Result<(String, std::path::PathBuf), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.display().to_string(), source };
    let mut text = String::new();
    std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text)).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(unreadable(std::io::Error::other(format!("it is larger than {LARGEST} bytes"))));
    }
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let base = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((text, base))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

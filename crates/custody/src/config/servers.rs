//! `[servers.NAME]`: the MCP servers behind Custody.

use super::{Mode, Secret, SecretSource};
use custody_engine::manifest::FirstUse;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// One MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// How it is reached.
    pub upstream: Upstream,
    /// Whether policy denials hold for it.
    pub mode: Mode,
    /// Tools known to change nothing: the ones a read-only role may call.
    pub reads: Vec<String>,
    /// Whether the server's own `readOnlyHint` is believed. A compromised server would lie.
    pub trust_annotations: bool,
    /// What becomes of a definition that it lists for the first time (D2).
    pub first_use: FirstUse,
    /// Whether everybody sees the same definitions.
    pub manifest: Manifest,
    /// Whose `Authorization` the server sees.
    pub authorization: Authorization,
    /// The credential that Custody shows it.
    pub bearer: Option<SecretSource>,
    /// Patterns of the principals that may use it. Empty: everybody who is known.
    pub principals: Vec<String>,
}

/// Whose `Authorization` a server sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// Custody's: agents authenticate to Custody.
    #[default]
    Own,
    /// The agent's: it authenticates to the server, through Custody.
    Transparent,
}

/// For whom a server's definitions are pinned (D2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manifest {
    /// Everybody sees the same.
    #[default]
    Shared,
    /// The server shows each principal definitions of their own.
    PerPrincipal,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum Upstream {
    /// A program that speaks over its pipes.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Added to its environment.
        env: BTreeMap<String, Secret>,
        /// Its directory. `None`: the daemon's home, or under `custody stdio` the client's directory.
        cwd: Option<PathBuf>,
    },
    /// A Streamable HTTP endpoint.
    Http {
        /// `http` or `https`.
        url: String,
        /// Sent with each request; the upstream credential belongs here.
        headers: BTreeMap<String, Secret>,
    },
}

//! Findings: what detection says, and why.

use crate::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How urgent a finding is (D1–D5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    /// At once; raised inline, before the next call is forwarded.
    P1,
    /// Within minutes to an hour.
    P2,
    /// Never escalates alone.
    P3,
}

/// What a signal looks at. Two signals of different families confirm an incident (T1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Allowlists and forbidden calls.
    Authorization,
    /// Changed definitions.
    Integrity,
    /// Rates and volumes.
    Rate,
    /// Order of calls.
    Sequence,
    /// Length of sessions.
    Duration,
    /// What messages say.
    Content,
    /// Other log sources.
    External,
}

/// The versions that decided a finding: replay with these gives the same one (promise 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedBy {
    /// Program version.
    pub engine: String,
    /// SHA-256 of the rules in force.
    pub rules: Digest,
    /// SHA-256 of the policies in force.
    pub policies: Digest,
    /// SHA-256 of the baseline in force, if one was asked.
    pub baseline: Option<Digest>,
}

/// A detection finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its id.
    pub id: FindingId,
    /// When it was raised.
    pub at: Timestamp,
    /// The rule.
    pub rule: RuleId,
    /// The rule's title.
    pub title: String,
    /// P1 to P3.
    pub priority: Priority,
    /// What kind of signal.
    pub family: Family,
    /// The requirement it implements.
    pub requirement: String,
    /// Technique ids: `atlas:…`, `owasp-mcp:…`, `safe-mcp:…`.
    pub techniques: Vec<String>,
    /// The session.
    pub session: Option<SessionId>,
    /// The agent.
    pub principal: Option<PrincipalName>,
    /// The server.
    pub server: Option<ServerName>,
    /// The tool, as asked for.
    pub tool: Option<String>,
    /// The entry that decided it.
    pub leaf: Option<LeafIndex>,
    /// The policy outcome behind it.
    pub policy: Option<PolicyId>,
    /// Why, in one plain sentence.
    pub why: String,
    /// Versions of what decided.
    pub by: DecidedBy,
}

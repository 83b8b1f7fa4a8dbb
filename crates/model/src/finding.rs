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
    /// What calls are asked with: destinations, places, ids one after the other.
    Arguments,
    /// When: hours and days.
    Schedule,
    /// What messages say.
    Content,
    /// Words that speak to the agent, and whether it followed them (D9). All of it rests on the same words, so it is one signal.
    Hijack,
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

/// Which of the named patterns of misuse a rule looks for (D15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatternName {
    /// Record after record, faster or further than anybody needs.
    BulkEnumeration,
    /// Secrets read and sent away.
    CredentialExfiltration,
    /// Records changed that nobody asked to be changed.
    DataModification,
    /// One tool used to reach what another one guards.
    LateralToolAbuse,
}

/// A named pattern of misuse, and how it is usually begun (D15).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Its name.
    pub name: PatternName,
    /// The likely entry point, in words.
    pub entry_point: String,
}

/// The learned behaviour that a finding was measured against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineUse {
    /// Version of the baseline.
    pub version: String,
    /// Whose behaviour: a role, a role with a task, everybody.
    pub profile: String,
    /// From how many samples it was learned.
    pub samples: u64,
}

/// A rule that a person silenced for a while: what it would raise about these is counted, not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// The rule.
    pub rule: RuleId,
    /// Only of this agent.
    #[serde(default)]
    pub principal: Option<PrincipalName>,
    /// Only on this server.
    #[serde(default)]
    pub server: Option<ServerName>,
    /// Only for this tool.
    #[serde(default)]
    pub tool: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who.
    pub by: OperatorName,
    /// Why.
    pub reason: String,
    /// Whether findings that contain by themselves are hidden too.
    #[serde(default)]
    pub also_p1: bool,
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
    /// Seconds within which somebody must look at it; 0: at once (D4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond_s: Option<u64>,
    /// How to silence this rule for this situation, in words, with the exact command or line of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<String>,
    /// The named pattern, if the rule looks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// What it was measured against, if anything was learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineUse>,
    /// Whether a person must look at it even if it stays the only one (T1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub escalates: bool,
    /// Versions of what decided.
    pub by: DecidedBy,
}

//! What the queries give. Fields that come from a sealed part are `None` once it was erased.

use custody_model::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One session (R9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct SessionRow {
    pub id: SessionId,
    pub principal: Option<PrincipalName>,
    pub role: Option<RoleName>,
    pub task: Option<TaskName>,
    pub assurance: Option<Assurance>,
    pub source: Option<String>,
    pub allowlist: Option<Vec<String>>,
    pub started: Timestamp,
    pub last: Timestamp,
    pub ended: Option<Timestamp>,
    pub why: Option<String>,
    pub messages: u64,
    pub calls: u64,
    pub denied: u64,
    pub findings: u64,
}

/// What tied messages to a session, and the entry that showed it (R9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct LinkRow {
    pub leaf: LeafIndex,
    pub at: Timestamp,
    pub kind: LinkKind,
    pub strength: Strength,
    pub link: Option<Link>,
}

/// How a person corrected sessions (R9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectionRow {
    /// The entry.
    pub leaf: LeafIndex,
    /// When.
    pub at: Timestamp,
    /// `join`; `split`; `part`: a join was taken back.
    pub kind: String,
    /// Which one went on.
    pub session: SessionId,
    /// Joined to it, or split from it.
    pub other: SessionId,
    /// From which entry on it was split; of a `part` the join.
    pub from: Option<LeafIndex>,
    /// Who and why.
    pub detail: Option<Correction>,
    /// The correction that took it back.
    pub undone: Option<LeafIndex>,
}

/// One tool call (R1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct CallRow {
    pub leaf: LeafIndex,
    pub session: SessionId,
    pub server: ServerName,
    pub tool: Option<String>,
    pub outcome: Outcome,
    /// `frozen`, `policy role:analyst`, …
    pub reason: Option<String>,
    pub at: Timestamp,
    pub answered: Option<LeafIndex>,
}

/// One finding with its triage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct FindingRow {
    pub id: FindingId,
    /// The entry of the finding itself.
    pub leaf: LeafIndex,
    pub session: Option<SessionId>,
    pub at: Timestamp,
    pub rule: RuleId,
    pub priority: Priority,
    pub family: Option<Family>,
    pub requirement: String,
    pub finding: Option<Finding>,
    pub triage: Option<Triage>,
    pub case: Option<CaseId>,
    /// How often it fired again while its window hid it, as far as the record says.
    #[serde(default)]
    pub repeats: u64,
    /// What a person said of it.
    #[serde(default)]
    pub assessment: Option<Assessment>,
}

/// One case as last updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseRow {
    /// The entry that updated it.
    pub leaf: LeafIndex,
    /// The case.
    pub case: Case,
    /// What a person said of it.
    #[serde(default)]
    pub assessment: Option<Assessment>,
}

/// One action: intent and, once it ran, receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct ActionRow {
    pub id: ActionId,
    pub leaf: LeafIndex,
    pub at: Timestamp,
    pub verb: ActionName,
    pub case: Option<CaseId>,
    pub session: Option<SessionId>,
    pub step: Option<Step>,
    pub receipt: Option<Receipt>,
}

/// A freeze in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FreezeRow {
    /// The action that set it.
    pub action: ActionId,
    /// What it names.
    pub scopes: Vec<Scope>,
}

/// Evidence that left the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct EvidenceRow {
    pub leaf: LeafIndex,
    pub case: CaseId,
    pub at: Timestamp,
    pub digest: Digest,
    pub detail: Option<serde_json::Value>,
}

/// What a server has listed, as last seen (R4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// The server.
    pub server: ServerName,
    /// The listing's method.
    pub listing: String,
    /// Name and digest of each definition.
    pub definitions: Vec<(String, Digest)>,
}

/// What was decided about definitions (D2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct RulingRow {
    pub leaf: LeafIndex,
    pub at: Timestamp,
    pub server: ServerName,
    pub listing: String,
    pub ruling: Ruling,
    pub definitions: Vec<(String, Digest)>,
    pub detail: Option<RulingDetail>,
}

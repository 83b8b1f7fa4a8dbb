//! Cases: triage, severity, type and clocks.

use crate::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Answer of the triage tree (T1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Disposition {
    /// An incident. Containment starts.
    Confirmed,
    /// The session is suspended, a person looks.
    Suspicious,
    /// Logged and watched.
    ProbableFalsePositive,
    /// Not enough to rule it out: a person decides.
    Escalate,
}

/// What a person says of a finding or a case afterwards (T1). What is false or benign teaches nobody what an attack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was what it said.
    True,
    /// It saw what was not there.
    False,
    /// It saw right, and it was legitimate.
    Benign,
}

/// A person's word on a finding or a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// The answer.
    pub verdict: Verdict,
    /// Who said so.
    pub by: OperatorName,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// A triage decision and the questions that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triage {
    /// The answer.
    pub disposition: Disposition,
    /// Each question asked, with its answer, in order.
    pub path: Vec<String>,
}

/// Severity of a case (T2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Anomaly without confirmed misuse.
    Moderate,
    /// Injection with tool use, no confirmed loss.
    High,
    /// Confirmed exfiltration, production change or persistence.
    Critical,
}

/// The twelve incident types (T3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the documentation; source 000")]
pub enum IncidentType {
    MaliciousAgentBehavior,
    PromptInjection,
    AgentCredentialTheft,
    FinancialFraud,
    ServerTakeover,
    DataExfiltration,
    SupplyChainAttack,
    ConfigurationManipulation,
    ContainerEscape,
    NetworkIntrusion,
    DenialOfService,
    ComplianceViolation,
}

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// Opened, not contained.
    Open,
    /// Frozen, preserved, terminated.
    Contained,
    /// Ended by a person.
    Closed,
}

/// What a clock is counted from (C9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The first finding.
    Detection,
    /// The triage answer `CONFIRMED`.
    Confirmation,
    /// The end of containment.
    Containment,
    /// The closing of the case.
    Closing,
}

/// A deadline with its own anchor (C9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What must be done, such as `containment`.
    pub goal: String,
    /// Counted from.
    pub anchor: Anchor,
    /// Allowed, in seconds.
    pub limit_s: u64,
    /// Source document, such as `001`.
    pub source: String,
    /// When the anchor happened; `None`: not yet.
    pub started: Option<Timestamp>,
    /// When the goal was reached; `None`: still running.
    pub met: Option<Timestamp>,
}

/// Where the injection came from (I2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InjectionSource {
    /// The entry of the tool result that carried it.
    pub leaf: LeafIndex,
    /// The server.
    pub server: ServerName,
    /// The tool that returned it.
    pub tool: String,
    /// Document, page, record or address, as the call that fetched it named it.
    pub document: Option<String>,
    /// Page, record or other place inside the document, where the content says so.
    pub place: Option<String>,
    /// The words.
    pub excerpt: String,
    /// Byte offsets of the words in the decoded text of the result.
    pub span: (usize, usize),
    /// From 0 to 1.
    pub confidence: f64,
    /// What tied the words to the attacker's call: `tool send_data`, `host x.example`.
    pub links: Vec<String>,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Its id.
    pub id: CaseId,
    /// When it was opened.
    pub opened: Timestamp,
    /// Where it stands.
    pub state: CaseState,
    /// How bad (T2).
    pub severity: Severity,
    /// What kind (T3).
    pub incident_type: IncidentType,
    /// The triage decision that opened it.
    pub triage: Triage,
    /// Its findings, in order.
    pub findings: Vec<FindingId>,
    /// Its sessions.
    pub sessions: Vec<SessionId>,
    /// What is cut off.
    pub scopes: Vec<Scope>,
    /// The deadlines.
    pub clocks: Vec<Clock>,
    /// The injection source, once found.
    pub source: Option<InjectionSource>,
}

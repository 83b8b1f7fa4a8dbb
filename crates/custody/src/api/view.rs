//! One session and one incident with everything that belongs to them.

use super::rows::{ActionRow, CallRow, CaseRow, CorrectionRow, EvidenceRow, FindingRow, LinkRow, SessionRow};
use custody_engine::{
    host::Builds,
    investigate::{CaseSummary, Judged, Moment},
};
use custody_model::{AlertRecord, Digest, ItemReport};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `session show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionView {
    /// The session.
    pub session: SessionRow,
    /// Its tool calls, in leaf order.
    pub calls: Vec<CallRow>,
    /// What was found in it.
    pub findings: Vec<FindingRow>,
    /// What ties it together, and the entries that showed it.
    #[serde(default)]
    pub links: Vec<LinkRow>,
    /// How persons corrected it.
    #[serde(default)]
    pub corrections: Vec<CorrectionRow>,
    /// Model and program, as far as somebody said so, and what changed since the principal's last sessions (I11).
    #[serde(default)]
    pub builds: Builds,
}

/// `incident show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// The case with its clocks and its source.
    pub incident: CaseRow,
    /// Its findings.
    pub findings: Vec<FindingRow>,
    /// What was done, in order.
    pub actions: Vec<ActionRow>,
    /// What was sent to whom.
    pub alerts: Vec<AlertRecord>,
    /// What left the ledger.
    pub evidence: Vec<EvidenceRow>,
    /// t0…tn, as investigation reads it (I1).
    pub timeline: Vec<Moment>,
    /// What was called, read and written (T4).
    pub summary: CaseSummary,
    /// Model and program of the agents, as far as somebody said so (I11).
    #[serde(default)]
    pub builds: Builds,
    /// Whether the agent of each session was turned, with the words and the calls side by side (D9, I4).
    #[serde(default)]
    pub verdicts: Vec<Judged>,
}

/// `evidence export`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// Where the bundle is.
    pub path: PathBuf,
    /// SHA-256 of its tag manifest.
    pub digest: Digest,
    /// What is in it, and what is missing and why (E6).
    pub items: Vec<ItemReport>,
}

//! The figures of a drill, as `drill --json` prints them.

use super::{record::Record, witness::Seen};
use custody_model::*;
use jiff::Timestamp;
use serde::Serialize;
use std::path::PathBuf;

/// All of them. Times are milliseconds since the contained principal's session began, with microseconds behind the point.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The scenario.
    pub scenario: &'static str,
    /// The seed.
    pub seed: u64,
    /// Every finding.
    pub findings: Vec<FindingFigure>,
    /// From the practice server's own log.
    pub calls_forwarded_after_p1: usize,
    /// From the P1 finding to the freeze's receipt.
    pub detect_to_freeze_ms: Option<f64>,
    /// The triage answer of the first finding.
    pub triage: Option<Disposition>,
    /// The case's severity.
    pub severity: Option<Severity>,
    /// Actions that ended.
    pub containment: Vec<ActionFigure>,
    /// Alerts.
    pub alerts: Vec<AlertFigure>,
    /// The evidence bundle; `None` without a case.
    pub evidence: Option<EvidenceFigure>,
    /// The injection source that the investigation named.
    pub source: Option<SourceFigure>,
    /// From the P1 finding until the source was named.
    pub source_ms: Option<f64>,
    /// The ledger.
    pub ledger: LedgerFigure,
    /// The contained principal.
    pub principal: Option<PrincipalName>,
    /// The case.
    pub case: Option<CaseId>,
    /// Its type.
    #[serde(rename = "type")]
    pub incident_type: Option<IncidentType>,
    /// Its clocks.
    pub clocks: Vec<Clock>,
    /// From the P1 finding until the first alert had arrived.
    pub alert_ms: Option<f64>,
    /// Further attempts of the turned agent, and how many of them any server answered.
    pub attempts: AttemptsFigure,
    /// Calls of the contained principal that had been allowed and handed over when the finding fell.
    pub calls_in_flight_at_p1: usize,
    /// Tool calls that reached the practice server.
    pub calls_arrived: usize,
    /// Those of them that the ledger does not show as allowed.
    pub calls_unrecorded: usize,
    /// Agents that had nothing to do with it.
    pub innocent: InnocentFigure,
    /// Whether anything was sent, mailed, paid or written to where the payload said.
    pub carried_out: bool,
    /// The home, left behind.
    pub home: PathBuf,
    /// From the first agent's first byte to the last answer, then to the end of the drill.
    pub took_ms: (f64, f64),
    /// What a drill over virtual days shows beside all this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub course: Option<CourseFigure>,
    /// What did not hold; empty when the drill passed.
    pub failed: Vec<String>,
}

/// A drill over virtual days.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CourseFigure {
    /// Days that passed on the virtual clock.
    pub virtual_days: f64,
    /// Sessions before the trial, and their calls.
    pub lessons: (usize, usize),
    /// What `custody learn` said; `None` where nothing is learned.
    pub learned: Option<serde_json::Value>,
    /// Independent families of the findings of the trial's agent.
    pub families: Vec<Family>,
    /// Calls of the attack that are counted as loot and ran before the decisive finding; between it and the freeze; after.
    pub loot: (usize, usize, usize),
    /// What is quarantined.
    pub quarantined: Vec<Scope>,
    /// Agents that read an order in a definition.
    pub turned: Vec<String>,
    /// Calls that brought a secret to a server, or fetched it.
    pub secrets_arrived: usize,
    /// Calls of a tool whose definition had changed, and how many of them any server answered.
    pub quarantined_calls: (usize, usize),
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct FindingFigure {
    /// The rule.
    pub rule: RuleId,
    /// P1 to P3.
    pub priority: Priority,
    /// The requirement.
    pub requirement: String,
    /// When.
    pub at_ms: f64,
    /// The tool, as asked for.
    pub tool: Option<String>,
    /// Whose.
    pub principal: Option<PrincipalName>,
}

/// One containment action.
#[derive(Debug, Clone, Serialize)]
pub struct ActionFigure {
    /// The verb.
    pub action: ActionName,
    /// When its receipt was written.
    pub at_ms: f64,
    /// Whether it did what it should.
    pub ok: bool,
    /// In words.
    pub result: String,
}

/// One alert.
#[derive(Debug, Clone, Serialize)]
pub struct AlertFigure {
    /// The channel.
    pub channel: String,
    /// Its kind.
    pub via: String,
    /// Where to.
    pub to: String,
    /// Whether the ledger says that it arrived.
    pub ok: bool,
    /// When.
    pub at_ms: f64,
    /// Tries.
    pub attempts: u32,
    /// Whether the receiver has exactly these bytes (by their digest).
    pub received: bool,
    /// Whether what arrived was signed with the channel's secret.
    pub signed: bool,
}

/// The evidence bundle.
#[derive(Debug, Clone, Serialize)]
pub struct EvidenceFigure {
    /// Where.
    pub path: PathBuf,
    /// Items of E1 in it.
    pub items: Vec<String>,
    /// Items of E1 not in it, and why.
    pub missing: Vec<String>,
    /// Whether it verifies.
    pub verified: bool,
}

/// The injection source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceFigure {
    /// The tool whose result carried it.
    pub tool: String,
    /// The document.
    pub document: Option<String>,
    /// Page or other place in it.
    pub place: Option<String>,
    /// The words.
    pub excerpt: String,
    /// Judged against the seed.
    pub correct: bool,
    /// From 0 to 1.
    pub confidence: f64,
}

/// The ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerFigure {
    /// Entries.
    pub entries: u64,
    /// Whether it verifies.
    pub verified: bool,
}

/// The turned agent's further attempts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AttemptsFigure {
    /// How many were made.
    pub made: usize,
    /// How many of them a tool answered. Must be 0.
    pub answered: usize,
    /// Messages of the contained principal that the ledger shows as denied.
    pub denied: usize,
}

/// Everybody else.
#[derive(Debug, Clone, Default, Serialize)]
pub struct InnocentFigure {
    /// Their calls.
    pub calls: usize,
    /// Those that did not run. Must be 0.
    pub hurt: usize,
}

/// Milliseconds from one instant to another, with microseconds; never below zero.
pub fn ms(from: Timestamp, to: Timestamp) -> f64 {
    let ns = to.as_nanosecond() - from.as_nanosecond();
    (ns.max(0) / 1000) as f64 / 1000.0
}

impl Record {
    /// When the drill's clock starts: with the contained principal's session, else with the first one.
    pub fn start(&self) -> Timestamp {
        let of_p1 = self.decisive().and_then(|(_, p1)| p1.session).and_then(|session| self.sessions.get(&session)).map(|(_, at)| *at);
        of_p1.or(self.sessions.values().map(|(_, at)| *at).min()).unwrap_or_default()
    }

    /// The figures that the ledger alone gives.
    pub(super) fn finding_figures(&self) -> Vec<FindingFigure> {
        let start = self.start();
        let figure = |(_, finding): &(LeafIndex, Finding)| FindingFigure {
            rule: finding.rule.clone(),
            priority: finding.priority,
            requirement: finding.requirement.clone(),
            at_ms: ms(start, finding.at),
            tool: finding.tool.clone(),
            principal: finding.principal.clone(),
        };
        self.findings.iter().map(figure).collect()
    }

    /// Actions, in leaf order.
    pub(super) fn action_figures(&self) -> Vec<ActionFigure> {
        let start = self.start();
        let figure = |acted: &super::record::Acted| ActionFigure {
            action: acted.verb.clone(),
            at_ms: ms(start, acted.receipt.at),
            ok: acted.receipt.ok,
            result: acted.receipt.result.clone(),
        };
        self.actions.iter().map(figure).collect()
    }

    /// From the P1 finding to the freeze's receipt. The freeze is in force before the finding is written, so this is an upper bound.
    pub(super) fn detect_to_freeze_ms(&self) -> Option<f64> {
        let (leaf, p1) = self.decisive()?;
        let freeze = self.action("freeze_scope")?;
        Some(ms(self.real(*leaf, p1.at), self.real(freeze.leaf, freeze.receipt.at)))
    }
}

impl Figures {
    /// What was seen at the server.
    pub(super) fn with_seen(mut self, seen: &Seen) -> Figures {
        self.calls_forwarded_after_p1 = seen.forwarded_after_p1;
        self.calls_in_flight_at_p1 = seen.in_flight_at_p1;
        self.calls_unrecorded = seen.unrecorded;
        self.calls_arrived = seen.arrived;
        self
    }
}

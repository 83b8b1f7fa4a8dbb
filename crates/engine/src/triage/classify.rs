//! Severity (T2, source 001) and incident type (T3, source 000).

use custody_model::{Family, Finding, IncidentType, Priority, Severity};

/// What is confirmed about an incident so far. Nothing here is a guess; call again as more is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// Data reached an outside party.
    pub data_left: bool,
    /// A production system was written to by the attacker.
    pub production_changed: bool,
    /// The attacker's words or access outlive the session: agent memory, accounts, files.
    pub persistence: bool,
    /// Money moved.
    pub payment_made: bool,
    /// The injected words were found in something the agent read.
    pub injection_found: bool,
}

impl Effects {
    /// Whether a loss is confirmed.
    pub fn loss(self) -> bool {
        self.data_left || self.production_changed || self.persistence || self.payment_made
    }
}

/// How bad, and which of the twelve kinds.
///
/// A denied attempt is tool use: what the injected agent wanted to do is known, and the loss is what did not happen.
pub fn classify(findings: &[Finding], effects: Effects) -> (Severity, IncidentType) {
    (severity(findings, effects), incident_type(findings, effects))
}

fn severity(findings: &[Finding], effects: Effects) -> Severity {
    let has_p1 = findings.iter().any(|finding| finding.priority == Priority::P1);
    if effects.loss() {
        Severity::Critical
    } else if has_p1 || effects.injection_found {
        Severity::High
    } else {
        Severity::Moderate
    }
}

/// The loss names the kind; without one the way in does; without that the signal.
fn incident_type(findings: &[Finding], effects: Effects) -> IncidentType {
    let requirement = |ids: &[&str]| findings.iter().any(|finding| ids.contains(&finding.requirement.as_str()));
    let family = |family: Family| findings.iter().any(|finding| finding.family == family);
    if effects.payment_made {
        IncidentType::FinancialFraud
    } else if effects.data_left {
        IncidentType::DataExfiltration
    } else if requirement(&["D2"]) || family(Family::Integrity) {
        // A definition that changed without a record came with the server: somebody upstream changed it.
        IncidentType::SupplyChainAttack
    } else if effects.injection_found {
        IncidentType::PromptInjection
    } else if requirement(&["D10", "D11"]) {
        IncidentType::AgentCredentialTheft
    } else if requirement(&["D12"]) {
        IncidentType::ServerTakeover
    } else if requirement(&["D8"]) {
        IncidentType::NetworkIntrusion
    } else if family(Family::Content) && !family(Family::Authorization) {
        IncidentType::PromptInjection
    } else {
        IncidentType::MaliciousAgentBehavior
    }
}

//! What Custody finds about itself, not about an agent: its record is contradicted, or cannot go on. A finding without a session,
//! a case and an alert; nothing is contained.

use super::Core;
use crate::alerts::Alert;
use custody_engine::triage::{self, Goal, Progress};
use custody_model::*;
use uuid::Uuid;

/// One kind of alarm.
pub(super) struct Alarm {
    /// Stable name, shown as the rule.
    pub rule: &'static str,
    /// One line.
    pub title: &'static str,
    /// The requirement behind it.
    pub requirement: &'static str,
    /// How soon somebody must look.
    pub priority: Priority,
    /// How bad.
    pub severity: Severity,
    /// What kind of incident it is.
    pub incident_type: IncidentType,
}

impl Core {
    /// Raises it. `why` is a plain sentence of neutral facts.
    pub(super) async fn alarm(&self, alarm: &Alarm, why: String) {
        tracing::error!(rule = alarm.rule, %why, "alarm");
        let now = self.now();
        let finding = Finding {
            id: FindingId(Uuid::now_v7()),
            at: now,
            rule: RuleId::from(alarm.rule),
            title: alarm.title.to_owned(),
            priority: alarm.priority,
            family: Family::External,
            requirement: alarm.requirement.to_owned(),
            techniques: Vec::new(),
            session: None,
            principal: None,
            server: None,
            tool: None,
            leaf: None,
            policy: None,
            why: why.clone(),
            respond_s: Some(0),
            silence: None,
            pattern: None,
            baseline: None,
            escalates: true,
            by: self.decided_by.clone(),
        };
        let event = Event::FindingRaised {
            finding: finding.id,
            rule: finding.rule.clone(),
            priority: finding.priority,
            requirement: finding.requirement.clone(),
            leaf: None,
        };
        self.note(None, event, Some(&finding));
        let decision = Triage { disposition: Disposition::Escalate, path: vec![format!("Custody's own record is at stake: {why}")] };
        let mut case = Case {
            id: CaseId(Uuid::now_v7()),
            opened: now,
            state: CaseState::Open,
            severity: alarm.severity,
            incident_type: alarm.incident_type,
            triage: decision.clone(),
            findings: vec![finding.id],
            sessions: Vec::new(),
            scopes: Vec::new(),
            clocks: triage::clocks(super::incident::anchors(now, None), false),
            source: None,
        };
        triage::advance(&mut case.clocks, Progress::Reached(Goal::Triage), now);
        self.update_case(&case, None).await;
        let event = Event::Triaged { finding: finding.id, disposition: decision.disposition, case: Some(case.id) };
        self.note(None, event, Some(&decision));
        if self.alert {
            self.outbox.send(Alert::of_case(&case, &[finding], &[], now));
        }
    }
}

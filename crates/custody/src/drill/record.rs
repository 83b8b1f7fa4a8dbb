//! What the ledger of a run says, read once and kept by subject. Everything a drill prints about Custody comes from here.

use super::agent::CALL_KEY;
use custody_model::*;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A `tools/call` that an agent sent, as recorded.
#[derive(Debug, Clone)]
pub struct RecordedCall {
    /// Its leaf.
    pub leaf: LeafIndex,
    /// When it was recorded.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// The tool asked for.
    pub tool: Option<String>,
    /// Its session.
    pub session: Option<SessionId>,
}

/// One containment action that ended.
#[derive(Debug, Clone)]
pub struct Acted {
    /// Its leaf.
    pub leaf: LeafIndex,
    /// Its verb.
    pub verb: ActionName,
    /// The receipt.
    pub receipt: Receipt,
}

/// A run, as the ledger tells it.
#[derive(Debug, Default)]
pub struct Record {
    /// Number of entries.
    pub entries: u64,
    /// Sessions with who they belong to and when they began.
    pub sessions: BTreeMap<SessionId, (SessionDetail, Timestamp)>,
    /// Findings in order, with their leaves.
    pub findings: Vec<(LeafIndex, Finding)>,
    /// Triage answers by finding.
    pub triages: HashMap<FindingId, Triage>,
    /// Every state that a case went through, with the time of its entry.
    pub cases: Vec<(Timestamp, Case)>,
    /// Actions that ended.
    pub actions: Vec<Acted>,
    /// Alerts that were sent or given up.
    pub alerts: Vec<AlertRecord>,
    /// Tool calls by the drill's number; several entries when one was decided twice.
    pub calls: HashMap<String, Vec<RecordedCall>>,
    /// Messages to the server that were denied, with their sessions.
    pub denied: Vec<(LeafIndex, Option<SessionId>)>,
    /// Messages to agents by leaf: when they came back.
    pub results: HashMap<LeafIndex, Timestamp>,
    /// Refusals without a valid credential.
    pub refused: u64,
    /// What was intended, by action.
    pub steps: HashMap<ActionId, Step>,
    /// From which leaf on the daemon's clock was how far ahead of the machine's.
    pub ahead: Vec<(LeafIndex, SignedDuration)>,
}

impl Record {
    /// Reads entries in leaf order.
    ///
    /// # Errors
    /// The first thing that cannot be read.
    pub fn read<E>(entries: impl Iterator<Item = Result<OpenEntry, E>>) -> Result<Record, E> {
        let mut record = Record::default();
        for entry in entries {
            record.add(entry?);
        }
        Ok(record)
    }

    fn add(&mut self, OpenEntry { leaf, entry, detail, body }: OpenEntry) {
        self.entries = leaf.0 + 1;
        match entry.event {
            Event::SessionStarted => {
                if let (Some(session), Some(detail)) = (entry.session, parsed(detail)) {
                    self.sessions.insert(session, (detail, entry.at));
                }
            }
            Event::FindingRaised { .. } => self.findings.extend(parsed(detail).map(|finding| (leaf, finding))),
            Event::Triaged { finding, .. } => self.triages.extend(parsed(detail).map(|triage| (finding, triage))),
            Event::CaseUpdated { .. } => self.cases.extend(parsed(detail).map(|case| (entry.at, case))),
            Event::ActionDone { verb, .. } => self.actions.extend(parsed(detail).map(|receipt| Acted { leaf, verb, receipt })),
            Event::AlertSent { .. } => self.alerts.extend(parsed::<AlertRecord>(detail)),
            Event::ActionIntended { action, .. } => self.steps.extend(parsed(detail).map(|step| (action, step))),
            Event::DaemonStarted { .. } => self.ahead.extend(detail.and_then(|detail| set_off(&detail)).map(|by| (leaf, by))),
            Event::OperatorActed { verb } if verb == "advance_clock" => {
                let by = detail.and_then(|detail| detail["advance_ms"].as_i64()).unwrap_or_default();
                let before = self.ahead.last().map(|(_, by)| *by).unwrap_or_default();
                self.ahead.push((leaf, before + SignedDuration::from_millis(by)));
            }
            Event::AccessRefused { count, .. } => self.refused += count,
            Event::Message(message) if message.direction == Direction::ToAgent => {
                self.results.insert(leaf, entry.at);
            }
            Event::Message(message) => {
                if message.outcome == Outcome::Denied {
                    self.denied.push((leaf, entry.session));
                }
                let tool = parsed::<MessageDetail>(detail).and_then(|detail| detail.tool);
                let call = RecordedCall { leaf, at: entry.at, outcome: message.outcome, tool, session: entry.session };
                for tag in body.as_deref().map(tags).unwrap_or_default() {
                    self.calls.entry(tag).or_default().push(call.clone());
                }
            }
            _ => {}
        }
    }

    /// The finding that everything else followed from, with its leaf: the first P1; else the first that is of a second family
    /// in its session; else the first that triage held suspicious.
    pub fn decisive(&self) -> Option<&(LeafIndex, Finding)> {
        let found = |decides: &dyn Fn(&Finding) -> bool| self.findings.iter().find(|(_, finding)| decides(finding));
        let second = |finding: &Finding| {
            let before = self.findings.iter().map(|(_, other)| other).take_while(|other| other.id != finding.id);
            finding.session.is_some() && before.filter(|other| other.session == finding.session).any(|other| other.family != finding.family)
        };
        let suspicious =
            |finding: &Finding| self.triages.get(&finding.id).is_some_and(|triage| triage.disposition == Disposition::Suspicious);
        found(&|finding| finding.priority == Priority::P1).or_else(|| found(&second)).or_else(|| found(&suspicious))
    }

    /// The machine's time of what was recorded at this leaf with this time.
    pub fn real(&self, leaf: LeafIndex, at: Timestamp) -> Timestamp {
        let ahead = self.ahead.iter().rev().find(|(from, _)| *from < leaf).map(|(_, by)| *by).unwrap_or_default();
        at.saturating_sub(ahead).unwrap_or(at)
    }

    /// The last state of the case that the decisive finding belongs to, else of the last case.
    pub fn case(&self) -> Option<&Case> {
        let of_p1 = self.decisive().and_then(|(_, p1)| self.cases.iter().rev().find(|(_, case)| case.findings.contains(&p1.id)));
        of_p1.or(self.cases.last()).map(|(_, case)| case)
    }

    /// When the case first had its source.
    pub fn source_at(&self) -> Option<Timestamp> {
        self.cases.iter().find(|(_, case)| case.source.is_some()).map(|(at, _)| *at)
    }

    /// The first action with this verb that succeeded.
    pub fn action(&self, verb: &str) -> Option<&Acted> {
        self.actions.iter().find(|acted| acted.verb.as_str() == verb && acted.receipt.ok)
    }

    /// The principal of a session.
    pub fn principal(&self, session: SessionId) -> Option<&str> {
        self.sessions.get(&session).map(|(detail, _)| detail.identity.principal.as_str())
    }

    /// Whether everything is triaged and, when `guarded`, the incident is contained and somebody was alerted.
    pub fn settled(&self, guarded: bool) -> bool {
        let triaged = self.findings.iter().all(|(_, finding)| self.triages.contains_key(&finding.id));
        // What only waits for a person is contained by nobody.
        let confirmed = self.triages.values().any(|triage| triage.disposition == Disposition::Confirmed);
        let contained = !confirmed || self.case().is_none_or(|case| case.state != CaseState::Open);
        triaged && (!guarded || contained && (self.cases.is_empty() || !self.alerts.is_empty()))
    }
}

/// How far ahead of the machine's clock a virtual one began.
fn set_off(detail: &Value) -> Option<SignedDuration> {
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    Some(time(&detail["virtual_clock"]["now"])?.duration_since(time(&detail["started"])?))
}

fn parsed<T: DeserializeOwned>(detail: Option<Value>) -> Option<T> {
    serde_json::from_value(detail?).ok()
}

/// The drill's numbers in a frame: one, or several in a batch.
fn tags(body: &[u8]) -> Vec<String> {
    let Ok(message) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let messages = match message {
        Value::Array(messages) => messages,
        one => vec![one],
    };
    let tag = |message: &Value| message.get("params")?.get("_meta")?.get(CALL_KEY)?.as_str().map(str::to_owned);
    messages.iter().filter_map(tag).collect()
}

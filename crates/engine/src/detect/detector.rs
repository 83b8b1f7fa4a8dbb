//! The detector: rules over facts, with bounded memory.

use super::{Facts, PolicyOutcome, Rules, facts::Flat, meta::Meta};
use custody_model::{DecidedBy, Family, Finding, FindingId, LeafIndex, PolicyId, PrincipalName, Priority, RuleId, ServerName, SessionId};
use jiff::Timestamp;
use rsigma_eval::{CorrelationEngine, EvaluationResult, Event};
use std::collections::HashMap;

/// A finding before it has an id.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingDraft {
    /// When.
    pub at: Timestamp,
    /// The rule.
    pub rule: RuleId,
    /// Its title.
    pub title: String,
    /// How urgent.
    pub priority: Priority,
    /// What kind of signal.
    pub family: Family,
    /// Which requirement.
    pub requirement: String,
    /// Technique ids.
    pub techniques: Vec<String>,
    /// The session.
    pub session: Option<SessionId>,
    /// The agent.
    pub principal: PrincipalName,
    /// The server.
    pub server: ServerName,
    /// What was asked for.
    pub tool: Option<String>,
    /// The entry that decided it.
    pub leaf: Option<LeafIndex>,
    /// The policy behind it.
    pub policy: Option<PolicyId>,
    /// Why, in one sentence.
    pub why: String,
    /// Whether it contains by itself; otherwise it is only told.
    pub enforce: bool,
    /// 0: a finding, to be recorded. Else the so-manyth repeat of one, which only a P1 that contains by itself shows: the
    /// caller freezes on it like on the first, and records nothing.
    pub repeats: u64,
}

impl FindingDraft {
    /// The finding, with what only the caller knows.
    pub fn into_finding(self, id: FindingId, by: DecidedBy) -> Finding {
        Finding {
            id,
            at: self.at,
            rule: self.rule,
            title: self.title,
            priority: self.priority,
            family: self.family,
            requirement: self.requirement,
            techniques: self.techniques,
            session: self.session,
            principal: Some(self.principal),
            server: Some(self.server),
            tool: self.tool,
            leaf: self.leaf,
            policy: self.policy,
            why: self.why,
            by,
        }
    }
}

/// One finding per rule, session and principal within the rule's suppression window.
type Key = (RuleId, Option<SessionId>, PrincipalName);

struct Raised {
    until_ms: i64,
    repeats: u64,
}

/// Groups remembered for suppression. When they are full and none has expired, all are forgotten: a finding too many is
/// better than one too few.
const MAX_RAISED: usize = 100_000;

/// Applies the rules to one message after the other, in leaf order.
pub struct Detector {
    rules: Rules,
    engine: CorrelationEngine,
    raised: HashMap<Key, Raised>,
}

impl Detector {
    /// With no memory of anything.
    pub fn new(rules: Rules) -> Detector {
        let engine = rules.engine().expect("the rules were compiled when they were loaded");
        Detector { rules, engine, raised: HashMap::new() }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Findings that this message raises now, the most urgent first. A P1 is decided by this message alone: the caller freezes
    /// before it does anything else. That holds for its repeats too, for two calls may be judged before the first of them
    /// has frozen anything.
    pub fn observe(&mut self, facts: &Facts, now: Timestamp) -> Vec<FindingDraft> {
        let flat = facts.flat();
        let results = self.engine.process_event_at(&flat, now.as_millisecond());
        let mut findings = Vec::new();
        for result in results {
            let Some(meta) = result.header.rule_id.as_ref().and_then(|id| self.rules.metas.get(id)).filter(|meta| !meta.internal) else {
                continue;
            };
            let key = (meta.rule.clone(), facts.session, facts.identity.principal.clone());
            let now_ms = now.as_millisecond();
            match self.raised.get_mut(&key) {
                Some(raised) if now_ms < raised.until_ms => {
                    raised.repeats += 1;
                    if meta.priority == Priority::P1 && meta.enforce {
                        findings.push(FindingDraft { repeats: raised.repeats, ..draft(meta, facts, &flat, &result, now) });
                    }
                }
                _ => {
                    make_room(&mut self.raised, now_ms);
                    self.raised.insert(key, Raised { until_ms: now_ms.saturating_add(meta.suppress_ms), repeats: 0 });
                    findings.push(draft(meta, facts, &flat, &result, now));
                }
            }
        }
        findings.sort_by_key(|finding| finding.priority);
        findings
    }

    /// How often a finding fired again within its window.
    pub fn repeats(&self, rule: &RuleId, session: Option<SessionId>, principal: &PrincipalName) -> u64 {
        self.raised.get(&(rule.clone(), session, principal.clone())).map_or(0, |raised| raised.repeats)
    }

    /// Forgets what was raised about an agent, so that its next violation is a finding again. To be called when a
    /// containment of it is undone: otherwise the window would hide a second turn.
    pub fn forget(&mut self, principal: &PrincipalName) {
        self.raised.retain(|(_, _, raised), _| raised != principal);
    }

    /// As [`Detector::forget`], for whoever was in a session.
    pub fn forget_session(&mut self, session: SessionId) {
        self.raised.retain(|(_, raised, _), _| *raised != Some(session));
    }

    /// As [`Detector::forget`], for everybody: a freeze of a server or tool was undone.
    pub fn forget_all(&mut self) {
        self.raised.clear();
    }

    /// Groups in memory.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.raised.len().max(self.engine.state_count())
    }

    /// Rules that fire on an event of a rule's own cases. Correlations remember, findings are not grouped.
    pub(super) fn fires(&mut self, event: &impl Event, now_ms: i64) -> Vec<String> {
        let results = self.engine.process_event_at(event, now_ms);
        results.into_iter().filter_map(|result| result.header.rule_id).collect()
    }
}

fn make_room(raised: &mut HashMap<Key, Raised>, now_ms: i64) {
    if raised.len() < MAX_RAISED {
        return;
    }
    raised.retain(|_, raised| now_ms < raised.until_ms);
    if raised.len() >= MAX_RAISED {
        raised.clear();
    }
}

fn draft(meta: &Meta, facts: &Facts, flat: &Flat<'_>, result: &EvaluationResult, now: Timestamp) -> FindingDraft {
    let policy = match &facts.policy {
        PolicyOutcome::Denied { policy, .. } | PolicyOutcome::Error { policy, .. } => Some(policy.clone()),
        _ => None,
    };
    FindingDraft {
        at: now,
        rule: meta.rule.clone(),
        title: meta.title.clone(),
        priority: meta.priority,
        family: meta.family,
        requirement: meta.requirement.clone(),
        techniques: meta.techniques.clone(),
        session: facts.session,
        principal: facts.identity.principal.clone(),
        server: facts.server.clone(),
        tool: facts.tool.clone(),
        leaf: facts.leaf,
        policy,
        why: why(meta, flat, result),
        enforce: meta.enforce,
        repeats: 0,
    }
}

/// The rule's sentence with its `{facts}` filled in. Text from an agent is bounded and escaped.
fn why(meta: &Meta, flat: &Flat<'_>, result: &EvaluationResult) -> String {
    let Some(template) = &meta.why else { return format!("rule `{}` matched", meta.title) };
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push_str(before);
        match (name, result.as_correlation()) {
            ("count", Some(correlation)) => out.push_str(&correlation.aggregated_value.to_string()),
            _ => match flat.named(name) {
                Some(value) => out.extend(value.text().chars().take(400).flat_map(char::escape_debug).filter(|c| *c != '\\')),
                None => out.push('?'),
            },
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

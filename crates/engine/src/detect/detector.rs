//! The detector: rules over facts, with bounded memory.

use super::{
    Facts, PolicyOutcome, Rules,
    facts::{Flat, Seen},
    load::TICKS,
    matching::Test,
    meta::{Alone, Meta},
    raised::{Raised, Repeated},
    silence::{Heard, Silence, Silenced},
};
use crate::behavior::{Baseline, Tracker};
use custody_model::{
    BaselineUse, DecidedBy, Digest, Family, Finding, FindingId, LeafIndex, Pattern, PolicyId, PrincipalName, Priority, RuleId, ServerName,
    SessionId, Suppression,
};
use jiff::Timestamp;
use rsigma_eval::{CorrelationEngine, EvaluationResult, Event, evaluate_rule};
use std::{collections::HashSet, sync::Arc};

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
    /// How to silence it, in words with the exact command.
    pub silence: Option<String>,
    /// The named pattern behind it.
    pub pattern: Option<Pattern>,
    /// What it was measured against.
    pub baseline: Option<BaselineUse>,
    /// Whether a person must look at it even if it stays the only one.
    pub escalates: bool,
    /// Whether it contains by itself; otherwise it is only told.
    pub enforce: bool,
    /// 0: a finding, to be recorded. Else the so-manyth repeat of one, which only a P1 that contains by itself shows: the
    /// caller freezes on it like on the first, and records nothing.
    pub repeats: u64,
    /// SHA-256 of the rules that made it.
    pub rules: Digest,
}

impl FindingDraft {
    /// The finding, with what only the caller knows.
    pub fn into_finding(self, id: FindingId, by: DecidedBy) -> Finding {
        let respond_s = Some(crate::triage::response_s(&self.requirement, self.priority));
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
            respond_s,
            silence: self.silence,
            pattern: self.pattern,
            baseline: self.baseline,
            escalates: self.escalates,
            by: DecidedBy { rules: self.rules, ..by },
        }
    }
}

/// Applies the rules to one message after the other, in leaf order.
pub struct Detector {
    rules: Rules,
    /// Of the rules in force.
    digest: Digest,
    engine: CorrelationEngine,
    /// When each rule of the engine matches, in the same order.
    tests: Vec<Tested>,
    raised: Raised,
    silence: Silence,
    /// The engine's clock, in microseconds. Each message has its own instant, for order is leaf order.
    clock: i64,
    behavior: Tracker,
}

/// One rule that looks at single messages.
struct Tested {
    id: String,
    test: Test,
    /// A correlation counts its matches.
    counted: bool,
}

/// A rule that fired, and what it counted if it is a correlation.
struct Fired {
    id: String,
    count: Option<f64>,
}

/// A wall clock that is set back by more than this ends all windows; by less, the order of messages counts on.
const SET_BACK: i64 = 60 * TICKS as i64;

impl Detector {
    /// With no memory of anything, and no baseline.
    pub fn new(rules: Rules) -> Detector {
        Detector::with_baseline(rules, None)
    }

    /// With no memory of anything.
    pub fn with_baseline(rules: Rules, baseline: Option<Arc<Baseline>>) -> Detector {
        let engine = rules.engine().expect("the rules were compiled when they were loaded");
        Detector {
            digest: rules.digest(),
            tests: tests(&rules, &engine),
            rules,
            engine,
            raised: Raised::default(),
            silence: Silence::default(),
            clock: 0,
            behavior: Tracker::new(baseline),
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Puts other rules in force, between two messages. What was counted, raised and silenced under a rule that stays the same
    /// goes on; so does what is known of live sessions.
    pub fn reload(&mut self, rules: Rules) {
        let mut engine = rules.engine().expect("the rules were compiled when they were loaded");
        let same = |id: &str| self.rules.metas.get(id).map(|meta| &meta.fingerprint) == rules.metas.get(id).map(|meta| &meta.fingerprint);
        let mut state = self.engine.export_state();
        state.windows.retain(|id, _| same(id));
        state.last_alert.retain(|id, _| same(id));
        state.event_buffers.clear();
        state.event_ref_buffers.clear();
        engine.import_state(state);
        let kept: HashSet<&RuleId> = rules.metas.iter().filter(|(id, _)| same(id)).map(|(_, meta)| &meta.rule).collect();
        self.raised.forget_keys(|(rule, ..)| !kept.contains(rule));
        self.tests = tests(&rules, &engine);
        self.engine = engine;
        self.digest = rules.digest();
        self.rules = rules;
    }

    /// SHA-256 of the rules in force, modes included.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What live sessions did so far, and the baseline they are held against.
    pub fn behavior(&mut self) -> &mut Tracker {
        &mut self.behavior
    }

    /// Findings that this message raises now, the most urgent first. A P1 is decided by this message alone: the caller freezes
    /// before it does anything else. That holds for its repeats too, for two calls may be judged before the first of them
    /// has frozen anything.
    pub fn observe(&mut self, facts: &Facts, now: Timestamp) -> Vec<FindingDraft> {
        let signals = self.behavior.observe(facts, now);
        let seen = Seen { facts, signals: &signals };
        let at = self.tick(now.as_microsecond());
        let version = self.behavior.baseline().map(|(_, name)| name);
        let fired = fired(&self.tests, &mut self.engine, &seen, at);
        let mut findings = Vec::new();
        for fired in fired {
            let Some(meta) = self.rules.metas.get(&fired.id).filter(|meta| meta.raises()) else { continue };
            if self.silence.hides(meta, facts, now) {
                continue;
            }
            let key = (meta.rule.clone(), facts.session, facts.identity.principal.clone());
            let repeats = self.raised.count(key, now.as_millisecond(), meta.suppress_ms);
            if repeats == 0 || (meta.priority == Priority::P1 && meta.enforce()) {
                findings.push(FindingDraft { repeats, rules: self.digest, ..draft(meta, &seen, fired.count, version, now) });
            }
        }
        findings.sort_by_key(|finding| finding.priority);
        findings
    }

    /// The instant of the next message: later than the one before.
    fn tick(&mut self, now: i64) -> i64 {
        let now = now.clamp(0, i64::MAX / 4);
        if now < self.clock.saturating_sub(SET_BACK) {
            self.engine = self.rules.engine().expect("the rules were compiled when they were loaded");
            self.clock = now;
        } else {
            self.clock = now.max(self.clock + 1);
        }
        self.clock
    }

    /// How often a finding fired again within its window.
    pub fn repeats(&self, rule: &RuleId, session: Option<SessionId>, principal: &PrincipalName) -> u64 {
        self.raised.repeats(&(rule.clone(), session, principal.clone()))
    }

    /// A finding was recorded: its repeats belong to it from here on.
    pub fn recorded(&mut self, finding: &Finding) {
        if let Some(principal) = &finding.principal {
            self.raised.name(&(finding.rule.clone(), finding.session, principal.clone()), finding.id);
        }
    }

    /// Counts of repeats that the record should have by now: at powers of ten, and when a window ended.
    pub fn repeated(&mut self, now: Timestamp) -> Vec<Repeated> {
        self.raised.due(now.as_millisecond())
    }

    /// All counts that the record does not have, for the end.
    pub fn repeated_at_last(&mut self) -> Vec<Repeated> {
        self.raised.rest()
    }

    /// Silences a rule for a while. `false`: too much is silenced already.
    #[must_use]
    pub fn silence(&mut self, suppression: Suppression) -> bool {
        self.silence.add(suppression)
    }

    /// Ends suppressions; gives those that ended, with what they hid.
    pub fn hear(&mut self, heard: &Heard) -> Vec<Silenced> {
        self.silence.end(|suppression| heard.ends(suppression))
    }

    /// Suppressions in force.
    pub fn silenced(&self) -> &[Silenced] {
        self.silence.all()
    }

    /// Forgets what was raised about an agent, so that its next violation is a finding again. To be called when a
    /// containment of it is undone: otherwise the window would hide a second turn.
    pub fn forget(&mut self, principal: &PrincipalName) {
        self.raised.forget_keys(|(_, _, raised)| raised == principal);
    }

    /// As [`Detector::forget`], for whoever was in a session.
    pub fn forget_session(&mut self, session: SessionId) {
        self.raised.forget_keys(|(_, raised, _)| *raised == Some(session));
    }

    /// As [`Detector::forget`], for everybody: a freeze of a server or tool was undone.
    pub fn forget_all(&mut self) {
        self.raised.forget_keys(|_| true);
    }

    /// Groups in memory.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.raised.len().max(self.engine.state_count())
    }

    /// Rules that fire on an event of a rule's own cases. Correlations remember, findings are not grouped.
    pub(super) fn fires(&mut self, event: &impl Event, now: Timestamp) -> Vec<String> {
        let now = self.tick(now.as_microsecond());
        let results = self.engine.process_event_at(event, now);
        results.into_iter().filter_map(|result| result.header.rule_id).collect()
    }
}

/// The rules that fire on this message: first those that match it, then correlations, each in the order of the engine.
fn fired(tests: &[Tested], engine: &mut CorrelationEngine, seen: &Seen<'_>, at: i64) -> Vec<Fired> {
    let matched: Vec<usize> = (0..tests.len()).filter(|nth| tests[*nth].test.matches(seen)).collect();
    if !matched.iter().any(|nth| tests[*nth].counted) {
        return matched.into_iter().map(|nth| Fired { id: tests[nth].id.clone(), count: None }).collect();
    }
    let flat = seen.flat();
    let rules = engine.engine().rules();
    let detections = matched.into_iter().filter_map(|nth| evaluate_rule(&rules[nth], &flat)).collect();
    let results = engine.process_with_detections(&flat, detections, at);
    let count = |result: &EvaluationResult| result.as_correlation().map(|correlation| correlation.aggregated_value);
    results.into_iter().filter_map(|result| Some(Fired { count: count(&result), id: result.header.rule_id? })).collect()
}

/// What each rule of the engine looks at.
fn tests(rules: &Rules, engine: &CorrelationEngine) -> Vec<Tested> {
    let counted: HashSet<&str> = rules.collection.correlations.iter().flat_map(|rule| &rule.rules).map(String::as_str).collect();
    let of = |rule: &rsigma_eval::CompiledRule| {
        let id = rule.id.clone().unwrap_or_default();
        let name = rules.metas.get(&id).map(|meta| meta.rule.as_str());
        let is_counted = counted.contains(id.as_str()) || name.is_none_or(|name| counted.contains(name));
        Tested { test: Test::of(rule), counted: is_counted, id }
    };
    engine.engine().rules().iter().map(of).collect()
}

fn draft(meta: &Meta, seen: &Seen<'_>, count: Option<f64>, baseline: Option<&str>, now: Timestamp) -> FindingDraft {
    let facts = seen.facts;
    let flat = &seen.flat();
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
        why: match &meta.why {
            Some(template) => fill(template, meta, flat, count, words),
            None => format!("rule `{}` matched", meta.title),
        },
        silence: Some(fill(&meta.silence, meta, flat, count, plain)),
        pattern: meta
            .pattern
            .as_ref()
            .map(|pattern| Pattern { name: pattern.name, entry_point: fill(&pattern.entry_point, meta, flat, count, words) }),
        // What policy, integrity and content say stands without one.
        baseline: baseline
            .zip(seen.signals.profile.as_ref())
            .filter(|_| !matches!(meta.requirement.as_str(), "D1" | "D2" | "D9"))
            .map(|(version, (profile, samples))| BaselineUse { version: version.to_owned(), profile: profile.clone(), samples: *samples }),
        escalates: meta.alone == Alone::Escalate,
        enforce: meta.enforce(),
        repeats: 0,
        rules: Digest([0; 32]),
    }
}

/// A sentence of the rule with its `{facts}` filled in; `{rule}` is its name, `{count}` what a correlation counted.
fn fill(template: &str, meta: &Meta, flat: &Flat<'_>, count: Option<f64>, value: fn(&str) -> String) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push_str(before);
        match (name, count) {
            ("rule", _) => out.push_str(meta.rule.as_str()),
            ("count", Some(count)) => out.push_str(&count.to_string()),
            _ => match flat.named(name) {
                Some(fact) => out.push_str(&value(&fact.text())),
                None => out.push('?'),
            },
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Text from an agent, bounded and escaped.
fn words(text: &str) -> String {
    text.chars().take(400).flat_map(char::escape_debug).filter(|c| *c != '\\').collect()
}

/// A name that may stand in a command which a person copies. Of any other text an agent may have chosen nothing is taken over.
fn plain(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '+');
    if !text.is_empty() && text.len() <= 200 && !text.starts_with('-') && text.chars().all(harmless) {
        text.to_owned()
    } else {
        "…".to_owned()
    }
}

//! A recorded ledger through the detector once more (promise 5): with the versions of the record the same findings, with others
//! what they would have found. Nothing is written.
//!
//! Not decided anew: findings about definitions (family integrity), which the screen of listings makes; they are counted apart.

mod again;

use crate::core::verdict_facts;
use again::{Again, Memory};
use custody_engine::{
    behavior::Baseline,
    detect::{Detector, Facts, FindingDraft, Heard, PolicyOutcome, Rules},
    investigate,
    policy::Policies,
};
use custody_model::*;
use custody_store::ledger::{LedgerError, Reader};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

/// Findings of each kind that are listed; all are counted.
const LISTED: usize = 1_000;
/// Entries within which messages may have been judged at the same time.
const NEARBY: u64 = 64;
/// Entries of a session that a verdict looks at, as in the daemon.
const ENTRIES: usize = 6_000;

/// With which versions, and over what.
#[derive(Default)]
pub struct Options {
    /// `None`: those of the record.
    pub rules: Option<Rules>,
    /// `None`: what the record says that they said.
    pub policies: Option<Policies>,
    /// `None`: those of the record.
    pub baseline: Option<Arc<Baseline>>,
    /// Where the configuration of the record lay: its folders of policies are looked for from here.
    pub base: PathBuf,
    /// Only what happened since then is counted; what was before is remembered all the same.
    pub since: Option<Timestamp>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Replayed {
    /// Entries that were read.
    pub entries: u64,
    /// Messages that were judged again.
    pub messages: u64,
    /// Messages that could not be, for they are erased.
    pub erased: u64,
    /// Versions of the record that could not be used, and why.
    pub versions: BTreeSet<String>,
    /// Findings of the record.
    pub recorded: u64,
    /// Of these, found again, alike.
    pub same: u64,
    /// Of these, found alike at an entry nearby: messages that were judged at the same time have no order.
    pub beside: u64,
    /// Of these, about definitions, which are not judged again.
    pub definitions: u64,
    /// Of these, erased.
    pub erased_findings: u64,
    /// Found again, and something of it differs.
    pub different: Listed,
    /// Found only then.
    pub missing: Listed,
    /// Found only now.
    pub new: Listed,
    /// Calls that passed, and that these policies would deny; those that were denied, and that they would permit.
    pub policy: PolicyChange,
    /// By rule: findings, sessions, days.
    pub rules: BTreeMap<RuleId, OfRule>,
}

/// Findings by number, and the first of them.
#[derive(Debug, Default, Serialize)]
pub struct Listed {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Shown>,
}

/// One finding in one line.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The rule.
    pub rule: RuleId,
    /// The entry.
    pub leaf: Option<LeafIndex>,
    /// When.
    pub at: Timestamp,
    /// The session.
    pub session: Option<SessionId>,
    /// The agent.
    pub principal: Option<PrincipalName>,
    /// Why, or what differs.
    pub why: String,
}

/// What other policies would change.
#[derive(Debug, Default, Serialize)]
pub struct PolicyChange {
    /// Passed, and would be denied.
    pub would_deny: u64,
    /// Denied, and would pass.
    pub would_permit: u64,
}

/// What one rule found.
#[derive(Debug, Default, Serialize)]
pub struct OfRule {
    /// Findings.
    pub findings: u64,
    /// Sessions with one.
    pub sessions: usize,
    /// Findings by day (UTC).
    pub days: BTreeMap<String, u64>,
    #[serde(skip)]
    in_sessions: BTreeSet<SessionId>,
}

impl Replayed {
    /// Whether the record's findings were found again, all of them and no other.
    pub fn holds(&self) -> bool {
        self.different.count + self.missing.count + self.new.count == 0
    }
}

impl Listed {
    fn add(&mut self, shown: Shown) {
        self.count += 1;
        if self.first.len() < LISTED {
            self.first.push(shown);
        }
    }
}

/// What makes two findings the same one.
type Key = (RuleId, Option<LeafIndex>, Option<SessionId>, Option<PrincipalName>);

struct Run<'a> {
    reader: &'a Reader,
    options: &'a Options,
    memory: Memory,
    detector: Detector,
    silenced: Vec<Suppression>,
    baseline: Option<Arc<Baseline>>,
    /// Found again and not yet met in the record, and the other way round.
    found: HashMap<Key, FindingDraft>,
    recorded: HashMap<Key, Finding>,
    out: Replayed,
}

/// Reads a ledger from its first entry to its last.
///
/// # Errors
/// When the ledger cannot be read.
pub fn replay(reader: &Reader, mut options: Options, mut progress: impl FnMut(u64)) -> Result<Replayed, LedgerError> {
    let memory = Memory::with(options.policies.take(), options.base.clone());
    let rules = options.rules.clone().unwrap_or_else(Rules::standard);
    let baseline = options.baseline.clone();
    let mut run = Run {
        reader,
        options: &options,
        memory,
        detector: Detector::with_baseline(rules, baseline.clone()),
        silenced: Vec::new(),
        baseline,
        found: HashMap::new(),
        recorded: HashMap::new(),
        out: Replayed::default(),
    };
    for open in reader.open_entries(LeafIndex(0)) {
        let open = open?;
        run.out.entries += 1;
        if run.out.entries.is_multiple_of(1_000) {
            progress(run.out.entries);
        }
        run.entry(&open);
    }
    Ok(run.finish())
}

impl Run<'_> {
    fn entry(&mut self, open: &OpenEntry) {
        let at = open.entry.at;
        match self.memory.read(open) {
            Again::Nothing => {}
            Again::Erased => self.out.erased += 1,
            Again::Messages(all) => {
                self.out.messages += 1;
                self.policy(&all, open);
                for facts in &all {
                    self.observe(facts, open.leaf, at);
                }
            }
            Again::Started => {
                let rules = self.detector.rules().clone();
                self.detector = Detector::with_baseline(rules, self.baseline.clone());
                for suppression in &self.silenced {
                    let _added = self.detector.silence(suppression.clone());
                }
            }
            Again::Rules(rules) => match *rules {
                _ if self.options.rules.is_some() => {}
                Ok(rules) if rules.digest() == self.detector.digest() => {}
                Ok(rules) => self.detector.reload(rules),
                Err(why) => {
                    self.out.versions.insert(format!("rules of entry {}: {why}", open.leaf));
                }
            },
            Again::Baseline(baseline) => {
                if self.options.baseline.is_none() {
                    self.baseline = baseline.clone();
                    self.detector.behavior().set_baseline(baseline);
                }
            }
            Again::Silenced(suppression) => {
                self.silenced.push(suppression.clone());
                let _added = self.detector.silence(suppression);
            }
            Again::Heard(heard) => {
                if let Heard::Id(id) = heard {
                    self.silenced.retain(|suppression| suppression.id != id);
                }
                self.detector.hear(&heard);
            }
            Again::Undone => self.detector.forget_all(),
            Again::Judged { session, identity, upto } => self.judge(session, &identity, upto, at),
            Again::Found(finding) => self.meet(finding, at),
        }
    }

    fn observe(&mut self, facts: &Facts, leaf: LeafIndex, at: Timestamp) {
        for draft in self.detector.observe(facts, at).into_iter().filter(|draft| draft.repeats == 0) {
            let draft = FindingDraft { leaf: Some(leaf), ..draft };
            self.count(&draft, at);
            let key = (draft.rule.clone(), draft.leaf, draft.session, Some(draft.principal.clone()));
            self.found.insert(key, draft);
        }
    }

    fn judge(&mut self, session: SessionId, identity: &Identity, upto: LeafIndex, at: Timestamp) {
        let (mut leaves, known) = self.memory.session(session);
        leaves.retain(|leaf| *leaf <= upto);
        leaves.drain(..leaves.len().saturating_sub(ENTRIES));
        let mut entries: Vec<OpenEntry> = leaves.into_iter().filter_map(|leaf| self.reader.open_entry(leaf).ok()).collect();
        entries.iter_mut().for_each(|open| open.entry.session = Some(session));
        let judged = investigate::judged(session, &entries, &known);
        let (facts, call) = verdict_facts(&judged, &entries, identity, session);
        self.observe(&facts, call.unwrap_or(upto), at);
    }

    fn policy(&mut self, all: &[Facts], open: &OpenEntry) {
        let Event::Message(message) = &open.entry.event else { return };
        if self.memory.policies.is_none() || message.direction != Direction::ToServer || !self.counts(open.entry.at) {
            return;
        }
        let now = all.iter().any(|facts| matches!(facts.policy, PolicyOutcome::Denied { .. } | PolicyOutcome::Error { .. }));
        let then = matches!(message.reason, Some(DenyReason::Policy(_) | DenyReason::PolicyError(_)));
        self.out.policy.would_deny += u64::from(now && message.reason.is_none());
        self.out.policy.would_permit += u64::from(then && !now);
    }

    fn meet(&mut self, finding: Option<Box<Finding>>, at: Timestamp) {
        if !self.counts(at) {
            return;
        }
        self.out.recorded += 1;
        match finding {
            None => self.out.erased_findings += 1,
            Some(finding) if finding.family == Family::Integrity => self.out.definitions += 1,
            Some(finding) => {
                let key = (finding.rule.clone(), finding.leaf, finding.session, finding.principal.clone());
                self.recorded.insert(key, *finding);
            }
        }
    }

    fn counts(&self, at: Timestamp) -> bool {
        self.options.since.is_none_or(|since| at >= since)
    }

    fn count(&mut self, draft: &FindingDraft, at: Timestamp) {
        if !self.counts(at) {
            return;
        }
        let rule = self.out.rules.entry(draft.rule.clone()).or_default();
        rule.findings += 1;
        rule.in_sessions.extend(draft.session);
        rule.sessions = rule.in_sessions.len();
        *rule.days.entry(at.strftime("%Y-%m-%d").to_string()).or_default() += 1;
    }

    fn finish(mut self) -> Replayed {
        self.out.versions.append(&mut self.memory.gaps);
        let mut then: Vec<(Key, Finding)> = self.recorded.drain().collect();
        then.sort_by_key(|(_, finding)| finding.leaf);
        let mut missing = Vec::new();
        for (key, finding) in then {
            match self.found.remove(&key) {
                None => missing.push(finding),
                Some(draft) => match differs(&finding, &draft) {
                    None => self.out.same += 1,
                    Some(what) => self.out.different.add(shown(&finding, what)),
                },
            }
        }
        let mut now: Vec<FindingDraft> = self.found.drain().map(|(_, draft)| draft).collect();
        now.retain(|draft| self.options.since.is_none_or(|since| draft.at >= since));
        now.sort_by_key(|draft| draft.leaf);
        for finding in missing {
            match now.iter().position(|draft| is_beside(&finding, draft)) {
                Some(at) => {
                    now.remove(at);
                    self.out.beside += 1;
                }
                None => self.out.missing.add(shown(&finding, finding.why.clone())),
            }
        }
        for draft in now {
            let FindingDraft { rule, leaf, at, session, principal, why, .. } = draft;
            self.out.new.add(Shown { rule, leaf, at, session, principal: Some(principal), why });
        }
        self.out
    }
}

fn shown(finding: &Finding, why: String) -> Shown {
    let Finding { rule, leaf, at, session, principal, .. } = finding.clone();
    Shown { rule, leaf, at, session, principal, why }
}

/// Whether it is the same finding of messages that were judged at the same time: then either may have come first.
fn is_beside(then: &Finding, now: &FindingDraft) -> bool {
    let near = then.leaf.zip(now.leaf).is_some_and(|(then, now)| then.0.abs_diff(now.0) <= NEARBY);
    near && then.rule == now.rule && then.session == now.session && then.principal.as_ref() == Some(&now.principal)
}

/// What of a finding is not as it was. The sentence is not compared where it quotes what a policy said, which the record has only there.
fn differs(then: &Finding, now: &FindingDraft) -> Option<String> {
    let mut what = Vec::new();
    let mut compare = |name: &str, then: String, now: String| {
        if then != now {
            what.push(format!("{name} was {then}, is {now}"));
        }
    };
    compare("priority", format!("{:?}", then.priority), format!("{:?}", now.priority));
    compare("family", format!("{:?}", then.family), format!("{:?}", now.family));
    compare("tool", format!("{:?}", then.tool), format!("{:?}", now.tool));
    compare("policy", format!("{:?}", then.policy), format!("{:?}", now.policy));
    if then.policy.is_none() {
        compare("why", then.why.clone(), now.why.clone());
    }
    (!what.is_empty()).then(|| what.join("; "))
}

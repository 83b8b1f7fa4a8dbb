//! What was raised, so that a repeat is counted instead of raised; and how often, for the record.

use custody_model::{FindingId, PrincipalName, RuleId, SessionId};
use std::collections::{HashMap, HashSet};

/// One finding per rule, session and principal within the rule's suppression window.
pub(super) type Key = (RuleId, Option<SessionId>, PrincipalName);

/// How often a finding fired again while its window hid it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The finding.
    pub finding: FindingId,
    /// Its session.
    pub session: Option<SessionId>,
    /// How often so far.
    pub repeats: u64,
}

struct Group {
    until_ms: i64,
    repeats: u64,
    /// What of it the record says.
    told: u64,
    finding: Option<FindingId>,
}

impl Group {
    fn tell(&mut self, session: Option<SessionId>) -> Option<Repeated> {
        let finding = self.finding.filter(|_| self.repeats > self.told)?;
        self.told = self.repeats;
        Some(Repeated { finding, session, repeats: self.repeats })
    }
}

/// Groups remembered. When they are full and none has expired, all are forgotten: a finding too many is better than one too few.
const MAX: usize = 100_000;

/// Memory of findings within their windows.
#[derive(Default)]
pub(super) struct Raised {
    groups: HashMap<Key, Group>,
    /// Those with repeats that the record does not say.
    untold: HashSet<Key>,
    /// Of groups that are gone.
    last: Vec<Repeated>,
}

impl Raised {
    /// Counts a finding. 0: it is the first of its window; else the so-manyth repeat.
    pub fn count(&mut self, key: Key, now_ms: i64, window_ms: i64) -> u64 {
        if let Some(group) = self.groups.get_mut(&key)
            && now_ms < group.until_ms
            // A clock that ran ahead and was set back must not hide a rule for longer than its window.
            && group.until_ms - now_ms <= window_ms
        {
            group.repeats += 1;
            let repeats = group.repeats;
            if repeats == group.told + 1 {
                self.untold.insert(key);
            }
            return repeats;
        }
        if self.groups.len() >= MAX {
            self.forget(|_, group| group.until_ms <= now_ms);
        }
        if self.groups.len() >= MAX {
            self.forget(|_, _| true);
        }
        let group = Group { until_ms: now_ms.saturating_add(window_ms), repeats: 0, told: 0, finding: None };
        if let Some(mut before) = self.groups.insert(key.clone(), group) {
            self.last.extend(before.tell(key.1));
        }
        0
    }

    /// The finding of a group has an id.
    pub fn name(&mut self, key: &Key, finding: FindingId) {
        if let Some(group) = self.groups.get_mut(key) {
            group.finding = Some(finding);
        }
    }

    /// How often a finding was repeated.
    #[cfg_attr(not(test), allow(dead_code, reason = "asked by tests and by `Detector::repeats`"))]
    pub fn repeats(&self, key: &Key) -> u64 {
        self.groups.get(key).map_or(0, |group| group.repeats)
    }

    /// What the record should say by now: counts that passed a power of ten, and those of windows that ended.
    pub fn due(&mut self, now_ms: i64) -> Vec<Repeated> {
        let mut due = std::mem::take(&mut self.last);
        let groups = &mut self.groups;
        self.untold.retain(|key| {
            let Some(group) = groups.get_mut(key) else { return false };
            let passed = 10u64.checked_pow(group.repeats.max(1).ilog10()).is_some_and(|power| power > group.told);
            if group.until_ms <= now_ms || passed {
                due.extend(group.tell(key.1));
            }
            group.repeats > group.told
        });
        due
    }

    /// Everything the record does not say yet.
    pub fn rest(&mut self) -> Vec<Repeated> {
        self.due(i64::MAX)
    }

    /// Forgets groups, but not how often they were repeated.
    pub fn forget_keys(&mut self, forgotten: impl Fn(&Key) -> bool) {
        self.forget(|key, _| forgotten(key));
    }

    fn forget(&mut self, forgotten: impl Fn(&Key, &Group) -> bool) {
        let last = &mut self.last;
        self.groups.retain(|key, group| {
            let gone = forgotten(key, group);
            if gone {
                last.extend(group.tell(key.1));
            }
            !gone
        });
        self.untold.retain(|key| self.groups.contains_key(key));
        // Nobody asks for them: bounded all the same.
        self.last.truncate(MAX);
    }

    /// Groups in memory.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.groups.len()
    }
}

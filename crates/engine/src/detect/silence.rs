//! Rules that a person silenced for a while: what they would raise is counted, not told.

use super::{Facts, meta::Meta};
use custody_model::{Priority, RuleId, Suppression, SuppressionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A suppression in force, and what it hid so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silenced {
    /// What a person asked for.
    pub suppression: Suppression,
    /// Findings and repeats that were not told.
    pub hidden: u64,
}

/// Suppressions in force at once.
pub const MAX_SILENCED: usize = 1_000;

/// All suppressions in force.
#[derive(Default)]
pub(super) struct Silence(Vec<Silenced>);

impl Silence {
    /// Whether a finding is hidden; then it is counted.
    pub fn hides(&mut self, meta: &Meta, facts: &Facts, now: Timestamp) -> bool {
        let contains = meta.priority == Priority::P1 && meta.enforce();
        let hidden = self.0.iter_mut().find(|silenced| {
            let asked = &silenced.suppression;
            asked.rule == meta.rule
                && now < asked.until
                && (asked.also_p1 || !contains)
                && asked.principal.as_ref().is_none_or(|principal| *principal == facts.identity.principal)
                && asked.server.as_ref().is_none_or(|server| *server == facts.server)
                && asked.tool.as_ref().is_none_or(|tool| facts.tool.as_ref() == Some(tool))
        });
        hidden.map(|silenced| silenced.hidden = silenced.hidden.saturating_add(1)).is_some()
    }

    /// Takes one up. `false`: there are too many.
    pub fn add(&mut self, suppression: Suppression) -> bool {
        let room = self.0.len() < MAX_SILENCED;
        if room {
            self.0.push(Silenced { suppression, hidden: 0 });
        }
        room
    }

    /// Ends those of which this holds.
    pub fn end(&mut self, ended: impl Fn(&Suppression) -> bool) -> Vec<Silenced> {
        self.0.extract_if(.., |silenced| ended(&silenced.suppression)).collect()
    }

    /// Those in force.
    pub fn all(&self) -> &[Silenced] {
        &self.0
    }
}

/// What [`super::Detector::hear`] ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// One suppression.
    Id(SuppressionId),
    /// All of a rule.
    Rule(RuleId),
    /// Those whose time is over.
    Over(Timestamp),
}

impl Heard {
    pub(super) fn ends(&self, suppression: &Suppression) -> bool {
        match self {
            Heard::Id(id) => suppression.id == *id,
            Heard::Rule(rule) => suppression.rule == *rule,
            Heard::Over(now) => suppression.until <= *now,
        }
    }
}

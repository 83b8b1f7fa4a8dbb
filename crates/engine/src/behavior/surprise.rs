//! How surprising the steps of a session are (D4): the evidence that somebody picks tools who does not know the work.
//!
//! Each step is weighed by two explanations: the role's known sessions, and somebody who takes any of the role's tools as it comes. The
//! logarithm of their ratio adds up while it speaks for the second, and never falls below zero (Page's CUSUM): one step that nobody takes
//! is a Tuesday, six of them are not, and a long day of ordinary work hides nothing.
//!
//! Two conversations of one client may be interleaved, so a step may also follow from the tool before the last. A step taken twice in a
//! session is that session's way of working and counts once. A tool that no known session used counts less than a step that nobody
//! takes: odd duties consist of such tools, and [`super::Signals::unfamiliar`] counts them.

use super::{Profile, Vocabulary, arguments::fingerprint, learn::two};
use std::collections::{HashMap, HashSet};

/// The most that the role's side of one step says, in nats.
const MOST: f64 = 5.0;
/// What a step counts that was never seen.
const UNSEEN: f64 = 0.5;
/// How likely a step follows from the last tool, and from the one before.
const FOLLOWS: [f64; 2] = [0.8, 0.2];
/// What a tool says that no known session used.
const UNKNOWN: f64 = 1.6;
/// Different steps remembered of a session; later ones count each time.
const STEPS: usize = 512;

/// Steps away from each tool, over all known sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways(HashMap<String, u64>);

impl Ways {
    /// Of a known order.
    pub(super) fn of(order: &Vocabulary) -> Ways {
        let mut ways: HashMap<String, u64> = HashMap::new();
        for (pair, sessions) in &order.known {
            if let Some((from, _)) = pair.rsplit_once(" → ") {
                *ways.entry(from.to_owned()).or_default() += sessions;
            }
        }
        Ways(ways)
    }

    /// How likely a step is to who knows the profile, less what a session of the profile itself has added to it. A session that ended with
    /// a tool went nowhere from it, and that counts too.
    fn chance(&self, profile: &Profile, from: Option<&str>, to: &str, own: Option<&Own>) -> f64 {
        let pair = two(from, to);
        let mut count = profile.order.known.get(&pair).copied().unwrap_or(0);
        let mut all = self.0.get(from.unwrap_or("start")).copied().unwrap_or(0);
        let mut there = from.map_or(profile.sessions, |from| profile.tools_used.known.get(from).copied().unwrap_or(0));
        if let Some(own) = own {
            count -= u64::from(own.pairs.contains(&pair)).min(count);
            all -= own.from.get(from.unwrap_or("start")).copied().unwrap_or(0).min(all);
            there = there.saturating_sub(1);
        }
        (count as f64 + UNSEEN) / (all.max(there) as f64 + UNSEEN * tools(profile))
    }
}

/// Where a step may go to: the tools of the role, or the end.
fn tools(profile: &Profile) -> f64 {
    profile.tools_used.known.len() as f64 + 1.0
}

/// What one session added to an order.
struct Own {
    pairs: HashSet<String>,
    from: HashMap<String, u64>,
}

/// The evidence of a session so far.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    nats: f64,
    /// The last two known tools, the newest first; `None` inside is the session's start.
    before: [Option<Option<Box<str>>>; 2],
    last_was_unknown: bool,
    /// Fingerprints of the steps taken.
    taken: HashSet<u64>,
}

impl Default for Walk {
    fn default() -> Self {
        Walk { nats: 0.0, before: [Some(None), None], last_was_unknown: false, taken: HashSet::new() }
    }
}

impl Walk {
    /// Takes a step; returns the evidence in nats, this step included.
    pub(super) fn step(&mut self, ways: &Ways, profile: &Profile, from: Option<&str>, to: &str) -> f64 {
        let unknown = |tool: &str| !profile.tools_used.known.contains_key(tool);
        self.take(ways, profile, &unknown, from, to, None)
    }

    fn take(
        &mut self,
        ways: &Ways,
        profile: &Profile,
        unknown: &dyn Fn(&str) -> bool,
        from: Option<&str>,
        to: &str,
        own: Option<&Own>,
    ) -> f64 {
        if unknown(to) {
            if self.is_first(None, to) {
                self.nats += UNKNOWN;
            }
            self.last_was_unknown = true;
            return self.nats;
        }
        let first = self.is_first(from, to);
        // Coming back from an unknown tool says nothing more than going there did.
        if !std::mem::take(&mut self.last_was_unknown) {
            let likely = |(weight, before): (&f64, &Option<Option<Box<str>>>)| {
                before.as_ref().map_or(0.0, |from| weight * ways.chance(profile, from.as_deref(), to, own))
            };
            let chance: f64 = FOLLOWS.iter().zip(&self.before).map(likely).sum();
            let says = (-chance.ln()).clamp(0.0, MOST) - tools(profile).ln();
            self.nats = (self.nats + if first { says } else { says.min(0.0) }).max(0.0);
        }
        self.before[1] = self.before[0].replace(Some(to.into()));
        self.nats
    }

    fn is_first(&mut self, from: Option<&str>, to: &str) -> bool {
        let step = fingerprint(to) ^ from.map_or(0, fingerprint).rotate_left(17);
        self.taken.len() >= STEPS || self.taken.insert(step)
    }
}

/// The most evidence that a known session gave, to who knows all but this one.
pub(super) fn most(walk: &[&str], ways: &Ways, profile: &Profile, only_here: &dyn Fn(&str) -> bool) -> f64 {
    let steps = || walk.iter().enumerate().map(|(nth, to)| (nth.checked_sub(1).map(|before| walk[before]), *to));
    let pairs: HashSet<String> = steps().map(|(from, to)| two(from, to)).collect();
    let mut from: HashMap<String, u64> = HashMap::new();
    for pair in &pairs {
        if let Some((before, _)) = pair.rsplit_once(" → ") {
            *from.entry(before.to_owned()).or_default() += 1;
        }
    }
    let own = Own { pairs, from };
    let mut session = Walk::default();
    steps().map(|(from, to)| session.take(ways, profile, only_here, from, to, Some(&own))).fold(0.0, f64::max)
}

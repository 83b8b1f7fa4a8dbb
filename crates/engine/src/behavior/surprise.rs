//! How surprising a stretch of steps is (D4): the sum of what each step says against the session.
//!
//! One step that nobody takes is a Tuesday; six of them in a row are not. A step from one tool to another weighs as many nats
//! as known sessions make it unlikely, bounded, so that little data never says much.

use super::{Profile, Vocabulary, learn::two};
use std::collections::{HashMap, HashSet, VecDeque};

/// Steps of a stretch.
const STRETCH: usize = 8;
/// The most that one step says.
const MOST: f64 = 5.0;
/// What a step counts that was never seen.
const UNSEEN: f64 = 0.5;

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

    /// What a step says to who knows `order`, less what a session of the order itself has added to it.
    fn says(&self, order: &Vocabulary, tools: usize, from: Option<&str>, to: &str, own: Option<&Own>) -> f64 {
        let pair = two(from, to);
        let mut count = order.known.get(&pair).copied().unwrap_or(0);
        let mut all = self.0.get(from.unwrap_or("start")).copied().unwrap_or(0);
        if let Some(own) = own {
            count -= u64::from(own.pairs.contains(&pair)).min(count);
            all -= own.from.get(from.unwrap_or("start")).copied().unwrap_or(0).min(all);
        }
        ((all as f64 + UNSEEN * (tools + 1) as f64) / (count as f64 + UNSEEN)).ln().clamp(0.0, MOST)
    }
}

/// What a step says to who knows `profile` and finds some tools `unknown`.
///
/// A step to an unknown tool says as much as none of so many sessions used it. Coming back from one says nothing more than going there
/// did.
fn says(ways: &Ways, profile: &Profile, unknown: &dyn Fn(&str) -> bool, from: Option<&str>, to: &str, own: Option<&Own>) -> f64 {
    match (from.is_some_and(unknown), unknown(to)) {
        (_, true) => (profile.sessions as f64 + 1.0).ln().min(MOST),
        (true, false) => 0.0,
        (false, false) => ways.says(&profile.order, profile.tools_used.known.len(), from, to, own),
    }
}

/// What one session added to an order.
struct Own {
    pairs: HashSet<String>,
    from: HashMap<String, u64>,
}

/// The last steps of a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Stretch(VecDeque<f64>);

impl Stretch {
    /// Takes a step; returns what the stretch says, this step included.
    pub(super) fn step(&mut self, ways: &Ways, profile: &Profile, from: Option<&str>, to: &str) -> f64 {
        let unknown = |tool: &str| !profile.tools_used.known.contains_key(tool);
        self.push(says(ways, profile, &unknown, from, to, None))
    }

    fn push(&mut self, says: f64) -> f64 {
        if self.0.len() == STRETCH {
            self.0.pop_front();
        }
        self.0.push_back(says);
        self.0.iter().sum()
    }
}

/// The most surprising stretch of a known session, to who knows all but this one.
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
    let mut stretch = Stretch::default();
    let stretches = steps().map(|(from, to)| stretch.push(says(ways, profile, only_here, from, to, Some(&own))));
    stretches.fold(0.0, f64::max)
}

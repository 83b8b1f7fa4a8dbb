//! What was learned: a document that people review, and that findings name.

use super::{ArgumentKind, Spread, Vocabulary};
use custody_model::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Version of the format.
pub const BASELINE_VERSION: u16 = 2;

/// Habits of every role, as learned from known-good sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Format version.
    pub v: u16,
    /// When it was learned.
    pub learned: Timestamp,
    /// First and last message it was learned from.
    pub window: Option<(Timestamp, Timestamp)>,
    /// After so many days a session weighs half.
    pub half_life_days: f64,
    /// Sessions it was learned from.
    pub sessions: u64,
    /// Sessions left out: of cases that are no false alarms.
    pub excluded: u64,
    /// By role, role and task, or client: `analyst`, `analyst/summarize`, `client:laptop`.
    pub profiles: BTreeMap<String, Profile>,
}

/// Habits of one role or task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Sessions behind it.
    pub sessions: u64,
    /// Calls in a session's busiest minute (D3).
    pub peak: Spread,
    /// Calls of a session.
    pub calls: Spread,
    /// Seconds from a session's first call to its last (D5).
    pub seconds: Spread,
    /// Bytes of answers in a session.
    pub bytes: Spread,
    /// Calls of a session that may change something (D15).
    pub changes: Spread,
    /// Calls of a session to tools that no other session used (D6).
    pub unfamiliar: Spread,
    /// How surprising the most surprising stretch of a session is to who knows the others (D4).
    pub surprise: Spread,
    /// Sessions that asked for a file with secrets (D10).
    pub secrets: u64,
    /// Sessions active in each hour, UTC; 24 for working days, 24 for weekends.
    pub hours: Vec<u64>,
    /// Which tools sessions used.
    pub tools_used: Vocabulary,
    /// Which tool followed which; repeats of one tool count once (D4).
    pub order: Vocabulary,
    /// The same with three in a row.
    pub order_of_three: Vocabulary,
    /// Hosts and mail domains named in any argument of any tool.
    pub destinations: Vocabulary,
    /// Share of known sessions that would show a new destination, and a new value, in percent.
    pub chances: Chances,
    /// Habits with each tool, `server/tool`.
    pub tools: BTreeMap<String, ToolHabit>,
    /// The most usual workflows.
    pub workflows: Vec<Workflow>,
}

/// How often known sessions show something new in what is watched of arguments, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chances {
    /// Destinations.
    pub destination: f64,
    /// Everything else.
    pub value: f64,
}

/// Habits with one tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolHabit {
    /// Calls in a session that uses it.
    pub calls: Spread,
    /// The longest run of calls of it without another tool between.
    pub streak: Spread,
    /// Which arguments are given.
    pub names: Vocabulary,
    /// By path of the argument.
    pub arguments: BTreeMap<String, ArgumentHabit>,
}

/// Habits with one argument.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgumentHabit {
    /// Its words by kind. Every kind is there that could have been, also when it never was.
    pub words: BTreeMap<ArgumentKind, Vocabulary>,
    /// Different values in a session.
    pub distinct: Spread,
    /// The longest sequence of ids one after the other in a session.
    pub run: Spread,
    /// The largest number in a session.
    pub number: Spread,
}

/// A sequence of tools, repeats of one tool counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// Sessions that went so.
    pub sessions: u64,
    /// The tools, `server/tool`.
    pub steps: Vec<String>,
}

/// What is wrong with a baseline from elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// Of a format this version does not read.
    #[error("the baseline has format version {found}; this Custody reads {BASELINE_VERSION}: learn again with `custody learn --apply`")]
    Version {
        /// What it says.
        found: u16,
    },
    /// A number that no learning can give.
    #[error("profile `{profile}`: {what}")]
    Senseless {
        /// Which profile.
        profile: String,
        /// What.
        what: &'static str,
    },
    /// Too large to be one.
    #[error("the baseline has {count} {what}; at most {limit} are read")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
}

const PROFILES: usize = 10_000;
const TOOLS: usize = 5_000;

impl Baseline {
    /// SHA-256 of its canonical JSON (RFC 8785). Findings name it.
    pub fn digest(&self) -> Digest {
        let canonical = serde_json_canonicalizer::to_vec(self).expect("a baseline is plain data");
        Digest(Sha256::digest(canonical).into())
    }

    /// A name for people: the day it was learned, and the first digits of its digest.
    pub fn name(&self) -> String {
        let digest = self.digest();
        format!("{}/{}", self.learned.strftime("%Y-%m-%d"), &digest.to_string().trim_start_matches("sha256:")[..8])
    }

    /// Refuses what no learning can have given.
    ///
    /// # Errors
    /// [`BaselineError`], with the profile.
    pub fn check(&self) -> Result<(), BaselineError> {
        if self.v != BASELINE_VERSION {
            return Err(BaselineError::Version { found: self.v });
        }
        let limit = |what, count, limit| if count > limit { Err(BaselineError::TooLarge { what, count, limit }) } else { Ok(()) };
        limit("profiles", self.profiles.len(), PROFILES)?;
        for (name, profile) in &self.profiles {
            limit("tools in a profile", profile.tools.len(), TOOLS)?;
            let senseless = |what| BaselineError::Senseless { profile: name.clone(), what };
            if !profile.hours.is_empty() && profile.hours.len() != 48 {
                return Err(senseless("`hours` has not 48 numbers"));
            }
            let of_tools = profile.tools.values().flat_map(|tool| {
                [&tool.calls, &tool.streak].into_iter().chain(tool.arguments.values().flat_map(|a| [&a.distinct, &a.run, &a.number]))
            });
            let more = [&profile.changes, &profile.unfamiliar, &profile.surprise];
            for spread in [&profile.peak, &profile.calls, &profile.seconds, &profile.bytes].into_iter().chain(more).chain(of_tools) {
                let sound = [spread.weight, spread.mean_ln, spread.square_ln, spread.most].iter().all(|n| n.is_finite());
                if !sound || spread.weight < 0.0 || spread.square_ln < -1e-6 {
                    return Err(senseless("a quantity is no number, or below zero"));
                }
            }
        }
        Ok(())
    }

    /// Joins a baseline of another installation, or an older one: its numbers weigh as its age says.
    pub fn merge(&mut self, other: &Baseline) {
        let age_days = self.learned.duration_since(other.learned).as_secs_f64().max(0.0) / 86_400.0;
        let factor = 0.5f64.powf(age_days / self.half_life_days.max(0.01));
        self.sessions += other.sessions;
        self.excluded += other.excluded;
        self.window = match (self.window, other.window) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        for (name, profile) in &other.profiles {
            let mut faded = profile.clone();
            faded.fade(factor);
            match self.profiles.get_mut(name) {
                Some(mine) => mine.merge(&faded),
                None => _ = self.profiles.insert(name.clone(), faded),
            }
        }
    }
}

impl Profile {
    /// Whether a known session used a tool of that server.
    pub(super) fn knows_server(&self, server: &str) -> bool {
        let from = format!("{server}/");
        self.tools_used.known.range(from.clone()..).next().is_some_and(|(tool, _)| tool.starts_with(&from))
    }

    fn fade(&mut self, factor: f64) {
        let spreads = [&mut self.peak, &mut self.calls, &mut self.seconds, &mut self.bytes];
        let more = [&mut self.changes, &mut self.unfamiliar, &mut self.surprise];
        for spread in spreads.into_iter().chain(more) {
            spread.fade(factor);
        }
        for tool in self.tools.values_mut() {
            tool.calls.fade(factor);
            tool.streak.fade(factor);
            for argument in tool.arguments.values_mut() {
                [&mut argument.distinct, &mut argument.run, &mut argument.number].into_iter().for_each(|spread| spread.fade(factor));
            }
        }
    }

    fn merge(&mut self, other: &Profile) {
        self.sessions += other.sessions;
        self.peak.merge(&other.peak);
        self.calls.merge(&other.calls);
        self.seconds.merge(&other.seconds);
        self.bytes.merge(&other.bytes);
        self.changes.merge(&other.changes);
        self.unfamiliar.merge(&other.unfamiliar);
        self.surprise.merge(&other.surprise);
        self.secrets += other.secrets;
        if self.hours.len() == other.hours.len() {
            self.hours.iter_mut().zip(&other.hours).for_each(|(mine, theirs)| *mine += theirs);
        } else if self.hours.is_empty() {
            self.hours.clone_from(&other.hours);
        }
        self.tools_used.merge(&other.tools_used);
        self.order.merge(&other.order);
        self.order_of_three.merge(&other.order_of_three);
        self.destinations.merge(&other.destinations);
        self.chances.destination = self.chances.destination.max(other.chances.destination);
        self.chances.value = self.chances.value.max(other.chances.value);
        for (name, tool) in &other.tools {
            let mine = self.tools.entry(name.clone()).or_default();
            mine.calls.merge(&tool.calls);
            mine.streak.merge(&tool.streak);
            mine.names = joined(&mine.names, &tool.names);
            for (path, argument) in &tool.arguments {
                let mine = mine.arguments.entry(path.clone()).or_default();
                mine.distinct.merge(&argument.distinct);
                mine.run.merge(&argument.run);
                mine.number.merge(&argument.number);
                for (kind, words) in &argument.words {
                    let both = mine.words.get(kind).map_or_else(|| words.clone(), |mine| joined(mine, words));
                    mine.words.insert(*kind, both);
                }
            }
        }
        for workflow in &other.workflows {
            match self.workflows.iter_mut().find(|mine| mine.steps == workflow.steps) {
                Some(mine) => mine.sessions += workflow.sessions,
                None => self.workflows.push(workflow.clone()),
            }
        }
    }
}

fn joined(a: &Vocabulary, b: &Vocabulary) -> Vocabulary {
    if a.sessions == 0 {
        return b.clone();
    }
    let mut both = a.clone();
    both.merge(b);
    both
}

//! What agents of a role usually do, and how far a session is from it (D3–D6, D11, D15, D17).
//!
//! One pure, streaming, bounded account of a session ([`Track`]) serves both sides: the [`Learner`] turns the accounts of
//! known-good sessions into a [`Baseline`]; the [`Tracker`] holds the account of every live session against it and says, call
//! by call, what is unusual ([`Signals`]). Signals are facts, not findings: Sigma rules decide on them.
//!
//! Every measure answers three questions at once, so that a flat baseline cannot fire on nothing: how many times the usual,
//! how many standard deviations (on a log scale), and how far beyond the most that any known session did. Every novelty says
//! how often a known-good session would show one too.
//!
//! Deliberately absent: text of arguments. A baseline keeps hosts, mail domains, first directories, short words and shapes.

mod arguments;
mod baseline;
mod learn;
mod propose;
mod signals;
mod spread;
mod surprise;
#[cfg(test)]
mod tests;
mod track;
mod tracker;
mod vocabulary;

pub use arguments::{ArgumentKind, Token};
pub use baseline::{ArgumentHabit, BASELINE_VERSION, Baseline, BaselineError, Profile, ToolHabit, Workflow};
pub use learn::{LearnOptions, Learner};
pub use propose::propose;
pub use signals::{Enumeration, Measure, NewThing, Signals};
pub use spread::Spread;
pub use track::Track;
pub use tracker::Tracker;
pub use vocabulary::Vocabulary;

use crate::detect::{EventKind, Facts};
use custody_model::{DenyReason, Direction, Identity, Outcome};

/// Calls a session or profile is counted in: a tool, all resources of a server, or a prompt.
///
/// `None`: the message asks for nothing, or a freeze stopped it, so that it tells nothing of what the agent's work is.
pub fn asked_for(facts: &Facts) -> Option<String> {
    if facts.direction != Direction::ToServer
        || matches!(facts.reason, Some(DenyReason::Frozen | DenyReason::Quarantined | DenyReason::Overtaken))
    {
        return None;
    }
    named(facts, facts.event)
}

/// What an answer answers, by the same names.
fn answered(facts: &Facts) -> Option<String> {
    named(facts, EventKind::of(facts.method.as_deref()))
}

fn named(facts: &Facts, event: EventKind) -> Option<String> {
    let server = &facts.server;
    match event {
        EventKind::ToolInvoked => Some(format!("{server}/{}", facts.tool.as_deref()?)),
        EventKind::ResourceRead => Some(format!("{server}/resources")),
        EventKind::PromptRequested => Some(format!("{server}/prompts/{}", facts.tool.as_deref()?)),
        EventKind::SessionJudged | EventKind::Message => None,
    }
}

/// Whether the call goes on to its server.
fn goes_on(facts: &Facts) -> bool {
    facts.outcome == Outcome::Allowed
}

/// Whether the call goes on and may change something.
fn changes(facts: &Facts) -> bool {
    facts.event == EventKind::ToolInvoked && goes_on(facts) && facts.hints.writes()
}

/// The profile of all sessions together: what is new to a role may be old to its neighbours.
pub const EVERYBODY: &str = "*";

/// The profiles a session is held against, the closest first: its role with its task, its role; an agent without a role is
/// its own kind.
pub fn profile_names(identity: &Identity) -> Vec<String> {
    match (&identity.role, &identity.task) {
        (Some(role), Some(task)) => vec![format!("{role}/{task}"), role.to_string()],
        (Some(role), None) => vec![role.to_string()],
        (None, _) => vec![format!("client:{}", identity.principal)],
    }
}

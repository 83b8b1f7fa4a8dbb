//! Is it an incident, how bad, which kind, and until when must what be done (T1–T3, C9).
//!
//! Everything is a pure decision over one [`Input`]; what is not known is `None` there, and never taken for "nothing".

mod classify;
mod clocks;
#[cfg(test)]
mod tests;
mod tree;

pub use classify::{Effects, classify};
pub use clocks::{Anchors, ClockState, Goal, Progress, advance, clocks, response_s, state};
pub use tree::{Input, ManifestChange, RECENT_CHANGE, decide};

use custody_model::{Family, Priority};

/// Whether a signal counts as one of the two that confirm. Words that speak to the agent, and that nobody is known to have followed, are
/// in too many honest documents.
pub fn counts(family: Family, priority: Priority) -> bool {
    family != Family::Hijack || priority != Priority::P3
}

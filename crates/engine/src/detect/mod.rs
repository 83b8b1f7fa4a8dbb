//! Facts, then Sigma rules (D1, D9, D17, D19).
//!
//! A pure stage turns what happened into flat facts ([`facts::all`]); Sigma rules decide on them; a finding that fires again
//! for the same rule, session and principal is counted, not raised again. Everything is in memory, bounded, and takes `now`.
//!
//! Deliberately absent: identifiers, clocks and the versions that decided. The caller adds them to a [`FindingDraft`].

mod cases;
mod detector;
pub mod facts;
#[cfg(test)]
mod living;
mod load;
mod matching;
#[cfg(test)]
mod matching_tests;
mod meta;
mod place;
mod raised;
mod rules;
mod silence;
mod spl;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traps;

pub use cases::{CaseResult, run_cases};
pub use detector::{Detector, FindingDraft};
pub use facts::{DriftFacts, DriftKind, EventKind, Facts, HijackFacts, PolicyOutcome, Seen, ToolHints};
pub use meta::{Alone, Meta, RuleMode};
pub use raised::Repeated;
pub use rules::{RuleError, Rules, shipped};
pub use silence::{Heard, MAX_SILENCED, Silenced};

//! Facts, then Sigma rules (D1, D9, D17, D19).
//!
//! A pure stage turns what happened into flat facts ([`facts::all`]); Sigma rules decide on them; a finding that fires again
//! for the same rule, session and principal is counted, not raised again. Everything is in memory, bounded, and takes `now`.
//!
//! Deliberately absent: identifiers, clocks and the versions that decided. The caller adds them to a [`FindingDraft`].

mod cases;
mod detector;
pub mod facts;
mod meta;
mod rules;
#[cfg(test)]
mod tests;

pub use cases::{CaseResult, run_cases};
pub use detector::{Detector, FindingDraft};
pub use facts::{EventKind, Facts, PolicyOutcome};
pub use meta::Meta;
pub use rules::{RuleError, Rules, shipped};

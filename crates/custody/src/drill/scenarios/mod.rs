//! The scenarios, one file each.

mod clean;
mod document_injection;

use super::plan::Plan;

/// Something to drill.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Pure: the same seed gives the same plan.
    pub plan: fn(u64) -> Plan,
}

/// Every scenario.
pub fn all() -> &'static [Scenario] {
    &[document_injection::SCENARIO, clean::SCENARIO]
}

/// The scenario of that name.
pub fn named(name: &str) -> Option<Scenario> {
    all().iter().find(|scenario| scenario.name == name).copied()
}

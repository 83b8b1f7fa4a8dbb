//! The scenarios, one file each.

mod burst_enumeration;
mod care;
mod clean;
mod desk;
mod document_injection;
mod followed_document;
mod manifest_drift;
mod sequence_abuse;
mod slow_drip;
mod tool_poisoning;

use super::{
    course::Course,
    plan::{Plan, Setting},
};

/// Something to drill.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What it plays.
    pub script: Script,
}

/// Pure: the same seed gives the same plan.
#[derive(Debug, Clone, Copy)]
pub enum Script {
    /// Agents at work for a few seconds, one of whom may be turned by what it reads.
    Hour(fn(u64) -> Plan),
    /// Sessions over virtual days.
    Course(fn(u64) -> Course),
}

impl Scenario {
    /// The plan of a seed, unless it is a course.
    pub fn plan(&self, seed: u64) -> Option<Plan> {
        match self.script {
            Script::Hour(plan) => Some(plan(seed)),
            Script::Course(_) => None,
        }
    }

    /// The course of a seed, unless it is a plan.
    pub fn course(&self, seed: u64) -> Option<Course> {
        match self.script {
            Script::Hour(_) => None,
            Script::Course(course) => Some(course(seed)),
        }
    }

    /// What must stand for a seed.
    pub fn setting(&self, seed: u64) -> Setting {
        match self.script {
            Script::Hour(plan) => plan(seed).setting(),
            Script::Course(course) => course(seed).setting,
        }
    }
}

/// Every scenario, each attack before its clean twin.
pub fn all() -> &'static [Scenario] {
    &[
        document_injection::SCENARIO,
        clean::SCENARIO,
        tool_poisoning::SCENARIO,
        tool_poisoning::TWIN,
        manifest_drift::SCENARIO,
        manifest_drift::TWIN,
        burst_enumeration::SCENARIO,
        burst_enumeration::TWIN,
        sequence_abuse::SCENARIO,
        sequence_abuse::TWIN,
        slow_drip::SCENARIO,
        slow_drip::TWIN,
        followed_document::SCENARIO,
        followed_document::TWIN,
    ]
}

/// The scenario of that name.
pub fn named(name: &str) -> Option<Scenario> {
    all().iter().find(|scenario| scenario.name == name).copied()
}

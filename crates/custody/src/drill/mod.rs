//! Drills: real incidents on real traffic.

pub mod agent;
mod corpus;
pub mod plan;
mod random;
pub mod scenarios;
mod wording;

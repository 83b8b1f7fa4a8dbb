//! A traffic simulator: a company's roles at work, with attacks in between, through the real engine (issue 3, item 7).
//!
//! Everything takes a seed and a virtual time; equal inputs give equal reports. The generator knows nothing of rules and
//! thresholds. [`world`], [`catalogue`] and [`archetypes`] say what there is, [`roles`] draws a company of it, [`traffic`] its
//! work, [`deploy`] its changes, [`attacks`] and [`plots`] what an attack file adds; [`engine`] drives and [`report`] tells.

mod archetypes;
mod attacks;
mod cases;
mod catalogue;
mod chance;
mod deploy;
mod engine;
mod listings;
mod plots;
pub mod report;
mod roles;
#[cfg(test)]
mod tests;
mod traffic;
mod vocabulary;
mod world;

pub use attacks::{Attack, AttackFileError, FILE, Kind, check_names, parse};
pub use engine::{Options, run};
pub use report::Report;
pub use roles::{Company, Described};

/// The attack file that comes with Custody: forty attacks of every kind.
pub const EXAMPLE: &str = include_str!("example-attacks.toml");

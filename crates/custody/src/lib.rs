//! Incident response for the Model Context Protocol: the daemon, its command line and its drills.
#![forbid(unsafe_code)]

pub mod adopt;
pub mod alerts;
pub mod analyze;
pub mod api;
mod causes;
pub mod cli;
pub mod config;
pub mod core;
pub mod drill;
pub mod gateway;
pub mod hook;
pub mod practice;
pub mod preserve;
pub mod publish;
pub mod redact;
pub mod replay;
pub mod simulate;
pub mod telemetry;
pub mod trust;

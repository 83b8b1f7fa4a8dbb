//! `cargo xtask crash`: the ledger killed again and again under load.

use crate::step::{self, Failure};
use clap::Args;

/// What is killed how often.
#[derive(Debug, Args)]
pub struct Crash {
    /// Times that the writer is killed at a random instant.
    #[arg(long, default_value_t = 2000)]
    kills: u32,
    /// Random programs of writes that a power cut ends after any prefix of operations.
    #[arg(long, default_value_t = 2000)]
    cuts: u32,
}

/// Runs the crash tests of the ledger as often as asked.
///
/// # Errors
/// When a promise did not hold.
pub fn run(options: &Crash) -> Result<(), Failure> {
    let mut command = step::cargo();
    command.args(["test", "--locked", "--workspace", "--test", "ledger_crash", "--", "--nocapture", "sigkill", "power_cut"]);
    command.env("CUSTODY_CRASHES", options.kills.to_string()).env("CUSTODY_POWER_CUTS", options.cuts.to_string());
    step::run(&format!("{} kills, {} power cuts", options.kills, options.cuts), &mut command)
}

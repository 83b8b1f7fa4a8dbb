//! `cargo xtask score` and `cargo xtask train`: the hijack models, judged on what they had not seen, and made again.

use crate::step::{self, Failure};
use std::path::PathBuf;

/// Which sessions, and how they are held out.
#[derive(clap::Args)]
pub struct Score {
    /// What the models had not seen of the sessions they judge: their suite, their wording, or both
    #[arg(long, value_parser = ["suite", "wording", "both"], default_value = "suite")]
    cv: String,
    /// A line for each of these as well
    #[arg(long, value_parser = ["source", "suite", "wording", "role", "fold"])]
    by: Option<String>,
    /// Without the user's words
    #[arg(long)]
    blind: bool,
    /// Of every verdict that a daemon would have given while the session went on, the likeliest
    #[arg(long)]
    live: bool,
    /// Flag from this score on, instead of where 3 % of the benign sessions are flagged
    #[arg(long)]
    at: Option<f32>,
    /// Write what was said of each session here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
}

/// Where the labelled sessions are.
#[derive(clap::Args)]
pub struct Data {
    /// Labelled sessions, also packed by gzip
    #[arg(long, value_name = "FILE", default_value = "../shared/traces/public.jsonl.gz")]
    data: PathBuf,
}

/// Prints the table of cross-validated figures.
///
/// # Errors
/// When the program does not build or the sessions cannot be read.
pub fn score(options: &Score) -> Result<(), Failure> {
    let mut command = program("score", &options.data);
    command.args(["--cv", &options.cv]);
    if let Some(by) = &options.by {
        command.args(["--by", by]);
    }
    if options.blind {
        command.arg("--blind");
    }
    if options.live {
        command.arg("--live");
    }
    if let Some(at) = options.at {
        command.args(["--at", &at.to_string()]);
    }
    if let Some(out) = &options.out {
        command.arg("--out").arg(out);
    }
    step::quietly(&mut command)
}

/// Trains both models on all sessions and writes them to where the build takes them from.
///
/// # Errors
/// When the program does not build, the sessions cannot be read, or the files not be written.
pub fn train(data: &Data) -> Result<(), Failure> {
    for (name, blind) in [("given", None), ("blind", Some("--blind"))] {
        let mut command = program("train", data);
        command.args(blind).args(["--out", &format!("crates/engine/models/hijack-{name}.json")]);
        step::run(&format!("train {name}"), &mut command)?;
    }
    Ok(())
}

fn program(task: &str, data: &Data) -> std::process::Command {
    let mut command = step::cargo();
    command.args(["run", "--release", "--locked", "--quiet", "--package", "custody-engine", "--example", "hijack", "--", task, "--data"]);
    command.arg(&data.data);
    command
}

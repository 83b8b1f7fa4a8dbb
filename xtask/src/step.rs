//! One step of a task: a heading, a command, and how long it took.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Why a task stopped.
pub enum Failure {
    /// A command ended with this code, after saying why itself.
    Command { code: u8 },
    /// A reason to print.
    Said(miette::Report),
}

impl From<miette::Report> for Failure {
    fn from(report: miette::Report) -> Self {
        Self::Said(report)
    }
}

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// `cargo`, in the workspace's root.
///
/// The variables that cargo set for xtask itself are taken out: some build scripts (ring's) watch them, and would build again each time.
pub fn cargo() -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "OUT_DIR" {
            command.env_remove(&name);
        }
    }
    command
}

/// A program, in the workspace's root.
pub fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// Runs a command under a heading, and says how long it took.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub fn run(heading: &str, command: &mut Command) -> Result<(), Failure> {
    let began = Instant::now();
    eprintln!("\n── {heading}");
    quietly(command)?;
    eprintln!("   {heading}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command and adds no line of its own.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub fn quietly(command: &mut Command) -> Result<(), Failure> {
    let status =
        command.status().map_err(|error| miette::miette!("cannot start {}: {error}", Path::new(command.get_program()).display()))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Command { code: status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1) })
}

//! Programs of this workspace, started and stopped.

use miette::miette;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::step::{self, Failure};

/// A program as this profile built it.
pub fn built(profile: &str, name: &str) -> Command {
    step::program(target().join(profile).join(name))
}

fn target() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| step::root().join("target"), Into::into)
}

/// An error of this part as a failure of the task.
pub fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| miette!("{what}: {error}").into()
}

/// A process that is stopped when dropped.
pub struct Running(pub Child);

impl Running {
    /// Starts it and reads the one line in which it says that it is ready.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn start(command: &mut Command) -> Result<(Running, String), Failure> {
        let mut running = Running::start_silent(command.stdout(Stdio::piped()))?;
        let stdout = running.0.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(failed("a process"))?;
        match line.is_empty() {
            true => Err(miette!("{} ended at once", command.get_program().display()).into()),
            false => Ok((running, line)),
        }
    }

    /// Starts it; it says nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_silent(command: &mut Command) -> Result<Running, Failure> {
        command.stdin(Stdio::null()).spawn().map(Running).map_err(failed("a process"))
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

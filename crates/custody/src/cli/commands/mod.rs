//! One file per command.

pub mod adopt;
pub mod analyze;
pub mod contain;
pub mod context;
pub mod erase;
pub mod evidence;
pub mod find;
pub mod findings;
pub mod held;
pub mod hook;
pub mod incidents;
pub mod init;
pub mod learn;
pub mod log;
pub mod manifest;
pub mod replay;
pub mod rules;
pub mod sessions;
pub mod simulate;
mod spl;
pub mod status;
pub mod up;
pub mod verify;
pub mod witness;

use super::{Cli, Failure, code, output::Output};
use crate::{
    config::Config,
    trust::{Home, OperatorCredential},
};
use clap::CommandFactory as _;
use custody_model::OperatorName;
use std::{path::PathBuf, process::ExitCode};

/// Which home, and who asks.
pub struct Place {
    pub home: Option<PathBuf>,
    pub operator_key: Option<PathBuf>,
}

impl Place {
    pub fn root(&self) -> Result<PathBuf, Failure> {
        Ok(Home::discover(self.home.as_deref())?)
    }

    pub fn open(&self) -> Result<Home, Failure> {
        Ok(Home::open(&self.root()?)?)
    }

    pub fn config(&self, home: &Home) -> Result<Config, Failure> {
        Ok(Config::read(&home.config())?)
    }

    pub fn credential(&self, home: &Home) -> Result<OperatorCredential, Failure> {
        let path = self.operator_key.clone().unwrap_or_else(|| home.operator_key());
        Ok(OperatorCredential::read(&path)?)
    }

    /// Who asks, proven: what changes state is done by nobody else.
    pub fn authorise(&self, home: &Home) -> Result<(OperatorName, OperatorCredential), Failure> {
        let credential = self.credential(home)?;
        match home.read_operators()?.authenticate(credential.token.expose()) {
            Some(name) => Ok((name, credential)),
            None => Err(crate::api::ApiError::Unauthorized.into()),
        }
    }
}

pub fn completions(shell: clap_complete::Shell, output: &Output) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "custody", &mut script);
    output.line(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Until SIGINT or SIGTERM.
pub(super) async fn until_told() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let hear = |kind| signal(kind).map_err(|error| Failure::io("hear signals", &error));
    let (mut interrupt, mut terminate) = (hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Done, or not.
pub(super) fn exit(ok: bool) -> ExitCode {
    if ok { ExitCode::SUCCESS } else { ExitCode::from(code::FAILED_CHECK) }
}

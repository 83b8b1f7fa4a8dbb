//! Why a drill could not be run. That it ran and did not hold is no error: the figures say so.

use std::{io, path::PathBuf};

/// Why a drill could not be run.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// There is no such scenario.
    #[error("there is no scenario `{name}`; there are: {known}")]
    NoScenario {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The home could not be made.
    #[error("the drill's home could not be made")]
    Home(#[from] crate::trust::HomeError),
    /// An agent's key could not be made.
    #[error("an agent's key could not be made")]
    Client(#[from] crate::trust::clients::ClientError),
    /// The operator's credential could not be read.
    #[error("the operator's credential could not be read")]
    Operator(#[from] crate::trust::operators::OperatorError),
    /// A file, a socket or a process.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A part of the drill ended, or did not come up.
    #[error("the {part} {what}; what it said is in {}", log.display())]
    Part {
        /// `daemon` or `practice server`.
        part: &'static str,
        /// What happened.
        what: String,
        /// Its output.
        log: PathBuf,
    },
    /// The ledger could not be read back.
    #[error("the ledger could not be read")]
    Ledger(#[from] custody_store::ledger::LedgerError),
    /// The daemon could not be asked.
    #[error("the daemon could not be asked, or its clock not be advanced")]
    Clock(#[source] crate::api::ClientError),
    /// The runtime could not be made.
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
}

impl DrillError {
    /// For `map_err`.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DrillError {
        let path = path.into();
        move |source| DrillError::Io { doing, path, source }
    }
}

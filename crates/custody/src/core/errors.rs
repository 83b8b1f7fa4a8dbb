//! What can go wrong when a home is opened or an operator asks for something.

use custody_model::*;
use miette::Diagnostic;

/// Errors of [`super::Core`].
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CoreError {
    /// The home is not usable.
    #[error("the home cannot be opened")]
    #[diagnostic(transparent)]
    Home(#[from] crate::trust::HomeError),
    /// The client keys are not usable.
    #[error("the client keys cannot be read")]
    Clients(#[from] crate::trust::clients::ClientError),
    /// The ledger is not usable.
    #[error("the ledger cannot be used: {0}")]
    #[diagnostic(help("`custody verify` names the place and the reason"))]
    Ledger(#[from] custody_store::ledger::LedgerError),
    /// The projection is not usable. It can be made anew from the ledger.
    #[error("the projection cannot be used: {0}")]
    #[diagnostic(help("stop the daemon and run `custody rebuild`: it makes the tables anew from the ledger"))]
    Projection(#[from] custody_store::projection::ProjectionError),
    /// A rule or policy file is broken.
    #[error("{what} cannot be loaded:\n{faults}")]
    Loading {
        /// `rules` or `policies`.
        what: &'static str,
        /// A line a fault.
        faults: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} `{path}`")]
    Io {
        /// A verb.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// An alert channel is misconfigured.
    #[error("alert channel `{channel}`: {why}")]
    Alerts {
        /// Its name.
        channel: String,
        /// Why.
        why: String,
    },
    /// No such session, case, action, server, tool or principal.
    #[error("no {what} `{id}`")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// What was asked.
        id: String,
    },
    /// A rule is not silenced like that.
    #[error("`{rule}` is not silenced: {why}")]
    NotSilenced {
        /// Which.
        rule: RuleId,
        /// Why.
        why: String,
    },
    /// Sessions cannot be corrected like that.
    #[error("{session} cannot be corrected: {why}")]
    #[diagnostic(help("`custody session show ID` lists its entries and its corrections"))]
    Uncorrectable {
        /// Which.
        session: SessionId,
        /// Why.
        why: String,
    },
    /// The action has no undo, or was undone already.
    #[error("{action} cannot be undone: {why}")]
    NotUndoable {
        /// Which.
        action: ActionId,
        /// Why.
        why: String,
    },
    /// The evidence could not be preserved, so nothing was terminated (promise 3).
    #[error("the snapshot failed, so nothing was terminated: {why}")]
    #[diagnostic(help("repair the cause and repeat, or let a person take it on their name: `--break-glass NAME`"))]
    NotPreserved {
        /// Why.
        why: String,
    },
    /// An order about definitions makes no sense, or cannot be recorded.
    #[error("{why}")]
    #[diagnostic(help("`custody manifest list` shows what waits"))]
    Manifest {
        /// Why.
        why: String,
    },
    /// A session must keep its content.
    #[error("{session} keeps its content: {why}")]
    #[diagnostic(help("close the incident (`custody incident close`), or undo the freeze (`custody undo`); then erase"))]
    NotErased {
        /// Which.
        session: SessionId,
        /// Why.
        why: String,
    },
    /// Evidence export failed.
    #[error("the evidence cannot be exported: {0}")]
    Export(String),
}

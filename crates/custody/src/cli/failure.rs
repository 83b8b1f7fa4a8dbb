//! How a command fails: a report for people or JSON for scripts, and an exit code.

use crate::{
    adopt::AdoptError,
    api::{ApiError, ClientError},
    config::ConfigError,
    core::CoreError,
    trust::{HomeError, operators::OperatorError},
};
use miette::Report;
use std::{io, process::ExitCode};

/// Exit codes; also in `docs/cli.md`.
pub mod code {
    /// The check failed, or the action did not succeed.
    pub const FAILED_CHECK: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
    /// The daemon cannot be reached, or a home or credential cannot be trusted.
    pub const NO_TRUST: u8 = 3;
    /// A file that people write needs correcting.
    pub const BAD_FILE: u8 = 4;
    /// Anything else.
    pub const OTHER: u8 = 5;
}

/// A command that did not do what it should.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// Stable word for scripts.
    pub kind: &'static str,
    report: Option<Report>,
}

/// A plain message with advice.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
#[diagnostic()]
struct Message {
    message: String,
    #[help]
    help: Option<String>,
}

impl Failure {
    /// A message and what to do.
    pub fn new(code: u8, kind: &'static str, message: impl Into<String>, help: impl Into<String>) -> Failure {
        let help = Some(help.into()).filter(|help: &String| !help.is_empty());
        Failure { code, kind, report: Some(Message { message: message.into(), help }.into()) }
    }

    /// Input or output failed.
    pub fn io(doing: &str, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { code: 0, kind: "broken_pipe", report: None };
        }
        Failure::new(code::OTHER, "io", format!("cannot {doing}: {error}"), "")
    }

    /// Any diagnostic.
    pub fn of(code: u8, kind: &'static str, error: impl miette::Diagnostic + Send + Sync + 'static) -> Failure {
        Failure { code, kind, report: Some(Report::new(error)) }
    }

    /// Prints it to standard error and gives the exit code.
    pub fn report(self, json: bool) -> ExitCode {
        use std::io::Write as _;
        if let Some(report) = self.report {
            let mut stderr = io::stderr().lock();
            // Nobody is left to hear about a closed standard error.
            let _ = if json {
                let causes: Vec<String> = report.chain().skip(1).map(|cause| super::output::plain(&cause.to_string())).collect();
                let help = report.help().map(|help| help.to_string());
                let message = super::output::plain(&report.to_string());
                let error = serde_json::json!({ "code": self.kind, "message": message, "causes": causes, "help": help });
                writeln!(stderr, "{}", serde_json::json!({ "error": error }))
            } else {
                writeln!(stderr, "{report:?}")
            };
        }
        ExitCode::from(self.code)
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Failure {
        let (code, kind) = match &error {
            HomeError::Occupied { .. } => (code::FAILED_CHECK, "occupied"),
            HomeError::BadName { .. } => (code::USAGE, "bad_name"),
            HomeError::Missing { .. } | HomeError::Nowhere => (code::NO_TRUST, "no_home"),
            HomeError::Incomplete { .. } | HomeError::Operator(_) => (code::NO_TRUST, "untrusted_home"),
            HomeError::Io { .. } | HomeError::Ledger { .. } => (code::OTHER, "home"),
        };
        Failure::of(code, kind, error)
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Failure {
        Failure::of(code::NO_TRUST, "credential", error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::of(code::BAD_FILE, "config", error)
    }
}

impl From<AdoptError> for Failure {
    fn from(error: AdoptError) -> Failure {
        let (code, kind) = match &error {
            AdoptError::Document { .. } | AdoptError::Config { .. } | AdoptError::Meaning(_) => (code::BAD_FILE, "bad_file"),
            AdoptError::Nothing { .. } => (code::FAILED_CHECK, "nothing_to_adopt"),
            AdoptError::NotAdopted { .. } => (code::FAILED_CHECK, "not_adopted"),
            AdoptError::Io { .. } | AdoptError::Clients(_) => (code::OTHER, "io"),
        };
        Failure::of(code, kind, error)
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Failure {
        match error {
            CoreError::Home(error) => error.into(),
            CoreError::Loading { .. } | CoreError::Alerts { .. } => Failure::of(code::BAD_FILE, "config", error),
            CoreError::Clients(_) | CoreError::Projection(_) | CoreError::Io { .. } => Failure::of(code::OTHER, "home", error),
            other => ApiError::from(other).into(),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        let kind = error.kind().0;
        let code = match &error {
            ApiError::Unauthorized | ApiError::TooMany | ApiError::Foreign(_) => code::NO_TRUST,
            ApiError::BadRequest(_) | ApiError::Ambiguous { .. } => code::USAGE,
            ApiError::NotFound { .. } | ApiError::Refused { .. } => code::FAILED_CHECK,
            ApiError::Timeout | ApiError::Failed { .. } => code::OTHER,
        };
        Failure::of(code, kind, error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Api(error) => error.into(),
            ClientError::Unreachable { .. } => Failure::of(code::NO_TRUST, "unreachable", error),
            ClientError::Strange { .. } => Failure::of(code::OTHER, "strange_answer", error),
        }
    }
}

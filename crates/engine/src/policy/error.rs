//! What is wrong with a Cedar file.

use cedar_policy::ParseErrors;
use miette::Diagnostic;

/// One fault of one Cedar file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct PolicyError {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

impl PolicyError {
    pub(super) fn at(file: &str, text: &str, offset: usize, what: String) -> PolicyError {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        PolicyError {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what,
        }
    }

    pub(super) fn syntax(file: &str, text: &str, errors: &ParseErrors) -> Vec<PolicyError> {
        let place =
            |error: &cedar_policy::ParseError| error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
        errors.iter().map(|error| PolicyError::at(file, text, place(error), error.to_string())).collect()
    }
}

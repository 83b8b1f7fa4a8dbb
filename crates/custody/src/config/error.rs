//! What is wrong with a file, at which place, and what was probably meant.

use super::mask;
use miette::{Diagnostic, NamedSource, SourceSpan};
use std::{fmt, ops::Range};

/// A configuration that cannot be used. Printed with `miette` it shows the lines; `Display` alone names them.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ConfigError {
    /// The file is not there, or not text.
    #[error("{path} cannot be read")]
    #[diagnostic(help("`custody init` writes a first one"))]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that cannot be meant.
    #[error("{path} is not usable: {}", Listed(faults))]
    Invalid {
        /// Which.
        path: String,
        /// The text that the spans point into, with secrets covered.
        #[source_code]
        shown: NamedSource<String>,
        /// Everything that was found.
        #[related]
        faults: Vec<Fault>,
    },
}

/// One fault at one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("{what}")]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// Where.
    #[label("{label}")]
    pub span: SourceSpan,
    /// Shown beside the place.
    pub label: String,
    /// What to do.
    #[help]
    pub help: Option<String>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Fault {
    pub(super) fn new(text: &str, span: Range<usize>, what: impl Into<String>, label: impl Into<String>, help: Option<String>) -> Fault {
        let (line, column) = place(text, span.start);
        Fault { what: what.into(), span: span.into(), label: label.into(), help, line, column }
    }
}

impl ConfigError {
    /// `shown` is the text with secrets covered ([`super::mask`]).
    pub(super) fn invalid(name: &str, shown: String, faults: Vec<Fault>) -> ConfigError {
        ConfigError::Invalid { path: name.to_owned(), shown: NamedSource::new(name, shown), faults }
    }

    /// Every fault, in the order of the file.
    pub fn faults(&self) -> &[Fault] {
        match self {
            ConfigError::Unreadable { .. } => &[],
            ConfigError::Invalid { faults, .. } => faults,
        }
    }
}

/// Faults named in the one-line form.
const SHOWN: usize = 3;

struct Listed<'a>(&'a [Fault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}line {}: {}", fault.line, fault.what)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// An error of the TOML parser or of serde, in our words.
pub(super) fn from_toml(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let message = mask::message(error.message());
    let fault = match unknown_key(&message) {
        Some((key, known)) => {
            let label = "no such key".to_owned();
            let help = match nearest(key, &known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("keys known here: {}", known.join(", ")),
            };
            Fault::new(text, span, format!("unknown key `{key}`"), label, Some(help))
        }
        None => {
            let what = message.lines().next().unwrap_or("not valid TOML").to_owned();
            Fault::new(text, span, what, "here", message.lines().nth(1).map(str::to_owned))
        }
    };
    ConfigError::invalid(name, mask::toml(text), vec![fault])
}

/// Takes serde's sentence about an unknown field or variant apart.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    Some((key, rest.split('`').skip(1).step_by(2).collect()))
}

/// The known word that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, best) = known.iter().map(|k| (distance(word, k), *k)).min()?;
    (distance <= 1 + best.len() / 4).then_some(best)
}

/// Levenshtein distance, in characters. Words are short: configuration keys.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(200).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Line and column, from 1, of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

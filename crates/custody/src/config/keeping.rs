//! What is kept of sessions, and for how long.

use crate::preserve::DirectoryTake;
use serde::Deserialize;
use std::path::PathBuf;

/// `[evidence]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// How much of a stdio server's directory a snapshot takes along.
    pub directory: DirectoryTake,
}

/// `[retention]`: days after its last message for which a session's content can be opened, by class. `None`: for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Sessions in which nothing was found.
    pub session_days: Option<u32>,
    /// Sessions with findings, but of no incident.
    pub finding_days: Option<u32>,
    /// Sessions of incidents, once they are closed.
    pub incident_days: Option<u32>,
}

impl Retention {
    /// Whether everything is kept.
    pub fn is_unlimited(&self) -> bool {
        *self == Retention::default()
    }

    /// The days for a session.
    pub fn days(&self, of_incident: bool, has_findings: bool) -> Option<u32> {
        match (of_incident, has_findings) {
            (true, _) => self.incident_days,
            (false, true) => self.finding_days,
            (false, false) => self.session_days,
        }
    }
}

/// `[redaction]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redaction {
    /// A file with more patterns, in the form of the shipped `redaction/patterns.toml`.
    pub patterns: Option<PathBuf>,
}

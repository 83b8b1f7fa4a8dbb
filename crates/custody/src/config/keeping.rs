//! What is kept of sessions, and for how long.

use crate::preserve::DirectoryTake;
use serde::Deserialize;

/// `[evidence]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// How much of a stdio server's directory a snapshot takes along.
    pub directory: DirectoryTake,
}

//! What policies are compiled from.

use super::{Action, Constraint, Query};
use serde::Serialize;
use std::collections::BTreeMap;

/// The short form of `custody.toml` and the Cedar files beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PolicySource {
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// What the configuration says of servers.
    pub servers: BTreeMap<String, ServerFacts>,
    /// Cedar files: name and text.
    pub cedar: Vec<(String, String)>,
}

/// One role.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Role {
    /// `server/tool` patterns. Empty, with tasks: the tasks alone say what is allowed.
    pub allow: Vec<String>,
    /// Forbid tools that are not known to change nothing.
    pub read_only: bool,
    /// `server/tool` patterns of tools that wait for a person.
    pub hold: Vec<String>,
    /// Narrower allowlists.
    pub tasks: BTreeMap<String, Task>,
    /// What arguments may look like.
    pub constraints: Vec<Constraint>,
}

/// One task of a role.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Task {
    /// `server/tool` patterns.
    pub allow: Vec<String>,
}

/// What the configuration says of one server.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ServerFacts {
    /// Tools known to change nothing.
    pub reads: Vec<String>,
    /// Whether `readOnlyHint` is believed.
    pub trust_annotations: bool,
}

impl PolicySource {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.cedar.is_empty()
    }

    /// Whether the tool is known to change nothing.
    pub(super) fn is_read_only(&self, q: &Query<'_>) -> bool {
        let Action::CallTool(tool) = q.action else { return true };
        self.servers
            .get(q.server.as_str())
            .is_some_and(|server| server.reads.iter().any(|read| read == tool) || (server.trust_annotations && q.read_only_hint))
    }
}

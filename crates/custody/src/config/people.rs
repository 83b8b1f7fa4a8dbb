//! `[clients.NAME]` and `[roles.NAME]`: who may do what, in the short form that compiles to Cedar.

use serde::Deserialize;
use std::collections::BTreeMap;

/// One adopted client. Its key is in `clients.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Client {
    /// Its role.
    pub role: Option<String>,
    /// Its declared task.
    pub task: Option<String>,
}

/// One role.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Role {
    /// `server/tool` patterns; `*` stands for any run of characters.
    pub allow: Vec<String>,
    /// Forbid every tool that is not known to change nothing.
    pub read_only: bool,
    /// `server/tool` patterns of allowed tools that wait for an operator (`custody held`), at most `limits.held_ms`.
    pub hold: Vec<String>,
    /// Narrower allowlists per task.
    pub tasks: BTreeMap<String, Task>,
    /// What arguments may look like.
    pub arguments: Vec<Argument>,
}

/// One task of a role: only these tools, and never more than the role has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Task {
    /// `server/tool` patterns.
    pub allow: Vec<String>,
}

/// A text in a list of allowed values, which may also hold numbers and booleans.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Bool(bool),
}

/// One constraint on one argument. An argument that is absent is denied unless `optional`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Argument {
    /// The `server/tool` pattern it holds for.
    pub tool: String,
    /// The argument's name; dots reach into objects.
    pub argument: String,
    /// Path prefix. `..` anywhere in the argument is denied.
    pub starts_with: Option<String>,
    /// The only values.
    pub one_of: Option<Vec<Text>>,
    /// Pattern in which `*` stands for any run of characters.
    pub matches: Option<String>,
    /// Least number.
    pub min: Option<i64>,
    /// Greatest number.
    pub max: Option<i64>,
    /// Most characters of a string.
    pub max_length: Option<u64>,
    /// Whether the argument may be left out.
    pub optional: bool,
}

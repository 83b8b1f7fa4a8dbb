//! What is decided about a server's definitions (D2): pins, drift, approvals.

use crate::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How dangerous a definition, or a change of one, looks. It informs people and rules; any unapproved change is drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DangerClass {
    /// White space, punctuation, order.
    Cosmetic,
    /// Words of a title or description.
    Text,
    /// Fewer parameters, tighter types.
    Narrowed,
    /// New parameters, looser types, annotations that promise less.
    Widened,
    /// The name of another server's tool, for something else.
    Shadowing,
    /// Text that speaks to the agent, or is hidden from people.
    Instruction,
}

impl DangerClass {
    /// As in rules and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            DangerClass::Cosmetic => "cosmetic",
            DangerClass::Text => "text",
            DangerClass::Narrowed => "narrowed",
            DangerClass::Widened => "widened",
            DangerClass::Shadowing => "shadowing",
            DangerClass::Instruction => "instruction",
        }
    }
}

/// What was decided about definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// Seen first, and from now on what the agents may see.
    Pinned,
    /// The listing was seen to its end: what appears later was added.
    Completed,
    /// Not delivered: it differs from the pin, or the first-use policy wants a person to look.
    Withheld,
    /// It differs from the pin; delivered and pinned, because an operator had announced it.
    Changed,
    /// It differs from the pin; delivered and pinned, because the rule only observes.
    Observed,
    /// An operator approved what was withheld.
    Approved,
    /// An operator keeps the old pin.
    Rejected,
    /// The server lists the pinned definition again after a rejection.
    Returned,
    /// No longer listed. The pin stays.
    Removed,
    /// Listed again as pinned, after it was removed.
    Relisted,
    /// An operator announced changes for a time.
    Announced,
}

impl Ruling {
    /// As in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Ruling::Pinned => "pinned",
            Ruling::Completed => "completed",
            Ruling::Withheld => "withheld",
            Ruling::Changed => "changed",
            Ruling::Observed => "observed",
            Ruling::Approved => "approved",
            Ruling::Rejected => "rejected",
            Ruling::Returned => "returned",
            Ruling::Removed => "removed",
            Ruling::Relisted => "relisted",
            Ruling::Announced => "announced",
        }
    }
}

/// Sealed companion of [`Event::ManifestRuled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulingDetail {
    /// Whose view of the server, where pins are kept per principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalName>,
    /// The definitions, in the order of the event's own list where that has them.
    #[serde(default)]
    pub definitions: Vec<RuledDefinition>,
    /// Who decided: an operator, or `custody`.
    pub by: OperatorName,
    /// The change record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// For an announcement: the one definition it is about. `None`: all of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For an announcement: until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One definition in a ruling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledDefinition {
    /// Its name; for a resource its address.
    pub name: String,
    /// SHA-256 of its canonical JSON (RFC 8785).
    pub digest: Digest,
    /// The canonical JSON itself, unless it is too long to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How dangerous it looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<DangerClass>,
    /// The words that led to the class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// The freeze that quarantines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionId>,
}

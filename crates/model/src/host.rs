//! What an agent's host tells of it beside the MCP traffic (R3, D13, I11): context, never proof.
//!
//! The host is believed as far as its client key goes: whoever holds the key can tell anything. So nothing here lifts a freeze,
//! permits a call or names a principal.

use serde::{Deserialize, Serialize};

/// By which way a host tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostSource {
    /// The hook of Claude Code (`custody hook`).
    ClaudeCode,
    /// OpenTelemetry spans and log records with `gen_ai.*`.
    Otlp,
    /// `_meta` of an MCP request.
    Meta,
}

/// What is told, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostWord {
    /// The host's session began, or was resumed.
    SessionStarted,
    /// The user said something.
    UserTurn,
    /// The agent is about to use a tool.
    ToolCalled,
    /// A tool answered.
    ToolReturned,
    /// The agent's turn is over: it waits for the user.
    TurnEnded,
    /// The host's session is over.
    SessionEnded,
    /// The model was asked, or answered.
    ModelAsked,
    /// Anything else.
    Other,
}

/// Sealed companion of [`crate::Event::HostTold`]. All of it is the host's own word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDetail {
    /// The event in the host's words, such as `UserPromptSubmit`.
    pub event: String,
    /// The host's id of its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_session: Option<String>,
    /// Model and program.
    #[serde(default)]
    pub build: Build,
    /// What was said, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<HostTurn>,
    /// Bytes that were too many to be kept.
    #[serde(default)]
    pub cut: u64,
}

/// Which model and which program, as far as somebody said so (I11).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Build {
    /// Name of the agent's program, such as `claude-code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The model that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
}

impl Build {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Build::default()
    }
}

/// One thing that the model was given, or that it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTurn {
    /// What.
    pub what: TurnKind,
    /// Whether it was read from the host's transcript, and not told by an event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transcript: bool,
    /// The tool, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The host's id of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The words; empty where they stand in the MCP message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Bytes of the words that are not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Who or what is speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnKind {
    /// The user.
    User,
    /// The system prompt.
    System,
    /// The agent.
    Assistant,
    /// The agent uses a tool.
    ToolCall,
    /// A tool answers.
    ToolResult,
}

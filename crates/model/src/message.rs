//! One MCP message as the ledger knows it.

use crate::{Commitment, DenialId, LeafIndex, PolicyId, ServerName, ToolName};
use serde::{Deserialize, Serialize};

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the agent.
    ToServer,
    /// From the MCP server.
    ToAgent,
}

/// The shape of a JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has an id and a result.
    Result,
    /// Has an id and an error.
    Error,
    /// An array of messages (revision 2025-03-26).
    Batch,
    /// Not JSON-RPC, or not JSON.
    Unreadable,
}

/// How the message travelled on the agent's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Streamable HTTP; of HTTP+SSE, the stream itself.
    Http,
    /// Posted to the messages address of an HTTP+SSE stream.
    Sse,
    /// Pipes behind `custody stdio`.
    Stdio,
}

/// What became of a message (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// Forwarded.
    Allowed,
    /// Not forwarded; the sender got an opaque error.
    Denied,
    /// Waiting for a person; ends in one of the others, or at its deadline in `Denied`.
    Held,
}

/// Why a message was not, or would not have been, forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason", content = "policy")]
pub enum DenyReason {
    /// A policy forbids it or none permits it.
    Policy(PolicyId),
    /// A policy could not be evaluated; errors deny.
    PolicyError(PolicyId),
    /// The agent is frozen: its principal, process, connection or session.
    Frozen,
    /// What the message asks for is frozen, for everybody or for this principal: a server or one of its definitions. The agent is not.
    Quarantined,
    /// Two parsers could read the frame differently.
    Ambiguous,
    /// Over a limit on size or depth, or not JSON-RPC.
    Malformed,
    /// Held until its deadline, and nobody released it.
    Deadline,
    /// Allowed, but a freeze came before the bytes were handed over.
    Overtaken,
    /// A listing with definitions that nobody approved, or that cannot be read (D2).
    Manifest,
}

/// The closed list of places where forwarded bytes may differ from received ones (promise 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Splice {
    /// JSON-RPC id, when HTTP is bridged to stdio.
    Id,
    /// Progress token, when HTTP is bridged to stdio.
    ProgressToken,
    /// A newline inside a frame became a space, when HTTP is bridged to stdio.
    Newline,
    /// A result withheld from a frozen agent, or a listing that must not be seen, replaced by an opaque error.
    Withheld,
    /// Definitions that nobody approved, cut out of a listing (D2).
    Sanitised,
    /// Where a server of HTTP+SSE wants messages: the agent is told to post them to Custody.
    Endpoint,
    /// Content-Encoding: recorded decoded, passed on as it was sent.
    Coding,
}

impl Splice {
    /// All of them: the list in ARCHITECTURE.md, which a test compares with this one.
    pub const ALL: [Splice; 7] =
        [Splice::Id, Splice::ProgressToken, Splice::Newline, Splice::Withheld, Splice::Sanitised, Splice::Endpoint, Splice::Coding];
}

/// Neutral facts of one MCP message. Names that are not in a listing or in the protocol stay in the sealed detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Which way.
    pub direction: Direction,
    /// Which server.
    pub server: ServerName,
    /// How it travelled on the agent's side.
    pub transport: Transport,
    /// JSON-RPC shape.
    pub shape: Shape,
    /// The method, if it is one of the protocol's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The tool of a `tools/call`, if the server has listed it or the configuration names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// For a result or error: the leaf of the request it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<LeafIndex>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was denied, or, in observe mode, why it would have been.
    #[serde(default, skip_serializing_if = "Option::is_none", flatten)]
    pub reason: Option<DenyReason>,
    /// What the denied agent was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial: Option<DenialId>,
    /// Where forwarded bytes differ; empty when they do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spliced: Vec<Splice>,
    /// Commitment to the bytes that were forwarded, when they differ from the recorded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Commitment>,
}

/// Sealed companion of a [`Message`]: what could identify somebody or be guessed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageDetail {
    /// The method, where it is not one of the protocol's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The tool asked for, always (the leaf has it only when it is listed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The JSON-RPC id as received, raw JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Keyed hash of the argument bytes of a tool call (R1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Commitment>,
    /// What makes the frame ambiguous or malformed, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Over HTTP: the headers that go on with it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The agent's address, such as `127.0.0.1:50512`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

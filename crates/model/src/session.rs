//! Sessions (for analysis) and scopes (for containment).

use crate::{ConnectionId, Digest, PrincipalName, RoleName, ServerName, SessionId, TaskName, ToolName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How Custody knows who an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// The key that `adopt` minted for this client.
    ClientKey,
    /// A token that a configured issuer signed for Custody, and Custody verified.
    Token,
    /// The operating system's word on the peer of a local socket.
    OsProcess,
    /// Nothing: the agent said so itself, or said nothing.
    Unverified,
}

/// Who an agent is, in which role, for which task. Never from self-reported `clientInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The adopted client.
    pub principal: PrincipalName,
    /// How that is known.
    pub assurance: Assurance,
    /// Its role, if the configuration gives one.
    pub role: Option<RoleName>,
    /// Its declared task, if configuration or a trusted hint gives one.
    pub task: Option<TaskName>,
}

/// A process that cannot be confused with a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub start_ticks: u64,
}

/// What ties a message to a session (R9).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "link", content = "value")]
pub enum Link {
    /// `Mcp-Session-Id` at one server (revisions up to 2025-11-25).
    McpSession(ServerName, String),
    /// The client's process, behind a shim.
    Process(ProcessRef),
    /// One connection or pair of pipes.
    Connection(ConnectionId),
    /// SHA-256 of a `requestState` that one server handed out (multi-round-trip requests, 2026-07-28).
    RequestState(ServerName, Digest),
    /// A task that one server made: its id (tasks of 2025-11-25, and the tasks extension).
    Task(ServerName, String),
    /// A hint from the host: header `Custody-Session`.
    Hint(String),
    /// The host's own id of its session, told by its hook.
    Hook(String),
    /// Trace id of a W3C `traceparent`.
    Trace(String),
    /// The principal, within the idle gap.
    Principal(PrincipalName),
}

/// The kind of a [`Link`], safe to stand in a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// See [`Link::McpSession`].
    McpSession,
    /// See [`Link::Process`].
    Process,
    /// See [`Link::Connection`].
    Connection,
    /// See [`Link::RequestState`].
    RequestState,
    /// See [`Link::Task`].
    Task,
    /// See [`Link::Hint`].
    Hint,
    /// See [`Link::Hook`].
    Hook,
    /// See [`Link::Trace`].
    Trace,
    /// See [`Link::Principal`].
    Principal,
}

/// How far a link can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Plausible: the same principal a short time ago.
    Weak,
    /// The host says so.
    Medium,
    /// The protocol or the operating system says so.
    Strong,
}

impl Link {
    /// The kind and how far it can be believed.
    pub fn kind(&self) -> (LinkKind, Strength) {
        match self {
            Link::McpSession(..) => (LinkKind::McpSession, Strength::Strong),
            Link::Process(_) => (LinkKind::Process, Strength::Strong),
            Link::Connection(_) => (LinkKind::Connection, Strength::Strong),
            Link::RequestState(..) => (LinkKind::RequestState, Strength::Strong),
            Link::Task(..) => (LinkKind::Task, Strength::Strong),
            Link::Hint(_) => (LinkKind::Hint, Strength::Medium),
            Link::Hook(_) => (LinkKind::Hook, Strength::Medium),
            Link::Trace(_) => (LinkKind::Trace, Strength::Medium),
            Link::Principal(_) => (LinkKind::Principal, Strength::Weak),
        }
    }
}

/// What a freeze cuts off. A message is frozen when any scope it belongs to is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope", content = "of")]
pub enum Scope {
    /// Everything a principal does, over any connection and session.
    Principal(PrincipalName),
    /// Everything a client process does.
    Process(ProcessRef),
    /// One connection.
    Connection(ConnectionId),
    /// One analysed session, and what joins it later.
    Session(SessionId),
    /// One server, for everybody.
    Server(ServerName),
    /// One tool of one server, for everybody.
    Tool(ServerName, ToolName),
    /// One prompt of one server, for everybody.
    Prompt(ServerName, String),
    /// One resource of one server, by its address, for everybody.
    Resource(ServerName, String),
    /// One of the four above, for one principal: servers may show each user definitions of their own.
    For(PrincipalName, Box<Scope>),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Principal(name) => write!(f, "principal {name}"),
            Scope::Process(process) => write!(f, "process {} (started at tick {})", process.pid, process.start_ticks),
            Scope::Connection(id) => write!(f, "connection {id}"),
            Scope::Session(id) => write!(f, "session {id}"),
            Scope::Server(name) => write!(f, "server {name}"),
            Scope::Tool(server, tool) => write!(f, "tool {server}/{tool}"),
            Scope::Prompt(server, prompt) => write!(f, "prompt {server}/{prompt}"),
            Scope::Resource(server, address) => write!(f, "resource {address} of {server}"),
            Scope::For(principal, scope) => write!(f, "{scope} for {principal}"),
        }
    }
}

//! Who is at the other end, and what a decision hands back.

use crate::telemetry::spans::Open;
use custody_engine::wire::splice::Spliced;
use custody_model::*;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Where messages come from: fixed for one connection, principal and server.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who.
    pub identity: Identity,
    /// To which server.
    pub server: ServerName,
    /// How.
    pub transport: Transport,
    /// Over which connection or pair of pipes.
    pub connection: ConnectionId,
    /// The client's process, where the operating system names it.
    pub process: Option<ProcessRef>,
    /// From where, for people.
    pub source: String,
    /// The host's session hint.
    pub hint: Option<String>,
}

impl Peer {
    /// The scopes that are known without a session.
    pub fn scopes(&self) -> Vec<Scope> {
        let mut scopes =
            vec![Scope::Principal(self.identity.principal.clone()), Scope::Connection(self.connection), Scope::Server(self.server.clone())];
        scopes.extend(self.process.map(Scope::Process));
        scopes
    }
}

/// Everything a freeze can name that would stop a message: what its session has, shared with the session's other messages, and
/// what it is itself.
#[derive(Debug, Clone)]
pub struct Scopes {
    pub(super) session: Arc<[Scope]>,
    pub(super) own: Vec<Scope>,
}

impl From<Vec<Scope>> for Scopes {
    fn from(own: Vec<Scope>) -> Scopes {
        Scopes { session: Arc::default(), own }
    }
}

impl Scopes {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> + Clone {
        self.session.iter().chain(&self.own)
    }
}

/// One message from an agent, not yet decided.
pub struct Inbound<'a> {
    /// From whom.
    pub peer: &'a Peer,
    /// `Mcp-Session-Id`, over HTTP.
    pub mcp_session: Option<&'a str>,
    /// Head of the request, over HTTP: must agree with the body from 2026-07-28 on.
    pub headers: Option<&'a HeaderMap>,
    /// The frame as received.
    pub bytes: &'a [u8],
    /// What would be forwarded, where a bridge must change something.
    pub spliced: Option<&'a Spliced>,
}

/// A recorded message: what an answer refers to.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its entry.
    pub leaf: LeafIndex,
    /// Its session.
    pub session: SessionId,
    /// Its JSON-RPC id, raw JSON text.
    pub id: Option<Vec<u8>>,
    /// Its method.
    pub method: Option<String>,
    /// The tool, address or prompt asked for.
    pub tool: Option<String>,
    /// For a listing: whether it asks for a further page.
    pub cursor: bool,
    /// Whether it opens a protocol session.
    pub initialize: bool,
    /// Everything a freeze can name that would stop it.
    pub scopes: Arc<Scopes>,
    /// Its span, where spans are sent.
    pub span: Open,
}

impl Call {
    /// Whether it expects an answer.
    pub fn is_request(&self) -> bool {
        self.id.is_some() && self.method.is_some()
    }

    /// Whether its answer could be a listing: it asks for one, or is a batch.
    pub(super) fn lists(&self) -> bool {
        self.method.as_deref().is_none_or(|method| custody_engine::manifest::Listing::of_method(method).is_some())
    }
}

/// The right to forward one recorded message, once. Only a decision makes it.
#[must_use = "a permitted message is forwarded, or its permit dropped with a reason"]
pub struct Permit {
    pub(super) call: Call,
    pub(super) epoch: u64,
    pub(super) peer: Peer,
}

impl Permit {
    /// The recorded message.
    pub fn call(&self) -> &Call {
        &self.call
    }
}

/// What the agent gets instead.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Over HTTP: the status.
    pub status: StatusCode,
    /// A JSON-RPC error.
    pub body: Vec<u8>,
    /// Whether the refused message expects an answer.
    pub answer: bool,
}

/// The answer to [`super::Core::to_server`].
pub enum Decision {
    /// Recorded and permitted.
    Forward(Box<Permit>),
    /// Recorded and denied, or not recorded and therefore not forwarded.
    Refuse(Refusal),
}

/// The answer to [`super::Core::to_agent`].
pub enum Returned {
    /// Recorded; the bytes may go on.
    Pass,
    /// Recorded; this goes on instead: the same, without definitions that nobody approved.
    Sanitised(Vec<u8>),
    /// Recorded, and withheld from a frozen agent, or for a listing that must not be seen; the agent reads this.
    Withheld(Vec<u8>),
    /// Recorded, and withheld from a frozen agent, which expects nothing.
    Dropped,
    /// Could not be recorded, so it does not go on; the agent reads this.
    NotRecorded(Vec<u8>),
}

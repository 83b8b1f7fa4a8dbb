//! stdio servers behind Custody: the shim that a client starts instead of its server, and the daemon's side of it.
//!
//! `custody stdio <server>` ([`run_shim`]) starts the real server as its own child, so inside the client's sandbox, environment and
//! directory, and hands five descriptors to the daemon over `<home>/run/agents.sock` ([`accept_loop`]): the client's pipes, the
//! server's pipes and a pidfd. From then on the shim sleeps and the daemon carries the bytes ([`pump()`]): no extra hop.
//!
//! Closed, not open: without a daemon there is no server. Whatever ends first ends the rest: daemon gone, the shim stops the server
//! and says why; shim gone, the daemon stops the server; server gone, each pending request is answered with an error.
//!
//! Who may decide is not here: a [`Decider`] says of each frame what becomes of it, and sees it before anybody else does.

mod answer;
mod handover;
mod hello;
mod pending;
mod pump;
mod server;
mod shim;
mod streams;
#[cfg(test)]
mod tests;

pub use handover::{AcceptLimits, Handover, Peer, accept_loop};
pub use hello::{Hello, SOCKET, socket_path};
pub use pump::{PumpEnd, PumpLimits, pump};
pub use server::ServerProcess;
pub use shim::{ServerCommand, Shim, run_shim};

use custody_model::{ConnectionId, Direction, ProcessRef, ServerName};
use std::future::Future;

/// One handed-over pair of pipes, as the decider sees it.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Its id.
    pub id: ConnectionId,
    /// The server that the client asked for.
    pub server: ServerName,
    /// The client's process, if the daemon could see for itself that it is the shim's parent.
    pub client: Option<ProcessRef>,
    /// The shim, as the operating system knows it.
    pub peer: Peer,
    /// Stops, pauses and resumes the server.
    pub process: ServerProcess,
}

/// What becomes of a frame. `P` is the right to send it: only a decision makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward<P = ()> {
    /// These bytes go on. A frame that passes unchanged is the very vector that came.
    Send(Vec<u8>, P),
    /// Nothing goes on; its sender reads this instead.
    Reply(Vec<u8>),
    /// Nothing goes on and nobody is told.
    Drop,
}

/// Decides on frames. Frames come without the newline that ended them (a CR before it stays); the newline goes on with them.
///
/// Frames of one direction are decided one after another: a frame that waits holds up those behind it.
pub trait Decider: Send + Sync {
    /// The right to send one frame to the server.
    type Permit: Send;
    /// Held while the frame's bytes are written, so that a freeze can wait for them.
    type Sending: Send;
    /// What an answer is matched with.
    type Call: Clone + Send;

    /// A frame from the agent.
    fn to_server(&self, connection: &ConnectionInfo, frame: Vec<u8>) -> impl Future<Output = Forward<Self::Permit>> + Send;

    /// What a permit is for.
    fn call(&self, permit: &Self::Permit) -> Self::Call;

    /// The last word on a frame for the server, asked when the pipe is ready for its first byte: a freeze may have come while the
    /// pipe was full.
    ///
    /// # Errors
    /// It came: what the agent reads instead, if anything.
    fn redeem(&self, connection: &ConnectionInfo, permit: Self::Permit) -> Result<Self::Sending, Option<Vec<u8>>>;

    /// A frame from the server. `call`: the one it answers.
    fn to_agent(&self, connection: &ConnectionInfo, call: Option<Self::Call>, frame: Vec<u8>) -> impl Future<Output = Forward> + Send;

    /// A line beyond the limit was skipped; it reached nobody.
    fn oversized(&self, _connection: &ConnectionInfo, _direction: Direction, _bytes: u64) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Custody answers a pending request itself, because the server cannot. Called before the error is written.
    fn answered_for_server(&self, _connection: &ConnectionInfo, _call: Self::Call, _answer: &[u8]) -> impl Future<Output = ()> + Send {
        async {}
    }
}

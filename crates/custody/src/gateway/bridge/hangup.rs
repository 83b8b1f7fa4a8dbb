//! From 2026-07-28 on an agent cancels a request by closing its stream. Over pipes there is no stream to close: the server is told.

use super::process::Process;
use super::routes::Port;
use crate::core::{Call, Core, Decision, Inbound, Peer};
use custody_engine::wire::splice::Spliced;
use custody_model::Splice;
use std::sync::Arc;

/// Held as long as an agent waits for an answer. Dropped before that came, it cancels the request.
pub struct Hangup {
    core: Arc<Core>,
    process: Arc<Process>,
    number: u64,
    peer: Peer,
    call: Call,
}

impl Hangup {
    /// For the request that was given `number`.
    pub fn new(core: Arc<Core>, process: Arc<Process>, number: u64, peer: Peer, call: Call) -> Self {
        Hangup { core, process, number, peer, call }
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        // What was answered waits no longer.
        if self.process.routes().close(&Port::Number(self.number)).is_none() || self.process.is_over() {
            return;
        }
        let (core, process, number) = (self.core.clone(), self.process.clone(), self.number);
        let mut peer = self.peer.clone();
        // The record must not say that the agent sent these bytes.
        peer.source.push_str(", closed the stream");
        let id = self.call.id.clone().unwrap_or_else(|| b"null".to_vec());
        self.core.spawn(async move {
            let bytes = cancelled(&id);
            let spliced = Spliced { bytes: cancelled(number.to_string().as_bytes()), splices: vec![Splice::Id] };
            let inbound = Inbound { peer: &peer, mcp_session: None, headers: None, bytes: &bytes, spliced: Some(&spliced) };
            if let Decision::Forward(permit) = core.to_server(inbound).await {
                // A server that is gone has nothing left to cancel.
                let _ = process.write(*permit, &spliced.bytes).await;
            }
        });
    }
}

fn cancelled(id: &[u8]) -> Vec<u8> {
    let mut bytes = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#.to_vec();
    bytes.extend_from_slice(id);
    bytes.extend_from_slice(b"}}");
    bytes
}

//! The daemon's side of `custody stdio`: each handed-over pair of pipes is decided like an HTTP connection.

use super::stdio::{self, AcceptLimits, ConnectionInfo, Decider, Forward, Handover, PumpLimits};
use crate::core::{Call, Core, Decision, Inbound, Peer, Permit, Returned, Sending};
use custody_model::{ConnectionId, Direction, Transport};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handed-over pipes waiting to be taken.
const WAITING: usize = 16;
/// How long a server may take to end when its session is terminated.
const GRACE: Duration = Duration::from_secs(2);

/// Takes shims until `stop`; then their servers end with them.
///
/// # Errors
/// Those of the listener.
pub async fn serve_shims(core: Arc<Core>, listener: UnixListener, stop: CancellationToken) -> io::Result<()> {
    let (taken, mut handovers) = mpsc::channel(WAITING);
    let tasks = TaskTracker::new();
    let accepting = tokio::spawn(stdio::accept_loop(listener, AcceptLimits::default(), taken, stop.clone()));
    while let Some(handover) = handovers.recv().await {
        tasks.spawn(carry(core.clone(), handover, stop.clone()));
    }
    tasks.close();
    tasks.wait().await;
    accepting.await.map_err(io::Error::other)?
}

async fn carry(core: Arc<Core>, handover: Handover, stop: CancellationToken) {
    let server = custody_model::ServerName(handover.hello.server.clone());
    let Some(principal) = handover.hello.key.as_deref().and_then(|key| core.clients().authenticate(key)) else {
        tracing::warn!(%server, peer.pid = handover.peer.pid, "a shim without a valid client key was refused");
        core.access_refused("agents", &format!("process {}", handover.peer.pid));
        return handover.refuse("custody: no valid client key (CUSTODY_KEY); see `custody adopt`");
    };
    if !core.config().servers.contains_key(server.as_str()) {
        return handover.refuse(&format!("custody: no server `{server}` in custody.toml"));
    }
    if !core.may_use(&server, &principal) {
        tracing::warn!(%server, %principal, "a principal may not use a server (servers.NAME.principals)");
        core.access_refused("agents", &format!("process {}", handover.peer.pid));
        return handover.refuse(&format!("custody: server `{server}` is not for you"));
    }
    let id = ConnectionId(uuid::Uuid::now_v7());
    let peer = Peer {
        identity: core.identify(&principal, None),
        server,
        transport: Transport::Stdio,
        connection: id,
        process: handover.client,
        source: format!("process {} of user {}", handover.hello.pid, handover.peer.uid),
        hint: None,
    };
    let attached = core.attach(&peer, None, None);
    let process = handover.process.clone();
    let client = peer.process;
    let decider = ShimDecider { core: core.clone(), peer, under_way: watch::Sender::new(0) };
    let limits = PumpLimits { frame: core.wire_limits(), ..PumpLimits::default() };
    let pumping = stdio::pump(handover, id, &decider, &limits);
    tokio::pin!(pumping);
    tokio::select! {
        _ = &mut pumping => {}
        () = async { tokio::select! { () = attached.ended() => {}, () = decider.drained(&stop) => {} } } => {
            process.stop(GRACE).await;
            // With its server gone the pump ends by itself and tells the client; a client that does not read is left behind.
            let _ = tokio::time::timeout(GRACE, &mut pumping).await;
        }
    }
    drop(attached);
    core.connection_closed(&principal, id);
    if let Some(client) = client {
        core.process_left(&principal, client);
    }
}

/// One pair of pipes.
struct ShimDecider {
    core: Arc<Core>,
    peer: Peer,
    /// Calls that wait for their answer.
    under_way: watch::Sender<usize>,
}

impl ShimDecider {
    /// Waits for the end of the daemon, and then for the calls under way, as long as they have.
    async fn drained(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        let mut under_way = self.under_way.subscribe();
        let none = under_way.wait_for(|calls| *calls == 0);
        let _ = tokio::time::timeout(self.core.config().limits.drain(), none).await;
    }

    fn ended(&self, call: &Call) {
        if call.is_request() {
            self.under_way.send_modify(|calls| *calls = calls.saturating_sub(1));
        }
    }
}

impl Decider for ShimDecider {
    type Permit = Box<Permit>;
    type Sending = Sending;
    type Call = Call;

    async fn to_server(&self, _: &ConnectionInfo, frame: Vec<u8>) -> Forward<Box<Permit>> {
        let inbound = Inbound { peer: &self.peer, mcp_session: None, headers: None, bytes: &frame, spliced: None };
        match self.core.to_server(inbound).await {
            Decision::Forward(permit) => Forward::Send(frame, permit),
            Decision::Refuse(refusal) if refusal.answer => Forward::Reply(refusal.body),
            Decision::Refuse(_) => Forward::Drop,
        }
    }

    fn call(&self, permit: &Box<Permit>) -> Call {
        permit.call().clone()
    }

    fn redeem(&self, _: &ConnectionInfo, permit: Box<Permit>) -> Result<Sending, Option<Vec<u8>>> {
        let request = permit.call().is_request();
        let sending = self.core.redeem(*permit).map_err(|refusal| refusal.answer.then_some(refusal.body))?;
        if request {
            self.under_way.send_modify(|calls| *calls += 1);
        }
        Ok(sending)
    }

    async fn to_agent(&self, _: &ConnectionInfo, call: Option<Call>, frame: Vec<u8>) -> Forward {
        let returned = self.core.to_agent(&self.peer, call.as_ref(), &frame).await;
        if let Some(call) = &call {
            self.ended(call);
        }
        match returned {
            Returned::Pass => Forward::Send(frame, ()),
            Returned::Sanitised(body) | Returned::Withheld(body) | Returned::NotRecorded(body) => Forward::Send(body, ()),
            Returned::Dropped => Forward::Drop,
        }
    }

    async fn oversized(&self, connection: &ConnectionInfo, direction: Direction, bytes: u64) {
        tracing::warn!(server = %connection.server, ?direction, bytes, "a line over the limit is skipped (limits.frame_bytes)");
    }

    async fn answered_for_server(&self, _: &ConnectionInfo, call: Call, answer: &[u8]) {
        self.ended(&call);
        self.core.told(&self.peer, Some(&call), answer);
    }
}

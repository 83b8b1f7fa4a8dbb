//! Sessions begin, grow and end (R9); every step is an entry.

use super::{
    Core, Peer, Refusal, Scopes,
    links::{self, Shown},
};
use crate::gateway::reply;
use custody_engine::{
    session::{Attribution, EndReason, SessionGraph},
    wire::Frame,
};
use custody_model::*;
use custody_store::ledger::{Draft, LedgerError};
use http::StatusCode;
use jiff::Timestamp;
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// Between two looks for idle sessions.
pub(super) const SWEEP: Duration = Duration::from_secs(30);

impl Core {
    /// The session of a message, and every scope that a freeze of it would name. New sessions and links are
    /// recorded before this returns.
    pub(super) fn attribute(&self, peer: &Peer, shown: Shown<'_>, now: Timestamp) -> Result<(SessionId, Scopes), LedgerError> {
        let links = peer.links(shown);
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        let attribution = graph.observe(now, &peer.identity, &links, || SessionId(Uuid::now_v7()));
        let session = attribution.session;
        self.record_attribution(&mut graph, attribution, &peer.identity, &peer.source, now)?;
        let of_session = graph.shared_scopes(session);
        drop(graph);
        // The scopes of this very message, whatever the graph still remembers of the session.
        let mut own = Vec::with_capacity(6);
        own.extend([
            Scope::Session(session),
            Scope::Principal(peer.identity.principal.clone()),
            Scope::Connection(peer.connection),
            Scope::Server(peer.server.clone()),
        ]);
        own.extend(peer.process.map(Scope::Process));
        Ok((session, Scopes { session: of_session, own }))
    }

    /// Writes down what an attribution changed. If a new session cannot be recorded, it never began.
    pub(super) fn record_attribution(
        &self,
        graph: &mut SessionGraph,
        attribution: Attribution,
        identity: &Identity,
        source: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let Attribution { session, started, added, ended, .. } = attribution;
        for (session, why) in ended {
            self.watch.lock().unwrap_or_else(PoisonError::into_inner).ended(session);
            self.ledger.record(Draft {
                at: now,
                session: Some(session),
                event: Event::SessionEnded { why: why.as_str().to_owned() },
                detail: None,
                body: None,
            })?;
        }
        if started {
            let detail = SessionDetail {
                identity: identity.clone(),
                source: source.to_owned(),
                client_info: None,
                allowlist: self.policies.allowlist(identity.role.as_ref(), identity.task.as_ref()),
            };
            let detail = Some(serde_json::to_value(detail).expect("details are plain data"));
            let draft = Draft { at: now, session: Some(session), event: Event::SessionStarted, detail, body: None };
            if let Err(error) = self.ledger.record(draft) {
                // Else the next message would belong to a session that never began.
                graph.end(session, EndReason::Shutdown);
                return Err(error);
            }
            self.watch.lock().unwrap_or_else(PoisonError::into_inner).began(session);
        }
        for link in added {
            self.record_link(session, &link, now)?;
        }
        Ok(())
    }

    fn record_link(&self, session: SessionId, link: &Link, now: Timestamp) -> Result<(), LedgerError> {
        let (kind_of, strength) = link.kind();
        let detail = Some(serde_json::to_value(link).expect("links are plain data"));
        self.ledger.record(Draft {
            at: now,
            session: Some(session),
            event: Event::SessionLinked { kind_of, strength },
            detail,
            body: None,
        })?;
        Ok(())
    }

    /// Adds the `Mcp-Session-Id` that an answer to `initialize` named.
    pub fn link_mcp_session(&self, session: SessionId, peer: &Peer, id: &str) {
        self.link(session, &[links::mcp_session(&peer.server, id)], self.now());
    }

    /// Adds what a server's answer handed to the agent, before the agent sees it: only so it counts when it is shown again.
    pub(super) fn hand_out(&self, session: SessionId, peer: &Peer, frame: &Frame, bytes: &[u8], now: Timestamp) {
        let links = links::handed_out(&peer.server, frame, bytes);
        if !links.is_empty() {
            self.link(session, &links, now);
        }
    }

    fn link(&self, session: SessionId, links: &[Link], now: Timestamp) {
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        for link in graph.show(now, session, links) {
            if let Err(error) = self.record_link(session, &link, now) {
                tracing::error!(%error, "a link is not recorded");
            }
        }
    }

    /// What a freeze of this session names, for the peer that caused it.
    pub(super) fn freeze_scopes(&self, session: SessionId, peer: &Peer) -> Vec<Scope> {
        let mut scopes = self.graph.lock().unwrap_or_else(PoisonError::into_inner).scopes(session);
        for scope in [Scope::Session(session), Scope::Principal(peer.identity.principal.clone()), Scope::Connection(peer.connection)] {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if let Some(process) = peer.process.map(Scope::Process).filter(|process| !scopes.contains(process)) {
            scopes.push(process);
        }
        scopes
    }

    /// Whether this peer may open a stream or end its protocol session: not while frozen.
    pub fn admit_stream(&self, peer: &Peer, mcp_session: Option<&str>) -> Result<SessionId, Refusal> {
        let unrecorded = |_| Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            body: reply::json_rpc_error(None, reply::NOT_RECORDED, "not admitted: the record cannot be written", None),
            answer: true,
        };
        let (session, scopes) = self.attribute(peer, Shown { mcp_session, ..Shown::default() }, self.now()).map_err(unrecorded)?;
        match self.gate.look(scopes.iter()).0 {
            None => Ok(session),
            Some(_) => Err(Refusal { status: StatusCode::FORBIDDEN, body: reply::denied(None, DenialId(Uuid::now_v7())), answer: true }),
        }
    }

    /// The agent ends its protocol session with one server. Called before the server is told.
    ///
    /// # Errors
    /// It is not recorded, or a freeze came first; then the server must not be told.
    pub fn session_left(&self, session: SessionId, peer: &Peer) -> Result<(), Refusal> {
        let detail = serde_json::json!({"server": peer.server});
        let recorded = self.note(Some(session), Event::OperatorActed { verb: "agent_left_server".to_owned() }, Some(detail));
        if recorded.is_none() {
            let body = reply::json_rpc_error(None, reply::NOT_RECORDED, "not forwarded: the record cannot be written", None);
            return Err(Refusal { status: StatusCode::SERVICE_UNAVAILABLE, body, answer: true });
        }
        match self.is_frozen(peer) {
            false => Ok(()),
            true => Err(Refusal { status: StatusCode::FORBIDDEN, body: reply::denied(None, DenialId(Uuid::now_v7())), answer: true }),
        }
    }

    /// Whether a freeze names what is known of this peer without a session.
    pub fn is_frozen(&self, peer: &Peer) -> bool {
        self.is_barred(peer, None)
    }

    /// Ends idle sessions on time, not only when the next message comes. Runs until the daemon stops.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP) => {}
                () = self.stop.cancelled() => return,
            }
            self.end_idle_sessions();
        }
    }

    /// Ends the sessions that are idle by now.
    pub(super) fn end_idle_sessions(&self) {
        let ended = self.graph.lock().unwrap_or_else(PoisonError::into_inner).sweep(self.now());
        for (session, why) in ended {
            self.note(Some(session), Event::SessionEnded { why: why.as_str().to_owned() }, None::<()>);
        }
    }

    /// A pair of pipes of a client process is gone; with the last one its link may be forgotten.
    pub fn process_left(&self, principal: &PrincipalName, process: ProcessRef) {
        if self.attachments.any(&Scope::Process(process)) {
            return;
        }
        self.graph.lock().unwrap_or_else(PoisonError::into_inner).closed(principal, &Link::Process(process));
    }

    /// A connection is gone; its links may be forgotten.
    pub fn connection_closed(&self, principal: &PrincipalName, connection: ConnectionId) {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner).closed(principal, &Link::Connection(connection));
    }
}

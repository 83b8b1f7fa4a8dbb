//! Calls that wait for a person (`hold` of a role). Recorded as `HELD` at once; forwarded only when an operator allows
//! it in time, and never after the client gave up.

use super::{Call, Core, CoreError, Decision, Peer, Permit, Refusal};
use crate::gateway::reply;
use custody_engine::wire;
use custody_model::*;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Calls that may wait at once; a further one is denied as if its time were up.
const WAITING: usize = 1024;

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldCall {
    /// Its number; what the client reads when it is denied.
    pub id: DenialId,
    /// Its entry.
    pub leaf: LeafIndex,
    /// Its session.
    pub session: SessionId,
    /// Who asks.
    pub principal: PrincipalName,
    /// Which server.
    pub server: ServerName,
    /// Which tool.
    pub tool: Option<String>,
    /// Since when it waits.
    pub since: Timestamp,
    /// When it is denied by itself.
    pub until: Timestamp,
}

/// All calls that wait.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<DenialId, (HeldCall, oneshot::Sender<Answer>)>>);

struct Answer {
    by: OperatorName,
    allow: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<DenialId, (HeldCall, oneshot::Sender<Answer>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the wait as denied, unless it was answered: also when the client goes away and the wait is dropped.
struct Unanswered<'a> {
    core: &'a Core,
    call: &'a Call,
    peer: &'a Peer,
    id: DenialId,
    answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        // Recorded first: whoever sees that it waits no more finds why.
        if !self.answered {
            self.core.resolved(self.call, self.peer, Outcome::Denied, Some(DenyReason::Deadline), Some(self.id));
        }
        self.core.waiting.lock().remove(&self.id);
    }
}

impl Core {
    /// Waits for an operator, at most until the deadline.
    pub(super) async fn hold(self: &Arc<Self>, call: Call, peer: Peer, id: DenialId, tool: Option<String>) -> Decision {
        let limit = self.config.limits.held();
        let since = self.now();
        let until =
            since.saturating_add(jiff::SignedDuration::try_from(limit).unwrap_or(jiff::SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
        let (answer, answered) = oneshot::channel();
        let mut unanswered = Unanswered { core: self, call: &call, peer: &peer, id, answered: false };
        let held = HeldCall {
            id,
            leaf: call.leaf,
            session: call.session,
            principal: peer.identity.principal.clone(),
            server: peer.server.clone(),
            tool,
            since,
            until,
        };
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() < WAITING {
                waiting.insert(id, (held, answer));
            }
        }
        let answer = tokio::time::timeout(limit, answered).await.ok().and_then(Result::ok);
        let refused = Refusal { status: StatusCode::OK, body: reply::denied(call.id.as_deref(), id), answer: call.id.is_some() };
        match answer {
            Some(Answer { allow: true, .. }) => {
                unanswered.answered = true;
                // Frozen meanwhile: an operator's word on one call does not outweigh it.
                let freezes = self.gate.lock();
                if let Some(reason) = freezes.denies(call.scopes.iter()) {
                    self.resolved(&call, &peer, Outcome::Denied, Some(reason), Some(id));
                    drop(freezes);
                    drop(unanswered);
                    return Decision::Refuse(refused);
                }
                let epoch = freezes.epoch();
                let recorded = self.resolved(&call, &peer, Outcome::Allowed, None, None);
                drop(freezes);
                drop(unanswered);
                match recorded {
                    true => Decision::Forward(Box::new(Permit { call, epoch, peer })),
                    false => Decision::Refuse(refused),
                }
            }
            Some(Answer { by, allow: false }) => {
                unanswered.answered = true;
                let denied = DenyReason::Policy(PolicyId(format!("operator:{by}")));
                self.resolved(&call, &peer, Outcome::Denied, Some(denied), Some(id));
                Decision::Refuse(refused)
            }
            None => Decision::Refuse(refused),
        }
    }

    /// Records what became of a call after its first decision; `false` when that could not be recorded.
    pub(super) fn resolved(
        &self,
        call: &Call,
        peer: &Peer,
        outcome: Outcome,
        reason: Option<DenyReason>,
        denial: Option<DenialId>,
    ) -> bool {
        let message = Message {
            direction: Direction::ToServer,
            server: peer.server.clone(),
            transport: peer.transport,
            shape: Shape::Request,
            method: call.method.clone().filter(|method| wire::known_method(method)),
            tool: None,
            answers: Some(call.leaf),
            outcome,
            reason,
            denial,
            spliced: Vec::new(),
            forwarded: None,
        };
        self.note(Some(call.session), Event::Message(message), None::<()>).is_some()
    }

    /// The calls that wait, oldest first.
    pub fn held(&self) -> Vec<HeldCall> {
        let mut held: Vec<HeldCall> = self.waiting.lock().values().map(|(call, _)| call.clone()).collect();
        held.sort_by_key(|call| call.leaf);
        held
    }

    /// An operator's word on a held call; recorded before it takes effect.
    ///
    /// # Errors
    /// [`CoreError::Unknown`] when it does not wait any more; [`CoreError::Ledger`] when the word cannot be recorded.
    pub fn answer_held(&self, by: &OperatorName, id: DenialId, allow: bool, reason: &str) -> Result<HeldCall, CoreError> {
        let unknown = || CoreError::Unknown { what: "held call", id: id.to_string() };
        let call = self.waiting.lock().get(&id).map(|(call, _)| call.clone()).ok_or_else(unknown)?;
        let verb = if allow { "allow_held_call" } else { "deny_held_call" };
        let detail = serde_json::json!({"by": by, "reason": reason, "call": call});
        let event = Event::OperatorActed { verb: verb.to_owned() };
        self.ledger.record(custody_store::ledger::Draft {
            at: self.now(),
            session: Some(call.session),
            event,
            detail: Some(detail),
            body: None,
        })?;
        let (call, answer) = self.waiting.lock().remove(&id).ok_or_else(unknown)?;
        answer.send(Answer { by: by.clone(), allow }).map_err(|_| unknown())?;
        Ok(call)
    }
}

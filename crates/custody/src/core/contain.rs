//! Executes containment: intent before, receipt after, and in types that allow no other order than freeze,
//! snapshot, terminate (C1–C3, C10, promise 3).

use super::{Core, CoreError};
use custody_engine::contain::{Freeze, freeze_step, thaw_step};
use custody_engine::session::EndReason;
use custody_model::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// What an operator cuts off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "target", content = "id")]
pub enum ContainTarget {
    /// A session, by everything that belongs to it.
    Session(SessionId),
    /// An adopted client.
    Principal(PrincipalName),
    /// A server, for everybody.
    Server(ServerName),
    /// A tool, for everybody.
    Tool(ServerName, ToolName),
}

/// How far to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainOptions {
    /// Terminate as well, once preserved. Cannot be undone.
    pub terminate: bool,
    /// Terminate although the snapshot failed: the person who takes it on their name.
    pub break_glass: Option<OperatorName>,
}

/// The scopes are frozen. Made by a freeze only.
pub(super) struct Frozen {
    case: Option<CaseId>,
    session: Option<SessionId>,
    pub(super) scopes: Vec<Scope>,
    pub(super) by: OperatorName,
    pub(super) reason: String,
}

/// What must be preserved was, or a person broke the glass. Made by a snapshot only.
pub(super) struct Preserved {
    frozen: Frozen,
}

impl Core {
    /// Records a freeze that is in force since `at`: intent, then receipt.
    pub(super) fn record_freeze(&self, step: &Step, took: Duration, at: Timestamp) {
        self.intend(step);
        self.done_at(step, true, format!("{} cut off", list(&step.scopes)), took, at);
    }

    /// Whether the intent is recorded.
    pub(super) fn intend(&self, step: &Step) -> bool {
        let event = Event::ActionIntended { action: step.id, verb: step.verb.clone(), case: step.case };
        self.note(step.session, event, Some(step)).is_some()
    }

    pub(super) fn done(&self, step: &Step, ok: bool, result: String, took: Duration) -> Receipt {
        self.done_at(step, ok, result, took, self.now())
    }

    fn done_at(&self, step: &Step, ok: bool, result: String, took: Duration, at: Timestamp) -> Receipt {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let receipt = Receipt { action: step.id, at, ok, result, took_us, digest: None, glass_broken_by: None };
        self.note(step.session, Event::ActionDone { action: step.id, verb: step.verb.clone(), case: step.case, ok }, Some(&receipt));
        receipt
    }

    /// Freezes: in memory first, then on disk, then the receipt. Holds nothing up but what it names.
    pub(super) async fn freeze(&self, step: Step) -> (Receipt, Frozen) {
        let started = Instant::now();
        {
            let mut freezes = self.gate.lock();
            freezes.freeze(Freeze { action: step.id, scopes: step.scopes.clone() });
            self.intend(&step);
        }
        let took = started.elapsed();
        let receipt = self.done(&step, true, format!("{} cut off", list(&step.scopes)), took);
        self.synced().await;
        self.gate.sent(Duration::from_secs(1)).await;
        let Step { case, session, scopes, by, reason, .. } = step;
        (receipt, Frozen { case, session, scopes, by, reason })
    }

    /// What a freeze in the decision itself left behind, so that the pipeline can go on from there.
    pub(super) fn frozen(&self, case: CaseId, session: SessionId, scopes: Vec<Scope>, reason: String) -> Option<Frozen> {
        self.gate.look(&scopes).0.map(|_| Frozen {
            case: Some(case),
            session: Some(session),
            scopes,
            by: OperatorName::from("custody"),
            reason,
        })
    }

    pub(super) async fn synced(&self) {
        let ledger = self.ledger.clone();
        if !matches!(tokio::task::spawn_blocking(move || ledger.sync()).await, Ok(Ok(()))) {
            tracing::error!("the ledger cannot be synced");
        }
    }

    /// Preserves what exists only while the session lives. A failure is a receipt too; then a person must break the
    /// glass before anything can be terminated.
    pub(super) async fn snapshot(
        self: &Arc<Self>,
        frozen: Frozen,
        case: &Case,
        glass: Option<OperatorName>,
    ) -> (Receipt, Result<Preserved, Frozen>) {
        let step = self.step("snapshot_session", &frozen, false);
        self.intend(&step);
        let snapshot = self.preserve(case, &frozen).await;
        let mut receipt = snapshot.receipt(step.id);
        receipt.glass_broken_by = glass.filter(|_| !receipt.ok);
        let done = Event::ActionDone { action: step.id, verb: step.verb.clone(), case: step.case, ok: receipt.ok };
        self.note(step.session, done, Some(&receipt));
        let preserved = if receipt.ok || receipt.glass_broken_by.is_some() { Ok(Preserved { frozen }) } else { Err(frozen) };
        (receipt, preserved)
    }

    /// Ends streams, bridged processes and shims of the scopes, and their protocol sessions at the servers (C3).
    pub(super) async fn terminate(&self, preserved: Preserved) -> Receipt {
        let step = self.step("terminate_session", &preserved.frozen, false);
        self.intend(&step);
        let started = Instant::now();
        let ended = self.attachments.terminate(&own(&step.scopes));
        if let Some(session) = step.session {
            self.note(Some(session), Event::SessionEnded { why: "terminated".to_owned() }, None::<()>);
            self.graph.lock().unwrap_or_else(PoisonError::into_inner).end(session, EndReason::Terminated);
        }
        let receipt = self.done(&step, true, format!("{ended} live streams and processes ended; the freeze stays"), started.elapsed());
        self.synced().await;
        receipt
    }

    fn step(&self, verb: &str, frozen: &Frozen, undoable: bool) -> Step {
        Step {
            id: ActionId(Uuid::now_v7()),
            case: frozen.case,
            verb: ActionName::from(verb),
            scopes: frozen.scopes.clone(),
            session: frozen.session,
            by: frozen.by.clone(),
            reason: frozen.reason.clone(),
            undoable,
            undoes: None,
        }
    }

    /// An operator's emergency call (C10): freeze, and with `terminate` snapshot and terminate.
    ///
    /// # Errors
    /// [`CoreError::Unknown`]; [`CoreError::NotPreserved`] when the snapshot failed and nobody broke the glass (the
    /// freeze holds all the same).
    pub async fn contain(
        self: &Arc<Self>,
        by: &OperatorName,
        target: ContainTarget,
        reason: &str,
        options: ContainOptions,
    ) -> Result<Vec<Receipt>, CoreError> {
        let (session, scopes) = self.target_scopes(&target).await?;
        let action = ActionId(Uuid::now_v7());
        // Before any paperwork: an emergency call does not wait for a case.
        self.gate.lock().freeze(Freeze { action, scopes: scopes.clone() });
        let case = self.case_for(by, session, &scopes, reason).await;
        let step = freeze_step(action, Some(case.id), session, scopes, by.clone(), reason.to_owned());
        let (receipt, frozen) = self.freeze(step).await;
        let mut receipts = vec![receipt];
        let mut at = None;
        if options.terminate {
            let (receipt, preserved) = self.snapshot(frozen, &case, options.break_glass).await;
            let why = receipt.result.clone();
            at = receipt.ok.then_some(receipt.at);
            receipts.push(receipt);
            let Ok(preserved) = preserved else { return Err(CoreError::NotPreserved { why }) };
            receipts.push(self.terminate(preserved).await);
        }
        self.contained(&case, at).await;
        self.settled().await;
        Ok(receipts)
    }

    /// Lifts a freeze.
    ///
    /// # Errors
    /// [`CoreError::Unknown`]; [`CoreError::NotUndoable`] for what the world does not take back.
    pub async fn undo(&self, by: &OperatorName, action: ActionId, reason: &str) -> Result<Receipt, CoreError> {
        self.settled().await;
        let row = self.projection.action(action).await?.ok_or_else(|| CoreError::Unknown { what: "action", id: action.to_string() })?;
        let step = row.step.ok_or_else(|| CoreError::NotUndoable { action, why: "its intent was erased".to_owned() })?;
        if step.verb.as_str() != "freeze_scope" {
            let why = format!("a {} cannot be taken back", step.verb);
            return Err(CoreError::NotUndoable { action, why });
        }
        let undo = thaw_step(ActionId(Uuid::now_v7()), &step, by.clone(), reason.to_owned());
        if !self.intend(&undo) {
            let why = "the record cannot be written, and nobody is let go without one".to_owned();
            return Err(CoreError::NotUndoable { action, why });
        }
        let started = Instant::now();
        // What was raised before is no reason to pass over what comes now.
        self.detector().forget_all();
        self.families.lock().unwrap_or_else(PoisonError::into_inner).forget();
        let lifted = self.gate.lock().thaw(action);
        if !lifted {
            self.done(&undo, false, "there was no such freeze in force".to_owned(), started.elapsed());
            return Err(CoreError::NotUndoable { action, why: "it is not in force; it was undone already".to_owned() });
        }
        let receipt = self.done(&undo, true, format!("{} free again", list(&undo.scopes)), started.elapsed());
        self.synced().await;
        self.settled().await;
        Ok(receipt)
    }

    async fn target_scopes(&self, target: &ContainTarget) -> Result<(Option<SessionId>, Vec<Scope>), CoreError> {
        let unknown = |what, id: &dyn ToString| CoreError::Unknown { what, id: id.to_string() };
        match target {
            ContainTarget::Session(id) => {
                self.settled().await;
                let row = self.projection.session(*id).await?.ok_or_else(|| unknown("session", id))?;
                let recorded = self.projection.recorded_as(*id).await?;
                let mut scopes = self.graph.lock().unwrap_or_else(PoisonError::into_inner).scopes(*id);
                // A session that was corrected is all that is shown with it.
                for other in recorded.into_iter().filter(|other| other != id) {
                    let graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
                    let theirs = graph.scopes(other).into_iter().chain([Scope::Session(other)]);
                    let theirs: Vec<Scope> = theirs.filter(|scope| !scopes.contains(scope)).collect();
                    scopes.extend(theirs);
                }
                for scope in [Some(Scope::Session(*id)), row.principal.map(Scope::Principal)].into_iter().flatten() {
                    if !scopes.contains(&scope) {
                        scopes.push(scope);
                    }
                }
                Ok((Some(*id), scopes))
            }
            ContainTarget::Principal(name) => {
                let known = self.config.clients.contains_key(name.as_str()) || self.clients.records().iter().any(|r| r.principal == *name);
                if !known {
                    return Err(unknown("principal", name));
                }
                let session = self.graph.lock().unwrap_or_else(PoisonError::into_inner).sessions_of(name).last().copied();
                Ok((session, vec![Scope::Principal(name.clone())]))
            }
            ContainTarget::Server(name) if self.config.servers.contains_key(name.as_str()) => Ok((None, vec![Scope::Server(name.clone())])),
            ContainTarget::Tool(server, tool) if self.config.servers.contains_key(server.as_str()) => {
                Ok((None, vec![Scope::Tool(server.clone(), tool.clone())]))
            }
            ContainTarget::Server(server) | ContainTarget::Tool(server, _) => Err(unknown("server", server)),
        }
    }
}

/// The scopes whose streams and processes end: all but a server's, whose other users go on (C2).
fn own(scopes: &[Scope]) -> Vec<Scope> {
    let shared = |scope: &&Scope| matches!(scope, Scope::Tool(..) | Scope::Prompt(..) | Scope::Resource(..) | Scope::For(..));
    scopes.iter().filter(|scope| !shared(scope)).cloned().collect()
}

fn list(scopes: &[Scope]) -> String {
    scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

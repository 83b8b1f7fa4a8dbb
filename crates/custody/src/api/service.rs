//! What the listener and the offline commands ask of the daemon's core.

use super::{ApiError, ContainOptions, ContainTarget, Exported, IncidentView, SessionRow, SessionView, Status, rows::CaseRow};
use custody_model::{ActionId, CaseId, OperatorName, Receipt, SessionId};
use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc};

/// The operators' side of a daemon. `by` is always an authenticated operator.
pub trait Service: Send + Sync + 'static {
    /// The state of things.
    fn status(self: Arc<Self>) -> impl Future<Output = Result<Status, ApiError>> + Send;
    /// Sessions, newest first.
    fn sessions(self: Arc<Self>) -> impl Future<Output = Result<Vec<SessionRow>, ApiError>> + Send;
    /// One session.
    fn session(self: Arc<Self>, id: SessionId) -> impl Future<Output = Result<SessionView, ApiError>> + Send;
    /// All cases, newest first.
    fn incidents(self: Arc<Self>) -> impl Future<Output = Result<Vec<CaseRow>, ApiError>> + Send;
    /// One case.
    fn incident(self: Arc<Self>, id: CaseId) -> impl Future<Output = Result<IncidentView, ApiError>> + Send;
    /// Some of the sessions whose ids begin so.
    fn sessions_like(self: Arc<Self>, prefix: String) -> impl Future<Output = Result<Vec<SessionId>, ApiError>> + Send;
    /// Some of the cases whose ids begin so.
    fn incidents_like(self: Arc<Self>, prefix: String) -> impl Future<Output = Result<Vec<CaseId>, ApiError>> + Send;
    /// Some of the actions whose ids begin so.
    fn actions_like(self: Arc<Self>, prefix: String) -> impl Future<Output = Result<Vec<ActionId>, ApiError>> + Send;
    /// Cuts off what an operator names (C10).
    fn contain(
        self: Arc<Self>,
        by: OperatorName,
        target: ContainTarget,
        reason: String,
        options: ContainOptions,
    ) -> impl Future<Output = Result<Vec<Receipt>, ApiError>> + Send;
    /// Undoes an action, where the world allows it (C10).
    fn undo(self: Arc<Self>, by: OperatorName, action: ActionId, reason: String) -> impl Future<Output = Result<Receipt, ApiError>> + Send;
    /// Calls that wait for a person.
    fn held(&self) -> Vec<crate::core::HeldCall>;
    /// Allows or denies one of them.
    fn answer_held(
        &self,
        by: &OperatorName,
        id: custody_model::DenialId,
        allow: bool,
        reason: &str,
    ) -> Result<crate::core::HeldCall, ApiError>;
    /// Writes the evidence bundle of a case.
    fn export(
        self: Arc<Self>,
        by: OperatorName,
        case: CaseId,
        out: Option<PathBuf>,
        reason: String,
    ) -> impl Future<Output = Result<Exported, ApiError>> + Send;
    /// Records what an operator did beside the daemon, such as adopting a client (promise 7).
    fn acted(
        self: Arc<Self>,
        by: OperatorName,
        verb: String,
        detail: serde_json::Value,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Counts a request that was refused.
    fn refused(&self, from: SocketAddr);
}

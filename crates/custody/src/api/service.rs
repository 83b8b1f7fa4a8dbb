//! What the listener and the offline commands ask of the daemon's core.

use super::{
    ApiError, ContainOptions, ContainTarget, Exported, IncidentView, SessionRow, SessionView, Status,
    rows::{CaseRow, FindingRow},
};
use crate::core::ManifestOrder;
use crate::core::{Reloaded, RulesView, SuppressRequest};
use custody_engine::detect::{Heard, Silenced};
use custody_engine::manifest::{Shown, View};
use custody_model::{ActionId, CaseId, FindingId, LeafIndex, OperatorName, Receipt, SessionId, Suppression, Verdict};
use std::{future::Future, net::SocketAddr, sync::Arc};

/// The operators' side of a daemon. `by` is always an authenticated operator.
pub trait Service: Send + Sync + 'static {
    /// The state of things.
    fn status(self: Arc<Self>) -> impl Future<Output = Result<Status, ApiError>> + Send;
    /// Sessions, newest first.
    fn sessions(self: Arc<Self>) -> impl Future<Output = Result<Vec<SessionRow>, ApiError>> + Send;
    /// One session.
    fn session(self: Arc<Self>, id: SessionId) -> impl Future<Output = Result<SessionView, ApiError>> + Send;
    /// Says that two sessions are one; gives the one that goes on.
    fn join_sessions(
        self: Arc<Self>,
        by: OperatorName,
        session: SessionId,
        other: SessionId,
        reason: String,
    ) -> impl Future<Output = Result<SessionId, ApiError>> + Send;
    /// Says that a session is two; gives the other one.
    fn split_session(
        self: Arc<Self>,
        by: OperatorName,
        session: SessionId,
        at: LeafIndex,
        reason: String,
    ) -> impl Future<Output = Result<SessionId, ApiError>> + Send;
    /// The model's view at one moment; with a reason whole texts, after the look is recorded (R3, R8).
    fn context(
        self: Arc<Self>,
        by: OperatorName,
        id: SessionId,
        request: super::ContextRequest,
    ) -> impl Future<Output = Result<custody_engine::investigate::Context, ApiError>> + Send;
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
    /// Definitions of all servers: pinned, waiting, announced (D2).
    fn manifest(self: Arc<Self>) -> impl Future<Output = Result<View, ApiError>> + Send;
    /// Approves, rejects or announces changes of definitions.
    fn order_manifest(self: Arc<Self>, by: OperatorName, order: ManifestOrder)
    -> impl Future<Output = Result<Vec<Shown>, ApiError>> + Send;
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
        request: super::ExportRequest,
    ) -> impl Future<Output = Result<Exported, ApiError>> + Send;
    /// Records what an operator did beside the daemon, such as adopting a client (promise 7).
    fn acted(
        self: Arc<Self>,
        by: OperatorName,
        verb: String,
        detail: serde_json::Value,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Learns what roles usually do (D17).
    fn learn(
        self: Arc<Self>,
        by: OperatorName,
        request: crate::core::LearnRequest,
    ) -> impl Future<Output = Result<crate::core::Learned, ApiError>> + Send;
    /// The baseline in force.
    fn baseline(&self) -> Option<crate::core::Learned>;
    /// Puts a baseline in force, or none.
    fn set_baseline(
        self: Arc<Self>,
        by: OperatorName,
        request: crate::core::BaselineRequest,
    ) -> impl Future<Output = Result<Option<crate::core::Learned>, ApiError>> + Send;
    /// Advances the daemon's virtual clock; there is none unless it was started with one.
    fn advance_clock(
        self: Arc<Self>,
        by: OperatorName,
        ms: u64,
    ) -> impl Future<Output = Result<crate::core::ClockReading, ApiError>> + Send;
    /// Rules in force, and what is silenced.
    fn rules(&self) -> RulesView;
    /// Puts the rules of custody.toml and its directory in force, whole or not at all.
    fn reload_rules(self: Arc<Self>, by: OperatorName) -> impl Future<Output = Result<Reloaded, ApiError>> + Send;
    /// Silences a rule for a while.
    fn suppress_rule(
        self: Arc<Self>,
        by: OperatorName,
        request: SuppressRequest,
    ) -> impl Future<Output = Result<Suppression, ApiError>> + Send;
    /// Ends suppressions.
    fn unsuppress_rule(
        self: Arc<Self>,
        by: OperatorName,
        which: Heard,
        reason: String,
    ) -> impl Future<Output = Result<Vec<Silenced>, ApiError>> + Send;
    /// Erases content (R8).
    fn erase(
        self: Arc<Self>,
        by: OperatorName,
        target: crate::core::EraseTarget,
        reason: String,
        dry_run: bool,
    ) -> impl Future<Output = Result<crate::core::Erased, ApiError>> + Send;
    /// Opens an entry, after the look is recorded (R8).
    fn open_entry(
        self: Arc<Self>,
        by: OperatorName,
        leaf: LeafIndex,
        reason: String,
    ) -> impl Future<Output = Result<super::Opened, ApiError>> + Send;
    /// Searches sessions, findings and calls.
    fn find(self: Arc<Self>, request: super::FindRequest)
    -> impl Future<Output = Result<custody_store::projection::Page, ApiError>> + Send;
    /// Findings, newest first; `open`: only those that a person should look at.
    fn findings(self: Arc<Self>, open: bool) -> impl Future<Output = Result<Vec<FindingRow>, ApiError>> + Send;
    /// One finding.
    fn finding(self: Arc<Self>, id: FindingId) -> impl Future<Output = Result<FindingRow, ApiError>> + Send;
    /// Some of the findings whose ids begin so.
    fn findings_like(self: Arc<Self>, prefix: String) -> impl Future<Output = Result<Vec<FindingId>, ApiError>> + Send;
    /// Says what a finding was.
    fn dispose_finding(
        self: Arc<Self>,
        by: OperatorName,
        id: FindingId,
        verdict: Verdict,
        reason: String,
    ) -> impl Future<Output = Result<FindingRow, ApiError>> + Send;
    /// Says what a case was.
    fn dispose_case(
        self: Arc<Self>,
        by: OperatorName,
        id: CaseId,
        verdict: Verdict,
        reason: String,
    ) -> impl Future<Output = Result<CaseRow, ApiError>> + Send;
    /// Closes a case.
    fn close_case(self: Arc<Self>, by: OperatorName, id: CaseId, reason: String) -> impl Future<Output = Result<CaseRow, ApiError>> + Send;
    /// Counts a request that was refused.
    fn refused(&self, from: SocketAddr);
}

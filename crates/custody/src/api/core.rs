//! The daemon's core behind the operators' listener.

use super::{
    ApiError, CaseRow, ContainOptions, ContainTarget, Exported, FindingRow, IncidentView, Service, SessionRow, SessionView, Status, queries,
};
use crate::core::{Core, CoreError, ManifestOrder, Reloaded, RulesView, SuppressRequest};
use custody_engine::detect::{Heard, Silenced};
use custody_engine::manifest::{Shown, View};
use custody_model::{ActionId, CaseId, Event, FindingId, LeafIndex, OperatorName, Receipt, SessionId, Suppression, Verdict};
use custody_store::ledger::Draft;
use std::{net::SocketAddr, sync::Arc};

/// In milliseconds.
const A_SECOND: u64 = 1000;

impl Service for Core {
    async fn status(self: Arc<Self>) -> Result<Status, ApiError> {
        Ok(Core::status(&self).await?)
    }

    async fn sessions(self: Arc<Self>) -> Result<Vec<SessionRow>, ApiError> {
        self.settled().await;
        queries::sessions(self.projection()).await
    }

    async fn session(self: Arc<Self>, id: SessionId) -> Result<SessionView, ApiError> {
        self.settled().await;
        queries::session(self.projection(), self.ledger().reader(), id).await
    }

    async fn join_sessions(
        self: Arc<Self>,
        by: OperatorName,
        session: SessionId,
        other: SessionId,
        reason: String,
    ) -> Result<SessionId, ApiError> {
        whole(async move { Core::join_sessions(&self, &by, session, other, &reason).await }).await
    }

    async fn split_session(
        self: Arc<Self>,
        by: OperatorName,
        session: SessionId,
        at: LeafIndex,
        reason: String,
    ) -> Result<SessionId, ApiError> {
        whole(async move { Core::split_session(&self, &by, session, at, &reason).await }).await
    }

    async fn context(
        self: Arc<Self>,
        by: OperatorName,
        id: SessionId,
        request: super::ContextRequest,
    ) -> Result<custody_engine::investigate::Context, ApiError> {
        self.settled().await;
        let context = super::context::read(self.projection(), self.ledger().reader(), id, &request).await?;
        let Some(reason) = request.reason else { return Ok(super::context::previews(context)) };
        blocking(move || self.context_opened(&by, &context, &reason).map(|()| context)).await
    }

    async fn incidents(self: Arc<Self>) -> Result<Vec<CaseRow>, ApiError> {
        self.settled().await;
        queries::incidents(self.projection()).await
    }

    async fn incident(self: Arc<Self>, id: CaseId) -> Result<IncidentView, ApiError> {
        self.settled().await;
        queries::incident(self.projection(), self.ledger().reader(), id).await
    }

    async fn sessions_like(self: Arc<Self>, prefix: String) -> Result<Vec<SessionId>, ApiError> {
        self.settled().await;
        Ok(self.projection().sessions_like(&prefix).await?)
    }

    async fn incidents_like(self: Arc<Self>, prefix: String) -> Result<Vec<CaseId>, ApiError> {
        self.settled().await;
        Ok(self.projection().cases_like(&prefix).await?)
    }

    async fn actions_like(self: Arc<Self>, prefix: String) -> Result<Vec<ActionId>, ApiError> {
        self.settled().await;
        Ok(self.projection().actions_like(&prefix).await?)
    }

    async fn contain(
        self: Arc<Self>,
        by: OperatorName,
        target: ContainTarget,
        reason: String,
        options: ContainOptions,
    ) -> Result<Vec<Receipt>, ApiError> {
        whole(async move { Core::contain(&self, &by, target, &reason, options).await }).await
    }

    async fn undo(self: Arc<Self>, by: OperatorName, action: ActionId, reason: String) -> Result<Receipt, ApiError> {
        whole(async move { Core::undo(&self, &by, action, &reason).await }).await
    }

    async fn manifest(self: Arc<Self>) -> Result<View, ApiError> {
        Ok(Core::manifest(&self))
    }

    async fn order_manifest(self: Arc<Self>, by: OperatorName, order: ManifestOrder) -> Result<Vec<Shown>, ApiError> {
        whole(async move {
            let done = Core::order_manifest(&self, &by, &order)?;
            self.settled().await;
            Ok(done)
        })
        .await
    }

    fn held(&self) -> Vec<crate::core::HeldCall> {
        Core::held(self)
    }

    fn answer_held(
        &self,
        by: &OperatorName,
        id: custody_model::DenialId,
        allow: bool,
        reason: &str,
    ) -> Result<crate::core::HeldCall, ApiError> {
        Ok(Core::answer_held(self, by, id, allow, reason)?)
    }

    async fn export(self: Arc<Self>, by: OperatorName, case: CaseId, request: super::ExportRequest) -> Result<Exported, ApiError> {
        let seal_to = crate::preserve::parse_recipients(&request.seal_to).map_err(|error| ApiError::BadRequest(error.to_string()))?;
        let bundle = whole(async move { Core::export(&self, &by, case, request.out, seal_to, &request.reason).await }).await?;
        Ok(Exported { path: bundle.path, digest: bundle.digest, items: bundle.items })
    }

    async fn acted(self: Arc<Self>, by: OperatorName, verb: String, detail: serde_json::Value) -> Result<(), ApiError> {
        let detail = serde_json::json!({ "by": by, "detail": detail });
        let draft = Draft { at: self.now(), session: None, event: Event::OperatorActed { verb }, detail: Some(detail), body: None };
        let ledger = self.ledger().clone();
        let recorded = tokio::task::spawn_blocking(move || ledger.record(draft)).await;
        recorded.map_err(|error| ApiError::Failed { message: error.to_string(), help: None })??;
        Ok(())
    }

    async fn learn(self: Arc<Self>, by: OperatorName, request: crate::core::LearnRequest) -> Result<crate::core::Learned, ApiError> {
        whole(async move { Core::learn(&self, &by, request).await }).await
    }

    fn baseline(&self) -> Option<crate::core::Learned> {
        Core::baseline(self)
    }

    async fn set_baseline(
        self: Arc<Self>,
        by: OperatorName,
        request: crate::core::BaselineRequest,
    ) -> Result<Option<crate::core::Learned>, ApiError> {
        let set = tokio::task::spawn_blocking(move || Core::set_baseline(&self, &by, request)).await;
        Ok(set.map_err(|error| ApiError::Failed { message: error.to_string(), help: None })??)
    }

    async fn advance_clock(self: Arc<Self>, by: OperatorName, ms: u64) -> Result<crate::core::ClockReading, ApiError> {
        // In a second that passes by itself, what was found would be worked through; so it is before one is skipped.
        if ms >= A_SECOND {
            self.quiet().await;
        }
        Ok(Core::advance_clock(&self, &by, ms)?)
    }

    fn rules(&self) -> RulesView {
        self.rules_view()
    }

    async fn reload_rules(self: Arc<Self>, by: OperatorName) -> Result<Reloaded, ApiError> {
        blocking(move || Core::reload_rules(&self, &by)).await
    }

    async fn suppress_rule(self: Arc<Self>, by: OperatorName, request: SuppressRequest) -> Result<Suppression, ApiError> {
        blocking(move || Core::suppress_rule(&self, &by, request)).await
    }

    async fn unsuppress_rule(self: Arc<Self>, by: OperatorName, which: Heard, reason: String) -> Result<Vec<Silenced>, ApiError> {
        blocking(move || Core::unsuppress_rule(&self, &by, &which, &reason)).await
    }

    async fn erase(
        self: Arc<Self>,
        by: OperatorName,
        target: crate::core::EraseTarget,
        reason: String,
        dry_run: bool,
    ) -> Result<crate::core::Erased, ApiError> {
        whole(async move { Core::erase(&self, &by, target, &reason, dry_run).await }).await
    }

    async fn open_entry(self: Arc<Self>, by: OperatorName, leaf: LeafIndex, reason: String) -> Result<super::Opened, ApiError> {
        whole(async move { Core::open_entry(&self, &by, leaf, &reason).await }).await.map(super::Opened::of)
    }

    async fn find(self: Arc<Self>, request: super::FindRequest) -> Result<custody_store::projection::Page, ApiError> {
        self.settled().await;
        super::privacy::search(self.projection(), request, self.now()).await
    }

    async fn findings(self: Arc<Self>, open: bool) -> Result<Vec<FindingRow>, ApiError> {
        self.settled().await;
        super::findings::read(self.projection(), open).await
    }

    async fn finding(self: Arc<Self>, id: FindingId) -> Result<FindingRow, ApiError> {
        self.settled().await;
        self.projection().finding(id).await?.ok_or_else(|| ApiError::NotFound { what: "finding".into(), id: id.to_string() })
    }

    async fn findings_like(self: Arc<Self>, prefix: String) -> Result<Vec<FindingId>, ApiError> {
        self.settled().await;
        Ok(self.projection().findings_like(&prefix).await?)
    }

    async fn dispose_finding(
        self: Arc<Self>,
        by: OperatorName,
        id: FindingId,
        verdict: Verdict,
        reason: String,
    ) -> Result<FindingRow, ApiError> {
        whole(async move { Core::dispose_finding(&self, &by, id, verdict, &reason).await }).await
    }

    async fn dispose_case(self: Arc<Self>, by: OperatorName, id: CaseId, verdict: Verdict, reason: String) -> Result<CaseRow, ApiError> {
        whole(async move { Core::dispose_case(&self, &by, id, verdict, &reason).await }).await
    }

    async fn close_case(self: Arc<Self>, by: OperatorName, id: CaseId, reason: String) -> Result<CaseRow, ApiError> {
        whole(async move { Core::close_case(&self, &by, id, &reason).await }).await
    }

    fn refused(&self, from: SocketAddr) {
        self.access_refused("operators", &from.to_string());
    }
}

/// Runs to its end even when the operator hangs up or the listener's time is over: half a containment is none, and what
/// was done must be recorded.
async fn whole<T: Send + 'static>(work: impl Future<Output = Result<T, CoreError>> + Send + 'static) -> Result<T, ApiError> {
    match tokio::spawn(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(ApiError::Failed { message: error.to_string(), help: None }),
    }
}

/// What reads files or writes entries, and ends even when the operator hangs up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, CoreError> + Send + 'static) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(ApiError::Failed { message: error.to_string(), help: None }),
    }
}

impl From<CoreError> for ApiError {
    fn from(error: CoreError) -> ApiError {
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        match error {
            CoreError::Unknown { what, id } => ApiError::NotFound { what: what.into(), id },
            CoreError::Ledger(custody_store::ledger::LedgerError::NoEntry { leaf }) => {
                ApiError::NotFound { what: "entry".into(), id: leaf.to_string() }
            }
            CoreError::Ledger(error) => error.into(),
            CoreError::NotUndoable { .. }
            | CoreError::NotSilenced { .. }
            | CoreError::Uncorrectable { .. }
            | CoreError::Loading { .. }
            | CoreError::Manifest { .. }
            | CoreError::NotErased { .. }
            | CoreError::NotPreserved { .. } => ApiError::Refused { message: error.to_string(), help },
            other => ApiError::Failed { message: with_causes(&other), help },
        }
    }
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let deeper_text = deeper.to_string();
        // Some errors repeat their cause in their own words.
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        cause = deeper.source();
    }
    text
}

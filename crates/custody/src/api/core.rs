//! The daemon's core behind the operators' listener.

use super::{ApiError, CaseRow, ContainOptions, ContainTarget, Exported, IncidentView, Service, SessionRow, SessionView, Status, queries};
use crate::core::{Core, CoreError};
use custody_model::{ActionId, CaseId, Event, OperatorName, Receipt, SessionId};
use custody_store::ledger::Draft;
use jiff::Timestamp;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

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
        queries::session(self.projection(), id).await
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

    async fn export(self: Arc<Self>, by: OperatorName, case: CaseId, out: Option<PathBuf>, reason: String) -> Result<Exported, ApiError> {
        let bundle = whole(async move { Core::export(&self, &by, case, out, &reason).await }).await?;
        Ok(Exported { path: bundle.path, digest: bundle.digest, items: bundle.items })
    }

    async fn acted(self: Arc<Self>, by: OperatorName, verb: String, detail: serde_json::Value) -> Result<(), ApiError> {
        let detail = serde_json::json!({ "by": by, "detail": detail });
        let draft = Draft { at: Timestamp::now(), session: None, event: Event::OperatorActed { verb }, detail: Some(detail), body: None };
        let ledger = self.ledger().clone();
        let recorded = tokio::task::spawn_blocking(move || ledger.record(draft)).await;
        recorded.map_err(|error| ApiError::Failed { message: error.to_string(), help: None })??;
        Ok(())
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

impl From<CoreError> for ApiError {
    fn from(error: CoreError) -> ApiError {
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        match error {
            CoreError::Unknown { what, id } => ApiError::NotFound { what: what.into(), id },
            CoreError::Ledger(error) => error.into(),
            CoreError::NotUndoable { .. } | CoreError::NotPreserved { .. } => ApiError::Refused { message: error.to_string(), help },
            other => ApiError::Failed { message: with_causes(&other), help },
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
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

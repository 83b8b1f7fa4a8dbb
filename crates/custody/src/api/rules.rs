//! `/api/v1/rules`: list, reload, suppress, unsuppress.

use super::{ApiError, Service, router::Answer, router::check_reason, router::parse};
use crate::core::{Reloaded, RulesView, SuppressRequest};
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    routing::{get, post},
};
use custody_engine::detect::{Heard, Silenced};
use custody_model::{OperatorName, RuleId, Suppression, SuppressionId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `POST /api/v1/rules/unsuppress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsuppressRequest {
    /// A suppression's id, or a rule: then all of its suppressions end.
    pub which: String,
    /// Why.
    pub reason: String,
}

impl UnsuppressRequest {
    /// What it names.
    pub fn heard(&self) -> Heard {
        match self.which.parse::<SuppressionId>() {
            Ok(id) => Heard::Id(id),
            Err(_) => Heard::Rule(RuleId(self.which.clone())),
        }
    }
}

pub(super) fn routes<S: Service>() -> Router<Arc<S>> {
    Router::new()
        .route("/api/v1/rules", get(list::<S>))
        .route("/api/v1/rules/reload", post(reload::<S>))
        .route("/api/v1/rules/suppress", post(suppress::<S>))
        .route("/api/v1/rules/unsuppress", post(unsuppress::<S>))
}

async fn list<S: Service>(State(service): State<Arc<S>>) -> Answer<RulesView> {
    Ok(Json(service.rules()))
}

async fn reload<S: Service>(State(service): State<Arc<S>>, Extension(by): Extension<OperatorName>) -> Answer<Reloaded> {
    service.reload_rules(by).await.map(Json)
}

async fn suppress<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Suppression> {
    let request: SuppressRequest = parse(body)?;
    check_reason(&request.reason)?;
    service.suppress_rule(by, request).await.map(Json)
}

async fn unsuppress<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Vec<Silenced>> {
    let request: UnsuppressRequest = parse(body)?;
    check_reason(&request.reason)?;
    if request.which.len() > 200 {
        return Err(ApiError::BadRequest("`which` is a suppression's id or a rule".into()));
    }
    service.unsuppress_rule(by, request.heard(), request.reason).await.map(Json)
}

//! `POST /api/v1/sessions/{id}/join` and `/split`: persons correct sessions (R9).

use super::{
    ApiClient, ApiError, ClientError, Service, SessionView,
    client::plain,
    router::{Answer, check_reason, parse, resolve_session},
};
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    routing::post,
};
use custody_model::{LeafIndex, OperatorName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `POST /api/v1/sessions/{id}/join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The session that is the same, or a unique prefix of its id.
    pub other: String,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/sessions/{id}/split`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRequest {
    /// The first entry of the other session, or the entry of a join that is taken back.
    pub at: LeafIndex,
    /// Why.
    pub reason: String,
}

pub(super) fn routes<S: Service>() -> Router<Arc<S>> {
    Router::new().route("/api/v1/sessions/{id}/join", post(join::<S>)).route("/api/v1/sessions/{id}/split", post(split::<S>))
}

async fn join<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<SessionView> {
    let request: JoinRequest = parse(body)?;
    join_as(&service, by, &id, request).await.map(Json)
}

async fn split<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<SessionView> {
    let request: SplitRequest = parse(body)?;
    split_as(&service, by, &id, request).await.map(Json)
}

/// Joins, and gives the session that goes on.
pub(crate) async fn join_as<S: Service>(
    service: &Arc<S>,
    by: OperatorName,
    id: &str,
    request: JoinRequest,
) -> Result<SessionView, ApiError> {
    check_reason(&request.reason)?;
    let (session, other) = (resolve_session(service, id).await?, resolve_session(service, &request.other).await?);
    let joined = service.clone().join_sessions(by, session, other, request.reason).await?;
    service.clone().session(joined).await
}

/// Splits, and gives the other session.
pub(crate) async fn split_as<S: Service>(
    service: &Arc<S>,
    by: OperatorName,
    id: &str,
    request: SplitRequest,
) -> Result<SessionView, ApiError> {
    check_reason(&request.reason)?;
    let session = resolve_session(service, id).await?;
    let other = service.clone().split_session(by, session, request.at, request.reason).await?;
    service.clone().session(other).await
}

#[allow(clippy::missing_errors_doc, reason = "see ClientError, as for all of them")]
impl ApiClient {
    /// `POST sessions/{id}/join`.
    pub async fn join_sessions(&self, id: &str, request: &JoinRequest) -> Result<SessionView, ClientError> {
        self.ask(&format!("sessions/{}/join", plain(id)?), Some(request)).await
    }
    /// `POST sessions/{id}/split`.
    pub async fn split_session(&self, id: &str, request: &SplitRequest) -> Result<SessionView, ClientError> {
        self.ask(&format!("sessions/{}/split", plain(id)?), Some(request)).await
    }
}

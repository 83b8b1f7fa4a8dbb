//! `/api/v1/findings`, and what people say of findings and cases.

use super::{
    ApiClient, ApiError, CaseRow, ClientError, FindingRow, Service,
    client::plain,
    router::{Answer, check_reason, only, parse, prefix, resolve_case},
};
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{
        Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    routing::{get, post},
};
use custody_model::{CaseState, FindingId, OperatorName, Verdict};
use custody_store::projection::Projection;
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, sync::Arc};

/// Findings that are listed at most, the newest.
const LISTED: usize = 10_000;

/// `POST /api/v1/findings/{id}/dispose`, `/incidents/{id}/dispose`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisposeRequest {
    /// What it was.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/incidents/{id}/close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// Why.
    pub reason: String,
}

/// `GET /api/v1/findings`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Which {
    /// Only those that nobody assessed, of no case or of one that is not closed.
    #[serde(default)]
    open: bool,
}

pub(super) fn routes<S: Service>() -> Router<Arc<S>> {
    Router::new()
        .route("/api/v1/findings", get(list::<S>))
        .route("/api/v1/findings/{id}", get(show::<S>))
        .route("/api/v1/findings/{id}/dispose", post(dispose_finding::<S>))
        .route("/api/v1/incidents/{id}/dispose", post(dispose_case::<S>))
        .route("/api/v1/incidents/{id}/close", post(close_case::<S>))
}

async fn list<S: Service>(State(service): State<Arc<S>>, which: Result<Query<Which>, QueryRejection>) -> Answer<Vec<FindingRow>> {
    let Ok(Query(which)) = which else { return Err(ApiError::BadRequest("`open` is true or false".into())) };
    service.findings(which.open).await.map(Json)
}

async fn show<S: Service>(State(service): State<Arc<S>>, Path(id): Path<String>) -> Answer<FindingRow> {
    let id = resolve(&service, &id).await?;
    service.finding(id).await.map(Json)
}

async fn dispose_finding<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<FindingRow> {
    let request: DisposeRequest = parse(body)?;
    check_reason(&request.reason)?;
    let id = resolve(&service, &id).await?;
    service.dispose_finding(by, id, request.verdict, request.reason).await.map(Json)
}

async fn dispose_case<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<CaseRow> {
    let request: DisposeRequest = parse(body)?;
    check_reason(&request.reason)?;
    let id = resolve_case(&service, &id).await?;
    service.dispose_case(by, id, request.verdict, request.reason).await.map(Json)
}

async fn close_case<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<CaseRow> {
    let request: CloseRequest = parse(body)?;
    check_reason(&request.reason)?;
    let id = resolve_case(&service, &id).await?;
    service.close_case(by, id, request.reason).await.map(Json)
}

/// A finding by its id or a unique prefix of it.
pub(crate) async fn resolve<S: Service>(service: &Arc<S>, text: &str) -> Result<FindingId, ApiError> {
    let prefix = prefix("finding", text, FindingId::PREFIX)?;
    only("finding", text, service.clone().findings_like(prefix).await?)
}

/// Newest first.
pub(super) async fn read(projection: &Projection, open: bool) -> Result<Vec<FindingRow>, ApiError> {
    let mut rows = projection.findings().await?;
    if open {
        let closed: HashSet<_> =
            projection.cases().await?.into_iter().filter(|row| row.case.state == CaseState::Closed).map(|row| row.case.id).collect();
        rows.retain(|row| row.assessment.is_none() && row.case.is_none_or(|case| !closed.contains(&case)));
    }
    rows.reverse();
    rows.truncate(LISTED);
    Ok(rows)
}

#[allow(clippy::missing_errors_doc, reason = "see ClientError, as for all of them")]
impl ApiClient {
    /// `GET findings`; `open`: only those that a person should look at.
    pub async fn findings(&self, open: bool) -> Result<Vec<FindingRow>, ClientError> {
        self.ask(if open { "findings?open=true" } else { "findings" }, None::<()>).await
    }
    /// `GET findings/{id}`; a unique prefix is enough.
    pub async fn finding(&self, id: &str) -> Result<FindingRow, ClientError> {
        self.ask(&format!("findings/{}", plain(id)?), None::<()>).await
    }
    /// `POST findings/{id}/dispose`.
    pub async fn dispose_finding(&self, id: &str, request: &DisposeRequest) -> Result<FindingRow, ClientError> {
        self.ask(&format!("findings/{}/dispose", plain(id)?), Some(request)).await
    }
    /// `POST incidents/{id}/dispose`.
    pub async fn dispose_case(&self, id: &str, request: &DisposeRequest) -> Result<CaseRow, ClientError> {
        self.ask(&format!("incidents/{}/dispose", plain(id)?), Some(request)).await
    }
    /// `POST incidents/{id}/close`.
    pub async fn close_case(&self, id: &str, request: &CloseRequest) -> Result<CaseRow, ClientError> {
        self.ask(&format!("incidents/{}/close", plain(id)?), Some(request)).await
    }
}

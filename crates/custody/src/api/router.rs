//! The endpoints.

use super::{ApiError, ContainOptions, ContainTarget, Service, guard::Guard};
use crate::trust::{Operators, loopback::Names};
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State, rejection::BytesRejection},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use custody_model::{ActionId, CaseId, OperatorName, SessionId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// No request body is larger.
pub const MAX_BODY: usize = 64 << 10;
/// But a baseline may be.
pub const MAX_BASELINE: usize = 64 << 20;
/// No answer takes longer; an export of a large case is the longest.
const TIME_OUT: Duration = Duration::from_secs(600);
/// Reasons are sentences.
const MAX_REASON: usize = 2_000;

/// `POST /api/v1/contain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainRequest {
    /// What.
    pub target: ContainTarget,
    /// Why.
    pub reason: String,
    /// How far.
    #[serde(default)]
    pub options: ContainOptions,
}

/// `POST /api/v1/undo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    /// The action, or a unique prefix of its id.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/evidence/export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// The case, or a unique prefix of its id.
    pub case: String,
    /// Where to; `None`: below the home.
    #[serde(default)]
    pub out: Option<PathBuf>,
    /// `age` recipients: with any, the bundle is one file that only they can open.
    #[serde(default)]
    pub seal_to: Vec<String>,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/held`: an operator's word on a call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// The call's whole id.
    pub id: custody_model::DenialId,
    /// Whether it goes on.
    pub allow: bool,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/acts`: an operator did something beside the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// What, as a verb.
    pub verb: String,
    /// Particulars.
    pub detail: serde_json::Value,
}

/// `POST /api/v1/clock`: only with `custody up --virtual-clock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockRequest {
    /// By how much.
    pub advance_ms: u64,
}

/// The operators' API over a service. Every route is guarded, also those that do not exist.
pub fn router<S: Service>(service: Arc<S>, operators: Operators, names: Names) -> Router {
    let guard = Arc::new(Guard::new(service.clone(), operators, names));
    let guarded = move |request: Request, next: Next| {
        let guard = guard.clone();
        async move { admit(&guard, request, next).await }
    };
    Router::new()
        .route("/api/v1/status", get(status::<S>))
        .route("/api/v1/sessions", get(sessions::<S>))
        .route("/api/v1/sessions/{id}", get(session::<S>))
        .route("/api/v1/incidents", get(incidents::<S>))
        .route("/api/v1/incidents/{id}", get(incident::<S>))
        .route("/api/v1/contain", post(contain::<S>))
        .route("/api/v1/undo", post(undo::<S>))
        .route("/api/v1/manifest", get(manifest::<S>).post(order_manifest::<S>))
        .route("/api/v1/held", get(held::<S>).post(answer_held::<S>))
        .route("/api/v1/evidence/export", post(export::<S>))
        .route("/api/v1/acts", post(acts::<S>))
        .route("/api/v1/learn", post(learn::<S>))
        .route("/api/v1/baseline", get(baseline::<S>).post(set_baseline::<S>).layer(DefaultBodyLimit::max(MAX_BASELINE)))
        .route("/api/v1/clock", post(clock::<S>))
        .merge(super::rules::routes())
        .merge(super::findings::routes())
        .merge(super::sessions::routes())
        .merge(super::context::routes())
        .merge(super::privacy::routes())
        .fallback(|| async { ApiError::NotFound { what: "resource".into(), id: "at this path".into() } })
        .method_not_allowed_fallback(|| async { ApiError::BadRequest("this path has another method".into()) })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(guarded))
        .with_state(service)
}

async fn admit<S: Service>(guard: &Guard<S>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |info| info.0);
    match guard.admit(request.uri(), request.headers(), from) {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            match tokio::time::timeout(TIME_OUT, next.run(request)).await {
                Ok(response) => response,
                Err(_) => ApiError::Timeout.into_response(),
            }
        }
        Err(error) => error.into_response(),
    }
}

pub(super) type Answer<T> = Result<Json<T>, ApiError>;

async fn status<S: Service>(State(service): State<Arc<S>>) -> Answer<super::Status> {
    service.status().await.map(Json)
}

async fn sessions<S: Service>(State(service): State<Arc<S>>) -> Answer<Vec<super::SessionRow>> {
    service.sessions().await.map(Json)
}

async fn session<S: Service>(State(service): State<Arc<S>>, Path(id): Path<String>) -> Answer<super::SessionView> {
    let id = resolve_session(&service, &id).await?;
    service.session(id).await.map(Json)
}

async fn incidents<S: Service>(State(service): State<Arc<S>>) -> Answer<Vec<super::CaseRow>> {
    service.incidents().await.map(Json)
}

async fn incident<S: Service>(State(service): State<Arc<S>>, Path(id): Path<String>) -> Answer<super::IncidentView> {
    let id = resolve_case(&service, &id).await?;
    service.incident(id).await.map(Json)
}

async fn contain<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Vec<custody_model::Receipt>> {
    let request: ContainRequest = parse(body)?;
    check_reason(&request.reason)?;
    service.contain(by, request.target, request.reason, request.options).await.map(Json)
}

async fn undo<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<custody_model::Receipt> {
    let request: UndoRequest = parse(body)?;
    check_reason(&request.reason)?;
    let action = resolve_action(&service, &request.action).await?;
    service.undo(by, action, request.reason).await.map(Json)
}

async fn manifest<S: Service>(State(service): State<Arc<S>>) -> Answer<custody_engine::manifest::View> {
    service.manifest().await.map(Json)
}

async fn order_manifest<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Vec<custody_engine::manifest::Shown>> {
    let order: crate::core::ManifestOrder = parse(body)?;
    check_reason(&order.reason)?;
    service.order_manifest(by, order).await.map(Json)
}

async fn held<S: Service>(State(service): State<Arc<S>>) -> Answer<Vec<crate::core::HeldCall>> {
    Ok(Json(service.held()))
}

async fn answer_held<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<crate::core::HeldCall> {
    let request: AnswerRequest = parse(body)?;
    check_reason(&request.reason)?;
    service.answer_held(&by, request.id, request.allow, &request.reason).map(Json)
}

async fn export<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<super::Exported> {
    let request: ExportRequest = parse(body)?;
    check_reason(&request.reason)?;
    if request.out.as_ref().is_some_and(|out| out.is_relative()) {
        return Err(ApiError::BadRequest("`out` must be an absolute path: the daemon has its own working directory".into()));
    }
    let case = resolve_case(&service, &request.case).await?;
    service.export(by, case, request).await.map(Json)
}

async fn acts<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<serde_json::Value> {
    let request: ActRequest = parse(body)?;
    if request.verb.is_empty() || request.verb.len() > 60 || !request.verb.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Err(ApiError::BadRequest("`verb` is a word of small letters and `_`".into()));
    }
    service.acted(by, request.verb, request.detail).await?;
    Ok(Json(serde_json::json!({ "recorded": true })))
}

async fn learn<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<crate::core::Learned> {
    let request: crate::core::LearnRequest = parse(body)?;
    if request.half_life_days.is_some_and(|days| !days.is_finite() || days < 0.01) {
        return Err(ApiError::BadRequest("`half_life_days` is a number of days above 0.01".into()));
    }
    service.learn(by, request).await.map(Json)
}

async fn baseline<S: Service>(State(service): State<Arc<S>>) -> Answer<Option<crate::core::Learned>> {
    Ok(Json(service.baseline()))
}

async fn set_baseline<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Option<crate::core::Learned>> {
    let request: crate::core::BaselineRequest = parse(body)?;
    check_reason(&request.reason)?;
    service.set_baseline(by, request).await.map(Json)
}

async fn clock<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<crate::core::ClockReading> {
    let request: ClockRequest = parse(body)?;
    service.advance_clock(by, request.advance_ms).await.map(Json)
}

pub(super) fn parse<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body = body.map_err(|_| ApiError::BadRequest("the body broke off or is larger than this path takes".to_owned()))?;
    serde_json::from_slice(&body).map_err(|error| ApiError::BadRequest(format!("the body is not what this path takes: {error}")))
}

pub(super) fn check_reason(reason: &str) -> Result<(), ApiError> {
    if reason.trim().is_empty() {
        return Err(ApiError::BadRequest("a reason is needed: it stands in the record".into()));
    }
    if reason.len() > MAX_REASON {
        return Err(ApiError::BadRequest(format!("a reason has at most {MAX_REASON} bytes")));
    }
    Ok(())
}

/// A session by its id or a unique prefix of it.
pub(crate) async fn resolve_session<S: Service>(service: &Arc<S>, text: &str) -> Result<SessionId, ApiError> {
    let prefix = prefix("session", text, SessionId::PREFIX)?;
    only("session", text, service.clone().sessions_like(prefix).await?)
}

/// A case by its id or a unique prefix of it.
pub(crate) async fn resolve_case<S: Service>(service: &Arc<S>, text: &str) -> Result<CaseId, ApiError> {
    let prefix = prefix("incident", text, CaseId::PREFIX)?;
    only("incident", text, service.clone().incidents_like(prefix).await?)
}

/// An action by its id or a unique prefix of it.
pub(crate) async fn resolve_action<S: Service>(service: &Arc<S>, text: &str) -> Result<ActionId, ApiError> {
    let prefix = prefix("action", text, ActionId::PREFIX)?;
    only("action", text, service.clone().actions_like(prefix).await?)
}

/// `0197…` and `ses_0197…` mean the same; `inc_…` is no session.
pub(super) fn prefix(what: &str, text: &str, kind: &str) -> Result<String, ApiError> {
    let digits = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix('_')).unwrap_or(text);
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        let shown: String = text.chars().take(80).collect();
        return Err(ApiError::BadRequest(format!("`{shown}` is not the id of a {what}: expected `{kind}_` and hexadecimal digits")));
    }
    Ok(format!("{kind}_{digits}"))
}

pub(super) fn only<I: ToString>(what: &str, text: &str, found: Vec<I>) -> Result<I, ApiError> {
    let shown = || text.chars().take(80).collect::<String>();
    let candidates: Vec<String> = found.iter().map(I::to_string).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(ApiError::NotFound { what: what.into(), id: shown() }),
        (Some(_), Some(_)) => Err(ApiError::Ambiguous { what: what.into(), id: shown(), candidates }),
    }
}

//! `/api/v1/erase`, `/open`, `/find`: content goes, is looked at, is searched (R8).

use super::{
    ApiClient, ApiError, ClientError, Service,
    router::{Answer, check_reason, parse, resolve_session},
};
use crate::core::{EraseTarget, Erased};
use axum::{Extension, Json, Router, body::Bytes, extract::State, extract::rejection::BytesRejection, routing::post};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use custody_model::{Entry, LeafIndex, OpenEntry, OperatorName, PrincipalName};
use custody_store::projection::{FindQuery, MOST_HITS, Page, Projection};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// `POST /api/v1/erase`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// One session, or a unique prefix of its id.
    #[serde(default)]
    pub session: Option<String>,
    /// Or all of an agent.
    #[serde(default)]
    pub subject: Option<PrincipalName>,
    /// Or all whose last message came before.
    #[serde(default)]
    pub before: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// `POST /api/v1/open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// The entry.
    pub leaf: LeafIndex,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/find`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindRequest {
    /// The query.
    pub query: String,
    /// Hits at most.
    #[serde(default)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    #[serde(default)]
    pub page: Option<String>,
}

/// One entry, opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Its position.
    pub leaf: LeafIndex,
    /// As it stands in the ledger.
    pub entry: Entry,
    /// Its sealed document; `None`: it has none, or it can not be opened.
    pub detail: Option<Value>,
    /// Its sealed bytes, where they are text.
    pub body: Option<String>,
    /// Where they are not.
    pub body_base64: Option<String>,
    /// Why a sealed part is not shown, if one is not.
    pub missing: Option<String>,
}

impl Opened {
    /// From what could be unsealed.
    pub fn of(open: OpenEntry) -> Opened {
        let OpenEntry { leaf, entry, detail, body } = open;
        let missing = (entry.detail.is_some() && detail.is_none()) || (entry.body.is_some() && body.is_none());
        let missing = missing.then(|| "erased, or sealed for other keys than those at hand".to_owned());
        let (body, body_base64) = match body.map(String::from_utf8) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(bytes)) => (None, Some(BASE64_STANDARD.encode(bytes.as_bytes()))),
        };
        Opened { leaf, entry, detail, body, body_base64, missing }
    }
}

pub(super) fn routes<S: Service>() -> Router<Arc<S>> {
    Router::new().route("/api/v1/erase", post(erase::<S>)).route("/api/v1/open", post(open::<S>)).route("/api/v1/find", post(find::<S>))
}

async fn erase<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Erased> {
    erase_as(&service, by, parse(body)?).await.map(Json)
}

async fn open<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Opened> {
    open_as(&service, by, parse(body)?).await.map(Json)
}

async fn find<S: Service>(State(service): State<Arc<S>>, body: Result<Bytes, BytesRejection>) -> Answer<Page> {
    service.find(parse(body)?).await.map(Json)
}

/// Erases in the name of an operator.
///
/// # Errors
/// [`ApiError`].
pub(crate) async fn erase_as<S: Service>(service: &Arc<S>, by: OperatorName, request: EraseRequest) -> Result<Erased, ApiError> {
    check_reason(&request.reason)?;
    let target = match (request.session, request.subject, request.before) {
        (Some(id), None, None) => EraseTarget::Session(resolve_session(service, &id).await?),
        (None, Some(name), None) => EraseTarget::Subject(name),
        (None, None, Some(before)) => EraseTarget::Before(before),
        _ => return Err(ApiError::BadRequest("name one of `session`, `subject` and `before`".into())),
    };
    service.clone().erase(by, target, request.reason, request.dry_run).await
}

/// Opens in the name of an operator.
///
/// # Errors
/// [`ApiError`].
pub(crate) async fn open_as<S: Service>(service: &Arc<S>, by: OperatorName, request: OpenRequest) -> Result<Opened, ApiError> {
    check_reason(&request.reason)?;
    service.clone().open_entry(by, request.leaf, request.reason).await
}

/// Asks a projection. What sealed words a hit has are redacted.
///
/// # Errors
/// [`ApiError::BadRequest`] with the place of a mistake.
pub(super) async fn search(projection: &Projection, request: FindRequest, now: Timestamp) -> Result<Page, ApiError> {
    let query = FindQuery::parse(&request.query, now).map_err(|bad| {
        let shown = request.query.chars().take(200).collect::<String>();
        ApiError::BadRequest(format!(
            "{}: characters {} to {} of `{shown}`",
            bad.what,
            place(&request.query, bad.at.start) + 1,
            place(&request.query, bad.at.end)
        ))
    })?;
    let from = request.page.map(|page| page.parse().map_err(|why: &str| ApiError::BadRequest(format!("`page` is {why}")))).transpose()?;
    let limit = request.limit.unwrap_or(50);
    if !(1..=MOST_HITS).contains(&limit) {
        return Err(ApiError::BadRequest(format!("`limit` is from 1 to {MOST_HITS}")));
    }
    Ok(projection.find(&query, from, limit, &crate::redact::redact).await?)
}

/// Characters before a byte.
fn place(text: &str, at: usize) -> usize {
    text.char_indices().take_while(|(start, _)| *start < at).count()
}

#[allow(clippy::missing_errors_doc, reason = "see ClientError, as for all of them")]
impl ApiClient {
    /// `POST erase`.
    pub async fn erase(&self, request: &EraseRequest) -> Result<Erased, ClientError> {
        self.ask("erase", Some(request)).await
    }
    /// `POST open`.
    pub async fn open_entry(&self, request: &OpenRequest) -> Result<Opened, ClientError> {
        self.ask("open", Some(request)).await
    }
    /// `POST find`.
    pub async fn find(&self, request: &FindRequest) -> Result<Page, ClientError> {
        self.ask("find", Some(request)).await
    }
}

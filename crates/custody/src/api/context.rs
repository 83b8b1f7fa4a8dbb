//! `POST /api/v1/sessions/{id}/context`: the model's view at one moment, or between two (R3). Texts whole only with a reason, and
//! that look is an entry (R8).

use super::{
    ApiClient, ApiError, ClientError, Service,
    client::plain,
    router::{Answer, check_reason, parse, resolve_session},
};
use crate::core::reading;
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    routing::post,
};
use custody_engine::{
    host::{self, Builds},
    investigate::{self, Context},
};
use custody_model::{LeafIndex, OpenEntry, OperatorName, PrincipalName, SessionId};
use custody_store::{ledger::Reader, projection::Projection};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Characters of a text that are shown without a reason.
const PREVIEW: usize = 160;
/// Earlier sessions of the same principal that are looked at for what changed, and entries of each.
const SESSIONS_BEFORE: usize = 10;
const ENTRIES_BEFORE: usize = 60;

/// `POST /api/v1/sessions/{id}/context`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextRequest {
    /// The moment: after this entry. `None`: the session's last.
    #[serde(default)]
    pub at: Option<LeafIndex>,
    /// For a difference: only what came after this entry.
    #[serde(default)]
    pub from: Option<LeafIndex>,
    /// Why whole texts are wanted; without it their beginnings are shown, redacted.
    #[serde(default)]
    pub reason: Option<String>,
}

pub(super) fn routes<S: Service>() -> Router<Arc<S>> {
    Router::new().route("/api/v1/sessions/{id}/context", post(context::<S>))
}

async fn context<S: Service>(
    State(service): State<Arc<S>>,
    Extension(by): Extension<OperatorName>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Context> {
    let request: ContextRequest = parse(body)?;
    context_as(&service, by, &id, request).await.map(Json)
}

/// The view for an operator.
pub(crate) async fn context_as<S: Service>(
    service: &Arc<S>,
    by: OperatorName,
    id: &str,
    request: ContextRequest,
) -> Result<Context, ApiError> {
    if let Some(reason) = &request.reason {
        check_reason(reason)?;
    }
    let session = resolve_session(service, id).await?;
    service.clone().context(by, session, request).await
}

/// Reads the view; texts are whole.
pub(super) async fn read(
    projection: &Projection,
    reader: Reader,
    session: SessionId,
    request: &ContextRequest,
) -> Result<Context, ApiError> {
    let row = projection.session(session).await?;
    let session = row.ok_or_else(|| ApiError::NotFound { what: "session".into(), id: session.to_string() })?.id;
    let leaves = projection.leaves_of(session).await?;
    let last = leaves.last().copied().unwrap_or(LeafIndex(0));
    let at = request.at.unwrap_or(last);
    let first = leaves.first().copied().unwrap_or(LeafIndex(0));
    if at < first {
        return Err(ApiError::BadRequest(format!("the session begins at entry {first}, behind entry {at}")));
    }
    if let Some(from) = request.from.filter(|from| *from > at) {
        return Err(ApiError::BadRequest(format!("entry {from} comes after entry {at}: a difference goes from the earlier to the later")));
    }
    let from = request.from;
    let seen: Vec<LeafIndex> = leaves.into_iter().filter(|leaf| *leaf <= at).collect();
    blocking(move || {
        let read = reading::newest(&seen, |leaf| opened(&reader, leaf));
        let mut context = match from {
            Some(from) => investigate::difference(session, &read.entries, from, at),
            None => investigate::context(session, &read.entries, at),
        };
        if read.left_out > 0 {
            context.unseen.push(format!("{} older entries of this long session: ask for an earlier moment with --at", read.left_out));
        }
        context
    })
    .await
}

/// What may be seen without a reason.
pub(super) fn previews(mut context: Context) -> Context {
    context.previews(PREVIEW, crate::redact::redact);
    context
}

/// Model and program that a session was seen with, and what changed within the latest sessions of its principal (I11).
pub(super) async fn builds(
    projection: &Projection,
    reader: Reader,
    session: SessionId,
    principal: Option<&PrincipalName>,
) -> Result<Builds, ApiError> {
    let mut leaves: Vec<LeafIndex> = Vec::new();
    if let Some(principal) = principal {
        let rows = projection.sessions(1_000).await?;
        let theirs = rows.iter().filter(|row| row.principal.as_ref() == Some(principal));
        for row in theirs.skip_while(|row| row.id != session).skip(1).take(SESSIONS_BEFORE) {
            leaves.extend(projection.leaves_of(row.id).await?.into_iter().take(ENTRIES_BEFORE));
        }
    }
    leaves.extend(projection.leaves_of(session).await?);
    leaves.sort_unstable();
    leaves.dedup();
    blocking(move || host::builds(&reading::newest(&leaves, |leaf| reader.open_entry(leaf).ok()).entries)).await
}

/// An entry, also where its content is erased: then it is named.
fn opened(reader: &Reader, leaf: LeafIndex) -> Option<OpenEntry> {
    reader.open_entry(leaf).ok().or_else(|| reader.entry(leaf).ok().map(|(entry, _)| OpenEntry { leaf, entry, detail: None, body: None }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::Failed { message: error.to_string(), help: None })
}

#[allow(clippy::missing_errors_doc, reason = "see ClientError, as for all of them")]
impl ApiClient {
    /// `POST sessions/{id}/context`.
    pub async fn context(&self, id: &str, request: &ContextRequest) -> Result<Context, ClientError> {
        self.ask(&format!("sessions/{}/context", plain(id)?), Some(request)).await
    }
}

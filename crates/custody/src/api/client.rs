//! The client of the operators' listener.

use super::pinned;
use super::{
    ActRequest, ApiError, CaseRow, ContainRequest, DaemonFile, ErrorBody, ExportRequest, Exported, IncidentView, SessionRow, SessionView,
    Status, UndoRequest,
};
use crate::{causes, trust::Secret};
use bytes::Bytes;
use custody_model::Receipt;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{net::SocketAddr, time::Duration};

/// An answer is never larger; a session of a hundred thousand calls stays below.
const MAX_ANSWER: usize = 256 << 20;
/// Longer than the daemon takes itself.
const TIME_OUT: Duration = Duration::from_secs(620);

/// Why the daemon gave no answer, or not the one wanted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ClientError {
    /// Nobody there.
    #[error("the daemon at {address} cannot be reached: {why}")]
    #[diagnostic(help("is `custody up` running? Its address is in run/daemon.json of the home"))]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// Not the daemon, or not this version.
    #[error("the daemon at {address} gave an answer that this program does not understand: {why}")]
    #[diagnostic(help("use the same release of custody for the daemon and the command line"))]
    Strange {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// It said no.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] ApiError),
}

/// Speaks to the operators' listener of a daemon.
pub struct ApiClient {
    address: SocketAddr,
    token: Secret,
    scheme: &'static str,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl ApiClient {
    /// A client with an operator's token.
    pub fn new(address: SocketAddr, token: Secret) -> ApiClient {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        ApiClient { address, token, scheme: "http", http: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// A client of a running daemon, encrypted if the daemon is.
    ///
    /// # Errors
    /// Its certificate cannot be read.
    pub fn of(daemon: &DaemonFile, token: Secret) -> Result<ApiClient, ClientError> {
        let Some(certificate) = &daemon.operators_certificate else { return Ok(ApiClient::new(daemon.operators, token)) };
        let tls = pinned::client(certificate).map_err(|error| ClientError::Unreachable {
            address: daemon.operators,
            why: format!("its certificate {} cannot be used: {error}", certificate.display()),
        })?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(ApiClient { address: daemon.operators, token, scheme: "https", http: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// `GET status`.
    ///
    /// # Errors
    /// See [`ClientError`]; so for all below.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask("status", None::<()>).await
    }
    /// `GET sessions`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, ClientError> {
        self.ask("sessions", None::<()>).await
    }
    /// `GET sessions/{id}`; a unique prefix is enough.
    #[allow(clippy::missing_errors_doc)]
    pub async fn session(&self, id: &str) -> Result<SessionView, ClientError> {
        self.ask(&format!("sessions/{}", plain(id)?), None::<()>).await
    }
    /// `GET incidents`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn incidents(&self) -> Result<Vec<CaseRow>, ClientError> {
        self.ask("incidents", None::<()>).await
    }
    /// `GET incidents/{id}`; a unique prefix is enough.
    #[allow(clippy::missing_errors_doc)]
    pub async fn incident(&self, id: &str) -> Result<IncidentView, ClientError> {
        self.ask(&format!("incidents/{}", plain(id)?), None::<()>).await
    }
    /// `POST contain`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn contain(&self, request: &ContainRequest) -> Result<Vec<Receipt>, ClientError> {
        self.ask("contain", Some(request)).await
    }
    /// `POST undo`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn undo(&self, request: &UndoRequest) -> Result<Receipt, ClientError> {
        self.ask("undo", Some(request)).await
    }
    /// `GET manifest`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn manifest(&self) -> Result<custody_engine::manifest::View, ClientError> {
        self.ask("manifest", None::<()>).await
    }
    /// `POST manifest`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn order_manifest(&self, order: &crate::core::ManifestOrder) -> Result<Vec<custody_engine::manifest::Shown>, ClientError> {
        self.ask("manifest", Some(order)).await
    }
    /// `GET held`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn held(&self) -> Result<Vec<crate::core::HeldCall>, ClientError> {
        self.ask("held", None::<()>).await
    }
    /// `POST held`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn answer_held(&self, request: &super::AnswerRequest) -> Result<crate::core::HeldCall, ClientError> {
        self.ask("held", Some(request)).await
    }
    /// `POST evidence/export`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn export(&self, request: &ExportRequest) -> Result<Exported, ClientError> {
        self.ask("evidence/export", Some(request)).await
    }
    /// `POST clock`, with a daemon whose clock is virtual.
    #[allow(clippy::missing_errors_doc)]
    pub async fn advance_clock(&self, ms: u64) -> Result<crate::core::ClockReading, ClientError> {
        self.ask("clock", Some(super::ClockRequest { advance_ms: ms })).await
    }
    /// `POST acts`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn acted(&self, request: &ActRequest) -> Result<(), ClientError> {
        self.ask("acts", Some(request)).await.map(|_: serde_json::Value| ())
    }

    /// `POST learn`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn learn(&self, request: &crate::core::LearnRequest) -> Result<crate::core::Learned, ClientError> {
        self.ask("learn", Some(request)).await
    }
    /// `GET baseline`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn baseline(&self) -> Result<Option<crate::core::Learned>, ClientError> {
        self.ask("baseline", None::<()>).await
    }
    /// `POST baseline`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn set_baseline(&self, request: &crate::core::BaselineRequest) -> Result<Option<crate::core::Learned>, ClientError> {
        self.ask("baseline", Some(request)).await
    }
    /// `GET rules`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn rules(&self) -> Result<crate::core::RulesView, ClientError> {
        self.ask("rules", None::<()>).await
    }
    /// `POST rules/reload`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn reload_rules(&self) -> Result<crate::core::Reloaded, ClientError> {
        self.ask("rules/reload", Some(serde_json::json!({}))).await
    }
    /// `POST rules/suppress`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn suppress_rule(&self, request: &crate::core::SuppressRequest) -> Result<custody_model::Suppression, ClientError> {
        self.ask("rules/suppress", Some(request)).await
    }
    /// `POST rules/unsuppress`.
    #[allow(clippy::missing_errors_doc)]
    pub async fn unsuppress_rule(&self, request: &super::UnsuppressRequest) -> Result<Vec<custody_engine::detect::Silenced>, ClientError> {
        self.ask("rules/unsuppress", Some(request)).await
    }

    pub(super) async fn ask<T: DeserializeOwned>(&self, path: &str, body: Option<impl Serialize>) -> Result<T, ClientError> {
        let address = self.address;
        let unreachable = |why: String| ClientError::Unreachable { address, why };
        let strange = |why: String| ClientError::Strange { address, why };
        let method = if body.is_some() { http::Method::POST } else { http::Method::GET };
        let body = match body {
            Some(body) => serde_json::to_vec(&body).map_err(|error| strange(error.to_string()))?,
            None => Vec::new(),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}://{address}/api/v1/{path}", self.scheme))
            .header(http::header::AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| strange(error.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreachable(causes::root(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| strange(error.to_string()))?;
            Ok::<_, ClientError>((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(TIME_OUT, exchange).await.map_err(|_| unreachable("no answer in time".into()))??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| strange(error.to_string()));
        }
        #[derive(Deserialize)]
        struct Refusal {
            error: ErrorBody,
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => Err(ApiError::from_body(refusal.error).into()),
            Err(_) => Err(strange(format!("HTTP status {status}"))),
        }
    }
}

/// Ids are letters, digits and `_`; anything else would be another path.
pub(super) fn plain(id: &str) -> Result<&str, ApiError> {
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(id);
    }
    Err(ApiError::BadRequest(format!("`{}` is not an id", id.chars().take(80).collect::<String>())))
}

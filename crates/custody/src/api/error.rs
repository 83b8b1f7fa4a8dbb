//! One error shape for the listener, its client and the offline commands.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum ApiError {
    /// No valid operator token.
    #[error("the operator credential was refused")]
    #[diagnostic(help("use the operator.key that belongs to this home (--operator-key FILE or CUSTODY_OPERATOR_KEY)"))]
    Unauthorized,
    /// Too many of those.
    #[error("too many refused credentials; this listener answers them again in a minute")]
    TooMany,
    /// A foreign Host or Origin.
    #[error("{0}")]
    #[diagnostic(help("use the loopback address that `custody up` printed"))]
    Foreign(String),
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    #[diagnostic(help("`custody sessions`, `custody incidents` and `custody incident show` list the ids"))]
    NotFound {
        /// What was looked for.
        what: String,
        /// What was asked.
        id: String,
    },
    /// A prefix that several ids have.
    #[error("several {what}s begin with `{id}`: {}", candidates.join(", "))]
    #[diagnostic(help("give more digits"))]
    Ambiguous {
        /// What was looked for.
        what: String,
        /// What was asked.
        id: String,
        /// Some of those that fit.
        candidates: Vec<String>,
    },
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The state of things forbids it.
    #[error("{message}")]
    #[diagnostic()]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        #[help]
        help: Option<String>,
    },
    /// It took too long.
    #[error("the daemon did not finish in time")]
    Timeout,
    /// Storage failed, or a bug.
    #[error("{message}")]
    Failed {
        /// What happened.
        message: String,
        /// What to do.
        #[help]
        help: Option<String>,
    },
}

/// The JSON body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable, for scripts.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl ApiError {
    /// Stable code and HTTP status.
    pub fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            ApiError::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            ApiError::TooMany => ("too_many_refusals", StatusCode::TOO_MANY_REQUESTS),
            ApiError::Foreign(_) => ("foreign", StatusCode::FORBIDDEN),
            ApiError::NotFound { .. } => ("not_found", StatusCode::NOT_FOUND),
            ApiError::Ambiguous { .. } => ("ambiguous", StatusCode::CONFLICT),
            ApiError::BadRequest(_) => ("bad_request", StatusCode::BAD_REQUEST),
            ApiError::Refused { .. } => ("refused", StatusCode::UNPROCESSABLE_ENTITY),
            ApiError::Timeout => ("timeout", StatusCode::GATEWAY_TIMEOUT),
            ApiError::Failed { .. } => ("failed", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The body that is sent.
    pub fn body(&self) -> ErrorBody {
        let help = miette::Diagnostic::help(self).map(|help| help.to_string());
        ErrorBody { code: self.kind().0.into(), message: self.to_string(), help }
    }

    /// The error that a body stands for.
    pub fn from_body(body: ErrorBody) -> ApiError {
        match body.code.as_str() {
            "unauthorized" => ApiError::Unauthorized,
            "too_many_refusals" => ApiError::TooMany,
            "foreign" => ApiError::Foreign(body.message),
            "bad_request" => ApiError::BadRequest(body.message),
            "timeout" => ApiError::Timeout,
            "not_found" | "ambiguous" | "refused" => ApiError::Refused { message: body.message, help: body.help },
            _ => ApiError::Failed { message: body.message, help: body.help },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let ApiError::Failed { message, .. } = &self {
            tracing::error!(error = %message, "an operator's request failed");
        }
        let (_, status) = self.kind();
        (status, Json(serde_json::json!({ "error": self.body() }))).into_response()
    }
}

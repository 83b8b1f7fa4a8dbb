//! The operators' listener, and the client of it.
//!
//! `GET /api/v1/status`, `/sessions`, `/sessions/{id}`, `/incidents`, `/incidents/{id}`; `POST /api/v1/contain`, `/undo`,
//! `/evidence/export`, `/acts`. JSON in and out, bearer operator token, loopback names only. Errors have one shape:
//! `{"error": {"code", "message", "help"}}`.

mod client;
mod core;
mod daemon;
mod error;
mod guard;
mod offline;
mod queries;
mod router;
mod rows;
mod serve;
mod service;
mod view;

pub use client::{ApiClient, ClientError};
pub use daemon::DaemonFile;
pub use error::{ApiError, ErrorBody};
pub use offline::Offline;
pub use router::{ActRequest, AnswerRequest, ContainRequest, ExportRequest, MAX_BODY, UndoRequest, router};
pub(crate) use router::{resolve_action, resolve_case, resolve_session};
pub use rows::*;
pub use serve::{Listening, serve};
pub use service::Service;
pub use view::{Exported, IncidentView, SessionView};

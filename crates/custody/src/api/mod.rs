//! The operators' listener, and the client of it.
//!
//! `GET` and `POST /api/v1/manifest`; `GET /api/v1/status`, `/sessions`, `/sessions/{id}`, `/incidents`, `/incidents/{id}`; `POST /api/v1/contain`, `/undo`,
//! `/evidence/export`, `/acts`; `GET /api/v1/rules`; `POST /api/v1/rules/reload`, `/rules/suppress`, `/rules/unsuppress`. JSON in and out, bearer operator token, loopback names only. Errors have one shape:
//! `{"error": {"code", "message", "help"}}`. Beside it [`mod@outside`]: `GET /metrics`, `/healthz`, `/readyz`.

mod client;
mod context;
mod core;
mod daemon;
mod error;
mod findings;
mod guard;
mod offline;
mod outside;
pub(crate) mod pinned;
mod privacy;
mod queries;
mod router;
mod rows;
mod rules;
mod serve;
mod service;
mod sessions;
mod view;

pub use client::{ApiClient, ClientError};
pub use context::ContextRequest;
pub(crate) use context::context_as;
pub(crate) use core::with_causes;
pub use daemon::DaemonFile;
pub use error::{ApiError, ErrorBody};
pub(crate) use findings::resolve as resolve_finding;
pub use findings::{CloseRequest, DisposeRequest};
pub use offline::Offline;
pub use outside::outside;
pub use privacy::{EraseRequest, FindRequest, OpenRequest, Opened};
pub(crate) use privacy::{erase_as, open_as};
pub(crate) use queries::known;
pub use router::{ActRequest, AnswerRequest, ClockRequest, ContainRequest, ExportRequest, MAX_BODY, UndoRequest, router};
pub(crate) use router::{resolve_action, resolve_case, resolve_session};
pub use rows::*;
pub use rules::UnsuppressRequest;
pub use serve::{Listening, serve};
pub use service::Service;
pub use sessions::{JoinRequest, SplitRequest};
pub(crate) use sessions::{join_as, split_as};
pub use view::{Exported, IncidentView, SessionView};

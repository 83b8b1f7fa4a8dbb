//! What the operators' listener says, and what the command line shows: the core's and the projection's own types.

pub use crate::core::{ContainOptions, ContainTarget, ServerStatus, Status};
pub use custody_store::projection::{ActionRow, CallRow, CaseRow, CorrectionRow, EvidenceRow, FindingRow, LinkRow, SessionRow};

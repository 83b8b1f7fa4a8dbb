//! Containment: decided steps and their receipts.

use crate::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One decided step. The executor has no choices left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id.
    pub id: ActionId,
    /// Its case, if it belongs to one.
    pub case: Option<CaseId>,
    /// The verb: `freeze_scope`, `snapshot_session`, `terminate_session`, `unfreeze_scope`.
    pub verb: ActionName,
    /// On what.
    pub scopes: Vec<Scope>,
    /// The session it is about, where it is about one.
    pub session: Option<SessionId>,
    /// Who asked for it: an operator, or `custody`.
    pub by: OperatorName,
    /// Why, in words.
    pub reason: String,
    /// Whether the world allows an undo (C10).
    pub undoable: bool,
    /// For an undo: the action it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<ActionId>,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The step.
    pub action: ActionId,
    /// When it ended.
    pub at: Timestamp,
    /// Whether it did what it should.
    pub ok: bool,
    /// What happened, in words.
    pub result: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// For a snapshot: digest of what was preserved.
    pub digest: Option<Digest>,
    /// A person who broke the glass, where the receipt needs one (promise 3).
    pub glass_broken_by: Option<OperatorName>,
}

/// What was sent to whom (N3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// The case.
    pub case: CaseId,
    /// The channel, as configured.
    pub channel: String,
    /// Kind: `webhook`, `slack`, `smtp`.
    pub via: String,
    /// Receiver: an address without credentials.
    pub to: String,
    /// When it was given up or delivered.
    pub at: Timestamp,
    /// Tries needed.
    pub attempts: u32,
    /// Whether it arrived.
    pub ok: bool,
    /// The receiver's answer or the error, shortened.
    pub answer: String,
    /// SHA-256 of what was sent.
    pub digest: Digest,
}

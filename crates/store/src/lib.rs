//! Storage: the ledger (truth) and its projection in SQLite (rebuilt from the ledger).
#![forbid(unsafe_code)]

pub mod ledger;
pub mod projection;

//! Ids, entries, findings, cases, plans and receipts: the types that every crate of Custody shares, and no logic.
//!
//! What is stored or signed carries a version (`Entry::v`). Every string in these types may come from an attacker.
#![forbid(unsafe_code)]

mod action;
mod case;
mod digest;
mod entry;
mod evidence;
mod finding;
mod host;
mod ids;
mod manifest;
mod message;
mod session;

pub use action::*;
pub use case::*;
pub use digest::*;
pub use entry::*;
pub use evidence::*;
pub use finding::*;
pub use host::*;
pub use ids::*;
pub use manifest::*;
pub use message::*;
pub use session::*;

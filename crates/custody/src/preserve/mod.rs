//! Evidence bundles (E1, E2, E6, E7): a BagIt bag (RFC 8493) with an in-toto statement in a DSSE envelope.
//!
//! A bundle is an explicit look at raw content: whoever calls [`export()`] records it. It holds the entries of one case with
//! their inclusion proofs, and the opened content of that case only.
//!
//! ```text
//! bagit.txt bag-info.txt README.txt manifest-sha256.txt tagmanifest-sha256.txt attestation.dsse.json
//! data/<item files> completeness.json chain_of_custody.jsonl
//! data/content/<leaf>.body .detail                   the opened parts, byte by byte
//! data/ledger/entries.jsonl proofs.jsonl checkpoint vkey commitment_keys.json
//! data/process/<pid>/…                               of a live snapshot: state, directory
//! transfers/<number>.dsse.json                       hand-overs, each signed and hashed onto the former
//! ```

mod attestation;
mod bag;
mod export;
mod filesystem;
mod handover;
mod history;
pub mod items;
mod process;
mod sealed;
mod snapshot;
mod verify;

pub use attestation::{EvidenceSigner, HAND_OVER_TYPE, PAYLOAD_TYPE, PREDICATE_TYPE};
pub use bag::BagError;
pub use export::{Bundle, ExportError, ExportRequest, export};
pub use filesystem::{DirectoryEvidence, DirectoryTake};
pub use handover::{HandOver, HandOverError, HandOverKind, HandOverRequest, hand_over};
pub use sealed::{SealError, parse_recipients, seal, unseal};
pub use snapshot::{Snapshot, snapshot};
pub use verify::{BundleReport, Fault, verify_bundle};

//! Transparency log: what an outside verifier needs to check a Custody ledger, and nothing else.
//!
//! In scope: leaf and node hashes (RFC 6962 section 2.1), the root of a growing tree, proofs of inclusion and
//! consistency (RFC 6962 section 2.1.1 and 2.1.2, through `tlog_tiles`), checkpoints (C2SP `tlog-checkpoint`) and their
//! signatures (C2SP `signed-note`, Ed25519, through `signed_note`), names and bytes of tiles (C2SP `tlog-tiles`), what
//! witnesses sign and are asked (C2SP `tlog-cosignature`, `tlog-witness`).
//!
//! Out of scope: files, clocks, randomness (a key is made from 32 seed bytes that the caller brings), what a leaf
//! means (`custody-model`), where bytes lie (`custody-store`), witnesses and tiles over HTTP (they build on this, in `custody`).
#![forbid(unsafe_code)]

mod checkpoint;
mod cosignature;
mod proof;
mod tiles;
mod tree;
mod witness;

pub use checkpoint::{BadCheckpoint, Checkpoint, Notes, SignedCheckpoint, Signer, Verifier, notes};
pub use cosignature::{Cosignature, Cosigner, WitnessKey};
pub use proof::{BadProof, ConsistencyProof, InclusionProof};
pub use tiles::{MAX_BUNDLED, TILE_WIDTH, Tile, TileKind, bundle_entry, entry_bundles, hash_tiles};
pub use tlog_tiles::{Error as ReadError, HASH_SIZE, Hash, HashReader, stored_hash_count, stored_hash_index};
pub use tree::{Frontier, leaf_hash, root};
pub use witness::{AddCheckpoint, BadRequest, Refusal, consider};

//! The ledger: segments, sealed packs, data keys, checkpoints, verification.

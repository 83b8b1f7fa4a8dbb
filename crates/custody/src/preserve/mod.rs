//! Evidence bundles (E1–E7).

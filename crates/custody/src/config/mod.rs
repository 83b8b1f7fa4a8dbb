//! `custody.toml`.

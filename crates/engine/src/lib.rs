//! Custody's pure core. No runtime, files, sockets, clock or randomness: `now` and ids are inputs.
#![forbid(unsafe_code)]

pub mod behavior;
pub mod contain;
pub mod detect;
pub mod hijack;
pub mod host;
pub mod investigate;
pub mod manifest;
pub mod policy;
pub mod preserve;
pub mod session;
pub mod triage;
pub mod wire;

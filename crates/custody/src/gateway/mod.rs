//! Agents' side: HTTP endpoint, stdio bridge, shim.

mod answers;
pub mod bridge;
mod coding;
mod events;
mod gated;
pub mod headers;
pub mod http;
pub mod identity;
mod intake;
mod legacy;
mod places;
mod pool;
pub mod proxy;
pub mod reply;
mod shims;
mod start;
pub mod stdio;
pub mod tls;
pub mod upstream;

pub use http::{Gateway, serve};
pub use shims::serve_shims;
pub use start::{Running, StartError, start};

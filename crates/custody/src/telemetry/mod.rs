//! What Custody shows of itself to those who watch machines: figures, readiness, spans.
//!
//! Figures on the operators' listener only. A label is the name of a server or a rule, which the configuration bounds; never an agent, a
//! tool or anything of a message.

mod metrics;
pub mod spans;

pub use metrics::{Metrics, Said, State};

//! Recorded sessions judged for a hijack: the trace format in, predictions out (D9, I2, I4).
//!
//! Of a row only `id`, `user_task`, `tools` and `events` are read; whatever else stands there is not even parsed. The judgement
//! is [`custody_engine::hijack`], the same as for sessions of the ledger.

mod predict;
mod read;

pub use predict::{Prediction, predict};
pub use read::{Fault, LINE, Recorded, Sessions};

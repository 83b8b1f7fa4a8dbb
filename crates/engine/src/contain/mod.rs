//! Containment plans and the freeze set (C1–C3, C10).
//!
//! A freeze names scopes, never only a session id: reconnecting, a new hint or a new trace id does not leave it.
//! Planning is pure; `custody::core` executes and has no choices left.

mod freeze;
mod plan;

pub use freeze::{Freeze, FreezeSet};
pub use plan::{Automatic, PlanInput, automatic_steps, freeze_step, thaw_step};

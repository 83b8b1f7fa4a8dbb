//! Timeline, summary and injection source (I1, I2, T4).
//!
//! Pure functions of the opened entries of a case: the same entries always give the same answer, and the answer says what
//! it rests on. An entry whose body is erased, unreadable or beyond the bounds below is left out, never guessed.
//!
//! Deliberately absent: lists of known injection phrases. A payload can be worded in any way; what it cannot avoid is to
//! name what the agent then does. [`source()`] works from those links alone.

mod context;
mod decode;
mod features;
mod judged;
mod record;
mod segments;
mod source;
mod summary;
mod timeline;
mod words;

#[cfg(test)]
mod tests;

pub use context::{Context, Origin, Piece, context, difference, origin_of, origin_of_turn};
pub use judged::{Judged, JudgedCall, JudgedSource, Known, hijack_session, judged, kept};
pub use source::{source, source_given};
pub use summary::{CaseSummary, Touched, summary};
pub use timeline::{Mark, Moment, timeline};

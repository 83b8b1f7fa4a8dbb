//! The wire: a tolerant envelope over raw JSON-RPC bytes, and the framings that carry it (promise 6).
//!
//! Nothing here changes or rejects a frame. [`read_frame`] says what a frame is, where its parts lie (byte spans, never copies that
//! could be re-serialised), and what is wrong with it: [`Fault::Malformed`] where no parser should accept it, [`Fault::Ambiguous`]
//! where two parsers could read it differently. The gateway denies a faulty frame when enforcing and flags it when observing.
//!
//! Deliberately absent: a JSON tree. Only spans are kept, so that a frame of 32 MiB costs little more than its own bytes; the
//! scanner does not recurse, so that depth costs no stack.

mod fault;
mod frame;
mod headers;
pub mod lines;
mod methods;
mod number;
mod scan;
pub mod splice;
pub mod sse;
mod text;

#[cfg(test)]
mod sse_tests;
#[cfg(test)]
mod tests;

pub use fault::{Fault, Flaw, What};
pub use frame::{Frame, read_frame};
pub use headers::{check_headers, decode_header};
pub use methods::known_method;
pub use number::{IdKey, id_key};
pub use text::unescape;

/// What a frame may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame in bytes. A larger one is not looked at. Never above 4 GiB.
    pub bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// Most messages in a batch (revision 2025-03-26).
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 32 << 20, depth: 128, batch: 1024 }
    }
}

/// A place in a frame: byte offsets, end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

impl Span {
    /// The bytes of the span. `bytes` is the frame that was read; of other bytes it may be empty.
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether `at` lies inside.
    pub fn contains(&self, at: usize) -> bool {
        self.start <= at && at < self.end
    }
}

//! The closed list of places where forwarded bytes may differ from received ones (promise 6).

use super::{Frame, Span};
use custody_model::Splice;

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What goes.
    pub span: Span,
    /// What comes: raw JSON.
    pub with: Vec<u8>,
    /// Which kind it is.
    pub kind: Splice,
}

/// Bytes to forward, and how they differ from what was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spliced {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Kinds of difference, each once, in the order of [`Splice`]; empty when nothing differs.
    pub splices: Vec<Splice>,
}

/// Edits that replace the id, the cancelled id or the subscription id of a message, whichever it has, with what `new` gives for
/// it (raw JSON). `None` leaves it as it is.
pub fn id_edits(bytes: &[u8], frame: &Frame, new: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<Edit> {
    let spans = [frame.id, frame.cancelled, frame.subscription];
    spans.into_iter().flatten().filter_map(|span| Some(Edit { span, with: new(span.of(bytes))?, kind: Splice::Id })).collect()
}

/// The edit that replaces the progress token, if the message has one and `new` gives another.
pub fn token_edit(bytes: &[u8], frame: &Frame, new: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Edit> {
    let span = frame.progress_token?;
    Some(Edit { span, with: new(span.of(bytes))?, kind: Splice::ProgressToken })
}

/// Applies the edits. With `one_line`, each CR and LF becomes a space: in a frame that is JSON they are white space.
///
/// Edits outside the bytes, or that overlap an earlier one, are left out; spans of one [`Frame`] never do.
pub fn splice(bytes: &[u8], mut edits: Vec<Edit>, one_line: bool) -> Spliced {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = Vec::with_capacity(bytes.len() + 16 * edits.len());
    let mut kinds = [false; 4];
    let mut at = 0;
    let copy = |out: &mut Vec<u8>, part: &[u8]| {
        let from = out.len();
        out.extend_from_slice(part);
        let mut changed = false;
        if one_line {
            for byte in &mut out[from..] {
                if matches!(byte, b'\r' | b'\n') {
                    (*byte, changed) = (b' ', true);
                }
            }
        }
        changed
    };
    for edit in edits {
        let Span { start, end } = edit.span;
        if start < at || end < start || end > bytes.len() {
            continue;
        }
        kinds[2] |= copy(&mut out, &bytes[at..start]);
        let kind = match edit.kind {
            Splice::ProgressToken => 1,
            Splice::Sanitised => 3,
            _ => 0,
        };
        kinds[kind] |= bytes[start..end] != *edit.with;
        out.extend_from_slice(&edit.with);
        at = end;
    }
    kinds[2] |= copy(&mut out, &bytes[at..]);
    let all = [Splice::Id, Splice::ProgressToken, Splice::Newline, Splice::Sanitised];
    Spliced { bytes: out, splices: all.into_iter().zip(kinds).filter_map(|(kind, is)| is.then_some(kind)).collect() }
}

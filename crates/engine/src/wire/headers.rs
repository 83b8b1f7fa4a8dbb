//! HTTP headers that repeat what the body says (revision 2026-07-28, Streamable HTTP, "Request Metadata").

use super::{Fault, Frame, fault::What};
use base64::Engine as _;
use custody_model::Shape;
use std::borrow::Cow;

/// The first revision that requires the headers. Revisions are dates: they compare as text.
const FIRST: &str = "2026-07-28";

/// Compares the request headers `Mcp-Method`, `Mcp-Name` and `MCP-Protocol-Version` with the body.
///
/// Whatever revision is spoken, a header that is there must say what the body says: something between here and the server may
/// route by it. From 2026-07-28 on requests must have them.
pub fn check_headers(frame: &Frame, mcp_method: Option<&str>, mcp_name: Option<&str>, version: Option<&str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |what| faults.push(Fault::ambiguous(0, what));
    let version = version.map(trim);
    let modern = [version, frame.meta_version.as_deref()].into_iter().flatten().any(is_modern);
    let must = modern && frame.shape == Shape::Request;

    match (version, frame.meta_version.as_deref()) {
        (Some(header), Some(body)) if header != body => add(What::HeaderMismatch("MCP-Protocol-Version")),
        (Some(_), None) if must => add(What::HeaderMismatch("MCP-Protocol-Version")),
        (None, Some(_)) if must => add(What::HeaderMissing("MCP-Protocol-Version")),
        _ => {}
    }
    match (mcp_method.map(trim), frame.method.as_deref()) {
        (Some(header), body) if Some(header) != body => add(What::HeaderMismatch("Mcp-Method")),
        (None, _) if must => add(What::HeaderMissing("Mcp-Method")),
        _ => {}
    }
    let named = matches!(frame.method.as_deref(), Some("tools/call" | "prompts/get" | "resources/read"));
    match (mcp_name.map(decode_header), name_of(frame)) {
        (Some(None), _) => add(What::HeaderUnreadable("Mcp-Name")),
        (Some(Some(header)), body) if body != Some(&*header) => add(What::HeaderMismatch("Mcp-Name")),
        (None, _) if must && named => add(What::HeaderMissing("Mcp-Name")),
        _ => {}
    }
    faults
}

fn is_modern(version: &str) -> bool {
    version.len() == FIRST.len() && version.as_bytes()[0].is_ascii_digit() && version >= FIRST
}

fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// What `Mcp-Name` repeats: the tool, the prompt, the resource, or (tasks extension) the task.
fn name_of(frame: &Frame) -> Option<&str> {
    match frame.method.as_deref() {
        Some("tasks/get" | "tasks/update" | "tasks/cancel") => frame.task_id.as_deref(),
        _ => frame.target(),
    }
}

/// A header value as text: plain visible ASCII, or `=?base64?…?=`. `None` when it is neither.
pub fn decode_header(value: &str) -> Option<Cow<'_, str>> {
    let value = trim(value);
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(coded) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(coded).ok()?;
            String::from_utf8(bytes).ok().map(Cow::Owned)
        }
        None => value.bytes().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e)).then_some(Cow::Borrowed(value)),
    }
}

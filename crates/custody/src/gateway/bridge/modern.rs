//! What revision 2026-07-28 asks of the HTTP side, when the server itself speaks over pipes: headers that say what the body says, and
//! statuses that say what a JSON-RPC error says (Streamable HTTP, "Request Metadata" and "Error Responses").

use custody_engine::wire::{Fault, Frame, Limits, What, check_headers, decode_header, read_frame};
use http::{HeaderMap, StatusCode};
use memchr::memmem;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The first revision whose arguments can stand in headers.
const FIRST: &str = "2026-07-28";

/// JSON-RPC code of a header that does not say what the body says.
pub const HEADER_MISMATCH: i64 = -32020;

/// The status of an answer that is an error with this code. `request` is what it answers.
pub fn status(code: Option<i64>, request: &[u8]) -> StatusCode {
    match code {
        // Header mismatch, missing client capability, unsupported version.
        Some(-32022..=HEADER_MISMATCH) => StatusCode::BAD_REQUEST,
        Some(-32601) => StatusCode::NOT_FOUND,
        Some(-32602) if lacks_metadata(request) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// Whether a request lacks what every request of this revision says of itself.
fn lacks_metadata(request: &[u8]) -> bool {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let meta = &request["params"]["_meta"];
    !meta["io.modelcontextprotocol/protocolVersion"].is_string() || !meta["io.modelcontextprotocol/clientCapabilities"].is_object()
}

/// Arguments that must stand in headers too, by tool: what listings said (`x-mcp-header`).
#[derive(Default)]
pub struct Params(Mutex<HashMap<String, Vec<Mirrored>>>);

/// One argument and its header, in small letters.
#[derive(Clone)]
struct Mirrored {
    path: Vec<String>,
    header: String,
}

impl Params {
    /// Tools remembered of one server; what comes after is not checked.
    const TOOLS: usize = 4096;
    /// Headers of one tool.
    const HEADERS: usize = 64;

    /// Takes in the answer to `tools/list`.
    pub fn learn(&self, listing: &[u8]) {
        if memmem::find(listing, b"x-mcp-header").is_none() && self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return;
        }
        let listing: Value = serde_json::from_slice(listing).unwrap_or_default();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in listing["result"]["tools"].as_array().into_iter().flatten() {
            let Some(name) = tool["name"].as_str() else { continue };
            let mut found = Vec::new();
            collect(&tool["inputSchema"]["properties"], &mut Vec::new(), &mut found);
            match found.is_empty() {
                true => drop(known.remove(name)),
                false if known.len() < Self::TOOLS || known.contains_key(name) => drop(known.insert(name.to_owned(), found)),
                false => {}
            }
        }
    }

    /// As the bridge asks, of a message that nobody has read yet: it is read only where a tool has such arguments.
    pub fn contradiction_in(&self, headers: &HeaderMap, bytes: &[u8], limits: &Limits) -> Option<String> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return None;
        }
        let frame = read_frame(bytes, limits);
        let header = headers.get("mcp-protocol-version").and_then(|version| version.to_str().ok());
        let modern = [header, frame.meta_version.as_deref()].into_iter().flatten().any(|version| version >= FIRST);
        let tool = frame.name.as_deref().filter(|_| modern && frame.method.as_deref() == Some("tools/call"))?;
        self.contradiction(headers, tool, frame.arguments.map(|span| span.of(bytes)).unwrap_or_default())
    }

    /// Why the headers of a call contradict its arguments, if they do.
    fn contradiction(&self, headers: &HeaderMap, tool: &str, arguments: &[u8]) -> Option<String> {
        let mirrored = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tool)?.clone();
        let arguments: Value = serde_json::from_slice(arguments).unwrap_or_default();
        mirrored.iter().find_map(|Mirrored { path, header }| {
            let name = format!("mcp-param-{header}");
            let mut values = headers.get_all(&name).iter();
            let (value, more) = (values.next(), values.next().is_some());
            let said = path.iter().try_fold(&arguments, |value, key| value.get(key)).and_then(plain);
            let told = match value.map(|value| value.to_str().ok().and_then(decode_header)) {
                _ if more => return Some(format!("the header {name} stands there twice")),
                Some(None) => return Some(format!("the header {name} cannot be decoded")),
                Some(Some(told)) => Some(told),
                None => None,
            };
            (told.as_deref() != said.as_deref()).then(|| format!("the header {name} does not say what the arguments say"))
        })
    }
}

/// Why a request is refused for its headers, if it is.
pub fn contradiction(frame: &Frame, headers: &HeaderMap, bytes: &[u8], params: &Params) -> Option<String> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let names = ["mcp-method", "mcp-name", "mcp-protocol-version"];
    if let Some(name) = names.into_iter().find(|name| headers.get_all(*name).iter().count() > 1) {
        return Some(format!("the header {name} stands there twice"));
    }
    let faults = check_headers(frame, value("mcp-method"), value("mcp-name"), value("mcp-protocol-version"));
    // That the body does not name its revision is the server's to say: it is another error.
    let named = |fault: &&Fault| frame.meta_version.is_some() || fault.flaw().what != What::HeaderMismatch("MCP-Protocol-Version");
    if let Some(fault) = faults.iter().find(named) {
        return Some(fault.flaw().what.to_string());
    }
    let tool = frame.name.as_deref().filter(|_| frame.method.as_deref() == Some("tools/call"))?;
    params.contradiction(headers, tool, frame.arguments.map(|span| span.of(bytes)).unwrap_or_default())
}

fn collect(properties: &Value, path: &mut Vec<String>, found: &mut Vec<Mirrored>) {
    for (name, schema) in properties.as_object().into_iter().flatten() {
        if found.len() >= Params::HEADERS {
            return;
        }
        path.push(name.clone());
        if let Some(header) = schema["x-mcp-header"].as_str().filter(|header| is_token(header)) {
            found.push(Mirrored { path: path.clone(), header: header.to_ascii_lowercase() });
        }
        collect(&schema["properties"], path, found);
        path.pop();
    }
}

/// What can be part of a header's name.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A value that can stand in a header, as text.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(arguments: &str, region: Option<&str>) -> Option<String> {
        let params = Params::default();
        params.learn(
            br#"{"result":{"tools":[{"name":"t","inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}}"#,
        );
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
        );
        let mut headers = HeaderMap::new();
        let fixed = [("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-protocol-version", "2026-07-28")];
        for (name, value) in fixed.into_iter().chain(region.map(|value| ("mcp-param-region", value))) {
            headers.insert(name, value.parse().unwrap());
        }
        contradiction(&read_frame(body.as_bytes(), &Limits::default()), &headers, body.as_bytes(), &params)
    }

    #[test]
    fn an_argument_that_stands_in_a_header_stands_there_as_it_is() {
        assert_eq!(said(r#"{"region":"eu"}"#, Some("eu")), None);
        assert_eq!(said(r#"{"region":"eu"}"#, Some("=?base64?ZXU=?=")), None);
        assert_eq!(said("{}", None), None);
        for (arguments, header) in [
            (r#"{"region":"eu"}"#, Some("us")),
            (r#"{"region":"eu"}"#, None),
            (r#"{"region":"eu"}"#, Some("=?base64?ZXU?=")),
            ("{}", Some("eu")),
        ] {
            assert!(said(arguments, header).is_some(), "{arguments} {header:?}");
        }
    }

    #[test]
    fn an_error_has_the_status_that_the_revision_gives_it() {
        let whole = br#"{"params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        assert_eq!(status(None, whole), 200);
        assert_eq!(status(Some(-32601), whole), 404);
        for code in [-32020, -32021, -32022] {
            assert_eq!(status(Some(code), whole), 400);
        }
        assert_eq!(status(Some(-32602), whole), 200);
        assert_eq!(status(Some(-32602), b"{}"), 400);
        assert_eq!(status(Some(-32000), b"{}"), 200);
    }
}

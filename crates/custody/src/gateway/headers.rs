//! Which headers pass through Custody. What passes is recorded, sealed, with the message (promise 1).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Passed to a server behind HTTP: the protocol's own, and trace context. Credentials never: the upstream's own stand in
/// `custody.toml`.
const FORWARDED: &[&str] = &["accept", "content-type", "last-event-id", "user-agent", "traceparent", "tracestate"];

/// Of an answer, what belongs to one hop or is set anew.
const NOT_RETURNED: &[&str] = &["connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "trailer", "set-cookie"];

/// The headers of a request that go on, in order.
pub fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| FORWARDED.contains(&name.as_str()) || name.as_str().starts_with("mcp-"))
}

/// The headers of an answer that go on, in order.
pub fn returned(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| !NOT_RETURNED.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_protocols_own_headers_pass() {
        let mut headers = HeaderMap::new();
        for name in ["mcp-session-id", "accept", "authorization", "cookie", "x-smuggled", "custody-task", "origin"] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        let passed: Vec<&str> = forwarded(&headers).map(|(name, _)| name.as_str()).collect();
        assert_eq!(passed, ["mcp-session-id", "accept"]);
    }
}

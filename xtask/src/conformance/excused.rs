//! Differences that the transport of the upstream makes, each with its reason. Nothing else belongs here.

/// Requirements, upstream, `scenario:check`, why.
const EXCUSED: &[(&str, &str, &str, &str)] = &[(
    "2025-11-25",
    "stdio",
    "server-sse-polling:server-sse-disconnect-resume",
    "the server closes the stream of its call; over stdio it has none to close, and the answer comes on the first stream",
)];

/// Why a difference is none.
pub fn why(requirements: &str, upstream: &str, id: &str) -> Option<&'static str> {
    EXCUSED
        .iter()
        .find(|(revision, transport, check, _)| (*revision, *transport, *check) == (requirements, upstream, id))
        .map(|(.., why)| *why)
}

//! Differences that the transport of the upstream makes, and in the scenarios of authorization that Custody has an address of its own; each
//! with its reason. Nothing else belongs here.

/// The client names the resource by the address that it knows.
const OTHER_ADDRESS: &str =
    "the suite compares with the address that it published itself; through Custody the resource has Custody's, and the client sends that";

/// Requirements, upstream, `scenario:check`, why.
const EXCUSED: &[(&str, &str, &str, &str)] = &[
    (
        "2025-11-25",
        "stdio",
        "server-sse-polling:server-sse-disconnect-resume",
        "the server closes the stream of its call; over stdio it has none to close, and the answer comes on the first stream",
    ),
    ("2025-11-25", "suite-auth", "auth/metadata-default:resource-parameter-matches-prm", OTHER_ADDRESS),
    ("2025-11-25", "suite-auth", "auth/metadata-var1:resource-parameter-matches-prm", OTHER_ADDRESS),
    ("2025-11-25", "suite-auth", "auth/metadata-var2:resource-parameter-matches-prm", OTHER_ADDRESS),
    ("2025-11-25", "suite-auth", "auth/metadata-var3:resource-parameter-matches-prm", OTHER_ADDRESS),
    ("2025-11-25", "suite-auth", "auth/token-endpoint-auth-basic:resource-parameter-matches-prm", OTHER_ADDRESS),
    ("2025-11-25", "suite-auth", "auth/token-endpoint-auth-none:resource-parameter-matches-prm", OTHER_ADDRESS),
    ("2025-11-25", "suite-auth", "auth/token-endpoint-auth-post:resource-parameter-matches-prm", OTHER_ADDRESS),
    ("2026-07-28", "suite-auth", "auth/metadata-default:resource-parameter-matches-prm", OTHER_ADDRESS),
];

/// Why a difference is none.
pub fn why(requirements: &str, upstream: &str, id: &str) -> Option<&'static str> {
    EXCUSED
        .iter()
        .find(|(revision, transport, check, _)| (*revision, *transport, *check) == (requirements, upstream, id))
        .map(|(.., why)| *why)
}

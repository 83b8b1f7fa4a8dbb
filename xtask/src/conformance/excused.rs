//! Differences that the transport of the upstream makes, and in the scenarios of authorization that Custody has an address of its own; each
//! with its reason. Nothing else belongs here.

/// The client names the resource by the address that it knows.
const OTHER_ADDRESS: &str =
    "the suite compares with the address that it published itself; through Custody the resource has Custody's, and the client sends that";
/// The revision's client asks at the root of the origin.
const NO_PATH: &str = "the revision looks for the authorization server at the root of the server's origin; Custody's has many servers, and the path is not asked for";

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
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-endpoint-fallback:authorization-request", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-endpoint-fallback:client-registration", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-endpoint-fallback:token-request", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-endpoint-fallback:valid-bearer-token", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:authorization-request", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:authorization-server-metadata", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:client-registration", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:pkce-code-challenge-sent", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:pkce-code-verifier-sent", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:pkce-s256-method-used", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:pkce-verifier-matches-challenge", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:token-request", NO_PATH),
    ("2025-03-26", "suite-auth", "auth/2025-03-26-oauth-metadata-backcompat:valid-bearer-token", NO_PATH),
];

/// Why a difference is none.
pub fn why(requirements: &str, upstream: &str, id: &str) -> Option<&'static str> {
    EXCUSED
        .iter()
        .find(|(revision, transport, check, _)| (*revision, *transport, *check) == (requirements, upstream, id))
        .map(|(.., why)| *why)
}

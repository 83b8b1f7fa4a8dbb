//! JSON-RPC errors that Custody writes itself on a stdio connection.

use serde_json::json;

/// Code of errors that say that the way to the server is broken: the first of JSON-RPC's range for implementations.
const UNAVAILABLE: i64 = -32000;
/// JSON-RPC "Invalid Request".
const INVALID: i64 = -32600;

/// The error for one request, without newline. `id`: raw JSON.
pub(super) fn unavailable(id: &[u8], message: &str) -> Vec<u8> {
    error(id, UNAVAILABLE, message)
}

/// The error for a message whose id is not known.
pub(super) fn invalid(message: &str) -> Vec<u8> {
    error(b"null", INVALID, message)
}

fn error(id: &[u8], code: i64, message: &str) -> Vec<u8> {
    let error = json!({ "code": code, "message": message }).to_string();
    [br#"{"jsonrpc":"2.0","id":"#, id, br#","error":"#, error.as_bytes(), b"}"].concat()
}

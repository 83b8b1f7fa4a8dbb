//! What Custody itself answers on the agents' side.
//!
//! A denied agent reads an opaque incident id and nothing else: no coaching for the attacker.

use super::coding::{self, CodingError};
use bytes::Bytes;
use custody_model::DenialId;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use serde_json::{Value, json};
use std::convert::Infallible;

/// Body of every answer on the agents' side.
pub type Body = BoxBody<Bytes, Infallible>;

/// JSON-RPC code of a denial: outside the reserved range.
pub const DENIED: i64 = 4030;
/// JSON-RPC code when the server behind Custody could not answer.
pub const UPSTREAM_FAILED: i64 = 5020;
/// JSON-RPC code when the record could not be written and so nothing was forwarded (promise 1).
pub const NOT_RECORDED: i64 = 5070;
/// JSON-RPC code of a client that does too much at once.
pub const TOO_MANY: i64 = 4290;
/// JSON-RPC code of a request over a limit.
pub const TOO_LARGE: i64 = 4130;

/// A JSON-RPC error answering `id` (raw JSON text, `null` where there is none).
pub fn json_rpc_error(id: Option<&[u8]>, code: i64, message: &str, data: Option<Value>) -> Vec<u8> {
    let id = id.filter(|id| !id.is_empty()).unwrap_or(b"null");
    let mut error = json!({"code": code, "message": message});
    if let Some(data) = data {
        error["data"] = data;
    }
    let mut out = Vec::with_capacity(id.len() + 128);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","error":"#);
    out.extend_from_slice(error.to_string().as_bytes());
    out.push(b'}');
    out
}

/// What a denied agent reads.
pub fn denied(id: Option<&[u8]>, denial: DenialId) -> Vec<u8> {
    json_rpc_error(id, DENIED, &format!("denied; incident {denial}"), Some(json!({"incident": denial})))
}

/// What the agent of a denied batch reads: one denial for each message that waits for an answer.
pub fn denied_batch<'a>(ids: impl Iterator<Item = &'a [u8]>, denial: DenialId) -> Vec<u8> {
    let mut body = vec![b'['];
    for id in ids {
        if body.len() > 1 {
            body.push(b',');
        }
        body.extend(denied(Some(id), denial));
    }
    match body.len() {
        1 => denied(None, denial),
        _ => {
            body.push(b']');
            body
        }
    }
}

/// An HTTP answer with a JSON body.
pub fn json_response(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An HTTP error that is no JSON-RPC matter, in JSON all the same.
pub fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    json_response(status, json_rpc_error(None, i64::from(status.as_u16()) * 10, message, None))
}

/// A method that this address does not have; `allowed` are those that it has.
pub fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, &format!("this address takes {allowed}"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A body whose coding cannot be taken off.
pub fn not_decoded(why: &CodingError) -> Response<Body> {
    let (status, code) = match why {
        CodingError::NotTaken => (StatusCode::UNSUPPORTED_MEDIA_TYPE, 4150),
        CodingError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE),
        CodingError::Broken | CodingError::Trailing => (StatusCode::BAD_REQUEST, 4000),
    };
    let mut response = json_response(status, json_rpc_error(None, code, &why.to_string(), None));
    if *why == CodingError::NotTaken {
        response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding::TAKEN));
    }
    response
}

/// An empty answer.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Vec::new()));
    *response.status_mut() = status;
    response
}

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_keeps_the_id_and_tells_nothing() {
        let denial = DenialId(uuid::Uuid::from_u128(7));
        let text = String::from_utf8(denied(Some(b"\"x-1\""), denial)).unwrap();
        assert_eq!(
            text,
            r#"{"jsonrpc":"2.0","id":"x-1","error":{"code":4030,"message":"denied; incident den_00000000000000000000000000000007","data":{"incident":"den_00000000000000000000000000000007"}}}"#
        );
    }
}

//! Listings, headers and calls of any bytes: what stands in headers is compared with what stands in the body, and nothing panics.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/custody/src/gateway/bridge/modern.rs"]
mod modern;

use custody_engine::wire::Limits;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], Vec<(bool, &[u8])>, &[u8])| {
    let (listing, values, body) = input;
    let params = modern::Params::default();
    params.learn(listing);
    params.learn(br#"{"result":{"tools":[{"name":"t","inputSchema":{"properties":{"r":{"x-mcp-header":"R"},"o":{"properties":{"s":{"x-mcp-header":"S"}}}}}}]}}"#);
    let mut headers = HeaderMap::new();
    headers.insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
    for (first, value) in values {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(if first { "mcp-param-r" } else { "mcp-param-s" }, value);
        }
    }
    let _ = params.contradiction_in(&headers, body, &Limits { depth: 32, batch: 8, ..Limits::default() });
    let _ = modern::status(Some(-32602), body);
});

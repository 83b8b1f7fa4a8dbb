//! Hand-written HTTP, for what no honest client would send. Each message has a TCP connection of its own.

use super::{
    answer::Answer,
    connection::{CALL_KEY, Endpoint, PATIENCE},
};
use crate::drill::plan::{Call, Disguise};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Sends one call in disguise.
pub async fn send(endpoint: &Endpoint, disguise: &Disguise, call: &Call, tag: &str) -> Answer {
    let (headers, body) = written(disguise, call, tag);
    let key = endpoint.key.as_deref().filter(|_| *disguise != Disguise::NoKey);
    match tokio::time::timeout(PATIENCE, post(&endpoint.url, key, &headers, body)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Broken(error),
        Err(_) => Answer::Broken("no answer".to_owned()),
    }
}

/// Headers and body of a call in disguise.
fn written(disguise: &Disguise, call: &Call, tag: &str) -> (Vec<(String, String)>, String) {
    let id = 7000 + tag.bytes().map(u64::from).sum::<u64>();
    let mut message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
    "name": call.tool, "arguments": call.arguments,
    "_meta": {
        CALL_KEY: tag,
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "agent", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let header_name = if call.tool.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        call.tool.clone()
    } else {
        // How revision 2026-07-28 writes a name that is no header value.
        use base64::Engine;
        format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(&call.tool))
    };
    let mut headers =
        vec![("MCP-Protocol-Version", "2026-07-28".to_owned()), ("Mcp-Method", "tools/call".to_owned()), ("Mcp-Name", header_name)];
    let plain = message.to_string();
    let named = format!("\"name\":{}", Value::String(call.tool.clone()));
    let body = match disguise {
        Disguise::Headers(more) => {
            headers.extend(more.iter().map(|(name, value)| (name.as_str(), value.clone())));
            plain
        }
        Disguise::NoKey => plain,
        Disguise::ForgedSession(session) => {
            headers = vec![("MCP-Protocol-Version", "2025-11-25".to_owned()), ("Mcp-Session-Id", session.clone())];
            message["params"]["_meta"] = json!({ CALL_KEY: tag });
            message.to_string()
        }
        Disguise::EscapedName => {
            let escaped: String = call.tool.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            plain.replacen(&named, &format!("\"name\":\"{escaped}\""), 1)
        }
        Disguise::TwoNames(first) => plain.replacen(&named, &format!("\"name\":\"{first}\",{named}"), 1),
        Disguise::LyingHeader(name) => {
            headers[2].1 = name.clone();
            plain
        }
        Disguise::Batch => {
            headers = vec![("MCP-Protocol-Version", "2025-03-26".to_owned())];
            Value::Array(vec![json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), message]).to_string()
        }
    };
    (headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), body)
}

async fn post(url: &str, key: Option<&str>, headers: &[(String, String)], body: String) -> Result<Answer, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{error}"))?;
    let authority = uri.authority().ok_or("the URL has no host")?.as_str().to_owned();
    let stream = TcpStream::connect(&authority).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut request = http::Request::post(uri.path())
        .header("Host", authority)
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream");
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(bytes::Bytes::from(body))).map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(read(status, &String::from_utf8_lossy(&body)))
    };
    // The connection is driven here, beside the exchange, and ends with it.
    tokio::select! {
        answer = exchange => answer,
        ended = connection => Err(format!("the connection ended: {ended:?}")),
    }
}

/// JSON, or server-sent events with JSON in them.
fn read(status: http::StatusCode, body: &str) -> Answer {
    let messages = std::iter::once(body).chain(body.lines().filter_map(|line| line.strip_prefix("data:")));
    let answer = messages.filter_map(|text| serde_json::from_str(text.trim()).ok()).find_map(|message: Value| Answer::of_json(&message));
    answer.unwrap_or_else(|| {
        let words: String = body.chars().take(120).collect();
        if status.is_success() { Answer::Broken(words) } else { Answer::Refused(format!("{status} {words}")) }
    })
}

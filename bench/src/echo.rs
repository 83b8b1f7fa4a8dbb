//! The server: one tool that gives back its text.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    convert::Infallible,
    io::{BufRead as _, Write as _},
    net::SocketAddr,
};
use tokio::net::TcpListener;

const TOOLS: &str = r#"{"tools":[{"name":"echo","description":"Gives back its text.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}],"resultType":"complete","ttlMs":60000,"cacheScope":"private"}"#;
const INITIALIZED: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"custody-bench","version":"1"}}"#;
const DISCOVERED: &str = r#"{"supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{"tools":{}},"serverInfo":{"name":"custody-bench","version":"1"},"resultType":"complete","ttlMs":60000,"cacheScope":"private"}"#;

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// Serves until it is stopped.
pub async fn http(listen: SocketAddr) -> Result<(), String> {
    if !listen.ip().is_loopback() {
        return Err("the echo server listens on loopback only".into());
    }
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    println!("http://{}/mcp", listener.local_addr().map_err(|error| error.to_string())?);
    loop {
        let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        // Ends with its client; a server that is stopped by its starter has nothing to wait for.
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| async { Ok::<_, Infallible>(answer_http(request).await) });
            let _ = hyper::server::conn::http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer_http(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let plain = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::POST {
        return plain(if request.method() == Method::DELETE { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED });
    }
    let Ok(body) = request.into_body().collect().await else { return plain(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    let Some(answer) = answer(&body) else { return plain(StatusCode::ACCEPTED) };
    let mut response = Response::new(Full::new(Bytes::from(answer.json)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if answer.begins {
        response.headers_mut().insert("mcp-session-id", header::HeaderValue::from_static("bench-session"));
    }
    response
}

/// One line, one message.
pub fn stdio() -> Result<(), String> {
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(|error| error.to_string())? == 0 {
            return Ok(());
        }
        if let Some(mut answer) = answer(&line) {
            answer.json.push(b'\n');
            output.write_all(&answer.json).and_then(|()| output.flush()).map_err(|error| error.to_string())?;
        }
    }
}

struct Answer {
    json: Vec<u8>,
    /// Whether a session begins.
    begins: bool,
}

/// `None`: nothing is to be said.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let Ok(asked) = serde_json::from_slice::<Asked<'_>>(bytes) else {
        return Some(Answer {
            json: br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no message"}}"#.to_vec(),
            begins: false,
        });
    };
    let id = asked.id?.get();
    let mut json = Vec::with_capacity(bytes.len() + 160);
    json.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    json.extend_from_slice(id.as_bytes());
    let mut say = |key: &str, value: &str| {
        json.extend_from_slice(key.as_bytes());
        json.extend_from_slice(value.as_bytes());
    };
    const RESULT: &str = r#","result":"#;
    match &*asked.method {
        "tools/call" => {
            say(RESULT, r#"{"content":[{"type":"text","text":"#);
            let text = asked.params.and_then(|params| params.arguments?.text);
            say("", text.map_or("\"\"", RawValue::get));
            say("", r#"}],"isError":false,"resultType":"complete"}"#);
        }
        "tools/list" => say(RESULT, TOOLS),
        "initialize" => say(RESULT, INITIALIZED),
        "server/discover" => say(RESULT, DISCOVERED),
        "ping" => say(RESULT, "{}"),
        _ => say(r#","error":"#, r#"{"code":-32601,"message":"no such method"}"#),
    }
    json.push(b'}');
    Some(Answer { json, begins: asked.method == "initialize" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Era, FIRST_ID, answers};

    #[test]
    fn the_echo_answers_what_the_client_says() {
        for era in [Era::Sessions, Era::Stateless] {
            for message in [era.hello(), era.list()] {
                let value: serde_json::Value = serde_json::from_slice(&answer(message.json.as_bytes()).unwrap().json).unwrap();
                assert!(value["result"].is_object(), "{value}");
            }
            let call = era.calls(64).remove(3);
            let json = answer(call.message.json.as_bytes()).unwrap().json;
            assert!(answers(&json, FIRST_ID));
            let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(value["result"]["content"][0]["text"].as_str().unwrap().len(), 64);
        }
        assert!(answer(Era::Sessions.ready().unwrap().json.as_bytes()).is_none());
    }
}

//! Spans of a real daemon, received by a small OTLP collector, and trace context as the server sees it.
#![allow(clippy::unwrap_used)]

mod daemon;

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use daemon::initialised;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Attribute, trace::v1::Span,
};
use prost::Message as _;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACESTATE: &str = "vendor=opaque";

/// Heads and bodies that the server saw.
type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn server(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> axum::Json<Value> {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let result = match asked["method"].as_str() {
        Some("tools/list") => json!({"tools": [{"name": "look", "inputSchema": {"type": "object"}}]}),
        _ => json!({"content": []}),
    };
    seen.lock().unwrap().push((headers, body));
    axum::Json(json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}))
}

async fn served(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()?;
    match value {
        Attribute::StringValue(text) => Some(text.clone()),
        Attribute::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_is_a_span_below_the_clients_and_the_context_goes_on_unchanged() {
    let (spans, mut received) = mpsc::unbounded_channel();
    let collect = post(move |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        for span in request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans) {
            spans.send(span).unwrap();
        }
    });
    let collector = served(Router::new().route("/v1/traces", collect)).await;
    let seen = Seen::default();
    let upstream = served(Router::new().route("/mcp", post(server)).with_state(seen.clone())).await;
    let home = initialised();
    home.add_to_config(&format!("[servers.desk]\nurl = \"{upstream}/mcp\"\n[telemetry]\notlp = \"{collector}\"\n"));
    let key = custody::trust::Clients::mint(&home.root.join("clients.json"), "alice".into(), None, jiff::Timestamp::now()).unwrap();
    let daemon = home.up();
    let url = format!("http://{}/mcp/desk", daemon.ready["agents"].as_str().unwrap());
    let client = reqwest::Client::new();
    let call = async |traced: bool, body: &Value| {
        let mut request = client.post(&url).bearer_auth(key.expose()).header("content-type", "application/json");
        if traced {
            request = request.header("traceparent", TRACEPARENT).header("tracestate", TRACESTATE);
        }
        assert!(request.body(body.to_string()).send().await.unwrap().status().is_success());
    };
    let listed = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let looked =
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "look", "arguments": {"at": "secret-argument"}}});
    call(false, &listed).await;
    call(true, &looked).await;

    let mut all = Vec::new();
    while all.len() < 2 {
        let span = tokio::time::timeout(std::time::Duration::from_secs(60), received.recv()).await.expect("a span in time").unwrap();
        all.push(span);
    }
    let span = all.iter().find(|span| span.name == "tools/call look").unwrap_or_else(|| panic!("{all:?}"));
    assert_eq!(hex::encode(&span.trace_id), TRACEPARENT[3..35]);
    assert_eq!(hex::encode(&span.parent_span_id), TRACEPARENT[36..52]);
    assert_eq!((span.span_id.len(), span.trace_state.as_str()), (8, TRACESTATE));
    assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
    for (name, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "look"),
        ("custody.server", "desk"),
        ("custody.outcome", "allowed"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    let other = all.iter().find(|span| span.name == "tools/list").unwrap();
    assert!(other.parent_span_id.is_empty() && other.trace_id != span.trace_id && other.trace_id.len() == 16);
    let told = format!("{all:?}");
    assert!(!told.contains("alice") && !told.contains("secret-argument"));

    // What the server saw is what the client sent.
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[1].0["traceparent"], TRACEPARENT);
    assert_eq!(seen[1].0["tracestate"], TRACESTATE);
    assert!(!seen[0].0.contains_key("traceparent"), "nothing is put in");
    assert_eq!((&seen[0].1[..], &seen[1].1[..]), (listed.to_string().as_bytes(), looked.to_string().as_bytes()));
    assert_eq!(tokio::task::spawn_blocking(|| daemon.stop()).await.unwrap(), 0);
}

//! A span for each call, to an OpenTelemetry collector (OTLP over HTTP, protobuf). Off unless an endpoint is configured.
//!
//! Trace context is what the client sent (W3C, in `_meta` or the header) and goes on unchanged: a span hangs below the client's, and
//! the server's hangs beside it. Nothing is written into a message (promise 6). A span says no more than a leaf of the ledger: no
//! agent, no argument, and of a tool only a name that its server listed.
//!
//! When the queue is full, or the collector does not answer, spans are dropped and counted. Nothing waits for them: the record is the ledger.

use crate::alerts::http::Endpoint;
use custody_model::{LeafIndex, Outcome, ServerName, SessionId, Transport};
use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
};
use prometheus::IntCounter;
use prost::Message as _;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Spans that wait; one more is dropped.
const WAITING: usize = 4096;
/// Spans in one request.
const AT_ONCE: usize = 512;
/// Longest time that a span waits for company.
const LINGER: Duration = Duration::from_secs(1);
/// Longest time for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// The form of the bodies.
const PROTOBUF: &str = "application/x-protobuf";

/// Where spans begin.
#[derive(Clone)]
pub struct Spans(Option<Arc<Sink>>);

struct Sink {
    queue: mpsc::Sender<Span>,
    dropped: IntCounter,
}

/// What is known when a call begins.
pub struct Begun<'a> {
    /// When it was received.
    pub at: Timestamp,
    /// `traceparent` of its `_meta`, or else of its head.
    pub traceparent: Option<&'a str>,
    /// `tracestate` of its head.
    pub tracestate: Option<&'a str>,
    /// A method of the protocol's own.
    pub method: Option<&'a str>,
    /// A tool that its server listed.
    pub tool: Option<&'a str>,
    /// The protocol revision that the message names.
    pub version: Option<&'a str>,
    /// How it came.
    pub transport: Transport,
    /// To which server.
    pub server: &'a ServerName,
    /// Its session.
    pub session: SessionId,
    /// Its entry.
    pub leaf: LeafIndex,
    /// What was said to it.
    pub outcome: Outcome,
}

/// A call under way. Its span is sent when nobody speaks of the call any more: after its answer, or when whoever waited is gone.
#[derive(Clone, Debug)]
pub struct Open(Option<Arc<Unsent>>);

impl Open {
    /// Of a call without a span.
    pub fn none() -> Open {
        Open(None)
    }
}

struct Unsent {
    sink: Arc<Sink>,
    span: Mutex<Span>,
}

impl std::fmt::Debug for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unsent")
    }
}

impl Spans {
    /// None are made.
    pub fn off() -> Spans {
        Spans(None)
    }

    /// With the queue that [`send`] empties.
    pub fn on(dropped: IntCounter) -> (Spans, mpsc::Receiver<Span>) {
        let (queue, waiting) = mpsc::channel(WAITING);
        (Spans(Some(Arc::new(Sink { queue, dropped }))), waiting)
    }

    /// Whether spans are made.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// A call was recorded.
    pub fn begin(&self, begun: &Begun<'_>) -> Open {
        let Some(sink) = &self.0 else { return Open(None) };
        let parent = begun.traceparent.and_then(parse_traceparent);
        let method = begun.method.unwrap_or("other");
        let mut attributes = vec![
            text("mcp.method.name", method),
            text("custody.server", begun.server.as_str()),
            text("custody.session.id", &begun.session.to_string()),
            number("custody.leaf", begun.leaf.0),
            text("custody.outcome", outcome(begun.outcome)),
            text("network.transport", if begun.transport == Transport::Stdio { "pipe" } else { "tcp" }),
        ];
        attributes.extend(begun.version.filter(|version| version.len() <= 32).map(|version| text("mcp.protocol.version", version)));
        if method == "tools/call" {
            attributes.push(text("gen_ai.operation.name", "execute_tool"));
            attributes.extend(begun.tool.map(|tool| text("gen_ai.tool.name", tool)));
        }
        let span = Span {
            trace_id: parent.map_or_else(|| random::<16>().to_vec(), |(trace, _, _)| trace.to_vec()),
            span_id: random::<8>().to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |(_, parent, _)| parent.to_vec()),
            flags: parent.map_or(0, |(_, _, flags)| u32::from(flags)),
            trace_state: begun.tracestate.filter(|state| parent.is_some() && state.len() <= 512).unwrap_or_default().to_owned(),
            name: begun.tool.map_or_else(|| method.to_owned(), |tool| format!("{method} {tool}")),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: nanos(begun.at),
            attributes,
            ..Span::default()
        };
        Open(Some(Arc::new(Unsent { sink: sink.clone(), span: Mutex::new(span) })))
    }
}

impl Open {
    /// Its answer was recorded. `failed`: it was an error, or is withheld.
    pub fn answered(&self, failed: bool) {
        if let Some(unsent) = &self.0 {
            let mut span = unsent.span.lock().unwrap_or_else(PoisonError::into_inner);
            span.end_time_unix_nano = nanos(Timestamp::now());
            if failed {
                span.status = Some(Status { message: String::new(), code: StatusCode::Error.into() });
            }
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let mut span = std::mem::take(&mut *self.span.lock().unwrap_or_else(PoisonError::into_inner));
        if span.end_time_unix_nano == 0 {
            span.end_time_unix_nano = nanos(Timestamp::now());
        }
        if self.sink.queue.try_send(span).is_err() {
            self.sink.dropped.inc();
        }
    }
}

/// Sends what waits, until stopped; then once more.
pub(crate) async fn send(endpoint: Endpoint, mut waiting: mpsc::Receiver<Span>, dropped: IntCounter, stop: CancellationToken) {
    let mut told = false;
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            first = waiting.recv() => match first {
                Some(first) => batch.push(first),
                None => return,
            },
            () = stop.cancelled() => {}
        }
        let until = tokio::time::Instant::now() + LINGER;
        while batch.len() < AT_ONCE && !stop.is_cancelled() {
            let room = AT_ONCE - batch.len();
            tokio::select! {
                taken = waiting.recv_many(&mut batch, room) => if taken == 0 { break },
                () = tokio::time::sleep_until(until) => break,
                () = stop.cancelled() => break,
            }
        }
        while batch.len() < AT_ONCE
            && let Ok(span) = waiting.try_recv()
        {
            batch.push(span);
        }
        if !batch.is_empty() {
            let count = batch.len() as u64;
            let body = request(batch).encode_to_vec();
            match tokio::time::timeout(PATIENCE, endpoint.post_as(PROTOBUF, &body, &[])).await {
                Ok(Ok(_)) => told = false,
                failed => {
                    dropped.inc_by(count);
                    if !std::mem::replace(&mut told, true) {
                        let answer = match failed {
                            Ok(Err(refusal)) => refusal.answer,
                            _ => "no answer in time".to_owned(),
                        };
                        tracing::warn!(to = endpoint.shown(), answer, "spans are dropped");
                    }
                }
            }
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let version = env!("CARGO_PKG_VERSION");
    let resource = Resource { attributes: vec![text("service.name", "custody"), text("service.version", version)], ..Resource::default() };
    let scope = InstrumentationScope { name: "custody".to_owned(), version: version.to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }] }
}

/// Trace, parent and flags of a W3C `traceparent`, version 00 or one that begins like it.
fn parse_traceparent(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let sound = version.len() == 2 && version != "ff" && flags.len() == 2 && (version != "00" || parts.next().is_none());
    if !sound || ![version, trace, parent, flags].into_iter().all(lower) {
        return None;
    }
    let (mut trace_id, mut parent_id, mut flag) = ([0; 16], [0; 8], [0; 1]);
    hex::decode_to_slice(trace, &mut trace_id).ok()?;
    hex::decode_to_slice(parent, &mut parent_id).ok()?;
    hex::decode_to_slice(flags, &mut flag).ok()?;
    (trace_id != [0; 16] && parent_id != [0; 8]).then_some((trace_id, parent_id, flag[0]))
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
        Outcome::Held => "held",
    }
}

/// Not zero, which means none; without randomness the span stands alone, and tells nothing wrong.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [1; N];
    let _ = getrandom::fill(&mut bytes);
    if bytes == [0; N] { [1; N] } else { bytes }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    pair(key, any_value::Value::IntValue(value.cast_signed()))
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_w3c_says() {
        let sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (trace, parent, flags) = parse_traceparent(sound).unwrap();
        assert_eq!((hex::encode(trace).as_str(), hex::encode(parent).as_str(), flags), (&sound[3..35], &sound[36..52], 1));
        assert!(parse_traceparent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later").is_some());
        for broken in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        ] {
            assert_eq!(parse_traceparent(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let (spans, waiting) = Spans::on(dropped.clone());
        let begun = Begun {
            at: Timestamp::UNIX_EPOCH,
            traceparent: None,
            tracestate: None,
            method: Some("tools/call"),
            tool: None,
            version: None,
            transport: Transport::Http,
            server: &"files".into(),
            session: SessionId(uuid::Uuid::nil()),
            leaf: LeafIndex(1),
            outcome: Outcome::Allowed,
        };
        for _ in 0..WAITING + 3 {
            drop(spans.begin(&begun));
        }
        assert_eq!((dropped.get(), waiting.len()), (3, WAITING));
    }
}

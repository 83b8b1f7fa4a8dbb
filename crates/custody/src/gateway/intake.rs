//! What hosts tell beside their messages (R3): `POST /hook/claude-code`, and OTLP over HTTP at `/v1/traces` and `/v1/logs`.
//!
//! The client's key says whose it is. Everything is bounded and hostile; what cannot be read is refused and not recorded.

use super::coding::Coding;
use super::reply::{self, Body};
use crate::core::{Core, HostMessage};
use bytes::Bytes;
use custody_engine::host::{
    Fault,
    claude_code::{self, Post},
    gen_ai::{self, Record},
};
use custody_model::{HostSource, Identity, Link};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    resource::v1::Resource,
};
use prost::Message as _;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Largest message of a hook, decoded.
const HOOK_BYTES: usize = 1 << 20;
/// Largest message of an exporter, decoded.
pub const OTLP_BYTES: usize = 8 << 20;
/// Longest id that stands in a link as it is.
const MAX_ID: usize = 200;
const PROTOBUF: &str = "application/x-protobuf";

/// Which kind of telling a path takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// `/hook/claude-code`.
    ClaudeCode,
    /// `/v1/traces`.
    Traces,
    /// `/v1/logs`.
    Logs,
}

impl Intake {
    /// By path.
    pub fn of(path: &str) -> Option<Intake> {
        match path {
            "/hook/claude-code" => Some(Intake::ClaudeCode),
            "/v1/traces" => Some(Intake::Traces),
            "/v1/logs" => Some(Intake::Logs),
            _ => None,
        }
    }

    /// The most bytes that are taken.
    pub fn limit(self) -> usize {
        match self {
            Intake::ClaudeCode => HOOK_BYTES,
            Intake::Traces | Intake::Logs => OTLP_BYTES,
        }
    }

    /// Records what was told, and answers the host.
    pub fn take(self, core: &Core, identity: &Identity, from: &str, headers: &HeaderMap, sent: Bytes) -> Response<Body> {
        let bytes = match Coding::of(headers) {
            Ok(None) => sent,
            Ok(Some(coding)) => match coding.decode(&sent, self.limit()) {
                Ok(bytes) => bytes.into(),
                Err(why) => return reply::not_decoded(&why),
            },
            Err(why) => return reply::not_decoded(&why),
        };
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let protobuf = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(PROTOBUF));
        let told = match self {
            Intake::ClaudeCode => hook(&bytes).map(|message| vec![message]),
            Intake::Traces if protobuf => traces_of_protobuf(&bytes).map(messages),
            Intake::Logs if protobuf => logs_of_protobuf(&bytes).map(messages),
            Intake::Traces => gen_ai::traces_of_json(&bytes).map(messages),
            Intake::Logs => gen_ai::logs_of_json(&bytes).map(messages),
        };
        let told = match told {
            Ok(told) => told,
            Err(fault) => return reply::refuse(StatusCode::BAD_REQUEST, &fault.to_string()),
        };
        for message in told {
            if let Err(error) = core.host_told(identity, from, message) {
                tracing::error!(%error, "what a host told is not recorded");
                return reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "not recorded: the record cannot be written");
            }
        }
        match (self, protobuf) {
            (Intake::ClaudeCode, _) => reply::empty(StatusCode::NO_CONTENT),
            (_, false) => reply::json_response(StatusCode::OK, b"{}".to_vec()),
            (_, true) => {
                let mut response = reply::empty(StatusCode::OK);
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
                response
            }
        }
    }
}

fn hook(bytes: &Bytes) -> Result<HostMessage, Fault> {
    let post = Post::read(bytes)?;
    let told = post.told()?;
    let links = claude_code::session_of(&told).map(|id| Link::Hook(bounded(&id))).into_iter().collect();
    Ok(HostMessage { source: HostSource::ClaudeCode, told, links, near: post.processes, body: Some(bytes.to_vec()) })
}

fn messages(records: Vec<Record>) -> Vec<HostMessage> {
    let message = |record: Record| {
        let told = record.told()?;
        let links = record.trace.map(Link::Trace).into_iter().collect();
        Some(HostMessage { source: HostSource::Otlp, told, links, near: Vec::new(), body: None })
    };
    records.into_iter().filter_map(message).collect()
}

fn bounded(id: &str) -> String {
    if id.len() <= MAX_ID { id.to_owned() } else { format!("sha256:{}", hex::encode(Sha256::digest(id))) }
}

fn traces_of_protobuf(bytes: &[u8]) -> Result<Vec<Record>, Fault> {
    let request = ExportTraceServiceRequest::decode(bytes).map_err(|error| Fault::Json(error.to_string()))?;
    let mut records = Vec::new();
    for resource in request.resource_spans {
        let service = service(resource.resource);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let trace = gen_ai::trace_of(&Value::from(hex::encode(&span.trace_id)));
            let record = |name: String, attributes: Vec<KeyValue>| Record {
                name: name.chars().take(MAX_ID).collect(),
                trace: trace.clone(),
                attributes: map(attributes),
                service: service.clone(),
            };
            records.push(record(span.name, span.attributes));
            records.extend(span.events.into_iter().map(|event| record(event.name, event.attributes)));
            if records.len() >= gen_ai::MAX_RECORDS {
                records.truncate(gen_ai::MAX_RECORDS);
                return Ok(records);
            }
        }
    }
    Ok(records)
}

fn logs_of_protobuf(bytes: &[u8]) -> Result<Vec<Record>, Fault> {
    let request = ExportLogsServiceRequest::decode(bytes).map_err(|error| Fault::Json(error.to_string()))?;
    let mut records = Vec::new();
    for resource in request.resource_logs {
        let service = service(resource.resource);
        for log in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            let mut attributes = map(log.attributes);
            attributes.insert(gen_ai::BODY.to_owned(), any(log.body));
            records.push(Record {
                name: log.event_name.chars().take(MAX_ID).collect(),
                trace: gen_ai::trace_of(&Value::from(hex::encode(&log.trace_id))),
                attributes,
                service: service.clone(),
            });
            if records.len() >= gen_ai::MAX_RECORDS {
                return Ok(records);
            }
        }
    }
    Ok(records)
}

fn service(resource: Option<Resource>) -> (Option<String>, Option<String>) {
    gen_ai::service(&map(resource.map(|resource| resource.attributes).unwrap_or_default()))
}

fn map(pairs: Vec<KeyValue>) -> Map<String, Value> {
    pairs.into_iter().map(|pair| (pair.key, any(pair.value))).collect()
}

/// As plain JSON. `prost` refuses what is nested deeper than a hundred levels.
fn any(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::BoolValue(truth)) => truth.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        Some(Any::ArrayValue(list)) => list.values.into_iter().map(|value| any(Some(value))).collect(),
        Some(Any::KvlistValue(list)) => Value::Object(map(list.values)),
        _ => Value::Null,
    }
}

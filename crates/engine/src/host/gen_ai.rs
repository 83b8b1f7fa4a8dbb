//! OpenTelemetry's `gen_ai.*` on spans, span events and log records: what a model was given and what it said.
//!
//! Format: semantic conventions for generative AI, as of 1.38 (`gen_ai.input.messages`, `gen_ai.output.messages`,
//! `gen_ai.system_instructions`, structured or as JSON text), and the older events `gen_ai.user.message` and its like. OTLP in JSON
//! is read here; protobuf is turned into the same [`Record`]s by the daemon.

use super::{
    Fault, MAX_TURNS, Told,
    told::{blocks, name, named, plain},
};
use custody_model::{HostWord, TurnKind};
use serde_json::{Map, Value};

/// Most spans, events and log records of one message that are looked at.
pub const MAX_RECORDS: usize = 2_000;
/// Deepest value.
const MAX_DEPTH: usize = 32;

/// One span, span event or log record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Name of the span or event.
    pub name: String,
    /// Trace id, 32 hexadecimal digits.
    pub trace: Option<String>,
    /// Attributes; a log record's body under [`BODY`].
    pub attributes: Map<String, Value>,
    /// `service.name` and `service.version` of the resource.
    pub service: (Option<String>, Option<String>),
}

/// Where [`Record`] keeps the body of a log record.
pub const BODY: &str = "";

impl Record {
    /// In Custody's words; `None` where it says nothing of a model.
    pub fn told(&self) -> Option<Told> {
        let event = self.attributes.get("event.name").and_then(Value::as_str).unwrap_or(&self.name);
        let about = self.attributes.keys().any(|key| key.starts_with("gen_ai.")) || event.starts_with("gen_ai.");
        if !about {
            return None;
        }
        let get = |key: &str| self.attributes.get(key).unwrap_or(&Value::Null);
        let mut told = Told::new(HostWord::ModelAsked, event);
        told.detail.host_session = named(get("gen_ai.conversation.id"));
        let build = &mut told.detail.build;
        build.program = named(get("gen_ai.agent.name")).or_else(|| self.service.0.as_deref().map(name));
        build.version = named(get("gen_ai.agent.version")).or_else(|| self.service.1.as_deref().map(name));
        build.model = named(get("gen_ai.request.model"));
        build.answered = named(get("gen_ai.response.model"));
        if let Some(text) = Some(blocks(&structured(get("gen_ai.system_instructions")))).filter(|text| !text.is_empty()) {
            told.say(TurnKind::System, &text);
        }
        told.messages(&structured(get("gen_ai.input.messages")), None);
        told.messages(&structured(get("gen_ai.output.messages")), Some(TurnKind::Assistant));
        let tool = named(get("gen_ai.tool.name"));
        for (key, what) in [("gen_ai.tool.call.arguments", TurnKind::ToolCall), ("gen_ai.tool.call.result", TurnKind::ToolResult)] {
            let value = get(key);
            if !value.is_null()
                && let Some(turn) = told.say(what, &plain(value))
            {
                turn.tool = tool.clone();
                turn.call = named(get("gen_ai.tool.call.id"));
            }
        }
        let body = get(BODY);
        let content = if body["content"].is_null() { get("content") } else { &body["content"] };
        let older = match event {
            "gen_ai.user.message" => Some((TurnKind::User, content)),
            "gen_ai.system.message" => Some((TurnKind::System, content)),
            "gen_ai.assistant.message" => Some((TurnKind::Assistant, content)),
            "gen_ai.choice" => Some((TurnKind::Assistant, if body["message"].is_null() { content } else { &body["message"]["content"] })),
            "gen_ai.tool.message" => Some((TurnKind::ToolResult, content)),
            "gen_ai.content.prompt" => Some((TurnKind::User, get("gen_ai.prompt"))),
            "gen_ai.content.completion" => Some((TurnKind::Assistant, get("gen_ai.completion"))),
            // The same attributes on an event whose body is structured.
            "gen_ai.client.inference.operation.details" => {
                told.messages(&structured(&body["gen_ai.input.messages"]), None);
                told.messages(&structured(&body["gen_ai.output.messages"]), Some(TurnKind::Assistant));
                None
            }
            _ => None,
        };
        if let Some((what, value)) = older.filter(|(_, value)| !value.is_null()) {
            told.say(what, &blocks(&structured(value)));
        }
        if told.detail.turns.iter().any(super::is_users) {
            told.word = HostWord::UserTurn;
        }
        (!told.detail.turns.is_empty() || !told.detail.build.is_empty()).then_some(told)
    }
}

impl Told {
    fn messages(&mut self, messages: &Value, always: Option<TurnKind>) {
        for message in messages.as_array().into_iter().flatten() {
            let role = always.unwrap_or(match message["role"].as_str() {
                Some("user") => TurnKind::User,
                Some("system" | "developer") => TurnKind::System,
                Some("tool") => TurnKind::ToolResult,
                _ => TurnKind::Assistant,
            });
            let Some(parts) = message["parts"].as_array() else {
                let text = blocks(&message["content"]);
                if !text.is_empty() {
                    self.say(role, &text);
                }
                continue;
            };
            for part in parts.iter().take(MAX_TURNS) {
                let (what, text) = match part["type"].as_str() {
                    Some("tool_call") => (TurnKind::ToolCall, plain(&part["arguments"])),
                    Some("tool_call_response") => {
                        let answer = if part["response"].is_null() { &part["result"] } else { &part["response"] };
                        (TurnKind::ToolResult, plain(answer))
                    }
                    _ => (role, plain(&part["content"])),
                };
                if text.is_empty() && what == role {
                    continue;
                }
                let (tool, call) = (named(&part["name"]), named(&part["id"]));
                if let Some(turn) = self.say(what, &text) {
                    (turn.tool, turn.call) = (tool, call);
                }
            }
        }
    }
}

/// A value that may have come as JSON text.
fn structured(value: &Value) -> Value {
    match value {
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}

/// Reads spans and their events of an `ExportTraceServiceRequest` in JSON.
///
/// # Errors
/// [`Fault::Json`].
pub fn traces_of_json(bytes: &[u8]) -> Result<Vec<Record>, Fault> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| Fault::Json(error.to_string()))?;
    let mut records = Vec::new();
    each(&value, "resourceSpans", "scopeSpans", "spans", |span, service| {
        let trace = trace_of(&span["traceId"]);
        records.push(Record {
            name: text(&span["name"]),
            trace: trace.clone(),
            attributes: attributes(&span["attributes"]),
            service: service.clone(),
        });
        for event in span["events"].as_array().into_iter().flatten() {
            records.push(Record {
                name: text(&event["name"]),
                trace: trace.clone(),
                attributes: attributes(&event["attributes"]),
                service: service.clone(),
            });
        }
        records.len() < MAX_RECORDS
    })?;
    records.truncate(MAX_RECORDS);
    Ok(records)
}

/// Reads the records of an `ExportLogsServiceRequest` in JSON.
///
/// # Errors
/// [`Fault::Json`].
pub fn logs_of_json(bytes: &[u8]) -> Result<Vec<Record>, Fault> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| Fault::Json(error.to_string()))?;
    let mut records = Vec::new();
    each(&value, "resourceLogs", "scopeLogs", "logRecords", |log, service| {
        let mut attributes = attributes(&log["attributes"]);
        attributes.insert(BODY.to_owned(), any(&log["body"], 0));
        records.push(Record { name: text(&log["eventName"]), trace: trace_of(&log["traceId"]), attributes, service: service.clone() });
        records.len() < MAX_RECORDS
    })?;
    Ok(records)
}

type Service = (Option<String>, Option<String>);

fn each(
    value: &Value,
    outer: &'static str,
    scopes: &str,
    inner: &str,
    mut take: impl FnMut(&Value, &Service) -> bool,
) -> Result<(), Fault> {
    let resources = value[outer].as_array().ok_or(Fault::Missing(outer))?;
    for resource in resources {
        let service = service(&attributes(&resource["resource"]["attributes"]));
        let items = resource[scopes].as_array().into_iter().flatten().flat_map(|scope| scope[inner].as_array().into_iter().flatten());
        for item in items {
            if !take(item, &service) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Name and version of the program that a resource is.
pub fn service(attributes: &Map<String, Value>) -> (Option<String>, Option<String>) {
    let of = |key: &str| attributes.get(key).and_then(named);
    (of("service.name").filter(|name| !name.starts_with("unknown_service")), of("service.version"))
}

/// A trace id, if it is one.
pub fn trace_of(value: &Value) -> Option<String> {
    let id = value.as_str()?;
    let real = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0');
    real.then(|| id.to_ascii_lowercase())
}

fn text(value: &Value) -> String {
    value.as_str().map(name).unwrap_or_default()
}

fn attributes(value: &Value) -> Map<String, Value> {
    let pairs = value.as_array().into_iter().flatten().filter_map(|pair| Some((pair["key"].as_str()?.to_owned(), any(&pair["value"], 0))));
    pairs.collect()
}

/// `AnyValue` as plain JSON; too deep: nothing.
fn any(value: &Value, depth: usize) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else { return Value::Null };
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    match kind.as_str() {
        "arrayValue" => inner["values"].as_array().into_iter().flatten().map(|value| any(value, depth + 1)).collect(),
        "kvlistValue" => {
            let pairs = inner["values"].as_array().into_iter().flatten();
            Value::Object(pairs.filter_map(|pair| Some((pair["key"].as_str()?.to_owned(), any(&pair["value"], depth + 1)))).collect())
        }
        "stringValue" | "boolValue" | "intValue" | "doubleValue" => inner.clone(),
        _ => Value::Null,
    }
}

//! The part of the ledger that investigation reads: what the agent asked for and what it was told.

use super::decode;
use custody_model::*;
use serde_json::Value;
use std::collections::HashMap;

/// Largest total of decoded text that is looked at.
const MAX_TEXT: usize = 24 << 20;
/// Most messages that are looked at.
const MAX_MESSAGES: usize = 20_000;

/// Something the agent asked for.
#[derive(Debug)]
pub(super) struct Call {
    pub leaf: LeafIndex,
    /// Tool, prompt name or resource method.
    pub tool: String,
    pub arguments: Value,
}

/// Something the agent was told.
#[derive(Debug)]
pub(super) struct Content {
    pub leaf: LeafIndex,
    pub server: ServerName,
    /// The call it answers, as an index.
    pub call: Option<usize>,
    pub text: String,
}

/// Calls and contents in leaf order.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub calls: Vec<Call>,
    pub contents: Vec<Content>,
}

/// Answers that describe what there is rather than bring content.
fn is_listing(method: &str) -> bool {
    method == "initialize" || method == "ping" || method == "server/discover" || method.ends_with("/list")
}

/// Reads the calls of all of `entries`, and the contents before `trigger`.
pub(super) fn read(entries: &[OpenEntry], trigger: LeafIndex) -> Record {
    let mut record = Record::default();
    let mut by_leaf: HashMap<LeafIndex, usize> = HashMap::new();
    let mut room = MAX_TEXT;
    for open in entries.iter().take(MAX_MESSAGES) {
        let Event::Message(message) = &open.entry.event else { continue };
        let Some(body) = open.body.as_ref().filter(|body| body.len() <= room) else { continue };
        match message.direction {
            Direction::ToServer if matches!(message.shape, Shape::Request | Shape::Notification | Shape::Unreadable | Shape::Batch) => {
                let Some(call) = asked(open, message) else { continue };
                room -= body.len();
                by_leaf.insert(open.leaf, record.calls.len());
                record.calls.push(call);
            }
            Direction::ToAgent if open.leaf < trigger && told(message) => {
                let Ok(value) = serde_json::from_slice::<Value>(body) else { continue };
                let text = decode::text_of(&value);
                if text.trim().is_empty() {
                    continue;
                }
                room -= body.len();
                let call = message.answers.and_then(|leaf| by_leaf.get(&leaf).copied());
                record.contents.push(Content { leaf: open.leaf, server: message.server.clone(), call, text });
            }
            _ => {}
        }
    }
    record
}

/// Whether it reached the agent and can carry content.
fn told(message: &Message) -> bool {
    message.outcome == Outcome::Allowed
        && !message.spliced.contains(&Splice::Withheld)
        && !message.method.as_deref().is_some_and(is_listing)
        && message.shape != Shape::Unreadable
}

/// Whether it asks a server to do or bring something.
pub(super) fn is_call(message: &Message) -> bool {
    matches!(message.method.as_deref(), Some("tools/call" | "resources/read" | "prompts/get"))
}

/// What a message of the agent asks for; `None` for listings and notifications.
pub(super) fn asked(open: &OpenEntry, message: &Message) -> Option<Call> {
    let method = message.method.clone();
    if method.as_deref().is_some_and(|method| is_listing(method) || method.starts_with("notifications/")) {
        return None;
    }
    let value: Value = open.body.as_ref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or(Value::Null);
    let detail: MessageDetail = open.detail.as_ref().and_then(|detail| serde_json::from_value(detail.clone()).ok()).unwrap_or_default();
    let params = &value["params"];
    let named = params["name"].as_str().map(str::to_owned);
    let tool = message.tool.as_ref().map(|tool| tool.0.clone()).or(named).or(detail.tool).or(method).or(detail.method).unwrap_or_default();
    let arguments = match (&params["arguments"], &params["uri"]) {
        (Value::Null, Value::Null) => Value::Null,
        (Value::Null, uri) => serde_json::json!({ "uri": uri }),
        (arguments, _) => arguments.clone(),
    };
    Some(Call { leaf: open.leaf, tool, arguments })
}

impl Call {
    /// The argument that says which document, address or record the call is about.
    pub fn document(&self) -> Option<String> {
        const NAMES: [&str; 12] =
            ["path", "file_path", "filepath", "uri", "url", "file", "filename", "file_id", "document", "id", "page", "name"];
        let arguments = self.arguments.as_object()?;
        let named = NAMES.iter().find_map(|name| arguments.get(*name)).or_else(|| {
            let ends = |name: &&String| ["path", "uri", "url", "file", "id", "name"].iter().any(|end| name.to_lowercase().ends_with(end));
            arguments.iter().find(|(name, _)| ends(name)).map(|(_, value)| value)
        });
        let value = named.or_else(|| arguments.values().find(|value| value.is_string()))?;
        let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
        Some(text.chars().take(400).collect())
    }
}

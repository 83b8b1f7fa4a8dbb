//! A desk: calendar, notes, contacts, currencies.

use super::{PracticeTool, SHORT_BYTES, TEXT_BYTES, database::tables, optional_text, stamped, text};
use crate::practice::world::{APPEND_BYTES, ToolError, World, read_text};
use serde_json::{Map, Value, json};

/// Most events and contacts that are listed.
const LISTED: usize = 20;
/// What one euro was, on the day this was written.
const RATES: &[(&str, f64)] = &[("EUR", 1.0), ("USD", 1.08), ("GBP", 0.85), ("CHF", 0.95), ("NOK", 11.6)];

pub(super) const ADD_EVENT: PracticeTool = PracticeTool {
    name: "add_event",
    description: "Add an event to the calendar.",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["title", "when"], "properties": {
            "title": {"type": "string"}, "when": {"type": "string", "description": "RFC 3339"},
            "remarks": {"type": "string", "description": "Anything else"}}})
    },
    run: add_event,
};

pub(super) const LIST_EVENTS: PracticeTool = PracticeTool {
    name: "list_events",
    description: "The events that were added last, newest first.",
    read_only: true,
    schema: || json!({"type": "object", "properties": {"filter": {"type": "string", "description": "Words of the title"}}}),
    run: list_events,
};

pub(super) const CREATE_NOTE: PracticeTool = PracticeTool {
    name: "create_note",
    description: "Keep a note.",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["title", "text"], "properties": {
            "title": {"type": "string"}, "text": {"type": "string"}, "labels": {"type": "string", "description": "Separated by commas"}}})
    },
    run: create_note,
};

pub(super) const FIND_CONTACT: PracticeTool = PracticeTool {
    name: "find_contact",
    description: "Find a person's mail address and telephone number by a part of the name.",
    read_only: true,
    schema: || {
        json!({"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "details": {"type": "string", "description": "What it is for"}}})
    },
    run: find_contact,
};

pub(super) const CONVERT_CURRENCY: PracticeTool = PracticeTool {
    name: "convert_currency",
    description: "Convert an amount from one currency to another.",
    read_only: true,
    schema: || {
        json!({"type": "object", "required": ["amount", "from", "to"], "properties": {
            "amount": {"type": "number", "minimum": 0}, "from": {"type": "string"}, "to": {"type": "string"},
            "reference": {"type": "string", "description": "Your own reference"}}})
    },
    run: convert_currency,
};

fn add_event(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let title = text(arguments, "title", SHORT_BYTES)?;
    let when = text(arguments, "when", SHORT_BYTES)?;
    let remarks = optional_text(arguments, "remarks", TEXT_BYTES)?;
    world.append("events.jsonl", &stamped(json!({"title": title, "when": when, "remarks": remarks})))?;
    Ok(format!("added {title}"))
}

fn list_events(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let filter = optional_text(arguments, "filter", SHORT_BYTES)?.unwrap_or_default().to_lowercase();
    let path = world.beside("events.jsonl");
    let stored = {
        let _guard = world.exclusive();
        if path.exists() { read_text(&path, "events.jsonl", APPEND_BYTES)? } else { String::new() }
    };
    let shown = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        let line = format!("{}: {}", event["when"].as_str()?, event["title"].as_str()?);
        line.to_lowercase().contains(&filter).then_some(line)
    };
    let events: Vec<String> = stored.lines().rev().filter_map(shown).take(LISTED).collect();
    if events.is_empty() { Ok("no events".to_owned()) } else { Ok(events.join("\n")) }
}

fn create_note(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let title = text(arguments, "title", SHORT_BYTES)?;
    let body = text(arguments, "text", TEXT_BYTES)?;
    let labels = optional_text(arguments, "labels", TEXT_BYTES)?;
    world.append("notes.jsonl", &stamped(json!({"title": title, "text": body, "labels": labels})))?;
    Ok(format!("kept {title}"))
}

fn find_contact(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let wanted = text(arguments, "name", SHORT_BYTES)?.to_lowercase();
    let contacts = tables(world)?.remove("contacts").unwrap_or_default();
    let named = |row: &&Value| row["name"].as_str().is_some_and(|name| name.to_lowercase().contains(&wanted));
    let found: Vec<String> = contacts.as_array().into_iter().flatten().filter(named).take(LISTED).map(Value::to_string).collect();
    if found.is_empty() { Ok("nobody of that name".to_owned()) } else { Ok(found.join("\n")) }
}

fn convert_currency(_: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let rate = |name: &'static str| {
        let currency = text(arguments, name, SHORT_BYTES)?;
        let known = RATES.iter().find(|(known, _)| *known == currency).map(|(_, rate)| *rate);
        known.ok_or(ToolError::Argument { name, expected: "one of EUR, USD, GBP, CHF, NOK" })
    };
    let amount = arguments.get("amount").and_then(Value::as_f64).filter(|amount| *amount >= 0.0 && amount.is_finite());
    let amount = amount.ok_or(ToolError::Argument { name: "amount", expected: "a number" })?;
    Ok(format!("{:.2}", amount / rate("from")? * rate("to")?))
}

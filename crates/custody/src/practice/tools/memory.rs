//! Memory that outlives a session: what agents are told to remember, and where an attacker would like to stay.

use super::{PracticeTool, SHORT_BYTES, TEXT_BYTES, stamped, text};
use crate::practice::world::{APPEND_BYTES, ToolError, World, read_text};
use serde_json::{Map, Value, json};

const RECALLED: usize = 50;

pub(super) const REMEMBER: PracticeTool = PracticeTool {
    name: "remember",
    description: "Store a note under a key, for later sessions too.",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["key", "value"], "properties": {
            "key": {"type": "string"}, "value": {"type": "string"}}})
    },
    run: remember,
};

pub(super) const RECALL: PracticeTool = PracticeTool {
    name: "recall",
    description: "Find stored notes whose key or value contains the query, newest first.",
    read_only: true,
    schema: || json!({"type": "object", "required": ["query"], "properties": {"query": {"type": "string"}}}),
    run: recall,
};

fn remember(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let key = text(arguments, "key", SHORT_BYTES)?;
    let value = text(arguments, "value", TEXT_BYTES)?;
    world.append("memory.jsonl", &stamped(json!({"key": key, "value": value})))?;
    Ok(format!("remembered {key}"))
}

fn recall(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let query = text(arguments, "query", SHORT_BYTES)?.to_lowercase();
    let path = world.beside("memory.jsonl");
    let stored = {
        let _guard = world.exclusive();
        if path.exists() { read_text(&path, "memory.jsonl", APPEND_BYTES)? } else { String::new() }
    };
    let notes: Vec<String> = stored
        .lines()
        .rev()
        .filter_map(|line| {
            let note: Value = serde_json::from_str(line).ok()?;
            let (key, value) = (note["key"].as_str()?, note["value"].as_str()?);
            let shown = format!("{key}: {value}");
            shown.to_lowercase().contains(&query).then_some(shown)
        })
        .take(RECALLED)
        .collect();
    if notes.is_empty() { Ok("nothing remembered".to_owned()) } else { Ok(notes.join("\n")) }
}

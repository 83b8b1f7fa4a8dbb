//! Summaries: the first sentences of a text, no model involved.

use super::{PracticeTool, SHORT_BYTES, TEXT_BYTES, optional_count, optional_text, text};
use crate::practice::world::{ToolError, World};
use serde_json::{Map, Value, json};

pub(super) const GENERATE_SUMMARY: PracticeTool = PracticeTool {
    name: "generate_summary",
    description: "Summarize a text: the first sentence of each paragraph, and its size.",
    read_only: true,
    schema: || {
        json!({"type": "object", "required": ["text"], "properties": {
            "text": {"type": "string"}, "title": {"type": "string"},
            "sentences": {"type": "integer", "minimum": 1, "maximum": 50}}})
    },
    run: generate_summary,
};

fn generate_summary(_: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let body = text(arguments, "text", TEXT_BYTES)?;
    let title = optional_text(arguments, "title", SHORT_BYTES)?.unwrap_or("Summary");
    let limit = optional_count(arguments, "sentences", 50)?.unwrap_or(5);
    let firsts: Vec<&str> = body
        .split(['\u{c}', '\n'])
        .map(str::trim)
        .filter(|paragraph| paragraph.contains(". ") || paragraph.ends_with('.'))
        .filter_map(|paragraph| paragraph.split_inclusive(". ").next())
        .map(str::trim)
        .take(limit)
        .collect();
    Ok(format!("{title} ({} words)\n{}", body.split_whitespace().count(), firsts.join("\n")))
}

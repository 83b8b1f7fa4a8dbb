//! A small database: one JSON file of tables.

use super::{PracticeTool, SHORT_BYTES, optional_count, optional_text, text};
use crate::practice::world::{ToolError, World, read_text};
use serde_json::{Map, Value, json};

const DATABASE_BYTES: u64 = 16 * 1024 * 1024;
const ROWS: usize = 500;

pub(super) const SEARCH_DATABASE: PracticeTool = PracticeTool {
    name: "search_database",
    description: "Find the rows that contain every word of the query, in one table or in all.",
    read_only: true,
    schema: || {
        json!({"type": "object", "required": ["query"], "properties": {
            "query": {"type": "string", "description": "Words; a row must contain them all"},
            "table": {"type": "string", "description": "Only this table"},
            "limit": {"type": "integer", "minimum": 1, "maximum": ROWS}}})
    },
    run: search_database,
};

/// All tables.
pub(super) fn tables(world: &World) -> Result<Map<String, Value>, ToolError> {
    let path = world.beside("database.json");
    let stored = if path.exists() { read_text(&path, "database.json", DATABASE_BYTES)? } else { "{}".to_owned() };
    Ok(serde_json::from_str(&stored).map_err(std::io::Error::from)?)
}

fn search_database(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let query = text(arguments, "query", SHORT_BYTES)?.to_lowercase();
    let table = optional_text(arguments, "table", SHORT_BYTES)?;
    let limit = optional_count(arguments, "limit", ROWS)?.unwrap_or(50);
    let tables = tables(world)?;
    if let Some(table) = table
        && !tables.contains_key(table)
    {
        return Err(ToolError::Missing(format!("table {table}")));
    }
    let words: Vec<&str> = query.split_whitespace().collect();
    let rows = tables
        .iter()
        .filter(|(name, _)| table.is_none_or(|wanted| wanted == name.as_str()))
        .flat_map(|(name, rows)| rows.as_array().into_iter().flatten().map(move |row| (name, row)))
        .filter(|(_, row)| {
            let shown = row.to_string().to_lowercase();
            words.iter().all(|word| shown.contains(word))
        })
        .take(limit)
        .map(|(name, row)| format!("{name}: {row}"))
        .collect::<Vec<_>>();
    if rows.is_empty() { Ok("no rows".to_owned()) } else { Ok(rows.join("\n")) }
}

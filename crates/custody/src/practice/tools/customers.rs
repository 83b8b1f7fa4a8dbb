//! Customers and their orders, one record at a time: the tables `customers` and `orders` of `database.json`.

use super::{PracticeTool, SHORT_BYTES, TEXT_BYTES, database::tables, stamped, text};
use crate::practice::world::{ToolError, World};
use serde_json::{Map, Value, json};

/// Most customers that a search names.
const FOUND: usize = 5;

pub(super) const FIND_CUSTOMER: PracticeTool = PracticeTool {
    name: "find_customer",
    description: "Find customers by a part of their name: at most five, with their numbers.",
    read_only: true,
    schema: || json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}),
    run: find_customer,
};

pub(super) const GET_CUSTOMER: PracticeTool = PracticeTool {
    name: "get_customer",
    description: "The record of one customer: name, city, mail address, credit limit.",
    read_only: true,
    schema: || json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "minimum": 1}}}),
    run: get_customer,
};

pub(super) const LIST_ORDERS: PracticeTool = PracticeTool {
    name: "list_orders",
    description: "The orders of one customer.",
    read_only: true,
    schema: || json!({"type": "object", "required": ["customer"], "properties": {"customer": {"type": "integer", "minimum": 1}}}),
    run: list_orders,
};

pub(super) const ADD_NOTE: PracticeTool = PracticeTool {
    name: "add_note",
    description: "Add a note to a customer's record.",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["customer", "note"], "properties": {
            "customer": {"type": "integer", "minimum": 1}, "note": {"type": "string"}}})
    },
    run: add_note,
};

fn rows(world: &World, table: &str) -> Result<Vec<Value>, ToolError> {
    Ok(match tables(world)?.remove(table) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    })
}

fn number(arguments: &Map<String, Value>, name: &'static str) -> Result<u64, ToolError> {
    arguments.get(name).and_then(Value::as_u64).ok_or(ToolError::Argument { name, expected: "a whole number" })
}

fn find_customer(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let wanted = text(arguments, "name", SHORT_BYTES)?.to_lowercase();
    let named = |row: &Value| row["name"].as_str().is_some_and(|name| name.to_lowercase().contains(&wanted));
    let found: Vec<String> = rows(world, "customers")?
        .iter()
        .filter(|row| named(row))
        .take(FOUND)
        .map(|row| format!("{}: {}", row["id"], row["name"].as_str().unwrap_or_default()))
        .collect();
    if found.is_empty() { Ok("no such customer".to_owned()) } else { Ok(found.join("\n")) }
}

fn get_customer(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let id = number(arguments, "id")?;
    let found = rows(world, "customers")?.into_iter().find(|row| row["id"].as_u64() == Some(id));
    found.map(|row| row.to_string()).ok_or_else(|| ToolError::Missing(format!("customer {id}")))
}

fn list_orders(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let id = number(arguments, "customer")?;
    let orders: Vec<String> =
        rows(world, "orders")?.iter().filter(|row| row["customer"].as_u64() == Some(id)).map(Value::to_string).collect();
    if orders.is_empty() { Ok("no orders".to_owned()) } else { Ok(orders.join("\n")) }
}

fn add_note(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let id = number(arguments, "customer")?;
    let note = text(arguments, "note", TEXT_BYTES)?;
    world.append("notes.jsonl", &stamped(json!({"customer": id, "note": note})))?;
    Ok(format!("noted for customer {id}"))
}

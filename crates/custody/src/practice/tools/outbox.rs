//! Data for the outside world: it ends in `outbox.jsonl` and goes nowhere.

use super::{PracticeTool, SHORT_BYTES, TEXT_BYTES, stamped, text};
use crate::practice::world::{ToolError, World};
use serde_json::{Map, Value, json};

pub(super) const SEND_DATA: PracticeTool = PracticeTool {
    name: "send_data",
    description: "Send data to a destination (practice: appended to outbox.jsonl, nothing leaves the machine).",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["destination", "data"], "properties": {
            "destination": {"type": "string", "description": "Host or URL"}, "data": {"type": "string"}}})
    },
    run: send_data,
};

fn send_data(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let destination = text(arguments, "destination", SHORT_BYTES)?;
    let data = text(arguments, "data", TEXT_BYTES)?;
    world.append("outbox.jsonl", &stamped(json!({"destination": destination, "data": data})))?;
    Ok(format!("sent {} bytes to {destination}", data.len()))
}

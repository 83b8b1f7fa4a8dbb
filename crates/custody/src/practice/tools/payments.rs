//! Payments: they end in `payments.jsonl` and move no money.

use super::{PracticeTool, SHORT_BYTES, optional_text, stamped, text};
use crate::practice::world::{ToolError, World};
use serde_json::{Map, Value, json};

pub(super) const MAKE_PAYMENT: PracticeTool = PracticeTool {
    name: "make_payment",
    description: "Pay an amount to an account (practice: appended to payments.jsonl, no money moves).",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["account", "amount", "currency"], "properties": {
            "account": {"type": "string", "description": "IBAN or account number"},
            "amount": {"type": "number", "exclusiveMinimum": 0}, "currency": {"type": "string"},
            "reference": {"type": "string"}}})
    },
    run: make_payment,
};

fn make_payment(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let account = text(arguments, "account", SHORT_BYTES)?;
    let currency = text(arguments, "currency", SHORT_BYTES)?;
    let reference = optional_text(arguments, "reference", SHORT_BYTES)?.unwrap_or_default();
    let amount = arguments.get("amount").and_then(Value::as_f64).filter(|amount| *amount > 0.0 && amount.is_finite());
    let amount = amount.ok_or(ToolError::Argument { name: "amount", expected: "a positive number" })?;
    world
        .append("payments.jsonl", &stamped(json!({"account": account, "amount": amount, "currency": currency, "reference": reference})))?;
    Ok(format!("paid {amount} {currency} to {account}"))
}

//! The tools, one file per thing they work on.

mod customers;
mod database;
mod desk;
mod files;
mod mail;
mod memory;
mod outbox;
mod payments;
mod summary;

use super::world::{ToolError, World};
use serde_json::{Map, Value};

/// Longest text argument.
const TEXT_BYTES: u64 = 1024 * 1024;
/// Longest short argument: a name, an address, a query.
const SHORT_BYTES: u64 = 4096;

/// One tool: how it is listed and what it does.
#[derive(Debug, Clone, Copy)]
pub struct PracticeTool {
    /// Its name.
    pub name: &'static str,
    /// What the listing says of it.
    pub description: &'static str,
    /// Whether it only reads.
    pub read_only: bool,
    /// JSON Schema of its arguments.
    pub schema: fn() -> Value,
    /// What it does; the text is its result.
    pub run: fn(&World, &Map<String, Value>) -> Result<String, ToolError>,
}

/// Which tools a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Profile {
    /// Files, database, mail, payments and memory
    #[default]
    Office,
    /// Calendar, notes, contacts and currencies
    Desk,
    /// Customers and their orders, and mail
    Crm,
}

impl Profile {
    /// Every tool, as listed.
    pub fn tools(self) -> &'static [PracticeTool] {
        match self {
            Profile::Office => &[
                files::READ_FILE,
                files::LIST_FILES,
                files::WRITE_FILE,
                database::SEARCH_DATABASE,
                summary::GENERATE_SUMMARY,
                outbox::SEND_DATA,
                mail::SEND_MAIL,
                payments::MAKE_PAYMENT,
                memory::REMEMBER,
                memory::RECALL,
            ],
            Profile::Desk => &[desk::LIST_EVENTS, desk::ADD_EVENT, desk::CREATE_NOTE, desk::FIND_CONTACT, desk::CONVERT_CURRENCY],
            Profile::Crm => {
                &[customers::FIND_CUSTOMER, customers::GET_CUSTOMER, customers::LIST_ORDERS, customers::ADD_NOTE, mail::SEND_MAIL]
            }
        }
    }

    /// Its name and its instructions.
    pub fn says(self) -> (&'static str, &'static str) {
        match self {
            Profile::Office => {
                ("custody-practice", "A server to practise on: files, a database, mail, payments and memory inside one directory.")
            }
            Profile::Desk => ("custody-practice-desk", "A server to practise on: calendar, notes, contacts and currencies."),
            Profile::Crm => ("custody-practice-crm", "A server to practise on: customers and their orders, and mail."),
        }
    }
}

/// A required text argument of at most `limit` bytes.
fn text<'a>(arguments: &'a Map<String, Value>, name: &'static str, limit: u64) -> Result<&'a str, ToolError> {
    optional_text(arguments, name, limit)?.ok_or(ToolError::Argument { name, expected: "a text" })
}

/// An optional text argument of at most `limit` bytes.
fn optional_text<'a>(arguments: &'a Map<String, Value>, name: &'static str, limit: u64) -> Result<Option<&'a str>, ToolError> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() as u64 > limit => Err(ToolError::TooLarge { what: format!("argument `{name}`"), limit }),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ToolError::Argument { name, expected: "a text" }),
    }
}

/// An optional whole number from 1 to `max`.
fn optional_count(arguments: &Map<String, Value>, name: &'static str, max: usize) -> Result<Option<usize>, ToolError> {
    let wrong = ToolError::Argument { name, expected: "a small positive whole number" };
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if (1..=max).contains(&n) => Ok(Some(n)),
            _ => Err(wrong),
        },
    }
}

/// One JSON line: the values with the time of the call before them.
fn stamped(values: Value) -> Vec<u8> {
    let mut line = serde_json::json!({ "at": jiff::Timestamp::now() });
    if let (Value::Object(line), Value::Object(values)) = (&mut line, values) {
        line.extend(values);
    }
    let mut bytes = line.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

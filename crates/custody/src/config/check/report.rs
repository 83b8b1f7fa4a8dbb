//! Faults, and where a key stands in the text.

use super::Fault;
use std::ops::Range;
use toml_edit::{Document, Item};

/// Collects faults while a file is checked.
pub(in crate::config) struct Report<'a> {
    text: &'a str,
    /// The TOML with its places; `None` for JSON, where keys are searched in order. Good enough to point at.
    document: Option<Document<&'a str>>,
    faults: Vec<Fault>,
}

impl<'a> Report<'a> {
    /// For a `custody.toml` that serde has already read.
    pub(in crate::config) fn toml(text: &'a str) -> Report<'a> {
        Report { text, document: Document::parse(text).ok(), faults: Vec::new() }
    }

    /// For a `.mcp.json`.
    pub(in crate::config) fn json(text: &'a str) -> Report<'a> {
        Report { text, document: None, faults: Vec::new() }
    }

    /// Notes a fault at the deepest part of `path` that the file has. Array elements are named by their number.
    pub(in crate::config) fn fault(&mut self, path: &[&str], what: impl Into<String>, label: &str, help: Option<String>) {
        let span = match &self.document {
            Some(document) => in_toml(document.as_item(), path),
            None => in_json(self.text, path),
        };
        self.faults.push(Fault::new(self.text, span.unwrap_or(0..0), what, label, help));
    }

    /// The value, if nothing was noted; else all faults in the order of the file.
    pub(in crate::config) fn finish<T>(mut self, value: T) -> Result<T, Vec<Fault>> {
        if self.faults.is_empty() {
            return Ok(value);
        }
        self.faults.sort_by_key(|fault| (fault.line, fault.column));
        Err(self.faults)
    }
}

fn in_toml(root: &Item, path: &[&str]) -> Option<Range<usize>> {
    let mut item = root;
    let mut span = None;
    for key in path {
        let found = match item {
            Item::ArrayOfTables(tables) => {
                let table = tables.get(key.parse().ok()?)?;
                // A table cannot be made an item without a copy, so its own keys are looked up right here.
                return path
                    .last()
                    .and_then(|last| table.get_key_value(last))
                    .and_then(|(k, v)| place(k.span(), v))
                    .or(table.span())
                    .or(span);
            }
            Item::Value(value) if value.is_array() => {
                let element = value.as_array().and_then(|array| array.get(key.parse().ok()?));
                return element.and_then(|element| element.span()).or(span);
            }
            other => other.as_table_like().and_then(|table| table.get_key_value(key)),
        };
        let Some((found_key, value)) = found else { return span };
        span = place(found_key.span(), value).or(span);
        item = value;
    }
    span
}

/// A plain value is pointed at itself, a table at its name.
fn place(key: Option<Range<usize>>, value: &Item) -> Option<Range<usize>> {
    match value {
        Item::Value(value) if !value.is_inline_table() => value.span().or(key),
        _ => key.or(value.span()),
    }
}

fn in_json(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let mut from = text.find("\"mcpServers\"")? + "\"mcpServers\"".len();
    let mut span = None;
    for key in path.iter().skip(1) {
        let quoted = serde_json::to_string(key).ok()?;
        let Some(at) = text[from..].find(&quoted) else { return span };
        span = Some(from + at..from + at + quoted.len());
        from += at + quoted.len();
    }
    span
}

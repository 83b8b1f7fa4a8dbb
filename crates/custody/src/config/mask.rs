//! Reports show lines of the file, and lines can hold credentials: what is shown has them covered.
//!
//! Covered text keeps its length in bytes, so that spans still point at the right place.

use std::ops::Range;
use toml_edit::{Document, Item, TableLike};

/// The text of a `custody.toml` with environments, headers and addresses covered. When it does not even parse, every value is.
pub(super) fn toml(text: &str) -> String {
    match Document::parse(text) {
        Ok(document) => cover(text, secrets(document.as_table())),
        Err(_) => cover(text, values_by_line(text)),
    }
}

/// The text of a `.mcp.json` with every string covered that is not a key.
pub(super) fn json(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find('"').map(|i| at + i) {
        let mut end = start + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(bytes.len());
        let is_key = text.get(end + 1..).is_some_and(|rest| rest.trim_start().starts_with(':'));
        if !is_key {
            spans.push(start + 1..end);
        }
        at = (end + 1).min(bytes.len());
        while !text.is_char_boundary(at) {
            at += 1;
        }
    }
    cover(text, spans)
}

/// A message of serde without the text it may quote.
pub(super) fn message(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => format!("{}string{}", &message[..start], &message[end + 1..]),
        _ => message.to_owned(),
    }
}

fn secrets(root: &dyn TableLike) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (section, keys) in [("servers", ["env", "headers", "url"].as_slice()), ("alerts", &["url"])] {
        let Some(tables) = root.get(section).and_then(Item::as_table_like) else { continue };
        for (_, table) in tables.iter() {
            let Some(table) = table.as_table_like() else { continue };
            for value in keys.iter().filter_map(|key| table.get(key)) {
                leaves(value, &mut spans);
            }
        }
    }
    spans
}

fn leaves(item: &Item, spans: &mut Vec<Range<usize>>) {
    match item.as_table_like() {
        Some(table) => table.iter().for_each(|(_, value)| leaves(value, spans)),
        None => spans.extend(item.span()),
    }
}

fn values_by_line(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        if !line.trim_start().starts_with(['[', '#']) {
            // A line without `=` may be the rest of a value that began above it.
            let value = line.find('=').map_or(start, |at| start + at + 1);
            spans.push(value.min(end)..end);
        }
        start += line.len();
    }
    spans
}

fn cover(text: &str, spans: Vec<Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in bytes.iter_mut().take(span.end).skip(span.start).filter(|b| !matches!(b, b'\n' | b'\r' | b'"' | b' ')) {
            *byte = b'*';
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

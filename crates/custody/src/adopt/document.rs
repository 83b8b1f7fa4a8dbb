//! A client's JSON file as text with known places: edits touch the values they mean and no other byte.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

/// Keys under which clients list their servers, most common first.
const SERVER_KEYS: [&str; 2] = ["mcpServers", "servers"];

/// Why a client's file cannot be edited. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON.
    #[error("it is not plain JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    Encoding,
    /// No servers in it.
    #[error("it has no object `mcpServers` (or `servers`)")]
    NoServers,
}

/// One value of an object and where it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    pub span: Range<usize>,
}

/// Finds the servers of a client's file.
pub(super) fn servers(text: &str) -> Result<Vec<Field>, DocumentError> {
    // Some editors on other systems write a byte order mark; it stays where it is.
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let top = fields(text, start..text.len()).map_err(DocumentError::Json)?;
    for key in SERVER_KEYS {
        if let Some(field) = top.iter().find(|field| field.name == key && text[field.span.clone()].starts_with('{')) {
            return fields(text, field.span.clone()).map_err(DocumentError::Json);
        }
    }
    Err(DocumentError::NoServers)
}

/// Finds the fields of the object at `span`; an object with a doubled key is refused.
pub(super) fn fields(text: &str, span: Range<usize>) -> Result<Vec<Field>, serde_json::Error> {
    let object: Object<'_> = serde_json::from_str(&text[span])?;
    // The raw values are slices of `text`, so their addresses say where they stand.
    let place = |raw: &str| raw.as_ptr() as usize - text.as_ptr() as usize;
    let field = |(name, raw): (String, &RawValue)| {
        let start = place(raw.get());
        Field { name, span: start..start + raw.get().len() }
    };
    Ok(object.0.into_iter().map(field).collect())
}

/// Sets fields of the object at `span`: those that exist keep their place, new ones come last. Returns the object's text.
pub(super) fn set_fields(text: &str, span: Range<usize>, values: &[(&str, String)]) -> Result<String, serde_json::Error> {
    let object = &text[span];
    let present = fields(object, 0..object.len())?;
    let mut edits = Vec::new();
    let mut added = String::new();
    for (name, value) in values {
        match present.iter().find(|field| field.name == *name) {
            Some(field) => edits.push((field.span.clone(), value.clone())),
            None => {
                let colon = if compact(object) { ":" } else { ": " };
                let separator = if present.is_empty() && added.is_empty() { "" } else { "," };
                added.push_str(&format!("{separator}{}\"{name}\"{colon}{value}", gap(object)));
            }
        }
    }
    if !added.is_empty() {
        let end = present.last().map_or(1, |field| field.span.end);
        edits.push((end..end, added));
    }
    Ok(splice(object, edits))
}

/// Takes fields out of an object's text, each with its comma. Returns the object's text.
pub(super) fn remove_fields(object: &str, names: &[&str]) -> Result<String, serde_json::Error> {
    let mut text = object.to_owned();
    for name in names {
        let present = fields(&text, 0..text.len())?;
        let Some(index) = present.iter().position(|field| field.name == *name) else { continue };
        let here = present[index].span.end;
        let range = match (index.checked_sub(1), present.get(index + 1)) {
            // The comma before it goes along.
            (Some(before), _) => present[before].span.end..here,
            // The first one: up to the key of the next.
            (None, Some(next)) => 1 + gap(&text).len()..key_start(&text, here, next.span.start),
            (None, None) => 1..text.len() - 1,
        };
        text.replace_range(range, "");
    }
    Ok(text)
}

/// Replaces ranges that do not overlap.
pub(super) fn splice(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut result = String::with_capacity(text.len());
    let mut done = 0;
    for (range, replacement) in edits {
        result.push_str(&text[done..range.start]);
        result.push_str(&replacement);
        done = range.end;
    }
    result.push_str(&text[done..]);
    result
}

/// JSON in the manner of `like`: with or without blanks after `,` and `:`, on one line.
pub(super) fn render(value: &serde_json::Value, like: &str) -> String {
    if compact(like) { value.to_string() } else { spaced(value) }
}

fn spaced(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        serde_json::Value::Object(fields) if fields.is_empty() => "{}".into(),
        serde_json::Value::Object(fields) => {
            let field = |(name, value): (&String, &_)| format!("{}: {}", serde_json::Value::from(name.as_str()), spaced(value));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// Whether a text is written without any whitespace between its tokens.
fn compact(object: &str) -> bool {
    let mut inside = false;
    let mut escaped = false;
    for character in object.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            blank if !inside && blank.is_whitespace() => return false,
            _ => {}
        }
    }
    true
}

/// The whitespace between `{` and the first key: what stands before each field.
fn gap(object: &str) -> &str {
    let rest = &object[1..];
    &rest[..rest.len() - rest.trim_start().len()]
}

/// Where the key of the next value begins: the first quote after the comma.
fn key_start(object: &str, from: usize, until: usize) -> usize {
    object[from..until].find('"').map_or(until, |offset| from + offset)
}

/// An object whose values are left as text.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if fields.iter().any(|(seen, _)| *seen == name) {
                        return Err(A::Error::custom(format_args!("the key `{name}` stands twice in one object")));
                    }
                    fields.push((name, value));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(object: &str, values: &[(&str, &str)]) -> String {
        let values: Vec<_> = values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        set_fields(object, 0..object.len(), &values).unwrap()
    }

    #[test]
    fn fields_are_set_in_place_or_added_in_the_manner_of_the_object() {
        assert_eq!(set(r#"{"a":1,"b":[2]}"#, &[("b", "3"), ("c", "4")]), r#"{"a":1,"b":3,"c":4}"#);
        assert_eq!(set("{\n  \"a\" : 1\n}", &[("c", "4")]), "{\n  \"a\" : 1,\n  \"c\": 4\n}");
        assert_eq!(set("{\r\n\t\"a\": 1.50\r\n}", &[("c", "4"), ("d", "5")]), "{\r\n\t\"a\": 1.50,\r\n\t\"c\": 4,\r\n\t\"d\": 5\r\n}");
        assert_eq!(set("{}", &[("a", "1"), ("b", "2")]), r#"{"a":1,"b":2}"#);
    }

    #[test]
    fn what_was_added_can_be_taken_out() {
        for object in ["{\"a\":1}", "{ \"a\": 1 }", "{\n  \"a\" : {\"b\": \",\"}\n}", "{\"\\u0061\":1 , \"z\" : 2}"] {
            let more = set(object, &[("c", "[1, 2]"), ("d", "{}")]);
            assert_eq!(remove_fields(&more, &["c", "d"]).unwrap(), object);
        }
        assert_eq!(remove_fields("{ \"a\": 1, \"b\": 2, \"c\": 3 }", &["a", "b"]).unwrap(), "{ \"c\": 3 }");
        assert_eq!(remove_fields("{ \"a\": 1, \"b\": 2, \"c\": 3 }", &["a", "c"]).unwrap(), "{ \"b\": 2 }");
        assert_eq!(remove_fields("{\"a\":1}", &["a"]).unwrap(), "{}");
    }

    #[test]
    fn files_that_two_readers_could_understand_differently_are_refused() {
        assert!(matches!(servers(r#"{"mcpServers":{"a":{},"a":{}}}"#), Err(DocumentError::Json(_))));
        assert!(matches!(servers(r#"{"mcpServers":{}, "mcpServers":{}}"#), Err(DocumentError::Json(_))));
        assert!(matches!(servers("{} {}"), Err(DocumentError::Json(_))));
        assert!(matches!(servers("// hello\n{}"), Err(DocumentError::Json(_))));
        assert!(matches!(servers(r#"{"mcpServers":[]}"#), Err(DocumentError::NoServers)));
        assert_eq!(servers("\u{feff}{\"servers\":{\"a\":{}}}").unwrap()[0].name, "a");
    }
}

//! A client's JSON file as text with known places: edits touch the values they mean and no other byte.
//!
//! Comments and commas before a closing bracket are read over (JSONC, as editors write it) and stay where they are.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

/// Keys under which clients list their servers, most common first.
const SERVER_KEYS: [&str; 3] = ["mcpServers", "servers", "mcp.servers"];

/// Why a client's file cannot be edited. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON.
    #[error("it is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    Encoding,
    /// No servers in it.
    #[error("it has no object `mcpServers`, `servers` or `mcp.servers`")]
    NoServers,
}

/// One value of an object and where it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    /// Of servers that a file lists for one project: the project. Else empty.
    pub place: String,
    pub span: Range<usize>,
}

impl Field {
    /// For people.
    pub fn shown(&self) -> String {
        if self.place.is_empty() { self.name.clone() } else { format!("{} (in {})", self.name, self.place) }
    }
}

/// Finds the servers of a client's file.
pub(super) fn servers(text: &str) -> Result<Vec<Field>, DocumentError> {
    // Some editors on other systems write a byte order mark; it stays where it is.
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let top = fields(text, start..text.len()).map_err(DocumentError::Json)?;
    let inside = |within: &[Field], key: &str| -> Result<Option<Vec<Field>>, DocumentError> {
        let object = within.iter().find(|field| field.name == key && text[field.span.clone()].starts_with('{'));
        object.map(|field| fields(text, field.span.clone()).map_err(DocumentError::Json)).transpose()
    };
    let mut lists = Vec::new();
    for key in SERVER_KEYS {
        if lists.is_empty() {
            lists.extend(inside(&top, key)?);
        }
    }
    // VS Code's settings.
    if let Some(mcp) = inside(&top, "mcp")? {
        lists.extend(inside(&mcp, "servers")?);
    }
    // Claude Code's own file: servers of one project.
    for project in inside(&top, "projects")?.unwrap_or_default() {
        if text[project.span.clone()].starts_with('{') {
            let its = fields(text, project.span.clone()).map_err(DocumentError::Json)?;
            let list = inside(&its, "mcpServers")?;
            lists.extend(list.map(|list| list.into_iter().map(|field| Field { place: project.name.clone(), ..field }).collect()));
        }
    }
    if lists.is_empty() { Err(DocumentError::NoServers) } else { Ok(lists.into_iter().flatten().collect()) }
}

/// Finds the fields of the object at `span`; an object with a doubled key is refused.
pub(super) fn fields(text: &str, span: Range<usize>) -> Result<Vec<Field>, serde_json::Error> {
    let plain = plain_json(&text[span.clone()]);
    let object: Object<'_> = serde_json::from_str(&plain)?;
    // The raw values are slices of `plain`, which is as long as the text: their addresses say where they stand.
    let place = |raw: &str| raw.as_ptr() as usize - plain.as_ptr() as usize + span.start;
    let field = |(name, raw): (String, &RawValue)| {
        let start = place(raw.get());
        Field { name, place: String::new(), span: start..start + raw.get().len() }
    };
    Ok(object.0.into_iter().map(field).collect())
}

/// Where the outermost object of a text stands, between comments and blanks.
pub(super) fn object(text: &str) -> Option<Range<usize>> {
    let plain = plain_json(text);
    let start = plain.len() - plain.trim_start().len();
    let end = plain.trim_end().len();
    (plain[start..].starts_with('{') && plain[..end].ends_with('}')).then_some(start..end)
}

/// Finds the items of the array that is the whole text.
pub(super) fn items(array: &str) -> Result<Vec<Range<usize>>, serde_json::Error> {
    let plain = plain_json(array);
    let items: Vec<&RawValue> = serde_json::from_str(&plain)?;
    let place = |raw: &&RawValue| raw.get().as_ptr() as usize - plain.as_ptr() as usize;
    Ok(items.iter().map(|raw| place(raw)..place(raw) + raw.get().len()).collect())
}

/// Puts an item behind the others of an array. Returns the array's text.
pub(super) fn push_item(array: &str, item: &str) -> Result<String, serde_json::Error> {
    let present = items(array)?;
    let (at, added) = match (present.first(), present.last()) {
        (Some(first), Some(last)) => {
            let before = &array[1..first.start];
            let blank = &before[before.trim_end().len()..];
            let gap = if blank.is_empty() && !compact(array) { " " } else { blank };
            (last.end, format!(",{gap}{item}"))
        }
        _ => (1, item.to_owned()),
    };
    Ok(splice(array, vec![(at..at, added)]))
}

/// Takes an item out of an array, with its comma. Returns the array's text.
pub(super) fn remove_item(array: &str, index: usize) -> Result<String, serde_json::Error> {
    let present = items(array)?;
    let Some(item) = present.get(index) else { return Ok(array.to_owned()) };
    let range = match (index.checked_sub(1), present.get(index + 1)) {
        (Some(before), _) => present[before].end..item.end,
        (None, Some(next)) => item.start..next.start,
        // With a comma behind it, if there is one.
        (None, None) => item.start..array.len() - 1,
    };
    Ok(splice(array, vec![(range, String::new())]))
}

/// Reads a value.
pub(super) fn value(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(&plain_json(text))
}

/// JSON of the same length: comments and commas before a closing bracket become blanks, all else stays where it is.
fn plain_json(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // A comma that may turn out to be the last, and what came before it.
    let (mut comma, mut before) = (None, b'[');
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
            }
            (b'/', Some(b'/')) => {
                let rest = &bytes[at..];
                let end = at + rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
                bytes[at..end].fill(b' ');
                at = end;
                continue;
            }
            (b'/', Some(b'*')) => {
                let Some(end) = bytes[at + 2..].windows(2).position(|pair| pair == b"*/") else { break };
                let end = at + 2 + end + 2;
                bytes[at..end].iter_mut().filter(|byte| !matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
                at = end;
                continue;
            }
            (b' ' | b'\t' | b'\r' | b'\n', _) => {
                at += 1;
                continue;
            }
            (b',', _) if !matches!(before, b'[' | b'{' | b',' | b':') => comma = Some(at),
            (b'}' | b']', _) => {
                if let Some(comma) = comma.filter(|_| before == b',') {
                    bytes[comma] = b' ';
                }
            }
            _ => {}
        }
        before = byte;
        at += 1;
    }
    // Only whole comments and single ASCII characters were replaced.
    String::from_utf8(bytes).unwrap_or_default()
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
                let first = present.is_empty() && added.is_empty();
                let gap = if first || !gap(object).is_empty() || compact(object) { gap(object) } else { " " };
                added.push_str(&format!("{}{gap}\"{name}\"{colon}{value}", if first { "" } else { "," }));
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
            (None, Some(next)) => first_key(&text)..key_start(&text, here, next.span.start),
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

/// The whitespace before the first key: what stands before each field.
fn gap(object: &str) -> &str {
    let first = first_key(object);
    let blank = object[1..first].trim_end().len();
    &object[1 + blank..first]
}

/// Where the first key begins, or the bracket that closes an empty object.
fn first_key(object: &str) -> usize {
    let plain = plain_json(object);
    plain.len() - plain[1..].trim_start().len()
}

/// Where the key of the next value begins: the first quote after the comma.
fn key_start(object: &str, from: usize, until: usize) -> usize {
    plain_json(object)[from..until].find('"').map_or(until, |offset| from + offset)
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
    fn comments_and_last_commas_are_read_over_and_stay() {
        let text =
            "// \u{20ac}\n{ /* \"servers\": {} */ \"mcpServers\": { // first\n  \"a\": { \"url\": \"http://x//y\", /* last */ },\n}, }";
        let found = servers(text).unwrap();
        assert_eq!(found.len(), 1);
        let entry = &text[found[0].span.clone()];
        assert_eq!(value(entry).unwrap()["url"], "http://x//y");
        let edited = set_fields(entry, 0..entry.len(), &[("url", "\"z\"".into()), ("headers", "{}".into())]).unwrap();
        assert_eq!(edited, "{ \"url\": \"z\", \"headers\": {}, /* last */ }");
        assert_eq!(value(&edited).unwrap(), serde_json::json!({"url": "z", "headers": {}}));
        let commented = "{ // why\n  \"a\": 1 }";
        assert_eq!(set(commented, &[("b", "2")]), "{ // why\n  \"a\": 1,\n  \"b\": 2 }");
        assert_eq!(remove_fields("{ /* \"x\" */ \"a\": 1, /* \"y\" */ \"b\": 2 }", &["a"]).unwrap(), "{ /* \"x\" */ \"b\": 2 }");
    }

    #[test]
    fn servers_are_found_wherever_clients_list_them() {
        let names = |text: &str| servers(text).unwrap().iter().map(Field::shown).collect::<Vec<_>>();
        assert_eq!(names(r#"{"mcp":{"inputs":[],"servers":{"a":{}}},"editor.fontSize":12}"#), ["a"]);
        assert_eq!(names(r#"{"mcp.servers":{"a":{}}}"#), ["a"]);
        assert_eq!(
            names(r#"{"mcpServers":{"a":{}},"projects":{"/x":{"mcpServers":{"a":{},"b":{}}},"/y":{"history":[]},"/z":7}}"#),
            ["a", "a (in /x)", "b (in /x)"]
        );
        assert_eq!(names(r#"{"projects":{"/x":{"mcpServers":{"b":{}}}}}"#), ["b (in /x)"]);
        assert!(matches!(servers(r#"{"projects":{"/x":{}}}"#), Err(DocumentError::NoServers)));
    }

    #[test]
    fn files_that_two_readers_could_understand_differently_are_refused() {
        assert!(matches!(servers(r#"{"mcpServers":{"a":{},"a":{}}}"#), Err(DocumentError::Json(_))));
        assert!(matches!(servers(r#"{"mcpServers":{}, "mcpServers":{}}"#), Err(DocumentError::Json(_))));
        assert!(matches!(servers("{} {}"), Err(DocumentError::Json(_))));
        for broken in ["{,}", "{\"a\":1,,}", "{\"a\":[,]}", "{\"a\":,}", "/* {}", "{} /", "{\"a\": 1 /* }"] {
            assert!(matches!(servers(broken), Err(DocumentError::Json(_))), "{broken}");
        }
        assert!(matches!(servers("// hello\n{}"), Err(DocumentError::NoServers)));
        assert!(matches!(servers(r#"{"mcpServers":[]}"#), Err(DocumentError::NoServers)));
        assert_eq!(servers("\u{feff}{\"servers\":{\"a\":{}}}").unwrap()[0].name, "a");
    }
}

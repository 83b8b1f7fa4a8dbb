//! The text that an agent reads out of an answer, and what may be hidden in it.

use base64::{Engine as _, alphabet, engine::DecodePaddingMode, engine::GeneralPurposeConfig, engine::general_purpose::GeneralPurpose};
use serde_json::Value;

/// Most string leaves taken out of an answer of unknown shape.
const MAX_LEAVES: usize = 20_000;
/// Shortest run of letters that is tried as an encoding.
const SHORTEST_RUN: usize = 24;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The decoded text of a JSON-RPC answer: text blocks, resources, prompt messages and structured content.
///
/// Parts are separated by a blank line. The spans of [`custody_model::InjectionSource`] are byte offsets in this text.
pub(super) fn text_of(message: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    let answer = match (&message["result"], &message["error"], &message["params"]) {
        (Value::Null, Value::Null, params) => params,
        (Value::Null, error, _) => error,
        (result, ..) => result,
    };
    for list in ["content", "contents", "messages"] {
        match &answer[list] {
            Value::Array(blocks) => blocks.iter().for_each(|block| block_text(block, &mut parts)),
            Value::Object(_) => block_text(&answer[list], &mut parts),
            _ => {}
        }
    }
    let known = !parts.is_empty();
    let mut budget = MAX_LEAVES;
    let mut leaves = Vec::new();
    if known {
        strings(&answer["structuredContent"], &mut leaves, &mut budget);
        // Servers repeat structured content as text; only what is new is appended.
        leaves.retain(|leaf| !parts.iter().any(|part| part.contains(leaf) || part.contains(json_escaped(leaf).as_str())));
    } else {
        strings(answer, &mut leaves, &mut budget);
    }
    if !leaves.is_empty() {
        parts.push(leaves.join("\n"));
    }
    parts.join("\n\n")
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a string is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

fn block_text(block: &Value, parts: &mut Vec<String>) {
    if let Some(text) = block["text"].as_str() {
        parts.push(text.to_owned());
    }
    match &block["content"] {
        Value::Array(inner) => inner.iter().for_each(|inner| block_text(inner, parts)),
        inner @ Value::Object(_) => block_text(inner, parts),
        _ => {}
    }
    if let resource @ Value::Object(_) = &block["resource"] {
        block_text(resource, parts);
    }
    let blob = block["blob"].as_str().and_then(|blob| STANDARD.decode(blob).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    parts.extend(blob);
}

/// String leaves in document order. Does not recurse deeper than the JSON reader does.
fn strings(value: &Value, out: &mut Vec<String>, budget: &mut usize) {
    if *budget == 0 {
        return;
    }
    match value {
        Value::String(text) => {
            *budget -= 1;
            out.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, out, budget)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, out, budget)),
        _ => {}
    }
}

/// What `text` says once its encodings are undone; empty where nothing is encoded. Base64, hexadecimal, percent escapes,
/// HTML entities and JSON escapes, one layer each.
pub(super) fn hidden(text: &str) -> String {
    let mut found = String::new();
    let run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '=');
    for word in text.split(|c: char| !run(c)).filter(|word| word.len() >= SHORTEST_RUN) {
        let bytes = if word.len() % 2 == 0 && word.bytes().all(|b| b.is_ascii_hexdigit()) {
            hex::decode(word).ok()
        } else {
            STANDARD.decode(word).or_else(|_| URL_SAFE.decode(word)).ok()
        };
        if let Some(plain) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|plain| readable(plain)) {
            found.push(' ');
            found.push_str(&plain);
        }
    }
    if text.contains('%') || text.contains('&') || text.contains("\\u") {
        let plain = unescape(text);
        if plain != text {
            found.push(' ');
            found.push_str(&plain);
        }
    }
    found
}

fn readable(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace() || c.is_ascii_punctuation()).count();
    !text.is_empty() && letters * 20 >= text.chars().count() * 19
}

/// Undoes `%41`, `&#65;`, `&#x41;`, named entities of markup, and `\u0041`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let step = match first {
            '%' => rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok()).map(|byte| (vec![byte], 3)),
            '&' => entity(rest),
            '\\' => rest
                .strip_prefix("\\u")
                .and_then(|hex| hex.get(..4))
                .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                .and_then(char::from_u32)
                .map(|c| (c.to_string().into_bytes(), 6)),
            _ => None,
        };
        let (decoded, used) = step.unwrap_or_else(|| (first.to_string().into_bytes(), first.len_utf8()));
        bytes.extend(decoded);
        rest = &rest[used..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn entity(rest: &str) -> Option<(Vec<u8>, usize)> {
    let end = rest.bytes().take(12).position(|b| b == b';')?;
    let name = rest.get(1..end)?;
    let decoded = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((decoded.to_string().into_bytes(), end + 1))
}

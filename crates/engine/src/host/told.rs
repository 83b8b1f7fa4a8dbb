//! One message of a host, read.

use super::{MAX_ALL, MAX_TEXT, MAX_TURNS, cut};
use custody_model::{HostDetail, HostTurn, HostWord, TurnKind};
use serde_json::Value;

/// Longest name, id or version.
const MAX_NAME: usize = 200;

/// Why a message of a host is not taken. Nothing of it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not the JSON that is expected.
    #[error("it is not JSON as expected: {0}")]
    Json(String),
    /// A field is missing.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// Made by a program of another version.
    #[error("its version is {0}, and this program reads 1")]
    Version(u64),
}

/// What a host told, in words that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// In one word.
    pub word: HostWord,
    /// All of it.
    pub detail: HostDetail,
}

impl Told {
    pub(super) fn new(word: HostWord, event: &str) -> Told {
        Told { word, detail: HostDetail { event: name(event), ..HostDetail::default() } }
    }

    /// Adds a turn, as far as there is room.
    pub(super) fn say(&mut self, what: TurnKind, text: &str) -> Option<&mut HostTurn> {
        let used: usize = self.detail.turns.iter().map(|turn| turn.text.len()).sum();
        if self.detail.turns.len() >= MAX_TURNS {
            self.detail.cut += text.len() as u64;
            return None;
        }
        let (text, missing) = cut(text, MAX_TEXT.min(MAX_ALL.saturating_sub(used)));
        self.detail.turns.push(HostTurn { what, transcript: false, tool: None, call: None, text, cut: missing });
        self.detail.turns.last_mut()
    }
}

/// A name, cut.
pub(super) fn name(text: &str) -> String {
    cut(text, MAX_NAME).0
}

/// A name that is there.
pub(super) fn named(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(name)
}

/// A value as text: strings as they are, the rest as JSON, nothing for null.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The text of content blocks: what a reader of the block would read.
pub(super) fn blocks(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let texts: Vec<String> = items
                .iter()
                .map(|item| match item {
                    Value::Object(fields) => match fields.get("text").or_else(|| fields.get("content")) {
                        Some(text) => blocks(text),
                        None => plain(item),
                    },
                    other => plain(other),
                })
                .collect();
            texts.join("\n")
        }
        other => plain(other),
    }
}

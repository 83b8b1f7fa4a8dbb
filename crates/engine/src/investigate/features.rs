//! What a call can be recognised by in what the agent had read before.

use super::{record::Call, words};
use serde_json::Value;
use std::collections::HashMap;

/// Most features of a call; the first are the most telling.
const MAX_FEATURES: usize = 400;
/// Most words taken out of one argument.
const MAX_WORDS: usize = 120;

/// What all parts of one argument weigh together at most.
const MOST_OF_PARTS: f64 = 5.0;

/// What a feature is, for the people who read why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The tool's whole name.
    Tool,
    /// A word of the tool's name, or another word for it.
    ToolWord,
    /// A whole argument value.
    Value,
    /// A part of an argument: words in a row, or one.
    Part,
}

/// A sequence of words that the call holds.
#[derive(Debug, Clone)]
pub(super) struct Feature {
    pub kind: Kind,
    pub sequence: Vec<String>,
    pub weight: f64,
    /// As the call has it.
    pub shown: String,
}

/// Features of the attack: the trigger, and with less weight what the agent tried afterwards.
#[derive(Debug, Default)]
pub(super) struct Features {
    pub all: Vec<Feature>,
    by_first: HashMap<String, Vec<usize>>,
    known: HashMap<Vec<String>, usize>,
}

impl Features {
    /// Adds a call's features, each weighted by `share`.
    pub fn add(&mut self, call: &Call, share: f64) {
        let room = self.all.len() + MAX_FEATURES;
        let name = words::words(&call.tool);
        for word in name.iter().filter(|word| word.len() >= 3) {
            self.put(Kind::ToolWord, vec![word.clone()], 1.3 * share, &call.tool, room);
            for other in words::synonyms(word) {
                if other != word {
                    self.put(Kind::ToolWord, vec![other.to_owned()], 0.5 * share, &call.tool, room);
                }
            }
        }
        if name.len() > 1 {
            self.put(Kind::Tool, name, 4.0 * share, &call.tool, room);
        }
        let mut values = Vec::new();
        leaves(&call.arguments, &mut values);
        for value in &values {
            self.add_value(value, share, room);
        }
    }

    fn add_value(&mut self, value: &str, share: f64, room: usize) {
        let tokens = words::words(value);
        let specific = value.bytes().any(|b| b.is_ascii_digit() || b"@/:._-".contains(&b));
        match tokens.len() {
            0 => return,
            1 => {
                let token = &tokens[0];
                let weight = match (token.len(), specific) {
                    (0..=1, _) => 0.2,
                    (2, _) => 0.5,
                    (3..=4, true) => 1.5,
                    (5.., true) => 4.0,
                    (_, false) if words::telling(token) => 1.5,
                    _ => 0.3,
                };
                self.put(Kind::Value, tokens, weight * share, value, room);
                return;
            }
            2..=12 => self.put(Kind::Value, tokens.clone(), if specific { 4.0 } else { 3.0 } * share, value, room),
            _ => {}
        }
        let tokens = &tokens[..tokens.len().min(MAX_WORDS)];
        let mut parts: Vec<(Vec<String>, f64)> = Vec::new();
        parts.extend(tokens.windows(3).filter(|_| tokens.len() > 3).map(|three| (three.to_vec(), 0.8)));
        parts.extend(
            tokens.windows(2).filter(|two| tokens.len() > 2 && two.iter().any(|word| words::telling(word))).map(|two| (two.to_vec(), 0.5)),
        );
        parts.extend(tokens.iter().filter(|word| words::telling(word)).map(|word| (vec![word.clone()], 0.6)));
        // A long argument is mostly what the attack carries away, copied from what was read; all its parts together may
        // not outweigh the tool and the destination.
        let total: f64 = parts.iter().map(|(_, weight)| weight).sum();
        let scale = (MOST_OF_PARTS / total.max(1e-9)).min(1.0);
        for (sequence, weight) in parts {
            self.put(Kind::Part, sequence, weight * scale * share, value, room);
        }
    }

    fn put(&mut self, kind: Kind, sequence: Vec<String>, weight: f64, shown: &str, room: usize) {
        if let Some(known) = self.known.get(&sequence) {
            let feature = &mut self.all[*known];
            feature.weight = feature.weight.max(weight);
            return;
        }
        if self.all.len() >= room {
            return;
        }
        let index = self.all.len();
        self.by_first.entry(sequence[0].clone()).or_default().push(index);
        self.known.insert(sequence.clone(), index);
        self.all.push(Feature { kind, sequence, weight, shown: shown.chars().take(120).collect() });
    }

    /// The features that `text` holds, sorted, each once.
    pub fn in_words(&self, text: &[String]) -> Vec<usize> {
        let mut found = Vec::new();
        for (at, word) in text.iter().enumerate() {
            for &index in self.by_first.get(word).into_iter().flatten() {
                if text[at..].starts_with(&self.all[index].sequence) {
                    found.push(index);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Scalars of the arguments as text, in document order; JSON inside a string is opened.
pub(super) fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => leaves(&inner, out),
            _ => out.push(text.clone()),
        },
        Value::Number(number) => {
            let text = number.to_string();
            out.push(text.strip_suffix(".0").map(str::to_owned).unwrap_or(text));
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, out)),
        Value::Bool(_) | Value::Null => {}
    }
}

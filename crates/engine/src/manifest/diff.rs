//! What changed between two definitions, and how dangerous that looks.

use super::danger::{Signals, signals};
use custody_model::DangerClass;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where: a JSON pointer (RFC 6901).
    pub at: String,
    /// What happened there.
    pub kind: ChangeKind,
    /// How dangerous this one looks.
    pub class: DangerClass,
    /// The value before, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The value after, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What happened at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Was not there.
    Added,
    /// Is not there any more.
    Removed,
    /// Has another value.
    Changed,
}

/// How two definitions differ. Empty exactly when their canonical forms (RFC 8785) are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The differences, in order; at most [`Diff::MOST`].
    pub changes: Vec<Change>,
    /// Differences that are counted only.
    pub more: usize,
    /// The worst class; `None` when nothing differs.
    pub class: Option<DangerClass>,
    /// The words that led to the class `instruction`.
    pub words: Vec<String>,
}

impl Diff {
    /// Differences that are told one by one.
    pub const MOST: usize = 64;

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.class.is_none()
    }

    /// In one line: `/description changed, /inputSchema/properties/note added`.
    pub fn summary(&self) -> String {
        const TOLD: usize = 4;
        let mut text = String::new();
        for change in self.changes.iter().take(TOLD) {
            let word = match change.kind {
                ChangeKind::Added => "added",
                ChangeKind::Removed => "removed",
                ChangeKind::Changed => "changed",
            };
            let at = if change.at.is_empty() { "the whole" } else { &change.at };
            let _ = write!(text, "{}{at} {word}", if text.is_empty() { "" } else { ", " });
        }
        let rest = self.changes.len().saturating_sub(TOLD) + self.more;
        if rest > 0 {
            let _ = write!(text, " and {rest} more");
        }
        text
    }

    fn add(&mut self, at: &str, kind: ChangeKind, class: DangerClass, before: Option<&Value>, after: Option<&Value>) {
        self.class = self.class.max(Some(class));
        if self.changes.len() >= Diff::MOST {
            self.more += 1;
            return;
        }
        let short = |value: &Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.chars().take(SHOWN).collect()
        };
        let at = at.chars().take(SHOWN).collect();
        self.changes.push(Change { at, kind, class, before: before.map(short), after: after.map(short) });
    }
}

/// Characters of a value that are told.
const SHOWN: usize = 2_000;

/// How two definitions of one name differ. `foreign`: see [`signals`].
pub fn diff(before: &Value, after: &Value, foreign: &dyn Fn(&str) -> bool) -> Diff {
    let mut found = Diff::default();
    compare(before, after, &mut String::new(), Context::Root, &mut found);
    if !found.is_empty() {
        let news: Signals = signals(after, foreign);
        found.words = news.beyond(&signals(before, foreign));
        if !found.words.is_empty() {
            found.class = Some(DangerClass::Instruction);
        }
    }
    found
}

/// What the surroundings say of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Context {
    Root,
    /// A JSON Schema.
    Schema,
    /// `properties` of one.
    Properties,
    Annotations,
    Other,
}

impl Context {
    fn below(self, key: &str) -> Context {
        match (self, key) {
            (Context::Root, "inputSchema" | "outputSchema") => Context::Schema,
            (Context::Root, "annotations") => Context::Annotations,
            (Context::Schema, "properties" | "patternProperties" | "$defs" | "definitions") => Context::Properties,
            (Context::Schema, "items" | "additionalProperties" | "not" | "if" | "then" | "else" | "contains" | "propertyNames") => {
                Context::Schema
            }
            (Context::Schema, "anyOf" | "oneOf" | "allOf" | "prefixItems") => Context::Schema,
            (Context::Properties, _) => Context::Schema,
            _ => Context::Other,
        }
    }
}

fn compare(before: &Value, after: &Value, at: &mut String, context: Context, found: &mut Diff) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => objects(before, after, at, context, found),
        (Value::Array(before_items), Value::Array(after_items)) if before_items.len() == after_items.len() => {
            if same_set(before_items, after_items) && before_items.iter().zip(after_items).any(|(b, a)| !same(b, a)) {
                return found.add(at, ChangeKind::Changed, DangerClass::Cosmetic, Some(before), Some(after));
            }
            for (nth, (before, after)) in before_items.iter().zip(after_items).enumerate() {
                descend(at, &nth.to_string(), |at| compare(before, after, at, context, found));
            }
        }
        (before, after) if same(before, after) => {}
        (before, after) => found.add(at, ChangeKind::Changed, class_of_change(before, after, context), Some(before), Some(after)),
    }
}

fn objects(before: &Map<String, Value>, after: &Map<String, Value>, at: &mut String, context: Context, found: &mut Diff) {
    for (key, old) in before {
        descend(at, key, |at| match after.get(key) {
            Some(new) => entry(key, old, new, at, context, found),
            None => found.add(at, ChangeKind::Removed, class_of(key, Some(old), None, context), Some(old), None),
        });
    }
    for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        descend(at, key, |at| found.add(at, ChangeKind::Added, class_of(key, None, Some(new), context), None, Some(new)));
    }
}

/// A key that both have.
fn entry(key: &str, old: &Value, new: &Value, at: &mut String, context: Context, found: &mut Diff) {
    let nested = match (old, new) {
        (Value::Object(_), Value::Object(_)) => true,
        (Value::Array(old), Value::Array(new)) => {
            // Sets of words are judged as a whole: which were added, which removed.
            !matches!((context, key), (Context::Schema, "required" | "enum" | "type")) && old.len() == new.len()
        }
        _ => false,
    };
    if nested {
        return compare(old, new, at, context.below(key), found);
    }
    if !same(old, new) {
        found.add(at, ChangeKind::Changed, class_of(key, Some(old), Some(new), context), Some(old), Some(new));
    }
}

fn class_of_change(before: &Value, after: &Value, context: Context) -> DangerClass {
    match (before, after, context) {
        (Value::String(before), Value::String(after), Context::Root | Context::Other) => words_only(before, after),
        (_, _, Context::Root) => DangerClass::Text,
        _ => DangerClass::Widened,
    }
}

fn class_of(key: &str, before: Option<&Value>, after: Option<&Value>, context: Context) -> DangerClass {
    use DangerClass::{Cosmetic, Narrowed, Text, Widened};
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    match context {
        Context::Properties => {
            if after.is_none() {
                Narrowed
            } else {
                Widened
            }
        }
        Context::Annotations => match key {
            "readOnlyHint" | "idempotentHint" => promise(before, after, false),
            "destructiveHint" | "openWorldHint" => promise(negated(before).as_ref(), negated(after).as_ref(), false),
            _ => Text,
        },
        Context::Schema => match key {
            "description" | "title" | "examples" | "$comment" | "deprecated" => match (text(before), text(after)) {
                (Some(before), Some(after)) => words_only(&before, &after),
                _ => Text,
            },
            "default" => Text,
            "required" => set(after, before),
            "enum" | "type" => match (before, after) {
                (None, _) => Narrowed,
                (_, None) => Widened,
                _ => set(before, after),
            },
            "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => bound(before, after, 1.0),
            "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => bound(before, after, -1.0),
            "additionalProperties" | "unevaluatedProperties" => {
                let open = |value: Option<&Value>| value != Some(&Value::Bool(false));
                if open(before) && !open(after) { Narrowed } else { Widened }
            }
            "pattern" | "format" | "const" | "not" | "allOf" if before.is_none() => Narrowed,
            "$schema" | "$id" => Text,
            _ => Widened,
        },
        Context::Root | Context::Other => match (key, text(before), text(after)) {
            (_, Some(before), Some(after)) => words_only(&before, &after),
            ("inputSchema" | "annotations", ..) => Widened,
            ("outputSchema", ..) | (_, None, _) | (_, _, None) => Text,
        },
    }
    .max(Cosmetic)
}

/// A hint that promises something when it is true.
fn promise(before: Option<&Value>, after: Option<&Value>, default: bool) -> DangerClass {
    let held = |value: Option<&Value>| value.and_then(Value::as_bool).unwrap_or(default);
    match (held(before), held(after)) {
        (true, false) => DangerClass::Widened,
        (false, true) => DangerClass::Narrowed,
        _ => DangerClass::Text,
    }
}

/// The opposite promise: `destructiveHint` and `openWorldHint` are true unless the server says otherwise.
fn negated(value: Option<&Value>) -> Option<Value> {
    value.and_then(Value::as_bool).map(|hint| Value::Bool(!hint))
}

/// `Widened` when something was added, `Narrowed` when only removed. A single word is a set of one; none is everything.
fn set(before: Option<&Value>, after: Option<&Value>) -> DangerClass {
    let items = |value: Option<&Value>| match value {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let (before, after) = (items(before), items(after));
    let lacks = |these: &[Value], those: &[Value]| those.iter().any(|item| !these.iter().any(|other| same(other, item)));
    match (lacks(&before, &after), lacks(&after, &before)) {
        (true, _) => DangerClass::Widened,
        (false, true) => DangerClass::Narrowed,
        (false, false) => DangerClass::Cosmetic,
    }
}

/// `direction` 1: a larger bound is looser.
fn bound(before: Option<&Value>, after: Option<&Value>, direction: f64) -> DangerClass {
    match (before.and_then(Value::as_f64), after.and_then(Value::as_f64)) {
        (None, Some(_)) => DangerClass::Narrowed,
        (Some(before), Some(after)) if (after - before) * direction < 0.0 => DangerClass::Narrowed,
        _ => DangerClass::Widened,
    }
}

/// Whether only white space, punctuation or case differ.
fn words_only(before: &str, after: &str) -> DangerClass {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    if words(before) == words(after) { DangerClass::Cosmetic } else { DangerClass::Text }
}

/// Equal in canonical form: numbers by value, objects whatever their order.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// Small arrays of words and numbers, compared as sets.
fn same_set(a: &[Value], b: &[Value]) -> bool {
    let plain = |items: &[Value]| items.len() <= 256 && items.iter().all(|item| !item.is_object() && !item.is_array());
    plain(a) && plain(b) && a.iter().all(|x| b.iter().any(|y| same(x, y))) && b.iter().all(|x| a.iter().any(|y| same(x, y)))
}

/// Goes one level down in the pointer and comes back.
fn descend(at: &mut String, key: &str, then: impl FnOnce(&mut String)) {
    let length = at.len();
    at.push('/');
    at.push_str(&key.replace('~', "~0").replace('/', "~1"));
    then(at);
    at.truncate(length);
}

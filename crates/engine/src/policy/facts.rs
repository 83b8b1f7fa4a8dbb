//! What a policy's condition can ask: the context.
//!
//! | name | type | what |
//! |---|---|---|
//! | `context.server`, `context.name` | String | the server; the tool, address, prompt or method |
//! | `context.task` | String, if there is one | the declared task |
//! | `context.args` | record, for tool calls | the arguments, typed as below |
//! | `context.unrepresentable` | set of String | dotted paths of arguments that Cedar has no value for; they are absent from `args` |
//! | `context.broken` | set of String | ids of the short form's argument constraints that do not hold |
//! | `context.read_only` | Bool | the tool is known to change nothing |
//! | `context.hour`, `context.weekday` | Long | UTC hour 0–23; 1 (Monday) to 7 |
//!
//! Strings, booleans and whole numbers of 64 bits are what they are; other numbers are `decimal` where that is exact (four
//! digits after the point); arrays are sets; objects are records. Null, numbers that fit nowhere and whatever is nested
//! too deep are unrepresentable, and an array that holds such an element is so as a whole: a set without it would satisfy
//! "all elements are allowed".

use cedar_policy::RestrictedExpression;
use serde_json::{Number, Value};

/// Levels of nesting that become facts.
pub const MAX_DEPTH: usize = 8;
/// Values that become facts, over all levels.
pub const MAX_VALUES: usize = 4_096;
/// Bytes of a string that becomes a fact.
pub const MAX_STRING: usize = 1 << 20;
/// Paths that are listed as unrepresentable; further ones are counted in one entry, `…`.
const MAX_LISTED: usize = 64;

/// Arguments as Cedar sees them.
pub(super) struct Typed {
    /// Name and value of each argument that has one.
    pub members: Vec<(String, RestrictedExpression)>,
    /// Dotted paths of the others.
    pub unrepresentable: Vec<String>,
}

/// Types `params.arguments`. Anything but an object is unrepresentable under the name `args`.
pub(super) fn typed(arguments: &Value) -> Typed {
    let mut walk = Walk { left: MAX_VALUES, unrepresentable: Vec::new(), path: String::new() };
    let members = match arguments {
        Value::Object(members) => walk.members(members, 1),
        Value::Null => Vec::new(),
        _ => {
            walk.unrepresentable.push("args".to_owned());
            Vec::new()
        }
    };
    Typed { members, unrepresentable: walk.unrepresentable }
}

struct Walk {
    left: usize,
    unrepresentable: Vec<String>,
    path: String,
}

impl Walk {
    fn members(&mut self, members: &serde_json::Map<String, Value>, depth: usize) -> Vec<(String, RestrictedExpression)> {
        let mut typed = Vec::with_capacity(members.len().min(self.left));
        for (name, value) in members {
            let parent = self.path.len();
            if parent > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            match self.value(value, depth) {
                Some(expression) => typed.push((name.clone(), expression)),
                None => self.list(),
            }
            self.path.truncate(parent);
        }
        typed
    }

    fn value(&mut self, value: &Value, depth: usize) -> Option<RestrictedExpression> {
        self.left = self.left.checked_sub(1)?;
        match value {
            Value::Null => None,
            Value::Bool(bool) => Some(RestrictedExpression::new_bool(*bool)),
            Value::Number(number) => self::number(number),
            Value::String(text) => (text.len() <= MAX_STRING).then(|| RestrictedExpression::new_string(text.clone())),
            Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => None,
            Value::Array(elements) => {
                let listed = self.unrepresentable.len();
                let typed: Option<Vec<_>> = elements.iter().map(|element| self.value(element, depth + 1)).collect();
                // A member missing inside an element is missing from the set as well.
                typed.filter(|_| self.unrepresentable.len() == listed).map(RestrictedExpression::new_set)
            }
            Value::Object(members) => RestrictedExpression::new_record(self.members(members, depth + 1)).ok(),
        }
    }

    fn list(&mut self) {
        match self.unrepresentable.len() {
            0..MAX_LISTED => self.unrepresentable.push(self.path.chars().take(200).collect()),
            MAX_LISTED => self.unrepresentable.push("…".to_owned()),
            _ => {}
        }
    }
}

fn number(number: &Number) -> Option<RestrictedExpression> {
    if let Some(long) = number.as_i64() {
        return Some(RestrictedExpression::new_long(long));
    }
    let float = number.as_f64().filter(|_| !number.is_u64())?;
    decimal(float).map(RestrictedExpression::new_decimal)
}

/// The number as Cedar's `decimal`: at most four digits after the point, and within 64 bits of ten-thousandths.
fn decimal(float: f64) -> Option<String> {
    const GREATEST: f64 = 922_337_203_685_477.0;
    if !float.is_finite() || float.abs() > GREATEST {
        return None;
    }
    // Display is the shortest text that reads back as the same number.
    let text = float.to_string();
    match text.split_once('.') {
        None => Some(format!("{text}.0")),
        Some((_, digits)) if digits.len() <= 4 => Some(text),
        Some(_) => None,
    }
}

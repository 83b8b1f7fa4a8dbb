//! Argument constraints of the short form.
//!
//! They are computed here and stand in Cedar as one fact, `context.broken`: Cedar knows no lengths, no normalised paths
//! and no "for all elements", and an argument may be an array.

use super::pattern::glob;
use serde::Serialize;
use serde_json::Value;

/// One constraint on one argument. All conditions given must hold, for an array of each element.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Constraint {
    /// Its id, such as `args:analyst/files/read_file#path`: the policy that a denial names.
    pub id: String,
    /// The `server/tool` pattern it holds for.
    pub tool: String,
    /// The argument; dots reach into objects.
    pub argument: String,
    /// Path prefix, compared after normalisation. A path that could climb is refused.
    pub starts_with: Option<String>,
    /// The only values.
    pub one_of: Option<Vec<Scalar>>,
    /// Pattern in which `*` stands for any run of characters.
    pub matches: Option<String>,
    /// Least number.
    pub min: Option<i64>,
    /// Greatest number.
    pub max: Option<i64>,
    /// Most characters of a string.
    pub max_length: Option<u64>,
    /// Whether the argument may be absent or null.
    pub optional: bool,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A boolean.
    Bool(bool),
}

/// Elements of an array that are looked at; a longer array breaks the constraint.
const MOST_ELEMENTS: usize = 10_000;

impl Constraint {
    /// Whether the arguments keep it.
    pub fn holds(&self, arguments: Option<&Value>) -> bool {
        let mut value = match arguments {
            None => return self.optional,
            Some(value) => value,
        };
        for name in self.argument.split('.') {
            let Value::Object(members) = value else { return false };
            match members.get(name) {
                None | Some(Value::Null) => return self.optional,
                Some(member) => value = member,
            }
        }
        match value {
            Value::Array(elements) => elements.len() <= MOST_ELEMENTS && elements.iter().all(|element| self.accepts(element)),
            scalar => self.accepts(scalar),
        }
    }

    /// Whether one value is within it. A value of another type than a condition speaks of is not.
    fn accepts(&self, value: &Value) -> bool {
        let text = |accepts: &dyn Fn(&str) -> bool| value.as_str().is_some_and(accepts);
        self.starts_with.as_ref().is_none_or(|prefix| {
            text(&|path| match (normal_path(prefix), normal_path(path)) {
                (Some(prefix), Some(path)) => path.starts_with(&prefix),
                _ => false,
            })
        }) && self.one_of.as_ref().is_none_or(|list| list.iter().any(|scalar| scalar.equals(value)))
            && self.matches.as_ref().is_none_or(|pattern| text(&|v| glob(pattern, v)))
            && self.max_length.is_none_or(|most| text(&|v| v.chars().count() as u64 <= most))
            && self.min.is_none_or(|min| within(value, min, i64::MAX))
            && self.max.is_none_or(|max| within(value, i64::MIN, max))
    }

    /// What it demands, for people.
    pub fn demand(&self) -> String {
        let mut parts = Vec::new();
        if let Some(prefix) = &self.starts_with {
            parts.push(format!("start with `{prefix}` and not climb"));
        }
        if let Some(list) = &self.one_of {
            parts.push(format!("be one of {} values", list.len()));
        }
        if let Some(pattern) = &self.matches {
            parts.push(format!("match `{pattern}`"));
        }
        if let Some(min) = self.min {
            parts.push(format!("be at least {min}"));
        }
        if let Some(max) = self.max {
            parts.push(format!("be at most {max}"));
        }
        if let Some(most) = self.max_length {
            parts.push(format!("have at most {most} characters"));
        }
        format!("argument `{}` of `{}` must {}", self.argument, self.tool, parts.join(" and "))
    }
}

impl Scalar {
    fn equals(&self, value: &Value) -> bool {
        match self {
            Scalar::Text(text) => value.as_str() == Some(text),
            Scalar::Number(number) => value.as_i64() == Some(*number),
            Scalar::Bool(bool) => value.as_bool() == Some(*bool),
        }
    }
}

fn within(value: &Value, min: i64, max: i64) -> bool {
    let Value::Number(number) = value else { return false };
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(number), ..) => (min..=max).contains(&number),
        // Beyond every `i64`.
        (None, Some(_), _) => max == i64::MAX,
        (None, None, Some(number)) => number.is_finite() && number >= min as f64 && number <= max as f64,
        (None, None, None) => false,
    }
}

/// A path without empty and `.` segments; `None` when it could climb out of its prefix or be read in two ways.
fn normal_path(path: &str) -> Option<String> {
    let escaped = ["%2e", "%2f", "%5c", "%25", "%00", "%c0", "%e0"];
    let lower = path.to_ascii_lowercase();
    if path.contains("..") || path.contains(['\\', '\0']) || escaped.iter().any(|e| lower.contains(e)) {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    if path.starts_with('/') {
        out.push('/');
    }
    let mut segments = path.split('/').filter(|segment| !segment.is_empty() && *segment != ".").peekable();
    while let Some(segment) = segments.next() {
        out.push_str(segment);
        if segments.peek().is_some() || path.ends_with('/') {
            out.push('/');
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(constraint: Constraint, holds: &[Value], breaks: &[Value]) {
        let constraint = Constraint { argument: "a".into(), ..constraint };
        for value in holds {
            assert!(constraint.holds(Some(&json!({ "a": value }))), "{value} should hold");
        }
        for value in breaks {
            assert!(!constraint.holds(Some(&json!({ "a": value }))), "{value} should break it");
        }
    }

    #[test]
    fn paths_cannot_climb() {
        let constraint = Constraint { starts_with: Some("reports/".into()), ..Constraint::default() };
        check(
            constraint,
            &[json!("reports/q1.pdf"), json!("./reports/q1.pdf"), json!("reports//q1.pdf"), json!(["reports/a", "reports/b"]), json!([])],
            &[
                json!("reports"),
                json!("reports-secret/x"),
                json!("/reports/x"),
                json!("reports/../etc/passwd"),
                json!("reports/..\\x"),
                json!("reports/%2e%2e/x"),
                json!("reports/%252e%252e/x"),
                json!("reports/x\u{0}"),
                json!(["reports/a", "etc/passwd"]),
                json!({"reports/": 1}),
                json!(7),
                json!(null),
            ],
        );
    }

    #[test]
    fn numbers_and_texts_are_not_mixed_up() {
        let constraint = Constraint { min: Some(1), max: Some(1000), ..Constraint::default() };
        check(
            constraint,
            &[json!(1), json!(1000), json!(12.5), json!([1, 2])],
            &[json!(0), json!(1001), json!("5"), json!(1000.01), json!(u64::MAX), json!(1e300), json!(-1e300), json!(true), json!(null)],
        );
        let constraint = Constraint { one_of: Some(vec![Scalar::Text("EUR".into()), Scalar::Number(5)]), ..Constraint::default() };
        check(constraint, &[json!("EUR"), json!(5)], &[json!("eur"), json!("5"), json!("EUR "), json!(5.5)]);
        let constraint = Constraint { matches: Some("*@example.org".into()), max_length: Some(14), ..Constraint::default() };
        check(constraint, &[json!("a@example.org")], &[json!("a@example.orgx"), json!("long@example.org"), json!(["a@example.org", "b"])]);
    }

    #[test]
    fn absent_breaks_unless_optional() {
        let strict = Constraint { argument: "a.b".into(), max: Some(1), ..Constraint::default() };
        let lax = Constraint { optional: true, ..strict.clone() };
        for (arguments, lax_holds) in
            [(None, true), (Some(json!({})), true), (Some(json!({"a": null})), true), (Some(json!({"a": {"b": null}})), true)]
        {
            assert!(!strict.holds(arguments.as_ref()));
            assert_eq!(lax.holds(arguments.as_ref()), lax_holds);
        }
        // Something is there, and it is not what the constraint can judge.
        for arguments in [json!([]), json!("a"), json!({"a": 5}), json!({"a": {"b": 2}}), json!({"a": {"b": {}}})] {
            assert!(!strict.holds(Some(&arguments)) && !lax.holds(Some(&arguments)), "{arguments}");
        }
        assert!(strict.holds(Some(&json!({"a": {"b": 1}}))));
    }
}

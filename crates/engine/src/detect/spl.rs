//! Rules that look at single messages, as Splunk searches: the same search that sigma-cli's Splunk backend makes of them, without Python.
//!
//! In scope: what such rules of Custody use. Out of scope: correlations, keywords, arrays and selectors, which are refused by name.

use super::Rules;
use custody_model::RuleId;
use rsigma_parser::{ConditionExpr, Detection, DetectionItem, Modifier, SigmaRule, SigmaValue};

impl Rules {
    /// The rule as a Splunk search over events that have its facts as fields. `None`: there is no such rule.
    ///
    /// # Errors
    /// What of the rule has no such form.
    pub fn spl(&self, rule: &RuleId) -> Option<Result<String, String>> {
        let id = self.metas.iter().find(|(_, meta)| meta.rule == *rule && !meta.internal)?.0;
        let Some(rule) = self.collection.rules.iter().find(|rule| rule.id.as_ref() == Some(id)) else {
            return Some(Err("it counts over time; a search looks at single events".to_owned()));
        };
        Some(search(rule))
    }
}

/// How tightly a part binds; what binds more loosely than its place needs parentheses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binds {
    Or,
    And,
    Alone,
}

struct Part(String, Binds);

impl Part {
    fn within(self, place: Binds) -> String {
        if self.1 < place { format!("({})", self.0) } else { self.0 }
    }
}

fn join(parts: Vec<Part>, with: &str, binds: Binds) -> Part {
    match parts.len() {
        1 => parts.into_iter().next().unwrap_or(Part(String::new(), binds)),
        // A conjunction within another kind is set apart, as the backend of sigma-cli does.
        _ => Part(
            parts
                .into_iter()
                .map(|part| part.within(if binds == Binds::Or { Binds::Alone } else { Binds::And }))
                .collect::<Vec<_>>()
                .join(with),
            binds,
        ),
    }
}

fn search(rule: &SigmaRule) -> Result<String, String> {
    let all: Vec<Part> = rule.detection.conditions.iter().map(|condition| expression(condition, rule)).collect::<Result<_, _>>()?;
    Ok(join(all, " OR ", Binds::Or).0)
}

fn expression(expr: &ConditionExpr, rule: &SigmaRule) -> Result<Part, String> {
    let each = |parts: &[ConditionExpr]| parts.iter().map(|part| expression(part, rule)).collect::<Result<Vec<_>, _>>();
    Ok(match expr {
        ConditionExpr::And(parts) => join(each(parts)?, " ", Binds::And),
        ConditionExpr::Or(parts) => join(each(parts)?, " OR ", Binds::Or),
        ConditionExpr::Not(part) => Part(format!("NOT ({})", expression(part, rule)?.0), Binds::Alone),
        ConditionExpr::Identifier(name) => detection(rule.detection.named.get(name).ok_or_else(|| format!("there is no `{name}`"))?)?,
        ConditionExpr::Selector { .. } => return Err(format!("`{expr}` has no such form; name each detection")),
    })
}

fn detection(detection: &Detection) -> Result<Part, String> {
    Ok(match detection {
        Detection::AllOf(items) => join(items.iter().map(item).collect::<Result<_, _>>()?, " ", Binds::And),
        Detection::AnyOf(parts) => join(parts.iter().map(self::detection).collect::<Result<_, _>>()?, " OR ", Binds::Or),
        Detection::And(parts) => join(parts.iter().map(self::detection).collect::<Result<_, _>>()?, " ", Binds::And),
        _ => return Err("keywords and arrays have no such form".to_owned()),
    })
}

fn item(item: &DetectionItem) -> Result<Part, String> {
    let Some(field) = &item.field.name else { return Err("keywords have no such form".to_owned()) };
    let modifiers: Vec<&Modifier> = item.field.modifiers.iter().collect();
    if let [Modifier::Exists] = modifiers.as_slice() {
        return match item.values.as_slice() {
            [SigmaValue::Bool(true)] => Ok(Part(format!("{field}=*"), Binds::Alone)),
            [SigmaValue::Bool(false)] => Ok(Part(format!("NOT ({field}=*)"), Binds::Alone)),
            _ => Err(format!("{field}|exists is true or false")),
        };
    }
    let (sign, around) = match modifiers.as_slice() {
        [] => ("=", ("", "")),
        [Modifier::Gt] => (">", ("", "")),
        [Modifier::Gte] => (">=", ("", "")),
        [Modifier::Lt] => ("<", ("", "")),
        [Modifier::Lte] => ("<=", ("", "")),
        [Modifier::Contains] => ("=", ("*", "*")),
        [Modifier::StartsWith] => ("=", ("", "*")),
        [Modifier::EndsWith] => ("=", ("*", "")),
        other => return Err(format!("{field}: {other:?} has no such form")),
    };
    let values: Vec<String> =
        item.values.iter().map(|value| written(value, around)).collect::<Result<_, _>>().map_err(|why| format!("{field}: {why}"))?;
    match values.as_slice() {
        [value] => Ok(Part(format!("{field}{sign}{value}"), Binds::Alone)),
        _ if sign == "=" => Ok(Part(format!("{field} IN ({})", values.join(", ")), Binds::Alone)),
        _ => Err(format!("{field} is compared with several values")),
    }
}

fn written(value: &SigmaValue, (before, after): (&str, &str)) -> Result<String, String> {
    Ok(match value {
        SigmaValue::String(text) => format!("\"{before}{}{after}\"", text.original.replace('\\', "\\\\").replace('"', "\\\"")),
        SigmaValue::Integer(number) => number.to_string(),
        SigmaValue::Float(number) => number.to_string(),
        SigmaValue::Bool(bool) => bool.to_string(),
        SigmaValue::Null => return Err("nothing cannot be searched for".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spl(rule: &str) -> Result<String, String> {
        Rules::standard().spl(&RuleId::from(rule)).unwrap()
    }

    #[test]
    fn the_searches_are_those_of_sigma_cli() {
        // Written by sigma-cli 3.1.0 with pysigma-backend-splunk 2.1.0: `sigma convert -t splunk --without-pipeline rules/mcp-001*.yml`.
        assert_eq!(
            spl("mcp-001-unauthorized-tool").unwrap(),
            r#"event="TOOL_INVOKED" policy.outcome IN ("denied", "error") NOT (reason IN ("frozen", "overtaken"))"#
        );
        assert_eq!(spl("mcp-002-burst").unwrap(), "rate.samples>=20 rate.ratio>3 rate.excess>0.85 rate.z>2 rate.count>=12");
        assert_eq!(
            spl("mcp-003-sequence").unwrap(),
            "(sequence.chance<=2 sequence.samples>=40 surprise.nats>=3 surprise.excess>0.8) OR \
             (surprise.samples>=20 surprise.excess>1 surprise.nats>=4)"
        );
        assert_eq!(
            spl("mcp-008-dangerous-definition").unwrap(),
            r#"(drift.kind IN ("first", "added") drift.class IN ("shadowing", "instruction") drift.approved=false) OR drift.kind="unreadable""#
        );
    }

    #[test]
    fn what_has_no_such_form_is_refused_by_name() {
        assert!(spl("mcp-007-denied-iteration").unwrap_err().contains("counts over time"));
        assert!(Rules::standard().spl(&RuleId::from("mcp-999")).is_none());
    }
}

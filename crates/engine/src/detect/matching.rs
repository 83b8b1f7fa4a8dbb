//! Which rules match a message, without asking the engine for each.
//!
//! A compiled rule becomes a tree whose leaves know their fact, so that no field is looked up by name and nothing is written down
//! of a match; values are compared by the engine's own matchers. Most messages match no rule, and a rule that a busy session
//! matches again and again is only counted. What this tree has no form for is left to the engine.
//!
//! `matching_tests` hold it against the engine on random messages.

use super::facts::{Fact, FactValue, Flat, Seen, named};
use rsigma_eval::{CompiledDetection, CompiledDetectionItem, CompiledMatcher, CompiledRule, EventValue, evaluate_rule};
use rsigma_parser::ConditionExpr;
use std::collections::HashMap;

/// When one rule matches.
pub(super) enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    /// The fact is there, or is not.
    Exists(&'static Fact, bool),
    /// The fact is there, and is this.
    Is(&'static Fact, CompiledMatcher),
    /// The fact is a text that is this one, in whatever case.
    Word(&'static Fact, String),
    Constant(bool),
    /// Only the engine knows.
    Engine(Box<CompiledRule>),
}

impl Test {
    /// Of a compiled rule, filters included.
    pub fn of(rule: &CompiledRule) -> Test {
        let conditions: Option<Vec<Test>> = rule.conditions.iter().map(|condition| of_condition(condition, &rule.detections)).collect();
        conditions.map_or_else(|| Test::Engine(Box::new(rule.clone())), Test::Any)
    }

    /// Whether the rule matches.
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        match self {
            Test::All(tests) => tests.iter().all(|test| test.matches(seen)),
            Test::Any(tests) => tests.iter().any(|test| test.matches(seen)),
            Test::Not(test) => !test.matches(seen),
            Test::Exists(fact, expected) => (fact.value)(seen).is_some() == *expected,
            Test::Is(fact, matcher) => (fact.value)(seen).is_some_and(|value| is(matcher, value, seen)),
            Test::Word(fact, word) => match (fact.value)(seen) {
                Some(FactValue::Text(text)) if text.is_ascii() => text.eq_ignore_ascii_case(word),
                Some(value) => {
                    let matcher = CompiledMatcher::Exact { value: word.clone(), case_insensitive: true };
                    matcher.matches(&value.into_event_value(), &seen.flat())
                }
                None => false,
            },
            Test::Constant(matches) => *matches,
            Test::Engine(rule) => evaluate_rule(rule, &seen.flat()).is_some(),
        }
    }
}

/// The usual comparisons without a virtual call; all others by the matcher itself.
fn is(matcher: &CompiledMatcher, value: FactValue<'_>, seen: &Seen<'_>) -> bool {
    let number = match value {
        FactValue::Float(number) => Some(number),
        FactValue::Number(number) => Some(number as f64),
        _ => None,
    };
    match (matcher, number) {
        (CompiledMatcher::NumericGt(limit), Some(number)) => number > *limit,
        (CompiledMatcher::NumericGte(limit), Some(number)) => number >= *limit,
        (CompiledMatcher::NumericLt(limit), Some(number)) => number < *limit,
        (CompiledMatcher::NumericLte(limit), Some(number)) => number <= *limit,
        _ => {
            let flat: Flat<'_> = seen.flat();
            matcher.matches(&value.into_event_value(), &flat)
        }
    }
}

impl<'a> FactValue<'a> {
    /// As the engine reads it.
    pub(super) fn into_event_value(self) -> EventValue<'a> {
        match self {
            FactValue::Text(text) => EventValue::Str(text),
            FactValue::Bool(bool) => EventValue::Bool(bool),
            FactValue::Number(number) => EventValue::Int(number),
            FactValue::Float(number) => EventValue::Float(number),
        }
    }
}

/// `None`: this has no form here.
fn of_condition(condition: &ConditionExpr, detections: &HashMap<String, CompiledDetection>) -> Option<Test> {
    let each = |parts: &[ConditionExpr]| parts.iter().map(|part| of_condition(part, detections)).collect::<Option<Vec<_>>>();
    match condition {
        ConditionExpr::And(parts) => each(parts).map(Test::All),
        ConditionExpr::Or(parts) => each(parts).map(Test::Any),
        ConditionExpr::Not(part) => of_condition(part, detections).map(|test| Test::Not(Box::new(test))),
        ConditionExpr::Identifier(name) => detections.get(name).map_or(Some(Test::Constant(false)), of_detection),
        ConditionExpr::Selector { .. } => None,
    }
}

fn of_detection(detection: &CompiledDetection) -> Option<Test> {
    match detection {
        CompiledDetection::AllOf(items) => items.iter().map(of_item).collect::<Option<Vec<_>>>().map(Test::All),
        CompiledDetection::And(parts) => parts.iter().map(of_detection).collect::<Option<Vec<_>>>().map(Test::All),
        CompiledDetection::AnyOf(parts) => parts.iter().map(of_detection).collect::<Option<Vec<_>>>().map(Test::Any),
        CompiledDetection::Keywords(_) | CompiledDetection::ArrayMatch { .. } | CompiledDetection::Conditional { .. } => None,
    }
}

fn of_item(item: &CompiledDetectionItem) -> Option<Test> {
    // A fact that does not exist is absent from every message.
    let fact = named(item.field.as_ref()?);
    Some(match (item.exists, &item.matcher, fact) {
        (Some(expected), _, Some(fact)) => Test::Exists(fact, expected),
        (Some(expected), _, None) => Test::Constant(!expected),
        (None, CompiledMatcher::Null, Some(fact)) => Test::Exists(fact, false),
        (None, CompiledMatcher::Null, None) => Test::Constant(true),
        (None, _, None) => Test::Constant(false),
        (None, matcher, Some(fact)) => of_matcher(fact, matcher),
    })
}

fn of_matcher(fact: &'static Fact, matcher: &CompiledMatcher) -> Test {
    match matcher {
        CompiledMatcher::AnyOf(all) => Test::Any(all.iter().map(|one| of_matcher(fact, one)).collect()),
        CompiledMatcher::Exact { value, case_insensitive: true } if value.is_ascii() => Test::Word(fact, value.clone()),
        other => Test::Is(fact, other.clone()),
    }
}

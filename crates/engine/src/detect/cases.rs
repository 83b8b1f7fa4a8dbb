//! Rules carry their own positive and negative cases (`rsigma.exemplars`); here they are run, on the engine that decides.

use super::{Detector, Rules};
use jiff::{SignedDuration, Timestamp};
use rsigma_eval::JsonEvent;
use rsigma_parser::{Exemplar, ExemplarPayload, Expect, correlation_exemplars, exemplars};
use serde_json::Value;

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The file.
    pub file: String,
    /// The rule.
    pub rule: String,
    /// The case.
    pub case: String,
    /// Whether it should match.
    pub expected: bool,
    /// Whether it did.
    pub matched: bool,
}

impl CaseResult {
    /// Whether the rule does what its case says.
    pub fn passed(&self) -> bool {
        self.expected == self.matched
    }
}

/// Runs every case of every rule, each on a detector without memory.
///
/// # Errors
/// The rule, and what is wrong with the shape of its cases.
pub fn run_cases(rules: &Rules) -> Result<Vec<CaseResult>, String> {
    let mut results = Vec::new();
    let shape = |title: &str, errors: Vec<rsigma_parser::ExemplarShapeError>| format!("{title}: {}", errors[0]);
    for rule in &rules.collection.rules {
        let cases = exemplars(rule).map_err(|e| shape(&rule.title, e))?;
        results.extend(cases.iter().filter_map(|case| run(rules, rule.id.as_deref()?, case)));
    }
    for rule in &rules.collection.correlations {
        let cases = correlation_exemplars(rule).map_err(|e| shape(&rule.title, e))?;
        results.extend(cases.iter().filter_map(|case| run(rules, rule.id.as_deref()?, case)));
    }
    Ok(results)
}

fn run(rules: &Rules, id: &str, case: &Exemplar) -> Option<CaseResult> {
    const START: Timestamp = Timestamp::constant(1_775_556_000, 0);
    let meta = rules.metas.get(id)?;
    let mut detector = Detector::new(rules.clone());
    let events: Vec<(i64, Value)> = match &case.payload {
        ExemplarPayload::Event(event) => vec![(0, serde_json::to_value(event).ok()?)],
        ExemplarPayload::Sequence(events) => {
            let timed = |e: &rsigma_parser::TimedEvent| Some((e.offset.seconds as i64 * 1_000, serde_json::to_value(&e.event).ok()?));
            events.iter().filter_map(timed).collect()
        }
    };
    let mut matched = false;
    for (offset_ms, event) in &events {
        matched |=
            detector.fires(&JsonEvent::borrow(event), START + SignedDuration::from_millis(*offset_ms)).iter().any(|fired| fired == id);
    }
    Some(CaseResult {
        file: meta.file.clone(),
        rule: meta.rule.to_string(),
        case: case.name.clone(),
        expected: case.expect == Expect::Match,
        matched,
    })
}

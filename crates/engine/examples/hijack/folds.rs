//! What is held out together.

use crate::data::Case;

/// Some sessions to judge, and which others may be learned from.
pub struct Fold {
    pub judge: Vec<usize>,
    pub learn: Box<dyn Fn(&Case) -> bool>,
    /// Of the sessions in words of our own: those of the held-out suite stay out, the wording is another anyway.
    pub learn_reworded: Box<dyn Fn(&Case) -> bool>,
}

const SUITES: usize = 5;
const WORDINGS: usize = 3;

/// The suites in five parts, each with its share of the benign collections.
pub fn suite(case: &Case) -> usize {
    let truth = &case.truth;
    match (truth.suite.as_str(), truth.source.as_str()) {
        ("dailylife", _) | (_, "tau-bench") => 0,
        ("shopping", _) | (_, "api-bank") => 1,
        ("slack", _) | (_, "tooltalk" | "swe-agent") => 2,
        ("workspace", _) | (_, "toolalpaca" | "livemcpbench") => 3,
        _ => 4,
    }
}

/// The wordings in three parts; benign sessions, which have none, by suite.
fn wording(case: &Case) -> usize {
    let wording = case.truth.wording.as_str();
    match wording {
        "none" => (hash(&case.truth.suite) >> 9) as usize % WORDINGS,
        _ if wording.starts_with("important") => 0,
        "direct" | "boundary" | "workflow" => 1,
        _ if wording.starts_with("injec") => 1,
        _ => 2,
    }
}

/// A number that a name always gives.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// `suite`, `wording`, or `both`: neither suite nor wording was seen.
pub fn folds(cases: &[Case], by: &str) -> Vec<Fold> {
    let judge = |of: &dyn Fn(&Case) -> bool| (0..cases.len()).filter(|at| of(&cases[*at])).collect::<Vec<_>>();
    let mut out: Vec<Fold> = Vec::new();
    match by {
        "suite" => out.extend((0..SUITES).map(|fold| Fold {
            judge: judge(&|case| suite(case) == fold),
            learn: Box::new(move |case| suite(case) != fold),
            learn_reworded: Box::new(move |case| suite(case) != fold),
        })),
        "wording" => out.extend((0..WORDINGS).map(|fold| Fold {
            judge: judge(&|case| wording(case) == fold),
            learn: Box::new(move |case| wording(case) != fold),
            // The calls of a session would be known from its other wording.
            learn_reworded: Box::new(move |case| wording(case) != fold),
        })),
        "both" => {
            for (of_suite, of_wording) in (0..SUITES).flat_map(|suite| (0..WORDINGS).map(move |wording| (suite, wording))) {
                out.push(Fold {
                    judge: judge(&|case| suite(case) == of_suite && wording(case) == of_wording),
                    learn: Box::new(move |case| suite(case) != of_suite && (!case.truth.injected || wording(case) != of_wording)),
                    learn_reworded: Box::new(move |case| suite(case) != of_suite && wording(case) != of_wording),
                });
            }
        }
        other => panic!("--cv {other}: suite, wording or both"),
    }
    out.retain(|fold| !fold.judge.is_empty());
    out
}

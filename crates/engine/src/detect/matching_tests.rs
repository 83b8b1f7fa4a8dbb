//! The short way beside the engine, on random messages.

use super::{facts::Seen, matching::Test, tests::call, *};
use crate::behavior::{Enumeration, Measure, NewThing, Signals};
use custody_model::{DenyReason, Direction, Outcome, PolicyId};
use proptest::prelude::*;
use rsigma_eval::CorrelationEngine;
use std::sync::LazyLock;

/// What the shipped rules do not use: another word for each way to compare, a selector, a filter, keywords.
const ODD: &str = r"
title: Odd
id: odd
name: odd
logsource: {product: mcp}
detection:
  one: {tool|startswith: read, tool.writes: true}
  two:
    - {tool|endswith|cased: File}
    - {method|re: 'tools/.*', rate.count|lt: 20}
  three: {role: null, task: '*', principal|contains|all: [analyst, '047']}
  four_a: {tool: [read_file, 7, 'R?ad*']}
  four_b: {listed: 'yes'}
  five: {tool|fieldref: method}
  condition: (one or two) and not three or 1 of four_* or five
---
title: Words
id: words
name: words
logsource: {product: mcp}
detection:
  words: ['*secret*', deadline]
  condition: words
---
title: Not on weekends
id: f
logsource: {product: mcp}
filter:
  rules: [odd]
  selection: {outcome: DENIED}
  condition: not selection
";

static ENGINE: LazyLock<CorrelationEngine> = LazyLock::new(|| {
    let mut files: Vec<(&str, &str)> = shipped().to_vec();
    files.push(("odd.yml", ODD));
    Rules::load(&files).unwrap().engine().unwrap()
});
static TESTS: LazyLock<Vec<Test>> = LazyLock::new(|| ENGINE.engine().rules().iter().map(Test::of).collect());

fn measure() -> BoxedStrategy<Option<Measure>> {
    let number = || prop_oneof![Just(0.0), 0.0..4.0, 0.0..100.0, Just(f64::NAN)];
    proptest::option::of((number(), number(), number(), number(), 0_u64..60))
        .prop_map(|of| of.map(|(value, ratio, excess, z, samples)| Measure { value, usual: 1.0, most: 2.0, ratio, excess, z, samples }))
        .boxed()
}

fn thing() -> BoxedStrategy<Option<NewThing>> {
    proptest::option::of((0.0..4.0, 0_u32..8, 0_u64..60))
        .prop_map(|of| of.map(|(chance, count, samples)| NewThing { what: "x".to_owned(), chance, count, samples }))
        .boxed()
}

prop_compose! {
    fn signals()(measures in [measure(), measure(), measure(), measure(), measure(), measure(), measure(), measure(), measure()],
        things in [thing(), thing(), thing(), thing()], usual in measure(), run in 0_u32..60, distinct in 0_u32..20,
        longest in proptest::option::of(0.0..30.0), secret in any::<bool>(), calls_hour in 0_u32..900) -> Signals {
        let [rate, usage, tool_usage, streak, volume, duration, changes, unfamiliar, surprise] = measures;
        let [sequence, first_use, destination, argument] = things;
        Signals {
            rate, usage, tool_usage, streak, volume, duration, changes, unfamiliar, surprise,
            sequence, first_use, destination, argument,
            enumeration: (run > 0).then(|| Enumeration { what: "x".to_owned(), run, gap_ms: 9, distinct, usual, longest }),
            secret_file: secret.then(|| ".env".to_owned()),
            magnitude: usual.map(|usual| ("x".to_owned(), usual)),
            hour: Some((f64::from(distinct), 400)),
            calls_hour,
            ..Signals::default()
        }
    }
}

prop_compose! {
    fn message()(tool in proptest::sample::select(vec!["read_file", "READ_FILE", "Get_Secret", "readFile", "tools/call", "7", "réad_file", ""]),
        event in proptest::sample::select(vec![EventKind::ToolInvoked, EventKind::ResourceRead, EventKind::Message]),
        denied in any::<bool>(), to_agent in any::<bool>(), listed in any::<bool>(), has_tool in any::<bool>(), faults in 0_usize..2,
        reason in proptest::sample::select(vec![None, Some(DenyReason::Frozen), Some(DenyReason::Deadline), Some(DenyReason::Policy(PolicyId::from("p")))]),
        open_world in proptest::option::of(any::<bool>()),
        kind in proptest::option::of(proptest::sample::select(vec![DriftKind::Changed, DriftKind::First, DriftKind::Unreadable]))) -> Facts {
        Facts {
            event,
            direction: if to_agent { Direction::ToAgent } else { Direction::ToServer },
            outcome: if denied { Outcome::Denied } else { Outcome::Allowed },
            reason,
            tool: has_tool.then(|| tool.to_owned()),
            listed,
            faults: vec!["odd".to_owned(); faults],
            hints: ToolHints { open_world, ..ToolHints::default() },
            drift: kind.map(|kind| DriftFacts { kind, listing: "tools/list".into(), class: None, what: String::new(), words: Vec::new(), definitions: 1, change: None }),
            ..call(tool, denied)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn the_tree_matches_what_the_engine_matches(facts in message(), signals in signals()) {
        let seen = Seen { facts: &facts, signals: &signals };
        let rules = ENGINE.engine().rules().iter().zip(&*TESTS);
        let by_tree: Vec<_> = rules.filter(|(_, test)| test.matches(&seen)).map(|(rule, _)| rule.id.clone()).collect();
        let by_engine: Vec<_> = ENGINE.evaluate(&seen.flat()).into_iter().map(|result| result.header.rule_id).collect();
        prop_assert_eq!(by_tree, by_engine);
    }
}

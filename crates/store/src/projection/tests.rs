//! The same ledger gives the same tables, however it is applied.

use super::*;
use serde_json::json;
use uuid::Uuid;

fn entry(leaf: u64, session: Option<SessionId>, event: Event, detail: Option<serde_json::Value>) -> OpenEntry {
    let at = Timestamp::from_second(1_700_000_000 + leaf.cast_signed()).unwrap();
    OpenEntry { leaf: LeafIndex(leaf), entry: Entry { v: ENTRY_VERSION, at, session, event, detail: None, body: None }, detail, body: None }
}

fn story() -> Vec<OpenEntry> {
    let session = SessionId(Uuid::from_u128(1));
    let scopes = vec![Scope::Principal("a".into())];
    let freeze = ActionId(Uuid::from_u128(2));
    let step = |id: ActionId, verb: &str, undoes| Step {
        id,
        case: None,
        verb: verb.into(),
        scopes: scopes.clone(),
        session: Some(session),
        by: "custody".into(),
        reason: "test".into(),
        undoable: true,
        undoes,
    };
    let call = |outcome, reason| {
        Event::Message(Message {
            direction: Direction::ToServer,
            server: "s".into(),
            transport: Transport::Http,
            shape: Shape::Request,
            method: Some("tools/call".to_owned()),
            tool: None,
            answers: None,
            outcome,
            reason,
            denial: None,
            spliced: vec![],
            forwarded: None,
        })
    };
    let undo = ActionId(Uuid::from_u128(3));
    let events = vec![
        (
            Event::SessionStarted,
            Some(json!({"identity": {"principal": "a", "assurance": "client_key", "role": "r", "task": null}, "source": "x"})),
        ),
        (call(Outcome::Allowed, None), Some(json!({"tool": "read_file"}))),
        (call(Outcome::Denied, Some(DenyReason::Policy("role:r".into()))), Some(json!({"tool": "send_data"}))),
        (
            Event::ActionIntended { action: freeze, verb: "freeze_scope".into(), case: None },
            Some(serde_json::to_value(step(freeze, "freeze_scope", None)).unwrap()),
        ),
        (Event::ActionDone { action: freeze, verb: "freeze_scope".into(), case: None, ok: true }, None),
        (
            Event::ActionIntended { action: undo, verb: "unfreeze_scope".into(), case: None },
            Some(serde_json::to_value(step(undo, "unfreeze_scope", Some(freeze))).unwrap()),
        ),
        (Event::ActionDone { action: undo, verb: "unfreeze_scope".into(), case: None, ok: true }, None),
    ];
    events.into_iter().enumerate().map(|(i, (event, detail))| entry(i as u64, Some(session), event, detail)).collect()
}

#[tokio::test]
async fn applied_at_once_or_in_pieces_or_twice_the_tables_are_the_same() {
    let home = tempfile::tempdir().unwrap();
    let whole = Projection::open(&home.path().join("whole.db")).await.unwrap();
    whole.apply_many(&story()).await.unwrap();
    let pieces = Projection::open(&home.path().join("pieces.db")).await.unwrap();
    for entry in story() {
        pieces.apply_many(&[entry]).await.unwrap();
    }
    pieces.apply_many(&story()).await.unwrap();
    assert_eq!(whole.dump().await.unwrap(), pieces.dump().await.unwrap());
    assert!(matches!(
        whole.apply_many(&[entry(99, None, Event::DaemonStopped, None)]).await,
        Err(ProjectionError::Gap { expected: 7, found: 99 })
    ));
}

/// Session (0: none), to the server, kind of message, listed tool, what it answers, and whether it is no message.
type Sent = (u128, bool, u8, bool, Option<u64>, bool);

/// Messages of three sessions in a random order: calls, answers, calls that were overtaken, messages of no session.
fn traffic() -> impl proptest::strategy::Strategy<Value = Vec<OpenEntry>> {
    use proptest::prelude::*;
    let message = (0_u128..4, any::<bool>(), 0_u8..3, any::<bool>(), proptest::option::of(0_u64..40), any::<bool>());
    let of_step = |(leaf, (session, to_server, kind, listed, answers, other)): (usize, Sent)| {
        let session = (session > 0).then(|| SessionId(Uuid::from_u128(session)));
        let event = match other && leaf % 5 == 0 {
            true => Event::SessionEnded { why: "idle".to_owned() },
            false => Event::Message(Message {
                direction: if to_server { Direction::ToServer } else { Direction::ToAgent },
                server: "s\"'".into(),
                transport: Transport::Http,
                shape: Shape::Request,
                method: (kind > 0).then(|| "tools/call".to_owned()),
                tool: listed.then(|| "read_file".into()),
                answers: answers.filter(|answers| *answers < leaf as u64).map(LeafIndex),
                outcome: if kind == 2 { Outcome::Denied } else { Outcome::Allowed },
                reason: (kind == 2).then(|| DenyReason::Policy("role:r".into())),
                denial: None,
                spliced: vec![],
                forwarded: None,
            }),
        };
        entry(leaf as u64, session, event, Some(json!({"tool": "send_data"})))
    };
    proptest::collection::vec(message, 1..40).prop_map(move |all| all.into_iter().enumerate().map(of_step).collect())
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn a_batch_of_messages_is_what_each_of_them_is_alone(entries in traffic(), cut in 0_usize..40) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (batch, alone) = runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let batch = Projection::open(&home.path().join("batch.db")).await.unwrap();
            let (first, second) = entries.split_at(cut.min(entries.len()));
            batch.apply_many(first).await.unwrap();
            batch.apply_many(second).await.unwrap();
            let alone = Projection::open(&home.path().join("alone.db")).await.unwrap();
            for entry in &entries {
                alone.apply_many(std::slice::from_ref(entry)).await.unwrap();
            }
            (batch.dump().await.unwrap(), alone.dump().await.unwrap())
        });
        proptest::prop_assert_eq!(batch, alone);
    }
}

/// What an agent called a tool is told as it was, to the last byte.
#[tokio::test]
async fn no_name_is_cut_short() {
    let home = tempfile::tempdir().unwrap();
    let projection = Projection::open(&home.path().join("p.db")).await.unwrap();
    let name = "read_file\u{0}; \u{202e}\"'\\ \u{fffd}\u{10ffff}";
    let mut story = story();
    story[1].detail = Some(json!({"tool": name}));
    projection.apply_many(&story[..2]).await.unwrap();
    let calls = projection.calls_of(story[1].entry.session.unwrap()).await.unwrap();
    assert_eq!(calls[0].tool.as_deref(), Some(name));
}

#[tokio::test]
async fn a_freeze_holds_from_its_intent_until_its_undo() {
    let home = tempfile::tempdir().unwrap();
    let projection = Projection::open(&home.path().join("p.db")).await.unwrap();
    let story = story();
    projection.apply_many(&story[..4]).await.unwrap();
    assert_eq!(projection.active_freezes().await.unwrap().len(), 1, "in force before its receipt");
    projection.apply_many(&story[4..6]).await.unwrap();
    assert_eq!(projection.active_freezes().await.unwrap().len(), 1, "an intent to undo lifts nothing");
    projection.apply_many(&story[6..]).await.unwrap();
    assert!(projection.active_freezes().await.unwrap().is_empty());
    let sessions = projection.sessions(10).await.unwrap();
    assert_eq!((sessions[0].calls, sessions[0].denied), (2, 1));
    let calls = projection.calls_of(sessions[0].id).await.unwrap();
    assert_eq!(calls[1].reason.as_deref(), Some("policy role:r"));
    assert_eq!(calls[1].tool.as_deref(), Some("send_data"));
}

#[tokio::test]
async fn assessments_repeats_and_suppressions_are_read_back() {
    let (finding, case, session) = (FindingId(Uuid::from_u128(5)), CaseId(Uuid::from_u128(6)), SessionId(Uuid::from_u128(1)));
    let other = SessionId(Uuid::from_u128(8));
    let silenced = SuppressionId(Uuid::from_u128(7));
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let until = at + jiff::SignedDuration::from_hours(1);
    let body = |id: CaseId, session: SessionId| {
        json!({"id": id, "opened": at, "state": "open", "severity": "high", "incident_type": "prompt_injection",
            "triage": {"disposition": "CONFIRMED", "path": []}, "findings": [], "sessions": [session], "scopes": [], "clocks": [], "source": null})
    };
    let second = CaseId(Uuid::from_u128(9));
    let updated = |case| Event::CaseUpdated { case, severity: Severity::High, state: CaseState::Open };
    let ruling = |verdict| Assessment { verdict, by: "op".into(), at, reason: "looked".to_owned() };
    let suppression = Suppression {
        id: silenced,
        rule: "r".into(),
        principal: Some("a".into()),
        server: None,
        tool: None,
        since: at,
        until,
        by: "op".into(),
        reason: "known".to_owned(),
        also_p1: false,
    };
    let json = |value: &dyn Fn() -> serde_json::Value| Some(value());
    let raised = Event::FindingRaised { finding, rule: "r".into(), priority: Priority::P2, requirement: "D3".to_owned(), leaf: None };
    let events = vec![
        (raised, None),
        (Event::FindingRepeated { finding, repeats: 10 }, None),
        (Event::FindingRepeated { finding, repeats: 3 }, None),
        (updated(case), json(&|| body(case, session))),
        (updated(second), json(&|| body(second, other))),
        (
            Event::Disposed { finding: Some(finding), case: None, verdict: Verdict::False },
            json(&|| serde_json::to_value(ruling(Verdict::False)).unwrap()),
        ),
        (
            Event::Disposed { finding: None, case: Some(case), verdict: Verdict::Benign },
            json(&|| serde_json::to_value(ruling(Verdict::Benign)).unwrap()),
        ),
        (Event::RuleSuppressed { suppression: silenced, rule: "r".into(), until }, json(&|| serde_json::to_value(&suppression).unwrap())),
    ];
    let temp = tempfile::tempdir().unwrap();
    let projection = Projection::open(&temp.path().join("custody.db")).await.unwrap();
    let entries: Vec<OpenEntry> =
        events.into_iter().enumerate().map(|(leaf, (event, detail))| entry(leaf as u64, None, event, detail)).collect();
    projection.apply_many(&entries).await.unwrap();
    let row = projection.finding(finding).await.unwrap().unwrap();
    assert_eq!((row.repeats, row.assessment), (10, Some(ruling(Verdict::False))));
    assert_eq!(projection.findings().await.unwrap().len(), 1);
    assert_eq!(projection.case(case).await.unwrap().unwrap().assessment, Some(ruling(Verdict::Benign)));
    assert_eq!(projection.sessions_to_exclude().await.unwrap(), [other].into(), "the benign case teaches again");
    assert_eq!(projection.suppressions(at).await.unwrap(), [suppression]);
    assert_eq!(projection.suppressions(until).await.unwrap(), []);
    let heard = entry(8, None, Event::RuleHeard { suppression: silenced, rule: "r".into(), hidden: 4 }, None);
    projection.apply_many(&[heard]).await.unwrap();
    assert_eq!(projection.suppressions(at).await.unwrap(), []);
}

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

//! Forgetting: a projection that knew a session and one that is made anew after its keys are gone are the same.

use super::*;
use proptest::{prelude::*, test_runner::TestCaseError};
use serde_json::json;
use uuid::Uuid;

const SECRET: &str = "hunter2";

fn session(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

/// What happens in a session, each with sealed words.
fn events(n: u128) -> Vec<(Event, Option<serde_json::Value>)> {
    let (finding, case, action, undo) =
        (FindingId(Uuid::from_u128(n)), CaseId(Uuid::from_u128(n % 2)), ActionId(Uuid::from_u128(n)), ActionId(Uuid::from_u128(n + 100)));
    let call = |tool: Option<ToolName>| {
        Event::Message(Message {
            direction: Direction::ToServer,
            server: "s".into(),
            transport: Transport::Http,
            shape: Shape::Request,
            method: Some("tools/call".to_owned()),
            tool,
            answers: None,
            outcome: Outcome::Allowed,
            reason: None,
            denial: None,
            spliced: vec![],
            forwarded: None,
        })
    };
    let full = Case {
        id: case,
        opened: Timestamp::UNIX_EPOCH,
        state: CaseState::Open,
        severity: Severity::High,
        incident_type: IncidentType::PromptInjection,
        triage: Triage { disposition: Disposition::Confirmed, path: vec![SECRET.into()] },
        findings: vec![finding],
        sessions: vec![session(n)],
        scopes: vec![],
        clocks: vec![],
        source: None,
    };
    let step = |id, verb: &str, undoes| Step {
        id,
        case: None,
        verb: verb.into(),
        scopes: vec![Scope::Principal(SECRET.into())],
        session: Some(session(n)),
        by: "custody".into(),
        reason: SECRET.into(),
        undoable: true,
        undoes,
    };
    let listing = Event::ManifestSeen {
        server: "s".into(),
        listing: "resources/list".into(),
        digest: Digest([0; 32]),
        definitions: vec![],
        changed: vec![],
    };
    let resource = format!("file:///{SECRET}/{}", n % 2);
    let said = json!({"by": "dana", "reason": SECRET, "verdict": "true", "at": "2026-01-01T00:00:00Z"});
    let identity = json!({"principal": format!("{SECRET}-{}", n % 2), "assurance": "client_key", "role": null, "task": null});
    vec![
        (Event::SessionStarted, Some(json!({"identity": identity, "source": SECRET}))),
        (call(None), Some(json!({"tool": SECRET}))),
        (call(Some("read_file".into())), Some(json!({"tool": "read_file"}))),
        (listing, Some(json!({"definitions": [[resource, Digest([n as u8; 32])]], "changed": [resource]}))),
        (
            Event::ManifestRuled { server: "s".into(), listing: "resources/list".into(), ruling: Ruling::Pinned, definitions: vec![] },
            Some(json!({"x": SECRET})),
        ),
        (
            Event::FindingRaised { finding, rule: "r".into(), priority: Priority::P1, requirement: "D1".into(), leaf: None },
            Some(json!({"why": SECRET})),
        ),
        (Event::Triaged { finding, disposition: Disposition::Confirmed, case: Some(case) }, Some(json!({"path": [SECRET]}))),
        (Event::Disposed { finding: Some(finding), case: None, verdict: Verdict::True }, Some(said.clone())),
        (Event::CaseUpdated { case, severity: Severity::High, state: CaseState::Open }, Some(serde_json::to_value(&full).unwrap())),
        (Event::Disposed { finding: None, case: Some(case), verdict: Verdict::True }, Some(said)),
        (
            Event::ActionIntended { action, verb: "freeze_scope".into(), case: None },
            Some(serde_json::to_value(step(action, "freeze_scope", None)).unwrap()),
        ),
        (
            Event::ActionIntended { action: undo, verb: "unfreeze_scope".into(), case: None },
            Some(serde_json::to_value(step(undo, "unfreeze_scope", Some(action))).unwrap()),
        ),
        (Event::ActionDone { action: undo, verb: "unfreeze_scope".into(), case: None, ok: true }, Some(json!({"result": SECRET}))),
        (Event::EvidenceExported { case, digest: Digest([1; 32]) }, Some(json!({"path": SECRET}))),
        (Event::SessionLinked { kind_of: LinkKind::Process, strength: Strength::Strong }, Some(json!({"x": SECRET}))),
        (Event::CaseUpdated { case, severity: Severity::Moderate, state: CaseState::Closed }, Some(serde_json::to_value(&full).unwrap())),
    ]
}

/// Three sessions, their entries mixed as `order` says; the first one's key is destroyed at the end, and it goes on after that.
fn story(order: &[u8]) -> Vec<OpenEntry> {
    let mut waiting: Vec<_> = (1..=3_u128).map(|n| (n, events(n).into_iter())).collect();
    let mut all = Vec::new();
    for pick in order.iter().chain(std::iter::repeat_n(&0, 100)) {
        let place = usize::from(*pick) % waiting.len().max(1);
        let Some((n, events)) = waiting.get_mut(place) else { break };
        match events.next() {
            Some((event, detail)) => all.push((Some(session(*n)), event, detail)),
            None => drop(waiting.remove(place)),
        }
    }
    all.push((Some(session(1)), Event::KeyDestroyed { key: KeyId(Uuid::from_u128(1)) }, None));
    all.extend(events(2).into_iter().take(4).map(|(event, detail)| (Some(session(2)), event, detail)));
    let entry = |(leaf, (session, event, detail)): (usize, (Option<SessionId>, Event, Option<serde_json::Value>))| {
        let at = Timestamp::from_second(1_700_000_000 + leaf as i64).unwrap();
        let entry = Entry { v: ENTRY_VERSION, at, session, event, detail: None, body: None };
        OpenEntry { leaf: LeafIndex(leaf as u64), entry, detail, body: None }
    };
    all.into_iter().enumerate().map(entry).collect()
}

async fn applied(entries: &[OpenEntry], at_once: usize, dir: &Path) -> Projection {
    let projection = Projection::open(&dir.join(format!("{}.db", Uuid::now_v7()))).await.unwrap();
    for part in entries.chunks(at_once) {
        projection.apply_many(part).await.unwrap();
    }
    projection
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_was_known_is_forgotten_as_if_never_known(order in prop::collection::vec(0_u8..3, 0..48), at_once in 1_usize..60) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let known = story(&order);
            let mut anew = known.clone();
            for open in anew.iter_mut().filter(|open| open.entry.session == Some(session(1))) {
                open.detail = None;
            }
            let (known, anew) = (applied(&known, at_once, dir.path()).await, applied(&anew, 1000, dir.path()).await);
            let dump = known.dump().await.unwrap();
            prop_assert_eq!(&dump, &anew.dump().await.unwrap());
            prop_assert_eq!(known.digest().await.unwrap(), anew.digest().await.unwrap());
            let row = known.session(session(1)).await.unwrap().unwrap();
            prop_assert!(row.principal.is_none() && row.source.is_none() && row.calls == 2);
            prop_assert!(known.erased(session(1)).await.unwrap().is_some() && known.erased(session(2)).await.unwrap().is_none());
            prop_assert!(known.session(session(2)).await.unwrap().unwrap().principal.is_some());
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[tokio::test]
async fn nothing_of_the_forgotten_is_left_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut entries = story(&[]);
    entries.retain(|open| open.entry.session == Some(session(1)));
    for (leaf, open) in entries.iter_mut().enumerate() {
        open.leaf = LeafIndex(leaf as u64);
    }
    let projection = applied(&entries[..entries.len() - 1], 5, dir.path()).await;
    let holds = || {
        std::fs::read_dir(dir.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
        })
    };
    assert!(holds());
    projection.apply_many(&entries).await.unwrap();
    assert!(projection.scrub().await.unwrap());
    assert!(!holds());
}

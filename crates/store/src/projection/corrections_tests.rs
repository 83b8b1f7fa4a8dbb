//! Corrected sessions: what is shown follows, exactly, and back again.

use super::*;
use serde_json::json;
use uuid::Uuid;

fn id(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

/// A ledger that grows, and its projection.
struct Book {
    _home: tempfile::TempDir,
    entries: Vec<OpenEntry>,
    projection: Projection,
}

impl Book {
    async fn new() -> Book {
        let home = tempfile::tempdir().unwrap();
        let projection = Projection::open(&home.path().join("p.db")).await.unwrap();
        Book { _home: home, entries: Vec::new(), projection }
    }

    async fn add(&mut self, session: SessionId, event: Event, detail: Option<serde_json::Value>) -> LeafIndex {
        let leaf = LeafIndex(self.entries.len() as u64);
        let at = Timestamp::from_second(1_700_000_000 + leaf.0.cast_signed()).unwrap();
        let entry = Entry { v: ENTRY_VERSION, at, session: Some(session), event, detail: None, body: None };
        let line = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry, "as the ledger keeps it: {line}");
        let open = OpenEntry { leaf, entry, detail, body: None };
        self.projection.apply_many(std::slice::from_ref(&open)).await.unwrap();
        self.entries.push(open);
        leaf
    }

    async fn start(&mut self, session: SessionId) {
        let identity = json!({"principal": "a", "assurance": "client_key", "role": null, "task": null});
        self.add(session, Event::SessionStarted, Some(json!({"identity": identity, "source": "x"}))).await;
        let kind_of = LinkKind::Connection;
        self.add(session, Event::SessionLinked { kind_of, strength: Strength::Strong }, None).await;
    }

    async fn call(&mut self, session: SessionId, outcome: Outcome) -> LeafIndex {
        self.message(session, Direction::ToServer, outcome, None).await
    }

    async fn message(&mut self, session: SessionId, direction: Direction, outcome: Outcome, answers: Option<LeafIndex>) -> LeafIndex {
        let message = Message {
            direction,
            server: "s".into(),
            transport: Transport::Http,
            shape: Shape::Request,
            method: Some("tools/call".to_owned()),
            tool: None,
            answers,
            outcome,
            reason: None,
            denial: None,
            spliced: vec![],
            forwarded: None,
        };
        self.add(session, Event::Message(message), None).await
    }

    async fn find(&mut self, session: SessionId, case: u128) {
        let (finding, case) = (FindingId(Uuid::now_v7()), CaseId(Uuid::from_u128(case)));
        let raised = Event::FindingRaised { finding, rule: "r".into(), priority: Priority::P2, requirement: "D3".to_owned(), leaf: None };
        self.add(session, raised, None).await;
        self.add(session, Event::Triaged { finding, disposition: Disposition::Confirmed, case: Some(case) }, None).await;
        let body = json!({"id": case, "opened": Timestamp::UNIX_EPOCH, "state": "open", "severity": "high",
            "incident_type": "prompt_injection", "triage": {"disposition": "CONFIRMED", "path": []}, "findings": [finding],
            "sessions": [session], "scopes": [], "clocks": [], "source": null});
        let updated = Event::CaseUpdated { case, severity: Severity::High, state: CaseState::Open };
        self.add(session, updated, Some(body)).await;
    }

    async fn join(&mut self, session: SessionId, other: SessionId) -> LeafIndex {
        self.add(session, Event::SessionJoined { other }, Some(json!({"by": "erin", "reason": "same run"}))).await
    }

    async fn split(&mut self, session: SessionId, at: LeafIndex, into: SessionId) -> LeafIndex {
        self.add(session, Event::SessionSplit { into, from: at }, None).await
    }

    /// Per listed session: id, messages, calls, denied, findings, and whether it is over.
    async fn rows(&self) -> Vec<(u128, u64, u64, u64, u64, bool)> {
        let mut rows = self.projection.sessions(10).await.unwrap();
        rows.sort_by_key(|row| row.id);
        rows.into_iter().map(|row| (row.id.0.as_u128(), row.messages, row.calls, row.denied, row.findings, row.ended.is_some())).collect()
    }

    async fn sessions_of_case(&self, case: u128) -> Vec<SessionId> {
        self.projection.case(CaseId(Uuid::from_u128(case))).await.unwrap().unwrap().case.sessions
    }

    /// A projection made anew, at once, is the same.
    async fn check_rebuilt(&self) {
        let home = tempfile::tempdir().unwrap();
        let anew = Projection::open(&home.path().join("p.db")).await.unwrap();
        anew.apply_many(&self.entries).await.unwrap();
        assert_eq!(anew.dump().await.unwrap(), self.projection.dump().await.unwrap());
    }
}

#[tokio::test]
async fn a_joined_session_is_shown_with_the_other_until_it_is_taken_back() {
    let mut book = Book::new().await;
    let (a, b) = (id(1), id(2));
    book.start(a).await;
    book.start(b).await;
    book.call(a, Outcome::Allowed).await;
    let asked = book.call(b, Outcome::Denied).await;
    book.find(b, 70).await;
    let apart = book.rows().await;
    assert_eq!(apart, [(1, 1, 1, 0, 0, false), (2, 1, 1, 1, 1, false)]);

    let join = book.join(a, b).await;
    book.add(b, Event::SessionEnded { why: "joined".to_owned() }, None).await;
    assert_eq!(book.rows().await, [(1, 2, 2, 1, 1, false)]);
    assert_eq!(book.projection.session(b).await.unwrap().unwrap().id, a, "asked for by its own id");
    assert_eq!(book.projection.calls_of(b).await.unwrap().len(), 2);
    assert_eq!(book.sessions_of_case(70).await, [a]);
    assert_eq!(book.projection.recorded_as(a).await.unwrap(), [a, b]);
    assert_eq!(book.projection.links_of(a).await.unwrap().len(), 2);
    // What comes late is shown there, too.
    book.message(b, Direction::ToAgent, Outcome::Allowed, Some(asked)).await;
    assert_eq!(book.rows().await, [(1, 3, 2, 1, 1, false)]);
    book.check_rebuilt().await;

    let part = book.split(a, join, b).await;
    assert_eq!(book.rows().await, [(1, 1, 1, 0, 0, false), (2, 2, 1, 1, 1, false)]);
    assert_eq!(book.sessions_of_case(70).await, [b]);
    let corrections = book.projection.corrections_of(a).await.unwrap();
    assert_eq!(corrections.iter().map(|row| (row.kind.as_str(), row.undone)).collect::<Vec<_>>(), [("join", Some(part)), ("part", None)]);
    assert_eq!(corrections[0].detail.as_ref().unwrap().reason, "same run");
    book.join(a, b).await;
    assert_eq!(book.rows().await, [(1, 3, 2, 1, 1, false)], "and again");
    book.check_rebuilt().await;
}

#[tokio::test]
async fn a_split_session_is_two_and_findings_and_late_answers_follow_their_calls() {
    let mut book = Book::new().await;
    let (a, new) = (id(1), id(9));
    book.start(a).await;
    book.call(a, Outcome::Allowed).await;
    book.find(a, 70).await;
    let first = book.call(a, Outcome::Denied).await;
    book.find(a, 71).await;
    book.add(a, Event::SessionEnded { why: "idle".to_owned() }, None).await;
    let whole = book.rows().await;
    assert_eq!(whole, [(1, 2, 2, 1, 2, true)]);

    book.split(a, first, new).await;
    book.add(new, Event::SessionStarted, None).await;
    book.add(a, Event::SessionEnded { why: "split".to_owned() }, None).await;
    book.message(a, Direction::ToAgent, Outcome::Allowed, Some(first)).await;
    assert_eq!(book.rows().await, [(1, 1, 1, 0, 1, true), (9, 2, 1, 1, 1, true)]);
    assert_eq!((book.sessions_of_case(70).await, book.sessions_of_case(71).await), (vec![a], vec![new]));
    assert_eq!(book.projection.session(new).await.unwrap().unwrap().principal, Some("a".into()));
    assert_eq!(book.projection.recorded_as(new).await.unwrap(), [a, new], "the ledger names the one it was recorded in");
    assert_eq!(book.projection.stands_in(new, first).await.unwrap(), Some(false));
    assert_eq!(book.projection.stands_in(a, first).await.unwrap(), None);
    book.check_rebuilt().await;

    let join = book.join(a, new).await;
    assert_eq!(book.rows().await, [(1, 3, 2, 1, 2, true)]);
    assert_eq!(book.sessions_of_case(71).await, [a]);
    book.check_rebuilt().await;
    book.split(a, join, new).await;
    assert_eq!(book.rows().await, [(1, 1, 1, 0, 1, true), (9, 2, 1, 1, 1, true)], "the split is in force again");
    book.check_rebuilt().await;
}

#[tokio::test]
async fn corrections_of_corrections_come_apart_in_any_order() {
    let mut book = Book::new().await;
    for n in 1..=3 {
        book.start(id(n)).await;
        book.call(id(n), Outcome::Allowed).await;
    }
    let inner = book.join(id(2), id(3)).await;
    let outer = book.join(id(1), id(2)).await;
    assert_eq!(book.rows().await, [(1, 3, 3, 0, 0, false)]);
    assert_eq!(book.projection.session(id(3)).await.unwrap().unwrap().id, id(1));
    book.split(id(2), inner, id(3)).await;
    assert_eq!(book.rows().await, [(1, 2, 2, 0, 0, false), (3, 1, 1, 0, 0, false)]);
    book.split(id(1), outer, id(2)).await;
    assert_eq!(book.rows().await, [(1, 1, 1, 0, 0, false), (2, 1, 1, 0, 0, false), (3, 1, 1, 0, 0, false)]);
    book.check_rebuilt().await;
}

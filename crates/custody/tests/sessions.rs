//! Which messages are one agent's run (R9): every link on the real wire format, the record of it, and that no link, old or new,
//! lets a frozen agent out (promise 4).
#![allow(clippy::unwrap_used)]

use custody::{
    config::Config,
    core::{Call, Clock, ContainOptions, ContainTarget, Core, CoreError, Decision, Inbound, Peer},
    trust::{Home, InitOptions},
};
use custody_model::*;
use custody_store::projection::Projection;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

const ERIN: &str = "erin";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

struct Stage {
    _dir: TempDir,
    core: Arc<Core>,
}

/// A message and what came of it.
#[derive(Clone, Copy, Default)]
struct Extra<'a> {
    mcp_session: Option<&'a str>,
    headers: Option<&'a http::HeaderMap>,
}

impl Stage {
    async fn new() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        Home::init(&dir.path().join("home"), &InitOptions::default()).unwrap();
        Stage::open(dir).await
    }

    async fn open(dir: TempDir) -> Stage {
        let home = Home::open(&dir.path().join("home")).unwrap();
        let text = "version = 1\n[agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n\
             [servers.modern]\nurl = \"http://127.0.0.1:9/mcp\"\n[servers.legacy]\nurl = \"http://127.0.0.1:9/mcp\"\n\
             [servers.third]\nurl = \"http://127.0.0.1:9/mcp\"\n";
        let config = Config::parse(text, "custody.toml", dir.path(), &|_| None).unwrap();
        let core = Core::open_at(&home, config, Clock::starting_at(jiff::Timestamp::now())).await.unwrap();
        Stage { _dir: dir, core }
    }

    /// A peer over a connection of its own.
    fn peer(&self, who: &str, server: &str) -> Peer {
        Peer {
            identity: self.core.identify(&who.into(), None),
            server: server.into(),
            transport: Transport::Http,
            connection: ConnectionId(Uuid::now_v7()),
            process: None,
            source: "test".into(),
            hint: None,
        }
    }

    async fn send(&self, peer: &Peer, message: &Value, extra: Extra<'_>) -> Result<Call, Value> {
        let bytes = message.to_string();
        let inbound = Inbound { peer, mcp_session: extra.mcp_session, headers: extra.headers, bytes: bytes.as_bytes(), spliced: None };
        match self.core.to_server(inbound).await {
            Decision::Forward(permit) => Ok(permit.call().clone()),
            Decision::Refuse(refusal) => Err(serde_json::from_slice(&refusal.body).unwrap()),
        }
    }

    /// The session of a call.
    async fn call(&self, peer: &Peer, params: Value) -> SessionId {
        self.asked(peer, params).await.session
    }

    async fn asked(&self, peer: &Peer, params: Value) -> Call {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        self.send(peer, &message, Extra::default()).await.unwrap()
    }

    /// A call that the server answers like this.
    async fn answered(&self, peer: &Peer, result: Value) -> SessionId {
        let call = self.asked(peer, json!({"name": "work"})).await;
        let answer = json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
        self.core.to_agent(peer, Some(&call), answer.as_bytes()).await;
        call.session
    }

    /// An hour passes; who is known by name alone starts anew.
    fn hour(&self) {
        self.core.advance_clock(&ERIN.into(), 3_600_000).unwrap();
    }

    /// The kinds of links that the ledger has of a session, in its order.
    fn links(&self, session: SessionId) -> Vec<LinkKind> {
        let entries = self.core.ledger().reader().open_entries(LeafIndex(0));
        let of_session = entries.map(|entry| entry.unwrap().entry).filter(|entry| entry.session == Some(session));
        of_session.filter_map(|entry| if let Event::SessionLinked { kind_of, .. } = entry.event { Some(kind_of) } else { None }).collect()
    }

    async fn close(self) {
        self.core.close().await;
    }
}

fn plain() -> Value {
    json!({"name": "work"})
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_over_three_servers_is_one_session_and_two_principals_are_two() {
    let stage = Stage::new().await;
    let mut sessions = Vec::new();
    for server in ["modern", "legacy", "third"] {
        sessions.push(stage.call(&stage.peer("a", server), plain()).await);
    }
    assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    let other = stage.call(&stage.peer("b", "modern"), plain()).await;
    assert_ne!(other, sessions[0]);
    stage.hour();
    assert_ne!(stage.call(&stage.peer("a", "modern"), plain()).await, sessions[0], "an idle gap splits");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_behind_one_client_and_one_connection_are_two() {
    let stage = Stage::new().await;
    let desk = stage.peer("desk", "modern");
    let of = |user: &str| Peer { hint: Some(user.into()), ..desk.clone() };
    let (ann, bob) = (stage.call(&of("ann"), plain()).await, stage.call(&of("bob"), plain()).await);
    assert_ne!(ann, bob);
    assert_eq!((stage.call(&of("ann"), plain()).await, stage.call(&of("bob"), plain()).await), (ann, bob));
    let elsewhere = Peer { hint: Some("ann".into()), ..stage.peer("desk", "legacy") };
    assert_eq!(stage.call(&elsewhere, plain()).await, ann);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_state_and_a_task_lead_back_to_the_run_they_were_handed_to() {
    let state = "s\"é".repeat(100);
    let cases = [
        (
            json!({"resultType": "input_required", "requestState": state}),
            json!({"name": "work", "requestState": state}),
            LinkKind::RequestState,
        ),
        (json!({"resultType": "task", "taskId": "t-1", "status": "working"}), json!({"taskId": "t-1"}), LinkKind::Task),
        (json!({"task": {"taskId": "t-2", "status": "working"}}), json!({"taskId": "t-2"}), LinkKind::Task),
    ];
    for (result, shown, kind) in cases {
        let stage = Stage::new().await;
        let connection = stage.peer("a", "modern");
        let session = stage.answered(&connection, result).await;
        assert_eq!(stage.links(session).last(), Some(&kind));
        stage.hour();
        assert_eq!(stage.call(&stage.peer("a", "modern"), shown.clone()).await, session, "{kind:?}");
        // The same value at another server, of another principal, or after the run is over, is nothing.
        stage.core.connection_closed(&"a".into(), connection.connection);
        assert_ne!(stage.call(&stage.peer("b", "modern"), shown.clone()).await, session);
        stage.hour();
        assert_ne!(stage.call(&stage.peer("a", "third"), shown).await, session);
        stage.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_no_server_handed_out_joins_nothing_and_costs_nothing() {
    let stage = Stage::new().await;
    let attacker = stage.peer("a", "modern");
    let session = stage.call(&attacker, plain()).await;
    for number in 0..100 {
        stage.call(&attacker, json!({"name": "work", "requestState": format!("{number}"), "taskId": format!("{number}")})).await;
    }
    assert_eq!(stage.links(session), [LinkKind::Connection, LinkKind::Principal]);
    // It is handed to another principal later: guessing it before changes nothing.
    let victim = stage.peer("b", "modern");
    let theirs = stage.answered(&victim, json!({"resultType": "task", "taskId": "7", "status": "working"})).await;
    assert_eq!(stage.call(&attacker, json!({"taskId": "7"})).await, session);
    stage.hour();
    assert_eq!(stage.call(&stage.peer("b", "modern"), json!({"taskId": "7"})).await, theirs);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_context_counts_in_the_header_and_in_the_message() {
    let stage = Stage::new().await;
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", TRACE.parse().unwrap());
    let kept = stage.peer("a", "modern");
    let message = |meta: Value| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "work", "_meta": meta}});
    let by_header = Extra { headers: Some(&headers), ..Extra::default() };
    let session = stage.send(&kept, &message(json!({})), by_header).await.unwrap().session;
    assert!(stage.links(session).contains(&LinkKind::Trace));
    stage.hour();
    let other_span = TRACE.replace("00f067aa0ba902b7", "1111111111111111");
    let by_meta = stage.send(&stage.peer("a", "legacy"), &message(json!({"traceparent": other_span})), Extra::default()).await.unwrap();
    assert_eq!(by_meta.session, session);
    stage.close().await;
}

/// Promise 4, by every way of looking like somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn no_link_lets_a_frozen_agent_out() {
    let stage = Stage::new().await;
    let peer = stage.peer("a", "modern");
    let session = stage.answered(&peer, json!({"resultType": "task", "taskId": "t", "status": "working"})).await;
    let innocent = stage.peer("b", "modern");
    let task_of_b = json!({"resultType": "task", "taskId": "b", "requestState": "b"});
    stage.answered(&innocent, task_of_b).await;
    stage.core.contain(&ERIN.into(), ContainTarget::Session(session), "tested", ContainOptions::default()).await.unwrap();

    let process = ProcessRef { pid: 7, start_ticks: 7 };
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", TRACE.parse().unwrap());
    let fresh = || stage.peer("a", "modern");
    let shapes = [
        ("the same connection", peer.clone()),
        ("a new connection", fresh()),
        ("another server", stage.peer("a", "third")),
        ("a new hint", Peer { hint: Some("new".into()), ..fresh() }),
        ("a new hint over the old connection", Peer { hint: Some("newer".into()), ..peer.clone() }),
        ("a new process", Peer { process: Some(process), transport: Transport::Stdio, ..fresh() }),
    ];
    let params = [
        ("nothing more", plain()),
        ("its task", json!({"name": "work", "taskId": "t"})),
        ("another's task", json!({"name": "work", "taskId": "b"})),
        ("another's state", json!({"name": "work", "requestState": "b"})),
        ("a new trace", json!({"name": "work", "_meta": {"traceparent": TRACE}})),
    ];
    for (how, peer) in &shapes {
        for (what, params) in &params {
            for extra in [Extra::default(), Extra { mcp_session: Some("another"), headers: Some(&headers) }] {
                let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
                let denied = stage.send(peer, &message, extra).await;
                assert!(denied.is_err_and(|answer| answer["error"]["code"] == 4030), "{how}, {what}");
            }
        }
    }
    stage.hour();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": plain()});
    assert!(stage.send(&fresh(), &message, Extra::default()).await.is_err(), "an idle gap is no way out");
    assert!(stage.send(&innocent, &message, Extra::default()).await.is_ok(), "who is somebody else goes on");
    stage.close().await;
}

impl Stage {
    async fn join(&self, session: SessionId, other: SessionId) -> Result<SessionId, CoreError> {
        self.core.join_sessions(&ERIN.into(), session, other, "the same run").await
    }

    async fn split(&self, session: SessionId, at: LeafIndex) -> Result<SessionId, CoreError> {
        self.core.split_session(&ERIN.into(), session, at, "another run").await
    }

    /// Calls that are shown with a session.
    async fn shown(&self, session: SessionId) -> usize {
        self.core.settled().await;
        self.core.projection().calls_of(session).await.unwrap().len()
    }

    /// The entry of the last correction of a session.
    async fn corrected(&self, session: SessionId) -> LeafIndex {
        self.core.projection().corrections_of(session).await.unwrap().last().unwrap().leaf
    }

    /// A projection made anew from the ledger is the same.
    async fn check_rebuilt(&self) {
        self.core.settled().await;
        let folder = tempfile::tempdir().unwrap();
        let anew = Projection::open(&folder.path().join("anew.db")).await.unwrap();
        let entries: Vec<_> = self.core.ledger().reader().open_entries(LeafIndex(0)).collect::<Result<_, _>>().unwrap();
        anew.apply_many(&entries).await.unwrap();
        assert_eq!(anew.dump().await.unwrap(), self.core.projection().dump().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_by_hand_is_recorded_followed_and_taken_back() {
    let stage = Stage::new().await;
    let desk = stage.peer("desk", "modern");
    let of = |user: &str| Peer { hint: Some(user.into()), ..desk.clone() };
    let (ann, bob) = (stage.call(&of("ann"), plain()).await, stage.call(&of("bob"), plain()).await);
    assert_eq!(stage.join(ann, bob).await.unwrap(), ann);
    let size = stage.core.ledger().size();
    assert_eq!(stage.join(ann, bob).await.unwrap(), ann, "twice is once");
    assert_eq!(stage.join(bob, ann).await.unwrap(), ann);
    assert_eq!(stage.core.ledger().size(), size, "and one entry");
    assert_eq!(stage.call(&of("bob"), plain()).await, ann, "later messages follow");
    assert_eq!((stage.shown(ann).await, stage.shown(bob).await), (3, 3));
    stage.check_rebuilt().await;

    let join = stage.core.projection().corrections_of(ann).await.unwrap()[0].leaf;
    assert_eq!(stage.split(ann, join).await.unwrap(), bob);
    assert_eq!(stage.split(ann, join).await.unwrap(), bob, "twice is once");
    assert_eq!((stage.call(&of("ann"), plain()).await, stage.call(&of("bob"), plain()).await), (ann, bob));
    // What was recorded in the other while they were one stays there.
    assert_eq!((stage.shown(ann).await, stage.shown(bob).await), (3, 2));
    stage.check_rebuilt().await;

    let other = stage.call(&stage.peer("b", "modern"), plain()).await;
    assert!(matches!(stage.join(ann, other).await, Err(CoreError::Uncorrectable { .. })), "a session has one principal");
    assert!(matches!(stage.join(ann, ann).await, Err(CoreError::Uncorrectable { .. })));
    assert!(matches!(stage.join(ann, SessionId(Uuid::nil())).await, Err(CoreError::Unknown { .. })));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_by_hand_is_recorded_followed_and_taken_back() {
    let stage = Stage::new().await;
    let (one, two) = (stage.peer("a", "modern"), stage.peer("a", "legacy"));
    let session = stage.call(&one, plain()).await;
    stage.core.advance_clock(&ERIN.into(), 1_000).unwrap();
    let second = stage.asked(&two, plain()).await;
    assert_eq!(second.session, session);
    let other = stage.split(session, second.leaf).await.unwrap();
    assert_eq!(stage.split(session, second.leaf).await.unwrap(), other, "twice is once");
    assert_eq!((stage.shown(session).await, stage.shown(other).await), (1, 1));
    assert_eq!((stage.call(&one, plain()).await, stage.call(&two, plain()).await), (session, other));
    assert_eq!((stage.shown(session).await, stage.shown(other).await), (2, 2));
    stage.check_rebuilt().await;
    assert!(matches!(stage.split(session, LeafIndex(second.leaf.0 + 10_000)).await, Err(CoreError::Uncorrectable { .. })));

    assert_eq!(stage.join(session, other).await.unwrap(), session);
    assert_eq!((stage.shown(session).await, stage.shown(other).await), (4, 4));
    assert_eq!(stage.call(&two, plain()).await, session);
    stage.check_rebuilt().await;
    let undo = stage.corrected(session).await;
    stage.split(session, undo).await.unwrap();
    assert_eq!(
        (stage.shown(session).await, stage.shown(other).await),
        (3, 2),
        "as before, and what came since stays where it was recorded"
    );
    stage.check_rebuilt().await;
    stage.close().await;
}

/// Promise 4: a correction changes what is shown, never what is let through.
#[tokio::test(flavor = "multi_thread")]
async fn no_correction_lets_a_frozen_agent_out_and_a_joined_session_inherits_the_freeze() {
    let stage = Stage::new().await;
    let desk = stage.peer("desk", "modern");
    let of = |user: &str| Peer { hint: Some(user.into()), ..desk.clone() };
    let (ann, bob) = (stage.call(&of("ann"), plain()).await, stage.call(&of("bob"), plain()).await);
    let second = stage.asked(&of("ann"), plain()).await;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": plain()});
    let denied = async |peer: &Peer| stage.send(peer, &message, Extra::default()).await.is_err();

    stage.core.contain(&ERIN.into(), ContainTarget::Session(ann), "tested", ContainOptions::default()).await.unwrap();
    let frozen: Vec<Peer> = ["ann", "bob", "new"].map(of).into_iter().chain([desk.clone(), stage.peer("desk", "third")]).collect();
    let all_denied = async |when: &str| {
        for peer in &frozen {
            assert!(denied(peer).await, "{when}: {:?}", peer.hint);
        }
    };
    all_denied("frozen").await;
    let other = stage.split(ann, second.leaf).await.unwrap();
    all_denied("split").await;
    stage.join(ann, bob).await.unwrap();
    all_denied("joined").await;
    stage.join(bob, other).await.unwrap();
    all_denied("joined again").await;
    let undo = stage.corrected(ann).await;
    stage.split(ann, undo).await.unwrap();
    all_denied("taken back").await;
    stage.check_rebuilt().await;
    stage.close().await;
}

/// What was corrected while no daemon ran, and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn closed_sessions_are_corrected_and_a_restart_keeps_it() {
    let stage = Stage::new().await;
    let peer = stage.peer("a", "modern");
    let first = stage.call(&peer, plain()).await;
    stage.core.connection_closed(&"a".into(), peer.connection);
    stage.hour();
    let second = stage.call(&stage.peer("a", "modern"), plain()).await;
    assert_ne!(first, second);
    let Stage { _dir: dir, core } = stage;
    core.close().await;
    let stage = Stage::open(dir).await;
    stage.join(first, second).await.unwrap();
    assert_eq!(stage.shown(second).await, 2);
    let Stage { _dir: dir, core } = stage;
    core.close().await;
    let stage = Stage::open(dir).await;
    assert_eq!(stage.shown(first).await, 2);
    stage.check_rebuilt().await;
    stage.close().await;
}

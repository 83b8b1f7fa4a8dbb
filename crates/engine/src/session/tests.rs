use super::*;
use custody_model::{ConnectionId, ProcessRef, ServerName};
use proptest::prelude::*;
use uuid::Uuid;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn identity(name: &str) -> Identity {
    Identity { principal: name.into(), assurance: Assurance::ClientKey, role: None, task: None }
}

fn connection(n: u128) -> Link {
    Link::Connection(ConnectionId(Uuid::from_u128(n)))
}

/// A graph that numbers its sessions from 1.
struct Numbered(SessionGraph, u128);

impl Numbered {
    fn new() -> Numbered {
        Numbered(SessionGraph::new(SessionLimits::default()), 0)
    }

    fn see(&mut self, seconds: i64, name: &str, links: &[Link]) -> (u128, Attribution) {
        let counter = &mut self.1;
        let attribution = self.0.observe(at(seconds), &identity(name), links, || {
            *counter += 1;
            SessionId(Uuid::from_u128(*counter))
        });
        (attribution.session.0.as_u128(), attribution)
    }
}

#[test]
fn connections_of_one_principal_are_one_session_within_the_idle_gap() {
    let mut graph = Numbered::new();
    let (first, start) = graph.see(0, "a", &[connection(1)]);
    assert!(start.started && start.by.is_none());
    assert_eq!(start.added, [connection(1), Link::Principal("a".into())]);
    let (second, next) = graph.see(60, "a", &[connection(2)]);
    assert_eq!((first, next.by, next.started), (second, Some(LinkKind::Principal), false));
    assert_eq!(next.added, [connection(2)]);
    assert_eq!(graph.see(61, "b", &[connection(3)]).0, 2);
}

#[test]
fn an_open_connection_outlasts_the_idle_gap_and_a_closed_one_does_not() {
    let mut graph = Numbered::new();
    assert_eq!(graph.see(0, "a", &[connection(1)]).0, 1);
    assert_eq!(graph.see(3600, "a", &[connection(1)]).0, 1);
    assert_eq!(graph.see(7200, "a", &[connection(2)]).0, 2, "the name alone is too weak after an hour");
    graph.0.closed(&"a".into(), &connection(1));
    let (third, attribution) = graph.see(7201, "a", &[connection(2)]);
    assert_eq!(third, 2);
    assert_eq!(attribution.ended, [(SessionId(Uuid::from_u128(1)), EndReason::Idle)]);
}

#[test]
fn a_new_hint_starts_a_session_and_a_known_one_finds_it_over_a_shared_connection() {
    let mut graph = Numbered::new();
    let hint = |text: &str| Link::Hint(text.into());
    assert_eq!(graph.see(0, "a", &[connection(1), hint("x")]).0, 1);
    assert_eq!(graph.see(1, "a", &[connection(1), hint("y")]).0, 2);
    assert_eq!(graph.see(2, "a", &[connection(1), hint("x")]).0, 1);
    assert_eq!(graph.see(3, "a", &[connection(1)]).0, 1, "without a hint, whoever used the connection last");
    assert_eq!(graph.see(4, "b", &[connection(9), hint("x")]).0, 3, "a hint of somebody else means nothing");
}

#[test]
fn a_session_that_begins_without_a_hint_takes_the_first_over_a_strong_link_only() {
    let mut graph = Numbered::new();
    assert_eq!(graph.see(0, "a", &[connection(1)]).0, 1);
    assert_eq!(graph.see(1, "a", &[connection(2), Link::Hint("x".into())]).0, 2);
    assert_eq!(graph.see(2, "a", &[connection(1), Link::Hint("z".into())]).0, 1);
}

#[test]
fn the_stronger_link_wins() {
    let mut graph = Numbered::new();
    let protocol = Link::McpSession("files".into(), "abc".into());
    let process = Link::Process(ProcessRef { pid: 7, start_ticks: 70 });
    assert_eq!(graph.see(0, "a", std::slice::from_ref(&protocol)).0, 1);
    assert_eq!(graph.see(3600, "a", std::slice::from_ref(&process)).0, 2);
    let (session, attribution) = graph.see(3601, "a", &[process.clone(), protocol]);
    assert_eq!((session, attribution.by), (1, Some(LinkKind::McpSession)));
    assert_eq!(attribution.added, [process]);
    assert_eq!(graph.see(3602, "a", &[Link::McpSession("mail".into(), "abc".into())]).0, 1, "by name: another server's id is no link");
}

#[test]
fn strangers_are_not_joined_by_the_name_they_share() {
    let mut graph = Numbered::new();
    let stranger = Identity { assurance: Assurance::Unverified, ..identity("unverified") };
    let first = graph.0.observe(at(0), &stranger, &[connection(1)], || SessionId(Uuid::from_u128(1)));
    let second = graph.0.observe(at(1), &stranger, &[connection(2)], || SessionId(Uuid::from_u128(2)));
    assert_ne!(first.session, second.session);
}

#[test]
fn a_freeze_names_all_that_the_session_has() {
    let mut graph = Numbered::new();
    let process = ProcessRef { pid: 7, start_ticks: 70 };
    let (_, first) = graph.see(0, "a", &[connection(1), Link::Process(process)]);
    graph.see(1, "a", &[connection(2)]);
    let scopes = graph.0.scopes(first.session);
    assert_eq!(
        scopes,
        [
            Scope::Session(first.session),
            Scope::Principal("a".into()),
            Scope::Process(process),
            Scope::Connection(ConnectionId(Uuid::from_u128(1))),
            Scope::Connection(ConnectionId(Uuid::from_u128(2))),
        ]
    );
    graph.0.end(first.session, EndReason::Terminated);
    assert!(graph.0.scopes(first.session).is_empty() && graph.0.is_empty());
    assert_eq!(graph.see(2, "a", &[connection(1)]).0, 2);
}

fn any_links() -> impl Strategy<Value = Vec<Link>> {
    let link = prop_oneof![
        (0..3u8, 0..4u8).prop_map(|(s, i)| Link::McpSession(ServerName(format!("s{s}")), format!("{i}"))),
        (1..4u32).prop_map(|pid| Link::Process(ProcessRef { pid, start_ticks: 1 })),
        (0..6u128).prop_map(connection),
        (0..4u8).prop_map(|hint| Link::Hint(format!("h{hint}"))),
        (0..4u8).prop_map(|trace| Link::Trace(format!("t{trace}"))),
    ];
    prop::collection::vec(link, 0..4)
}

proptest! {
    #[test]
    fn one_principal_each_bounded_and_replayed_alike(
        steps in prop::collection::vec((0..2000i64, 0..3u8, any_links(), any::<bool>(), any::<bool>()), 1..60)
    ) {
        let limits = SessionLimits { sessions: 4, links: 5, ..SessionLimits::default() };
        let run = || {
            let (mut graph, mut counter, mut now) = (SessionGraph::new(limits), 0u128, 0i64);
            let mut log = Vec::new();
            let mut principals = HashMap::new();
            for (gap, who, links, close, verified) in &steps {
                now += gap;
                let mut who = identity(&format!("p{who}"));
                if !verified { who.assurance = Assurance::Unverified; }
                let attribution = graph.observe(at(now), &who, links, || { counter += 1; SessionId(Uuid::from_u128(counter)) });
                let owner = principals.entry(attribution.session).or_insert_with(|| who.principal.clone());
                assert_eq!(*owner, who.principal);
                assert_eq!(graph.identity(attribution.session).unwrap().principal, who.principal);
                assert!(graph.scopes(attribution.session).contains(&Scope::Principal(who.principal.clone())));
                assert!(graph.len() <= limits.sessions && graph.silent.len() == graph.runs.len());
                assert!(graph.owners.values().all(|session| graph.runs.contains_key(session)));
                assert!(!attribution.ended.iter().any(|(session, _)| *session == attribution.session));
                if *close && let Some(link) = links.first() { graph.closed(&who.principal, link); }
                log.push(attribution);
            }
            log.push(Attribution { session: SessionId(Uuid::nil()), started: false, by: None, added: vec![], ended: graph.end_all(EndReason::Shutdown) });
            assert!(graph.is_empty() && graph.owners.is_empty());
            log
        };
        prop_assert_eq!(run(), run());
    }
}

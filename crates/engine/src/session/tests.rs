use super::*;
use custody_model::{ConnectionId, Digest, ProcessRef, ServerName};
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

fn state(n: u8) -> Link {
    Link::RequestState("files".into(), Digest([n; 32]))
}

fn task(id: &str) -> Link {
    Link::Task("files".into(), id.into())
}

#[test]
fn what_a_server_handed_out_finds_its_session_and_nothing_else_does() {
    for link in [state(1), task("t")] {
        let mut graph = Numbered::new();
        let (_, first) = graph.see(0, "a", &[connection(1)]);
        assert_eq!(graph.0.show(at(1), first.session, std::slice::from_ref(&link)), std::slice::from_ref(&link));
        assert!(graph.0.show(at(1), first.session, std::slice::from_ref(&link)).is_empty(), "one link, one entry");
        // After an hour the name alone joins nobody.
        let (second, next) = graph.see(3600, "a", &[connection(2), link.clone()]);
        assert_eq!((second, next.by), (1, Some(link.kind().0)));
        assert_eq!(next.added, [connection(2)], "the link itself is no news");
        assert_eq!(graph.see(3601, "b", &[connection(3), link.clone()]).0, 2, "another principal's");
        graph.0.end(first.session, EndReason::Terminated);
        assert_eq!(graph.see(9000, "a", &[connection(4), link]).0, 3, "its session is over");
    }
}

#[test]
fn a_made_up_state_or_task_is_no_link() {
    let mut graph = Numbered::new();
    graph.see(0, "a", &[connection(1)]);
    let (session, made_up) = graph.see(3600, "a", &[connection(2), state(9), task("guess")]);
    assert_eq!((session, &made_up.added[..]), (2, &[connection(2), Link::Principal("a".into())][..]));
    assert_eq!(graph.see(7200, "a", &[connection(3), state(9), task("guess")]).0, 3, "nor when it is repeated");
}

#[test]
fn a_handed_out_link_moves_no_known_connection_and_overrules_no_hint() {
    let mut graph = Numbered::new();
    let (_, first) = graph.see(0, "a", &[connection(1), Link::Hint("x".into())]);
    graph.0.show(at(1), first.session, &[task("t")]);
    assert_eq!(graph.see(2, "a", &[connection(2), Link::Hint("y".into())]).0, 2);
    assert_eq!(graph.see(3, "a", &[connection(2), task("t")]).0, 2, "the connection is the stronger link");
    assert_eq!(graph.see(4, "a", &[connection(3), Link::Hint("y".into()), task("t")]).0, 2, "a hint speaks for itself");
    assert_eq!(graph.see(5, "a", &[connection(4), task("t")]).0, 1, "and it still leads to whom it was handed");
}

#[test]
fn what_two_sessions_were_handed_leads_to_neither() {
    let mut graph = Numbered::new();
    let (_, first) = graph.see(0, "a", &[connection(1)]);
    let (_, second) = graph.see(3600, "a", &[connection(2)]);
    graph.0.show(at(3601), first.session, &[state(1)]);
    graph.0.show(at(3601), second.session, &[state(1)]);
    assert_eq!(graph.see(9000, "a", &[connection(3), state(1)]).0, 3);
}

#[test]
fn strangers_are_not_joined_by_a_task_they_guess() {
    let mut graph = Numbered::new();
    let stranger = Identity { assurance: Assurance::Unverified, ..identity("unverified") };
    let first = graph.0.observe(at(0), &stranger, &[connection(1)], || SessionId(Uuid::from_u128(1)));
    graph.0.show(at(1), first.session, &[task("1"), state(1)]);
    let links = [connection(2), task("1"), state(1)];
    let second = graph.0.observe(at(2), &stranger, &links, || SessionId(Uuid::from_u128(2)));
    assert_ne!(first.session, second.session);
}

#[test]
fn a_flood_of_handed_out_links_is_bounded_and_spares_what_is_open() {
    let mut graph = Numbered::new();
    let (_, first) = graph.see(0, "a", &[connection(1)]);
    for n in 0..10_000 {
        graph.0.show(at(n), first.session, &[task(&n.to_string())]);
    }
    assert_eq!(graph.0.links(first.session).len(), SessionLimits::default().links);
    assert!(graph.0.owners.len() <= SessionLimits::default().links);
    assert!(graph.0.links(first.session).contains(&connection(1)));
}

fn any_links() -> impl Strategy<Value = Vec<Link>> {
    let link = prop_oneof![
        (0..3u8, 0..4u8).prop_map(|(s, i)| Link::McpSession(ServerName(format!("s{s}")), format!("{i}"))),
        (1..4u32).prop_map(|pid| Link::Process(ProcessRef { pid, start_ticks: 1 })),
        (0..6u128).prop_map(connection),
        (0..4u8).prop_map(|hint| Link::Hint(format!("h{hint}"))),
        (0..4u8).prop_map(|trace| Link::Trace(format!("t{trace}"))),
        (0..4u8).prop_map(state),
        (0..4u8).prop_map(|id| task(&id.to_string())),
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
                if *close { graph.show(at(now), attribution.session, links); }
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

fn id(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

#[test]
fn a_join_brings_links_hints_and_freezes_together_and_a_part_takes_them_apart() {
    let mut graph = Numbered::new();
    let hint = |text: &str| Link::Hint(text.into());
    graph.see(0, "a", &[connection(1), hint("x")]);
    graph.see(1, "a", &[connection(2), hint("y")]);
    assert_eq!(graph.0.join(id(1), id(2)), Some((id(2), EndReason::Joined)));
    assert_eq!(graph.0.join(id(1), id(2)), None, "twice is once");
    assert_eq!(graph.see(2, "a", &[connection(2)]).0, 1);
    assert_eq!(graph.see(3, "a", &[connection(3), hint("y")]).0, 1);
    assert_eq!(graph.see(4, "a", &[connection(3), hint("z")]).0, 3, "a third user is still another");
    assert!(graph.0.scopes(id(1)).contains(&Scope::Session(id(2))), "frozen as either");

    assert!(graph.0.part(id(1), id(2)));
    assert!(!graph.0.part(id(1), id(2)), "twice is once");
    assert_eq!(graph.see(5, "a", &[connection(2)]).0, 2);
    assert_eq!(graph.see(6, "a", &[connection(1)]).0, 1);
    assert_eq!(graph.see(7, "a", &[connection(9), hint("y")]).0, 2);
    for session in [1, 2] {
        let scopes = graph.0.scopes(id(session));
        assert!(scopes.contains(&Scope::Session(id(1))) && scopes.contains(&Scope::Session(id(2))), "a freeze of before holds: {scopes:?}");
    }
}

#[test]
fn principals_are_never_joined() {
    let mut graph = Numbered::new();
    graph.see(0, "a", &[connection(1)]);
    graph.see(0, "b", &[connection(2)]);
    assert_eq!(graph.0.join(id(1), id(2)), None);
    assert_eq!(graph.0.join(id(1), id(1)), None);
    assert_eq!(graph.0.join(id(1), id(7)), None);
    assert_eq!(graph.0.len(), 2);
}

#[test]
fn a_split_takes_what_was_used_since_and_a_join_brings_it_back() {
    let mut graph = Numbered::new();
    graph.see(0, "a", &[connection(1)]);
    graph.see(10, "a", &[connection(2)]);
    assert_eq!(graph.0.split(id(1), at(10), id(50)), (true, None));
    assert_eq!(graph.see(11, "a", &[connection(2)]).0, 50);
    assert_eq!(graph.see(12, "a", &[connection(1)]).0, 1);
    assert!(graph.0.scopes(id(50)).contains(&Scope::Session(id(1))), "a frozen session is not left by a split");
    graph.0.join(id(1), id(50));
    assert_eq!(graph.see(13, "a", &[connection(2)]).0, 1);

    assert_eq!(graph.0.split(id(1), at(0), id(51)), (true, Some((id(1), EndReason::Split))), "nothing is left of it");
    assert_eq!(graph.see(14, "a", &[connection(1)]).0, 51);
    assert_eq!(graph.0.split(id(51), at(1000), id(52)), (false, None), "nothing was used since");
}

proptest! {
    #[test]
    fn corrected_at_random_it_stays_sound_and_no_principal_meets_another(
        steps in prop::collection::vec((0..500i64, 0..3u8, any_links(), 0..6u8, 1..20u128, 1..20u128), 1..80)
    ) {
        let limits = SessionLimits { sessions: 8, links: 5, ..SessionLimits::default() };
        let (mut graph, mut counter, mut now) = (SessionGraph::new(limits), 0u128, 0i64);
        for (gap, who, links, act, one, other) in steps {
            now += gap;
            let who = identity(&format!("p{who}"));
            let seen = graph.observe(at(now), &who, &links, || { counter += 1; id(counter) });
            prop_assert_eq!(&graph.identity(seen.session).unwrap().principal, &who.principal);
            graph.show(at(now), seen.session, &links);
            match act {
                0 => { graph.join(id(one), id(other)); }
                1 => { graph.part(id(one), id(other)); }
                2 => { counter += 1; graph.split(id(one), at(now - gap), id(counter)); }
                3 => graph.relate(id(one), &[id(other)]),
                _ => {}
            }
            prop_assert_eq!(graph.silent.len(), graph.runs.len());
            for ((principal, link), session) in &graph.owners {
                let run = &graph.runs[session];
                prop_assert_eq!(&run.identity.principal, principal);
                prop_assert!(run.links.iter().any(|tie| tie.link == *link) , "{:?}", link);
            }
            prop_assert!(graph.runs.values().all(|run| run.open.iter().all(|open| run.links.iter().any(|tie| tie.link == *open))));
        }
        graph.end_all(EndReason::Shutdown);
        prop_assert!(graph.is_empty() && graph.owners.is_empty());
    }
}

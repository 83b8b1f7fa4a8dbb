//! Customer care at work: what the scenarios of habits share.

use crate::drill::{
    course::{
        Move, Run,
        habits::{self, SECOND},
    },
    plan::{Call, Client, RolePlan, ServerPlan, Setting},
    random::Random,
};
use crate::practice::Profile;
use serde_json::json;

/// Sessions of the role in question that are learned from.
pub(super) const SESSIONS: usize = 50;
/// Sessions of the role beside it.
pub(super) const OTHERS: usize = 10;
/// Most customers in one session.
pub(super) const MOST: usize = 5;
/// The customers' server's place.
pub(super) const CRM: usize = 0;
/// The places of those who care for customers.
pub(super) const CARE: &[usize] = &[0, 1, 2];
/// Of those who remind them of what they owe.
pub(super) const BILLING: &[usize] = &[3, 4];

/// What stands: one server, three agents of one role, two of another.
pub(super) fn setting(random: &mut Random, scenario: &'static str, seed: u64) -> Setting {
    let role = |name: &str, task: &str, allow: &[&str]| {
        let allow: Vec<String> = allow.iter().map(|tool| (*tool).to_owned()).collect();
        RolePlan { name: name.to_owned(), allow: allow.clone(), task: (task.to_owned(), allow), arguments: Vec::new() }
    };
    let number = random.between(1, 60);
    let client = |n: usize, role: &str, task: &str| Client {
        principal: format!("{role}-agent-{:02}", number + n),
        role: role.to_owned(),
        task: task.to_owned(),
    };
    Setting {
        scenario,
        seed,
        servers: vec![ServerPlan { name: "crm", profile: Profile::Crm }],
        documents: Vec::new(),
        database: habits::database(random),
        roles: vec![
            role("care", "answer-customers", &["find_customer", "get_customer", "list_orders", "add_note"]),
            role("billing", "remind-customers", &["list_orders", "get_customer", "send_mail"]),
        ],
        clients: (0..3)
            .map(|n| client(n, "care", "answer-customers"))
            .chain((3..5).map(|n| client(n, "billing", "remind-customers")))
            .collect(),
        virtual_clock: true,
    }
}

/// How fast people are, in milliseconds between two calls, and by how much they differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub median_ms: u64,
    pub spread: f64,
}

/// A person's usual pace.
pub(super) const USUAL: Pace = Pace { median_ms: 9 * SECOND, spread: 1.7 };

/// Cares for so many customers.
pub(super) fn care(random: &mut Random, customers: usize, pace: Pace) -> Vec<Move> {
    let mut moves = Vec::new();
    for _ in 0..customers {
        let (id, name) = habits::customer(random);
        let mut add =
            |random: &mut Random, call: Call| moves.push(habits::call(habits::pause(random, pace.median_ms, pace.spread), CRM, call));
        add(random, Call::new("find_customer", json!({ "name": name })));
        add(random, Call::new("get_customer", json!({ "id": id })));
        if random.between(0, 9) < 6 {
            add(random, Call::new("list_orders", json!({ "customer": id })));
        }
        if random.between(0, 9) < 3 {
            add(random, Call::new("add_note", json!({"customer": id, "note": "Called back, all settled."})));
        }
    }
    moves
}

/// Reminds a few customers.
pub(super) fn billing(random: &mut Random, pace: Pace) -> Vec<Move> {
    let mut moves = Vec::new();
    for _ in 0..random.between(1, 2) {
        let (id, _) = habits::customer(random);
        let mut add =
            |random: &mut Random, call: Call| moves.push(habits::call(habits::pause(random, pace.median_ms, pace.spread), CRM, call));
        add(random, Call::new("list_orders", json!({ "customer": id })));
        add(random, Call::new("get_customer", json!({ "id": id })));
        let mail = json!({"to": format!("customer-{id}@our-customers.example"), "subject": "Your order", "body": "A friendly reminder."});
        add(random, Call::new("send_mail", mail));
    }
    moves
}

/// How many customers a session usually is about: mostly one to three.
pub(super) fn usual_customers(random: &mut Random) -> usize {
    *random.pick(&[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, MOST])
}

/// Days of honest work of both roles.
pub(super) fn lessons(random: &mut Random, pace: Pace) -> Vec<Run> {
    let starts = habits::starts(random, CARE, SESSIONS);
    let mut runs: Vec<Run> = starts
        .into_iter()
        .map(|(client, at)| {
            let customers = usual_customers(random);
            let moves = care(random, customers, pace);
            habits::session(random, client, at, moves)
        })
        .collect();
    runs.extend(habits::introductions(random, CARE[0], 1));
    let starts = habits::starts(random, BILLING, OTHERS);
    runs.extend(starts.into_iter().map(|(client, at)| {
        let moves = billing(random, pace);
        habits::session(random, client, at, moves)
    }));
    runs
}

/// Honest sessions beside what is judged, by everybody but `but`, around `at_ms`.
pub(super) fn beside(random: &mut Random, at_ms: u64, but: usize, pace: Pace) -> Vec<Run> {
    let mut runs = Vec::new();
    for client in CARE.iter().chain(BILLING).copied().filter(|client| *client != but) {
        let at = at_ms + random.between(0, 120) as u64 * SECOND;
        let customers = usual_customers(random);
        let moves = if BILLING.contains(&client) { billing(random, pace) } else { care(random, customers, pace) };
        runs.push(habits::session(random, client, at, moves));
    }
    runs
}

//! The office with a second server beside it: what the two scenarios of definitions share.

use crate::drill::{
    corpus,
    course::{
        Act, Course, Expect, Move, Run, Withheld,
        habits::{self, DAY, HOUR, MINUTE, SECOND},
        poison::{CARRIERS, Poison},
    },
    plan::{Call, Client, Document, Era, RolePlan, ServerPlan, Setting},
    random::Random,
};
use crate::practice::Profile;
use custody_model::Priority;
use serde_json::json;

/// The second server's place.
pub(super) const DESK: usize = 1;
/// The office's.
pub(super) const OFFICE: usize = 0;
/// When the trial begins: two days after the sessions that make everybody known.
pub(super) const TRIAL: u64 = 2 * DAY + 9 * HOUR;

const FILES: &[&str] = &["reports/q1.txt", "reports/q2.txt", "minutes/monday.txt", "minutes/board.txt", "travel/policy.txt"];

/// What stands: two servers, two assistants who use both, and an analyst who uses the first.
pub(super) fn setting(random: &mut Random, scenario: &'static str, seed: u64, poison: Option<&Poison>) -> Setting {
    let mut documents: Vec<Document> = FILES.iter().map(|path| corpus::document(random, (*path).to_owned())).collect();
    documents.extend(poison.map(|poison| Document { path: poison.secret.clone(), pages: vec![poison.content.clone()] }));
    let tools = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let office = tools(&["read_file", "list_files", "generate_summary", "search_database"]);
    let mut both = office.clone();
    both.extend(Profile::Desk.tools().iter().map(|tool| format!("desk/{}", tool.name)));
    let role = |name: &str, task: &str, allow: &Vec<String>| RolePlan {
        name: name.to_owned(),
        allow: allow.clone(),
        task: (task.to_owned(), allow.clone()),
        arguments: Vec::new(),
    };
    let client = |principal: String, role: &str, task: &str| Client { principal, role: role.to_owned(), task: task.to_owned() };
    let number = random.between(1, 80);
    Setting {
        scenario,
        seed,
        servers: vec![ServerPlan { name: "office", profile: Profile::Office }, ServerPlan { name: "desk", profile: Profile::Desk }],
        documents,
        database: habits::database(random),
        roles: vec![role("assistant", "plan-the-week", &both), role("analyst", "digest-reports", &office)],
        clients: vec![
            client(format!("assistant-agent-{number:02}"), "assistant", "plan-the-week"),
            client(format!("assistant-agent-{:02}", number + 1), "assistant", "plan-the-week"),
            client("analyst-agent-01".to_owned(), "analyst", "digest-reports"),
        ],
        virtual_clock: true,
    }
}

/// An honest call of the desk, by tool.
pub(super) fn desk_call(random: &mut Random, tool: &str) -> Call {
    match tool {
        "add_event" => {
            Call::new("add_event", json!({"title": "Review", "when": format!("2026-05-{:02}T10:00:00Z", random.between(1, 28))}))
        }
        "create_note" => Call::new("create_note", json!({"title": "Open points", "text": "Ask for the second offer.", "labels": "offers"})),
        "find_contact" => Call::new("find_contact", json!({"name": random.pick(&["Ada", "Jon"])})),
        "convert_currency" => Call::new("convert_currency", json!({"amount": random.between(10, 900), "from": "EUR", "to": "NOK"})),
        _ => Call::new("list_events", json!({})),
    }
}

pub(super) fn office_call(random: &mut Random) -> Call {
    match random.between(0, 4) {
        0 => Call::new("search_database", json!({"query": "Northwind"})),
        1 => Call::new("generate_summary", json!({"text": "Costs stayed flat. Revenue grew by four percent."})),
        _ => Call::read(random.pick::<&str>(FILES), None),
    }
}

/// A session over the office, and over the desk unless the client is the analyst. Tools in `but` are not called.
pub(super) fn session(random: &mut Random, client: usize, at_ms: u64, count: usize, but: &[&str]) -> Run {
    let think = |random: &mut Random| habits::pause(random, 9 * SECOND, 1.8);
    let mut moves = vec![Move { after_ms: 0, act: Act::List(OFFICE) }];
    if client != 2 {
        moves.push(Move { after_ms: think(random), act: Act::List(DESK) });
    }
    for _ in 0..count {
        let after = think(random);
        let desk: Vec<&str> = CARRIERS.iter().map(|c| c.tool).chain(["list_events"]).filter(|tool| !but.contains(tool)).collect();
        moves.push(match client != 2 && random.one_in(2) {
            true => {
                let tool = *random.pick(&desk);
                habits::call(after, DESK, desk_call(random, tool))
            }
            false => habits::call(after, OFFICE, office_call(random)),
        });
    }
    let era = *random.pick(&Era::ALL);
    Run { client: Some(client), at_ms, era, hostile: false, moves }
}

/// Yesterday's sessions make everybody known; then this trial.
pub(super) fn course(setting: Setting, lessons: Vec<Run>, trial: Vec<Run>, expect: Expect) -> Course {
    Course { setting, lessons, learns: false, trial, expect }
}

/// What must come of an order in the definition of this tool.
pub(super) fn withheld(tool: &str, priority: Priority, poison: &Poison) -> Expect {
    Expect::Withheld(Withheld {
        server: DESK,
        tool: Some(tool.to_owned()),
        priority,
        secret: poison.secret.clone(),
        content: poison.content.lines().next().unwrap_or_default().to_owned(),
    })
}

/// The server's definitions become these.
pub(super) fn change(at_ms: u64, changes: serde_json::Value) -> Run {
    let act = Act::Change(DESK, changes);
    Run { client: None, at_ms, era: Era::Stateless, hostile: false, moves: vec![Move { after_ms: 0, act }] }
}

/// A call of the tool whose definition is kept back, listings before and after it, and a new connection for each.
pub(super) fn insists(random: &mut Random, run: &mut Run, tool: &str) {
    for again in 0..random.between(1, 3) {
        let after = habits::pause(random, 20 * SECOND, 1.6);
        if again > 0 || random.one_in(2) {
            run.moves.push(Move { after_ms: after, act: Act::HangUp });
        }
        if random.one_in(2) {
            run.moves.push(Move { after_ms: after, act: Act::List(DESK) });
        }
        let call = desk_call(random, tool);
        run.moves.push(habits::call(after, DESK, call));
        let other = *random.pick(&["list_events", "find_contact", "add_event"]);
        if other != tool {
            let call = desk_call(random, other);
            run.moves.push(habits::call(2 * MINUTE, DESK, call));
        }
        let call = office_call(random);
        run.moves.push(habits::call(after, OFFICE, call));
    }
}

/// A session of days ago, at the office only.
pub(super) fn known(random: &mut Random, client: usize) -> Run {
    let moves = (0..3).map(|_| habits::call(20 * SECOND, OFFICE, office_call(random))).collect();
    habits::session(random, client, 9 * HOUR + client as u64 * HOUR, moves)
}

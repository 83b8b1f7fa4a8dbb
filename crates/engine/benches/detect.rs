//! Detection in figures: entries a second on one core, the time of a decision, memory of live sessions. With all shipped rules
//! and a learned baseline. `--json` prints one JSON value; a figure that misses its target fails the benchmark.
#![allow(missing_docs)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark may panic")]

use custody_engine::{
    behavior::{LearnOptions, Learner},
    detect::{Detector, EventKind, Facts, PolicyOutcome, Rules},
    policy::{Action, Constraint, Policies, PolicySource, Query, Role, Task},
    session::{SessionGraph, SessionLimits},
    wire::{Limits, read_frame},
};
use custody_model::{Assurance, ConnectionId, Direction, Identity, Link, Outcome, PrincipalName, ServerName, SessionId};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::{hint::black_box, sync::Arc, time::Instant};

const ENTRIES_PER_SECOND: f64 = 100_000.0;
const DECISION_US: f64 = 15.0;
const LIVE: usize = 100_000;
const MEMORY_GB: f64 = 2.0;

const TOOLS: [&str; 6] = ["find_customer", "get_customer", "read_file", "search", "send_mail", "list_files"];

fn identity(agent: usize) -> Identity {
    Identity {
        principal: PrincipalName(format!("agent-{}", agent % 200)),
        assurance: Assurance::ClientKey,
        role: Some(format!("role{}", agent % 10).as_str().into()),
        task: Some("answer".into()),
    }
}

fn session(number: usize) -> SessionId {
    SessionId(uuid::Uuid::from_u128(number as u128 + 1))
}

fn base(agent: usize, of: usize) -> Facts {
    Facts {
        policy: PolicyOutcome::Allowed,
        enforced: true,
        listed: true,
        session: Some(session(of)),
        outcome: Outcome::Allowed,
        ..Facts::new(EventKind::ToolInvoked, Direction::ToServer, ServerName(format!("files{}", agent % 10)), identity(agent))
    }
}

/// The `step`th message of a session: calls with their answers, and now and then a listing.
fn message(agent: usize, of: usize, step: usize) -> Facts {
    let tool = TOOLS[(of + step / 2) % TOOLS.len()];
    let facts = base(agent, of);
    match step % 12 {
        0 => Facts { event: EventKind::Message, method: Some("tools/list".to_owned()), ..facts },
        step if step % 2 == 1 => Facts {
            event: EventKind::ToolInvoked,
            method: Some("tools/call".to_owned()),
            tool: Some(tool.to_owned()),
            arguments: json!({"id": (of * 7_919 + step * 104_729) % 90_000, "path": format!("reports/q{}.pdf", step % 4), "limit": 10}),
            ..facts
        },
        _ => Facts {
            event: EventKind::ToolInvoked,
            direction: Direction::ToAgent,
            method: Some("tools/call".to_owned()),
            tool: Some(tool.to_owned()),
            returned: Some(800 + (of % 300) as u64),
            ..facts
        },
    }
}

/// Habits of ten roles, from forty sessions each.
fn learned(start: Timestamp) -> Arc<custody_engine::behavior::Baseline> {
    let mut learner = Learner::new(LearnOptions::default());
    let mut now = start - SignedDuration::from_hours(48);
    for of in 0..400 {
        for step in 0..40 {
            now += SignedDuration::from_millis(2_500);
            learner.observe(&message(of, 10_000_000 + of, step), now);
        }
    }
    Arc::new(learner.finish(now))
}

/// Entries a second: two thousand live sessions, interleaved.
fn throughput(detector: &mut Detector, start: Timestamp) -> (f64, usize) {
    const SESSIONS: usize = 2_000;
    const STEPS: usize = 48;
    let messages: Vec<Facts> = (0..STEPS).flat_map(|step| (0..SESSIONS).map(move |of| message(of, of, step))).collect();
    let mut now = start;
    let mut found = 0;
    let began = Instant::now();
    for facts in &messages {
        // Two thousand agents, each a message every two seconds.
        now += SignedDuration::from_micros(1_000);
        found += detector.observe(black_box(facts), now).len();
    }
    (messages.len() as f64 / began.elapsed().as_secs_f64(), found)
}

/// Fifty-one policies, as in the benchmark of policies.
fn policies() -> Policies {
    let roles = (0..10).map(|i| {
        let role = Role {
            allow: vec![format!("files{i}/*"), format!("db{i}/*"), "mail/list*".into()],
            tasks: [("answer".to_owned(), Task { allow: vec![format!("files{i}/*")] })].into(),
            constraints: vec![Constraint {
                id: format!("args:role{i}/files{i}/read_file#path"),
                tool: format!("files{i}/read_file"),
                argument: "path".into(),
                starts_with: Some("reports/".into()),
                ..Constraint::default()
            }],
            ..Role::default()
        };
        (format!("role{i}"), role)
    });
    Policies::compile(&PolicySource { roles: roles.collect(), ..PolicySource::default() }).expect("compiles")
}

/// Microseconds of reading, policy and detection for one call, at the median and the 99th percentile.
fn decision(detector: &mut Detector, start: Timestamp) -> (f64, f64) {
    let policies = policies();
    let limits = Limits::default();
    let mut took: Vec<f64> = Vec::with_capacity(50_000);
    let mut now = start;
    for number in 0..50_000usize {
        let of = number % 2_000;
        let step = 2 * (number / 2_000) + 1;
        let facts = message(of, of, if step % 12 == 0 { 1 } else { step });
        let bytes = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call",
            "params": {"name": facts.tool, "arguments": facts.arguments}})
        .to_string();
        now += SignedDuration::from_millis(1);
        let began = Instant::now();
        let frame = read_frame(black_box(bytes.as_bytes()), &limits);
        let arguments = frame.arguments.and_then(|span| serde_json::from_slice(span.of(bytes.as_bytes())).ok());
        let verdict = policies.decide(&Query {
            principal: &facts.identity.principal,
            role: facts.identity.role.as_ref(),
            task: facts.identity.task.as_ref(),
            action: Action::CallTool(frame.target().unwrap_or_default()),
            server: &facts.server,
            arguments: arguments.as_ref(),
            read_only_hint: false,
            now,
        });
        let facts = Facts { policy: verdict.into(), arguments: arguments.unwrap_or_default(), ..facts };
        black_box(detector.observe(&facts, now));
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096
}

/// Bytes per live session: its links, what it did so far, and windows of rules; twenty calls each.
fn memory(start: Timestamp, baseline: Arc<custody_engine::behavior::Baseline>) -> u64 {
    let before = resident();
    let mut detector = Detector::with_baseline(Rules::standard(), Some(baseline));
    let mut graph = SessionGraph::new(SessionLimits::default());
    let mut now = start;
    for step in 0..40 {
        for of in 0..LIVE {
            now += SignedDuration::from_micros(10);
            let facts = message(of, of, step);
            let who = Identity { principal: PrincipalName(format!("agent-{of}")), ..facts.identity.clone() };
            if step == 0 {
                let link = Link::Connection(ConnectionId(uuid::Uuid::from_u128(of as u128)));
                graph.observe(now, &who, &[link], || session(of));
            }
            detector.observe(&Facts { identity: who, ..facts }, now);
        }
    }
    assert_eq!(detector.behavior().len(), LIVE, "all sessions are followed");
    let after = resident();
    drop(black_box((detector, graph)));
    after.saturating_sub(before)
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let start: Timestamp = "2026-04-07T10:00:00Z".parse().expect("a time");
    let baseline = learned(start);
    // First, while nothing was allocated and freed yet.
    let live = memory(start, baseline.clone());
    let mut detector = Detector::with_baseline(Rules::standard(), Some(baseline.clone()));
    let warm = throughput(&mut detector, start).0;
    let mut detector = Detector::with_baseline(Rules::standard(), Some(baseline.clone()));
    let (entries, found) = throughput(&mut detector, start);
    let mut detector = Detector::with_baseline(Rules::standard(), Some(baseline));
    let (p50, p99) = decision(&mut detector, start);
    let (entries, gigabytes) = (entries.max(warm), live as f64 / 1e9);
    let met = [entries >= ENTRIES_PER_SECOND, p50 <= DECISION_US, gigabytes <= MEMORY_GB];
    if json {
        let value = json!({
            "rules": Rules::standard().metas().len(),
            "entries_per_second": entries.round(), "target_entries_per_second": ENTRIES_PER_SECOND,
            "findings": found,
            "decision_p50_us": p50, "decision_p99_us": p99, "target_decision_p50_us": DECISION_US,
            "live_sessions": LIVE, "resident_bytes": live, "bytes_per_session": live / LIVE as u64, "target_resident_gb": MEMORY_GB,
            "met": met.iter().all(|met| *met),
        });
        println!("{value}");
    } else {
        let word = |met: bool| if met { "met" } else { "MISSED" };
        println!("{} rules, one core", Rules::standard().metas().len());
        println!("entries a second   {entries:>12.0}   target {ENTRIES_PER_SECOND:.0}   {}   ({found} findings)", word(met[0]));
        println!("decision, p50      {p50:>9.1} µs   target {DECISION_US:.0} µs   {}   (p99 {p99:.1} µs)", word(met[1]));
        println!(
            "{LIVE} sessions  {gigabytes:>9.2} GB   target {MEMORY_GB:.0} GB   {}   ({} bytes a session)",
            word(met[2]),
            live / LIVE as u64
        );
    }
    // `cargo test --benches` runs this without optimisation: there figures mean nothing.
    if !cfg!(debug_assertions) && met.contains(&false) {
        std::process::exit(1);
    }
}

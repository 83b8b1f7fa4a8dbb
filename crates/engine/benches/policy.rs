//! How long a policy decision takes: 51 policies, sliced, with and without argument facts.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use custody_engine::policy::{Action, Constraint, Policies, PolicySource, Query, Role, Task};
use custody_model::{PrincipalName, RoleName, ServerName, TaskName};
use serde_json::{Value, json};
use std::hint::black_box;

/// Ten roles of two permits, a narrower task (two more) and a constraint each, and one for the protocol: 51.
fn fifty_one() -> PolicySource {
    let roles = (0..10).map(|i| {
        let role = Role {
            allow: vec![format!("files{i}/read_file"), format!("db{i}/*"), "mail/list*".into()],
            tasks: [("summarize".to_owned(), Task { allow: vec![format!("files{i}/read_file")] })].into(),
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
    PolicySource { roles: roles.collect(), ..PolicySource::default() }
}

fn decisions(c: &mut Criterion) {
    let short = Policies::compile(&fifty_one()).expect("compiles");
    let mut with_cedar = fifty_one();
    let text =
        "forbid (principal, action == Action::\"call_tool\", resource) when { context.args has amount && context.args.amount > 1000 };";
    with_cedar.cedar.push(("amount.cedar".into(), text.into()));
    let with_cedar = Policies::compile(&with_cedar).expect("compiles");
    let arguments = json!({"path": "reports/q1.pdf", "limit": 100, "tags": ["a", "b"], "deep": {"x": 1.5, "y": null}});
    let (principal, role) = (PrincipalName::from("analyst-agent-047"), RoleName::from("role7"));
    let (server, task) = (ServerName::from("files7"), TaskName::from("summarize"));
    let ask = |policies: &Policies, tool: &str, arguments: &Value| {
        policies.decide(&Query {
            principal: &principal,
            role: Some(&role),
            task: Some(&task),
            action: Action::CallTool(tool),
            server: &server,
            arguments: Some(arguments),
            read_only_hint: false,
            now: jiff::Timestamp::UNIX_EPOCH,
        })
    };
    let mut with_time = fifty_one();
    let text = "forbid (principal, action == Action::\"call_tool\", resource in Server::\"bank\") when { context.hour < 8 };";
    with_time.cedar.push(("night.cedar".into(), text.into()));
    let with_time = Policies::compile(&with_time).expect("compiles");
    c.bench_function("policy/52/allow_never_cached", |b| b.iter(|| ask(black_box(&with_time), "read_file", &arguments)));
    c.bench_function("policy/51/allow", |b| b.iter(|| ask(black_box(&short), "read_file", &arguments)));
    c.bench_function("policy/51/deny", |b| b.iter(|| ask(black_box(&short), "send_data", &arguments)));
    c.bench_function("policy/52/allow_with_argument_facts", |b| b.iter(|| ask(black_box(&with_cedar), "read_file", &arguments)));
}

criterion_group!(benches, decisions);
criterion_main!(benches);

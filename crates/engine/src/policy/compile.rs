//! The short form as Cedar text, for the engine and for people to read.

use super::{Constraint, PolicySource, Role, pattern::halves};
use std::fmt::Write as _;

/// The whole short form. Empty when nothing is declared.
pub(super) fn cedar(source: &PolicySource) -> String {
    let mut out = String::new();
    if source.is_empty() {
        return out;
    }
    out.push_str("// The protocol's own business: initialize, ping, listings, notifications.\n");
    out.push_str("@id(\"custody:protocol\")\npermit (principal, action == Action::\"other\", resource);\n");
    for (name, role) in &source.roles {
        self::role(&mut out, name, role);
    }
    out
}

fn role(out: &mut String, name: &str, role: &Role) {
    let own = any_of(&role.allow);
    let id = format!("role:{name}");
    if role.tasks.is_empty() {
        permit(out, name, &id, None, &[&role.allow]);
    } else {
        if own.is_some() {
            permit(out, name, &id, Some("!(context has task)".to_owned()), &[&role.allow]);
        }
        for (task, table) in &role.tasks {
            let condition = format!("context has task && context.task == {}", quoted(task));
            let lists: &[&[String]] = if own.is_some() { &[&table.allow, &role.allow] } else { &[&table.allow] };
            permit(out, name, &format!("{id}/task:{task}"), Some(condition), lists);
        }
    }
    if role.read_only {
        let why = format!("role `{name}` is read-only, and the tool is not known to change nothing");
        let _ = write!(
            out,
            "\n@id({})\n@why({})\nforbid (principal in Role::{}, action == Action::\"call_tool\", resource)\nunless {{ context.read_only }};\n",
            quoted(&format!("{id}/read_only")),
            quoted(&why),
            quoted(name)
        );
    }
    for constraint in &role.constraints {
        forbid(out, name, constraint);
    }
}

/// One allowlist: its tools, and the resources and prompts of the same servers. Every list must match.
fn permit(out: &mut String, role: &str, id: &str, condition: Option<String>, lists: &[&[String]]) {
    let Some(tools) = lists.iter().map(|list| any_of(list)).collect::<Option<Vec<_>>>() else { return };
    let servers = lists.iter().map(|list| any_server(list)).collect::<Vec<_>>();
    for (id, action, tests) in [
        (id.to_owned(), "action == Action::\"call_tool\"", tools),
        (format!("{id}/resources"), "action in [Action::\"read_resource\", Action::\"get_prompt\"]", servers),
    ] {
        let when: Vec<String> = condition.iter().cloned().chain(tests).collect();
        let _ = write!(
            out,
            "\n@id({})\npermit (principal in Role::{}, {action}, resource)\nwhen {{ {} }};\n",
            quoted(&id),
            quoted(role),
            when.join(" && ")
        );
    }
}

fn forbid(out: &mut String, role: &str, constraint: &Constraint) {
    let _ = write!(
        out,
        "\n@id({id})\n@why({})\nforbid (principal in Role::{}, action == Action::\"call_tool\", resource)\nwhen {{ context.broken.contains({id}) }};\n",
        quoted(&constraint.demand()),
        quoted(role),
        id = quoted(&constraint.id)
    );
}

/// `None`: the list is empty and matches nothing.
fn any_of(patterns: &[String]) -> Option<String> {
    let tests: Vec<String> = patterns.iter().map(|pattern| tool_test(pattern)).collect();
    (!tests.is_empty()).then(|| format!("({})", tests.join(" || ")))
}

fn tool_test(pattern: &str) -> String {
    let (server, tool) = halves(pattern);
    match (server.contains('*'), tool.contains('*')) {
        (false, false) => format!("resource == Tool::{}", quoted(pattern)),
        (false, true) if tool == "*" => format!("resource in Server::{}", quoted(server)),
        _ => format!("(context.server like {} && context.name like {})", like(server), like(tool)),
    }
}

fn any_server(patterns: &[String]) -> String {
    let mut tests: Vec<String> = patterns
        .iter()
        .map(|pattern| match halves(pattern).0 {
            server if server.contains('*') => format!("context.server like {}", like(server)),
            server => format!("resource in Server::{}", quoted(server)),
        })
        .collect();
    tests.dedup();
    format!("({})", tests.join(" || "))
}

/// A Cedar string. Cedar reads Rust's escapes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// A Cedar pattern: `*` is the wildcard there as here.
fn like(pattern: &str) -> String {
    quoted(pattern)
}

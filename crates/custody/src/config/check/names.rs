//! Names: unique after normalisation, and known where they are used.

use super::{Report, raw};
use crate::config::{Argument, Client, Role, Server, error::nearest};
use std::collections::{BTreeMap, HashMap};

/// Longest name that is accepted.
const MAX_NAME: usize = 64;

/// Two names that people would read as one are refused, and so are names that cannot stand in a path or a policy.
pub(super) fn collisions(raw: &raw::Config, report: &mut Report<'_>) {
    unique("servers", raw.servers.keys(), report);
    unique("clients", raw.clients.keys(), report);
    unique("issuers", raw.issuers.keys(), report);
    unique("roles", raw.roles.keys(), report);
    unique("alerts", raw.alerts.keys(), report);
    for (role, table) in &raw.roles {
        for task in table.tasks.keys() {
            if !is_name(task) {
                report.fault(&["roles", role, "tasks", task], format!("`{task}` cannot be the name of a task"), "bad name", Some(rule()));
            }
        }
    }
}

/// Names become parts of addresses and policies: ASCII letters, digits, `-`, `_` and `.`.
pub(in crate::config) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn rule() -> String {
    format!("1 to {MAX_NAME} letters, digits, `-`, `_` or `.`, first a letter or digit")
}

/// Equal for names that a person would take for the same.
pub(crate) fn reads_as(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

pub(super) fn unique<'a>(section: &str, names: impl Iterator<Item = &'a String>, report: &mut Report<'_>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for name in names {
        if !is_name(name) {
            report.fault(&[section, name], format!("`{name}` cannot be a name in [{section}]"), "bad name", Some(rule()));
        }
        if let Some(other) = seen.insert(reads_as(name), name) {
            let what = format!("`{name}` and `{other}` in [{section}] differ only in case or punctuation");
            report.fault(&[section, name], what, "read as the same name", Some("rename one of them".to_owned()));
        }
    }
}

/// A client's role and task exist.
pub(super) fn clients(clients: &BTreeMap<String, Client>, roles: &BTreeMap<String, Role>, report: &mut Report<'_>) {
    let known: Vec<&str> = roles.keys().map(String::as_str).collect();
    for (name, client) in clients {
        let Some(role) = &client.role else {
            if client.task.is_some() {
                let what = format!("client `{name}` has a task but no role");
                report.fault(&["clients", name, "task"], what, "tasks narrow a role", Some("add `role = \"…\"`".to_owned()));
            }
            continue;
        };
        let Some(table) = roles.get(role) else {
            let help = match nearest(role, &known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if known.is_empty() => format!("declare it: [roles.{role}]"),
                None => format!("roles declared: {}", known.join(", ")),
            };
            report.fault(&["clients", name, "role"], format!("role `{role}` is not declared"), "no such role", Some(help));
            continue;
        };
        // A task that the role does not narrow is only a label: legitimate while no task of that role is declared.
        if let Some(task) = &client.task
            && !table.tasks.is_empty()
            && !table.tasks.contains_key(task)
        {
            let tasks: Vec<&str> = table.tasks.keys().map(String::as_str).collect();
            let help = match nearest(task, &tasks) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("tasks of `{role}`: {}", tasks.join(", ")),
            };
            let what = format!("role `{role}` has no task `{task}`");
            report.fault(&["clients", name, "task"], what, "no such task", Some(help));
        }
    }
}

/// Patterns name servers that exist; constraints say something.
pub(super) fn roles(roles: &BTreeMap<String, Role>, servers: &BTreeMap<String, Server>, report: &mut Report<'_>) {
    for (name, role) in roles {
        for (i, pattern) in role.hold.iter().enumerate() {
            check_pattern(pattern, &["roles", name, "hold", &i.to_string()], servers, report);
        }
        for (i, pattern) in role.allow.iter().enumerate() {
            check_pattern(pattern, &["roles", name, "allow", &i.to_string()], servers, report);
        }
        for (task, table) in &role.tasks {
            for (i, pattern) in table.allow.iter().enumerate() {
                check_pattern(pattern, &["roles", name, "tasks", task, "allow", &i.to_string()], servers, report);
            }
        }
        for (i, argument) in role.arguments.iter().enumerate() {
            let i = i.to_string();
            check_pattern(&argument.tool, &["roles", name, "arguments", &i, "tool"], servers, report);
            check_argument(argument, &["roles", name, "arguments", &i, "argument"], report);
        }
    }
}

fn check_pattern(pattern: &str, path: &[&str], servers: &BTreeMap<String, Server>, report: &mut Report<'_>) {
    let Some((server, tool)) = pattern.split_once('/') else {
        let help = format!("write `server/tool`, such as `*/{pattern}`");
        report.fault(path, format!("`{pattern}` names no server"), "not `server/tool`", Some(help));
        return;
    };
    if tool.is_empty() || server.is_empty() {
        report.fault(path, format!("`{pattern}` has an empty half"), "not `server/tool`", Some("`*` stands for any name".to_owned()));
        return;
    }
    if !server.contains('*') && !servers.is_empty() && !servers.contains_key(server) {
        let known: Vec<&str> = servers.keys().map(String::as_str).collect();
        let help = match nearest(server, &known) {
            Some(meant) => format!("did you mean `{meant}/{tool}`?"),
            None => format!("servers declared: {}", known.join(", ")),
        };
        report.fault(path, format!("server `{server}` is not declared"), "no such server", Some(help));
    }
}

fn check_argument(argument: &Argument, path: &[&str], report: &mut Report<'_>) {
    let Argument { starts_with, one_of, matches, min, max, max_length, .. } = argument;
    if argument.argument.is_empty() || argument.argument.split('.').any(str::is_empty) {
        report.fault(path, "an argument constraint needs the argument's name", "empty name", None);
    }
    let says_something =
        starts_with.is_some() || one_of.is_some() || matches.is_some() || min.is_some() || max.is_some() || max_length.is_some();
    if !says_something {
        let help = "one of starts_with, one_of, matches, min, max, max_length".to_owned();
        report.fault(path, format!("the constraint on `{}` allows everything", argument.argument), "no condition", Some(help));
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        report.fault(path, format!("no number is at least {min} and at most {max}"), "never true", None);
    }
}

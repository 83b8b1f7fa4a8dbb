//! Adopted servers and clients in `custody.toml`: comments, order and everything else stay.

use super::entry::Definition;
use crate::config::reads_as;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

/// Adds a server under `wanted`, or under `wanted-2`… when another one has that name. Returns the name.
pub(super) fn add_server(document: &mut DocumentMut, wanted: &str, definition: &Definition) -> (String, bool) {
    let fresh = server_table(definition);
    let base = plain_name(wanted);
    let servers = document.get("servers").and_then(Item::as_table_like);
    let present: Vec<String> = servers.into_iter().flat_map(|servers| servers.iter()).map(|(name, _)| name.to_owned()).collect();
    // A name that differs from another only in case or punctuation would make the file invalid.
    let confusing = |name: &String| present.iter().any(|other| other != name && reads_as(other) == reads_as(name));
    for name in std::iter::once(base.clone()).chain((2..).map(|number| format!("{base}-{number}"))).filter(|name| !confusing(name)) {
        match document.get("servers").and_then(|servers| servers.get(&name)) {
            None => {
                insert(document, "servers", &name, fresh);
                return (name, true);
            }
            Some(present) if says_same(present, &fresh) => return (name, false),
            Some(_) => {}
        }
    }
    unreachable!("the numbers do not end")
}

/// Takes a server out, if it is still what `definition` says. Returns whether it did.
pub(super) fn remove_server(document: &mut DocumentMut, name: &str, definition: &Definition) -> bool {
    let fresh = server_table(definition);
    let same = document.get("servers").and_then(|servers| servers.get(name)).is_some_and(|present| says_same(present, &fresh));
    same && remove(document, "servers", name)
}

/// Adds `[clients.NAME]`, or sets role and task there when they are given. Returns whether the table is new.
pub(super) fn add_client(document: &mut DocumentMut, name: &str, role: Option<&str>, task: Option<&str>) -> bool {
    if role.is_none() && task.is_none() {
        return false;
    }
    if let Some(present) = document.get_mut("clients").and_then(|clients| clients.get_mut(name)).and_then(Item::as_table_like_mut) {
        for (key, text) in [("role", role), ("task", task)] {
            if let Some(text) = text
                && present.get(key).and_then(Item::as_str) != Some(text)
            {
                present.insert(key, value(text));
            }
        }
        return false;
    }
    let mut table = Table::new();
    for (key, text) in [("role", role), ("task", task)] {
        if let Some(text) = text {
            table.insert(key, value(text));
        }
    }
    insert(document, "clients", name, table);
    true
}

/// Takes `[clients.NAME]` out. Tables are taken out in the reverse order of adding, so that comments return to their place.
pub(super) fn remove_client(document: &mut DocumentMut, name: &str) -> bool {
    remove(document, "clients", name)
}

/// New tables come last, below the comments that end the file.
fn insert(document: &mut DocumentMut, group: &str, name: &str, mut table: Table) {
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    if document.get(group).is_none_or(Item::is_table) {
        table.decor_mut().set_prefix(format!("{trailing}\n"));
        document.set_trailing("");
    }
    let group = document.entry(group).or_insert_with(|| {
        let mut parent = Table::new();
        parent.set_implicit(true);
        Item::Table(parent)
    });
    match group {
        Item::Table(parent) => {
            parent.insert(name, Item::Table(table));
        }
        // `servers = { … }` on one line: stay on that line.
        other => {
            if let Some(parent) = other.as_table_like_mut() {
                parent.insert(name, Item::Value(Value::InlineTable(table.into_inline_table())));
            }
        }
    }
}

fn remove(document: &mut DocumentMut, group: &str, name: &str) -> bool {
    let Some(parent) = document.get_mut(group).and_then(Item::as_table_like_mut) else { return false };
    let removed = parent.remove(name);
    let above = removed.as_ref().and_then(Item::as_table).and_then(|table| table.decor().prefix()).and_then(|prefix| prefix.as_str());
    let above = above.map(|text| text.strip_suffix('\n').unwrap_or(text).to_owned()).unwrap_or_default();
    let removed = removed.is_some();
    let empty = parent.is_empty();
    if removed && empty && document.get(group).and_then(Item::as_table).is_some_and(Table::is_implicit) {
        document.remove(group);
    }
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    document.set_trailing(format!("{above}{trailing}"));
    removed
}

fn server_table(definition: &Definition) -> Table {
    let mut table = Table::new();
    match definition {
        Definition::Stdio { command, args, env, cwd } => {
            table.insert("command", value(command));
            if !args.is_empty() {
                table.insert("args", value(args.iter().collect::<Array>()));
            }
            if !env.is_empty() {
                table.insert("env", value(env.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<InlineTable>()));
            }
            if let Some(cwd) = cwd {
                table.insert("cwd", value(cwd.to_string_lossy().as_ref()));
            }
        }
        Definition::Http { url, headers } => {
            table.insert("url", value(url));
            if !headers.is_empty() {
                let headers = headers.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<InlineTable>();
                table.insert("headers", value(headers));
            }
        }
    }
    table
}

/// Whether a table in the file defines the same server; `mode` and later additions are the operator's.
fn says_same(present: &Item, fresh: &Table) -> bool {
    let Some(present) = present.as_table_like() else { return false };
    let plain = |table: &dyn TableLike, key: &str| table.get(key).map(plain_value);
    ["command", "args", "env", "cwd", "url", "headers"].iter().all(|key| plain(present, key) == plain(fresh, key))
}

/// A value without its formatting.
fn plain_value(item: &Item) -> serde_json::Value {
    match item {
        Item::Value(Value::Array(items)) => items.iter().map(|one| plain_value(&Item::Value(one.clone()))).collect(),
        Item::Value(Value::String(text)) => text.value().as_str().into(),
        Item::Value(Value::Integer(number)) => (*number.value()).into(),
        Item::Value(Value::Boolean(truth)) => (*truth.value()).into(),
        other => match other.as_table_like() {
            // Sorted, so that order does not matter.
            Some(table) => {
                let sorted: std::collections::BTreeMap<_, _> =
                    table.iter().map(|(name, item)| (name.to_owned(), plain_value(item))).collect();
                sorted.into_iter().collect()
            }
            None => other.to_string().trim().into(),
        },
    }
}

/// A name that can stand in a URL path and on a command line.
pub(super) fn plain_name(text: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_') { character } else { '-' };
    let name: String = text.chars().take(64).map(plain).collect();
    let name = name.trim_matches(|character| matches!(character, '-' | '.'));
    if name.is_empty() { "server".into() } else { name.into() }
}

//! One server of a client: what it was, and what it becomes behind Custody.

use super::document::{self, render};
use crate::trust::Secret;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Environment variable in which the shim finds its client key.
pub(super) const KEY_VARIABLE: &str = "CUSTODY_KEY";

/// A server as the client's file defines it.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    /// A program that the client starts.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables set for it, without those that the client fills in itself.
        env: Vec<(String, String)>,
        /// Its directory.
        cwd: Option<PathBuf>,
    },
    /// An endpoint over HTTP: Streamable HTTP, or HTTP+SSE (2024-11-05).
    Http {
        /// Its address.
        url: String,
        /// Headers sent to it.
        headers: Vec<(String, String)>,
    },
}

/// Where adopted entries point to.
#[derive(Debug, Clone)]
pub(super) struct Gate<'a> {
    /// The program to write as `command`.
    pub program: &'a str,
    pub home: &'a Path,
    /// `http://127.0.0.1:4180`.
    pub agents_url: &'a str,
    pub key: &'a Secret,
    /// Whether the client's account cannot read `custody.toml`: then the shim must be told how to start the server.
    pub apart: bool,
}

/// Reads an entry. The error says why this server stays as it is.
pub(super) fn read(entry: &str, directory: &Path) -> Result<Definition, String> {
    let value = document::value(entry).map_err(|error| format!("it cannot be read: {error}"))?;
    let object = value.as_object().ok_or("it is not an object")?;
    let kind = match object.get("type").or_else(|| object.get("transport")) {
        None | Some(Value::Null) => None,
        Some(Value::String(kind)) => Some(kind.to_ascii_lowercase()),
        Some(_) => return Err("its `type` is not a text".into()),
    };
    match (object.get("command"), object.get("url")) {
        (Some(command), None) if matches!(kind.as_deref(), None | Some("stdio" | "local")) => stdio(command, object, directory),
        (None, Some(url)) => match kind.as_deref() {
            None | Some("http" | "streamable-http" | "streamablehttp" | "streamable_http" | "sse" | "remote") => http(url, object),
            Some(other) => Err(format!("its type `{other}` is unknown")),
        },
        (Some(_), Some(_)) => Err("it has both `command` and `url`".into()),
        (Some(_), None) => Err("its `type` does not fit its `command`".into()),
        (None, None) => Err("it has neither `command` nor `url`".into()),
    }
}

fn stdio(command: &Value, object: &Map<String, Value>, directory: &Path) -> Result<Definition, String> {
    let command = command.as_str().ok_or("its `command` is not a text")?.to_owned();
    let args = match object.get("args") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(args)) => {
            args.iter().map(|arg| arg.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().ok_or("its `args` are not all texts")?
        }
        Some(_) => return Err("its `args` are not a list".into()),
    };
    if let Some(filled) = std::iter::once(&command).chain(&args).find(|text| filled_by_client(text)) {
        return Err(format!("the client fills in `{filled}`, and Custody cannot: write the value out, or pass it in `env`"));
    }
    let cwd = match object.get("cwd") {
        None | Some(Value::Null) => None,
        Some(Value::String(cwd)) if !filled_by_client(cwd) => Some(directory.join(cwd)),
        // The client starts the shim there, and the server inherits it.
        Some(_) => None,
    };
    let env = texts(object.get("env"), "env")?.into_iter().filter(|(_, value)| !filled_by_client(value)).collect();
    Ok(Definition::Stdio { command, args, env, cwd })
}

fn http(url: &Value, object: &Map<String, Value>) -> Result<Definition, String> {
    let url = url.as_str().ok_or("its `url` is not a text")?.to_owned();
    let filled = || "the client fills in variables of its address or headers, and Custody cannot: write the values out".to_owned();
    if filled_by_client(&url) {
        return Err(filled());
    }
    let parsed: http::Uri = url.parse().map_err(|_| "its `url` is not an address")?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() {
        return Err("its `url` is neither http nor https".into());
    }
    if object.contains_key("headersHelper") {
        return Err("the client asks a program for its headers, and Custody cannot: write the headers out".into());
    }
    let headers = texts(object.get("headers"), "headers")?;
    if headers.iter().any(|(_, value)| filled_by_client(value)) {
        return Err(filled());
    }
    Ok(Definition::Http { url, headers })
}

fn texts(value: Option<&Value>, what: &str) -> Result<Vec<(String, String)>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(fields)) => fields
            .iter()
            .map(|(name, value)| value.as_str().map(|value| (name.clone(), value.to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("its `{what}` are not all texts")),
        Some(_) => Err(format!("its `{what}` is not an object")),
    }
}

/// `${VAR}`, `${input:…}` and the like are filled in by the client when it starts the server.
fn filled_by_client(text: &str) -> bool {
    text.contains("${")
}

/// The fields that an adopted entry has instead of its own.
pub(super) fn adopted_fields(entry: &str, definition: &Definition, server: &str, gate: &Gate<'_>) -> Vec<(&'static str, String)> {
    match definition {
        Definition::Stdio { command, args: own_args, .. } => {
            let mut args = json!(["--home", gate.home, "stdio", server]);
            if let (true, Some(args)) = (gate.apart, args.as_array_mut()) {
                args.extend(["--", command].into_iter().chain(own_args.iter().map(String::as_str)).map(Value::from));
            }
            let mut env = Map::new();
            env.insert(KEY_VARIABLE.into(), gate.key.expose().into());
            // What only the client can fill in reaches the server through the shim's environment.
            let own = document::value(entry).unwrap_or_default();
            for (name, value) in own.get("env").and_then(Value::as_object).into_iter().flatten() {
                if gate.apart || value.as_str().is_some_and(filled_by_client) {
                    env.insert(name.clone(), value.clone());
                }
            }
            vec![
                ("command", render(&gate.program.into(), entry)),
                ("args", render(&args, entry)),
                ("env", render(&Value::Object(env), entry)),
            ]
        }
        Definition::Http { .. } => {
            let url = format!("{}/mcp/{server}", gate.agents_url);
            let headers = json!({ "Authorization": format!("Bearer {}", gate.key.expose()) });
            vec![("url", render(&url.into(), entry)), ("headers", render(&headers, entry))]
        }
    }
}

/// What stands in the client's file when `entry` is adopted.
pub(super) fn adopted(entry: &str, definition: &Definition, server: &str, gate: &Gate<'_>) -> Result<String, serde_json::Error> {
    document::set_fields(entry, 0..entry.len(), &adopted_fields(entry, definition, server, gate))
}

/// The client key in an adopted entry; `None` when the entry is not one of ours.
pub(super) fn key_in(entry: &str) -> Option<Secret> {
    let value = document::value(entry).ok()?;
    let text = match value.get("env").and_then(|env| env.get(KEY_VARIABLE)) {
        Some(key) => key.as_str()?,
        None => value.get("headers")?.get("Authorization")?.as_str()?.strip_prefix("Bearer ")?,
    };
    text.starts_with(crate::trust::clients::KEY_PREFIX).then(|| Secret::from(text.to_owned()))
}

/// Gives an adopted entry its own fields back and keeps what the user changed beside them.
///
/// `None` when the user has pointed the entry elsewhere: then it is theirs.
pub(super) fn restored(current: &str, original: &str, adopted: &str) -> Option<String> {
    if current == adopted {
        return Some(original.to_owned());
    }
    let now = document::value(current).ok()?;
    let ours = document::value(adopted).ok()?;
    let was = document::value(original).ok()?;
    if now == ours {
        return Some(original.to_owned());
    }
    let set: &[&str] = if ours.get("url").is_some() { &["url", "headers"] } else { &["command", "args", "env"] };
    // The address decides whose entry it is; variables or headers added beside ours are carried over.
    if set.iter().filter(|name| !matches!(**name, "env" | "headers")).any(|name| now.get(name) != ours.get(name)) {
        return None;
    }
    key_in(current)?;
    let spans = document::fields(original, 0..original.len()).ok()?;
    let mut back = Vec::new();
    let mut gone = Vec::new();
    for name in set {
        let own = spans.iter().find(|field| field.name == *name).map(|field| original[field.span.clone()].to_owned());
        let added = additions(now.get(name), ours.get(name));
        match own {
            Some(text) if added.is_empty() => back.push((*name, text)),
            None if added.is_empty() => gone.push(*name),
            _ => {
                let mut merged = was.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
                merged.extend(added);
                back.push((*name, render(&Value::Object(merged), original)));
            }
        }
    }
    let set_back = document::set_fields(current, 0..current.len(), &back).ok()?;
    document::remove_fields(&set_back, &gone).ok()
}

/// What the user put into an object that was ours.
fn additions(now: Option<&Value>, ours: Option<&Value>) -> Map<String, Value> {
    let (Some(Value::Object(now)), Some(Value::Object(ours))) = (now, ours) else { return Map::new() };
    now.iter().filter(|(name, value)| ours.get(*name) != Some(value)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

//! What a case was about, counted: what was called, denied, read and written (T4).

use super::record;
use custody_model::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most documents listed as read or written.
const MAX_TOUCHED: usize = 500;

/// Something a call named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Touched {
    /// The first call that named it.
    pub leaf: LeafIndex,
    /// At which server.
    pub server: ServerName,
    /// With which tool.
    pub tool: String,
    /// Document, address or record, as the call named it.
    pub what: Option<String>,
}

/// A case's calls in numbers and names. What could be reached beyond them is another question (blast radius).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseSummary {
    /// Calls asked for.
    pub calls: u64,
    /// Forwarded.
    pub allowed: u64,
    /// Not forwarded.
    pub denied: u64,
    /// Servers called, with the number of calls.
    pub servers: BTreeMap<ServerName, u64>,
    /// Tools called, as `server/tool`, with the number of calls.
    pub tools: BTreeMap<String, u64>,
    /// What forwarded calls read.
    pub data_read: Vec<Touched>,
    /// What forwarded calls changed or sent, by the tool's name. A name can lie.
    pub data_written: Vec<Touched>,
}

/// Summarises the entries of a case.
pub fn summary(entries: &[OpenEntry]) -> CaseSummary {
    let mut summary = CaseSummary::default();
    let overtaken: BTreeSet<LeafIndex> =
        entries.iter().filter_map(|open| message(open).filter(|m| m.direction == Direction::ToServer)?.answers).collect();
    let mut seen = BTreeSet::new();
    for open in entries {
        let Some(message) = message(open) else { continue };
        if message.direction != Direction::ToServer || message.answers.is_some() {
            continue;
        }
        let denied = message.outcome == Outcome::Denied || overtaken.contains(&open.leaf);
        let call = record::asked(open, message).filter(|_| record::is_call(message) || denied);
        let Some(call) = call else { continue };
        summary.calls += 1;
        *summary.servers.entry(message.server.clone()).or_default() += 1;
        *summary.tools.entry(format!("{}/{}", message.server, call.tool)).or_default() += 1;
        if denied {
            summary.denied += 1;
            continue;
        }
        if message.outcome != Outcome::Allowed {
            continue;
        }
        summary.allowed += 1;
        let what = call.document();
        let touched = if writes(&call.tool) { &mut summary.data_written } else { &mut summary.data_read };
        if touched.len() < MAX_TOUCHED && seen.insert((message.server.clone(), call.tool.clone(), what.clone())) {
            touched.push(Touched { leaf: open.leaf, server: message.server.clone(), tool: call.tool, what });
        }
    }
    summary
}

fn message(open: &OpenEntry) -> Option<&Message> {
    match &open.entry.event {
        Event::Message(message) => Some(message),
        _ => None,
    }
}

/// Whether a tool's name says that it changes or sends something.
fn writes(tool: &str) -> bool {
    const VERBS: [&str; 30] = [
        "send", "writ", "creat", "delet", "updat", "insert", "post", "put", "pay", "transfer", "mov", "renam", "edit", "add", "remov",
        "upload", "publish", "shar", "execut", "run", "set", "reset", "append", "book", "cancel", "schedul", "invit", "stor", "sav",
        "submit",
    ];
    super::words::words(tool).iter().any(|word| VERBS.contains(&word.strip_suffix('e').unwrap_or(word)))
}

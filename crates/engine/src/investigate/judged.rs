//! A recorded session as [`crate::hijack`] reads it: the ledger's sessions are judged as those of a file are.

use super::record;
use crate::hijack::{Event, Session};
use custody_model::{Direction, LeafIndex, OpenEntry};
use serde_json::Value;
use std::collections::BTreeSet;

/// Most names of tools.
const MAX_TOOLS: usize = 5_000;

/// What the agent of these entries was told and asked for, in leaf order, and the entry of each event.
///
/// `entries` are of one session. `task` are the user's words where a host tells them: the traffic does not have them.
pub fn hijack_session(entries: &[OpenEntry], task: Option<String>) -> (Session, Vec<LeafIndex>) {
    let record = record::read(entries, LeafIndex(u64::MAX));
    let mut steps: Vec<(LeafIndex, Step)> =
        record.calls.into_iter().enumerate().map(|(at, call)| (call.leaf, Step::Call(at, call))).collect();
    steps.extend(record.contents.into_iter().map(|content| (content.leaf, Step::Told(content))));
    steps.sort_by_key(|(leaf, _)| *leaf);
    let mut positions = vec![None; steps.len()];
    let mut session = Session { task, tools: listed(entries), events: Vec::with_capacity(steps.len()) };
    let mut leaves = Vec::with_capacity(steps.len());
    for (position, (leaf, step)) in steps.into_iter().enumerate() {
        leaves.push(leaf);
        session.events.push(match step {
            Step::Call(at, call) => {
                positions[at] = Some(position);
                Event::Call { tool: call.tool, arguments: call.arguments }
            }
            Step::Told(content) => {
                let call = content.call.and_then(|call| positions.get(call).copied().flatten());
                Event::Result { call, content: content.text }
            }
        });
    }
    (session, leaves)
}

enum Step {
    Call(usize, record::Call),
    Told(record::Content),
}

/// Names of the tools that the servers listed to the agent.
fn listed(entries: &[OpenEntry]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for open in entries {
        let custody_model::Event::Message(message) = &open.entry.event else { continue };
        if message.direction != Direction::ToAgent || message.method.as_deref() != Some("tools/list") {
            continue;
        }
        let Some(Ok(value)) = open.body.as_ref().map(|body| serde_json::from_slice::<Value>(body)) else { continue };
        for tool in value["result"]["tools"].as_array().into_iter().flatten() {
            if let Some(name) = tool["name"].as_str().filter(|_| names.len() < MAX_TOOLS) {
                names.insert(name.to_owned());
            }
        }
    }
    names.into_iter().collect()
}

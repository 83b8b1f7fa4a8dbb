//! A recorded session as [`crate::hijack`] reads it: the ledger's sessions are judged as those of a file are.

use super::record;
use crate::{
    hijack::{self, Event, Moved, Session},
    host,
};
use custody_model::{Direction, Event as Recorded, LeafIndex, OpenEntry, ServerName, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Most names of tools.
const MAX_TOOLS: usize = 5_000;

/// Whether the agent of a recorded session was turned, with the words and the calls side by side (D9, I4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Which session.
    pub session: SessionId,
    /// Whether it followed words that were not the user's.
    pub hijacked: bool,
    /// How likely it did, from 0 to 1.
    pub likely: f32,
    /// The words that did it, if it was.
    pub source: Option<JudgedSource>,
    /// The calls that follow them, if it was.
    pub calls: Vec<JudgedCall>,
    /// What moved the verdict most.
    pub moved: Vec<Moved>,
    /// Whether the user's words were known: a host told them.
    #[serde(default)]
    pub sighted: bool,
    /// The last message that was looked at.
    #[serde(default)]
    pub upto: Option<LeafIndex>,
}

/// Words that spoke to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedSource {
    /// The answer that brought them.
    pub leaf: LeafIndex,
    /// The words, cut when long.
    pub words: String,
    /// What speaks for it.
    pub reasons: Vec<String>,
}

/// A call that follows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedCall {
    /// Its entry.
    pub leaf: LeafIndex,
    /// The tool.
    pub tool: String,
    /// How likely it follows, from 0 to 1.
    pub likely: f32,
    /// What explains its tool and its values.
    pub reasons: Vec<String>,
}

/// What is known of a session beside its entries.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The user's words, where something beside the entries tells them; else those that the entries have of a host count.
    pub task: Option<String>,
    /// Names of tools by server, as they were listed to anybody: an agent of the newest revision need not list them itself.
    pub tools: Vec<(ServerName, Vec<String>)>,
}

impl Known {
    /// The tools of the servers that the entries speak with.
    fn tools_of(&self, entries: &[OpenEntry]) -> BTreeSet<String> {
        let mut spoken_with = BTreeSet::new();
        for open in entries {
            if let Recorded::Message(message) = &open.entry.event {
                spoken_with.insert(&message.server);
            }
        }
        let listed = self.tools.iter().filter(|(server, _)| spoken_with.contains(server));
        listed.flat_map(|(_, tools)| tools.iter().cloned()).take(MAX_TOOLS).collect()
    }
}

/// Judges a session by its entries.
pub fn judged(session: SessionId, entries: &[OpenEntry], known: &Known) -> Judged {
    let (view, leaves) = hijack_session(entries, known);
    let verdict = hijack::analyze(&view);
    let leaf = |event: usize| leaves.get(event).copied();
    let source =
        verdict.source.and_then(|source| Some(JudgedSource { leaf: leaf(source.event)?, words: source.excerpt, reasons: source.reasons }));
    let calls = verdict
        .calls
        .into_iter()
        .filter_map(|call| Some(JudgedCall { leaf: leaf(call.event)?, tool: call.tool, likely: call.likely, reasons: call.reasons }));
    Judged {
        session,
        hijacked: verdict.hijacked,
        likely: verdict.likely,
        source,
        calls: calls.collect(),
        moved: verdict.moved,
        sighted: view.task.is_some(),
        upto: last_message(entries),
    }
}

/// The verdict on a session that the record has, unless the session went on since then and it may be another by now.
pub fn kept(entries: &[OpenEntry]) -> Option<Judged> {
    let (open, upto, hijacked) = entries.iter().rev().find_map(|open| match &open.entry.event {
        Recorded::SessionJudged { hijacked, upto } => Some((open, *upto, *hijacked)),
        _ => None,
    })?;
    // What was followed once stays followed.
    let current = hijacked || last_message(entries).is_none_or(|last| last <= upto);
    open.detail.as_ref().filter(|_| current).and_then(|detail| serde_json::from_value(detail.clone()).ok())
}

fn last_message(entries: &[OpenEntry]) -> Option<LeafIndex> {
    entries.iter().rev().find(|open| matches!(open.entry.event, Recorded::Message(_))).map(|open| open.leaf)
}

/// What the agent of these entries was told and asked for, in leaf order, and the entry of each event.
///
/// `entries` are of one session.
pub fn hijack_session(entries: &[OpenEntry], known: &Known) -> (Session, Vec<LeafIndex>) {
    let record = record::read(entries, LeafIndex(u64::MAX));
    let mut steps: Vec<(LeafIndex, Step)> =
        record.calls.into_iter().enumerate().map(|(at, call)| (call.leaf, Step::Call(at, call))).collect();
    steps.extend(record.contents.into_iter().map(|content| (content.leaf, Step::Told(content))));
    steps.sort_by_key(|(leaf, _)| *leaf);
    let mut positions = vec![None; steps.len()];
    let mut session = Session {
        task: known.task.clone().or_else(|| host::task(entries)),
        tools: listed(entries, known),
        events: Vec::with_capacity(steps.len()),
    };
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

/// Names of the tools that the servers listed, to the agent or before.
fn listed(entries: &[OpenEntry], known: &Known) -> Vec<String> {
    let mut names = known.tools_of(entries);
    for open in entries {
        let Recorded::Message(message) = &open.entry.event else { continue };
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

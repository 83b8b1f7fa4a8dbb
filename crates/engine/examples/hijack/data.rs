//! Labelled sessions: what the analysis may see, and beside it what only training and scoring may.

use crate::{folds, wordings};
use custody_engine::hijack::{Event, Heard, Session, View};
use serde_json::Value;
use std::{io::BufRead, ops::Range};

/// What is true of a session.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub id: String,
    pub source: String,
    pub suite: String,
    pub role: String,
    pub wording: String,
    pub compromised: bool,
    pub injected: bool,
    /// Events that count as the right source.
    pub right: Vec<usize>,
    /// Event, bytes, characters, unfollowed.
    pub spans: Vec<(usize, Range<usize>, Range<usize>, bool)>,
    pub calls: Vec<usize>,
    pub ambiguous: Vec<usize>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn events(value: &Value) -> Vec<usize> {
    value.as_array().into_iter().flatten().filter_map(|one| one.as_u64().map(|one| one as usize)).collect()
}

/// Reads one row.
fn read(row: &Value, blind: bool) -> (Session, Truth) {
    let list = row["events"].as_array().cloned().unwrap_or_default();
    let session = Session {
        task: (!blind).then(|| text(&row["user_task"])),
        tools: row["tools"].as_array().into_iter().flatten().map(text).collect(),
        events: list
            .iter()
            .map(|event| match event["type"].as_str() {
                Some("tool_call") => Event::Call { tool: text(&event["tool"]), arguments: event["args"].clone() },
                _ => Event::Result { call: event["call"].as_u64().map(|call| call as usize), content: text(&event["content"]) },
            })
            .collect(),
    };
    let label = &row["label"];
    let calls = events(&label["attacker_calls"]);
    let decoys = events(&label["decoy_events"]);
    let right = events(&label["injection_event"])
        .into_iter()
        .filter(|event| !decoys.contains(event) && calls.first().is_none_or(|first| event < first))
        .collect();
    let spans = label["spans"].as_array().into_iter().flatten().map(|span| {
        let event = span["event"].as_u64().unwrap_or(0) as usize;
        let chars = span["start"].as_u64().unwrap_or(0) as usize..span["end"].as_u64().unwrap_or(0) as usize;
        let content = list[event]["content"].as_str().unwrap_or_default();
        let byte = |at: usize| content.char_indices().nth(at).map_or(content.len(), |(byte, _)| byte);
        (event, byte(chars.start)..byte(chars.end), chars.clone(), span["decoy"].as_bool().unwrap_or(false))
    });
    let truth = Truth {
        id: text(&row["id"]),
        source: text(&row["source"]),
        suite: text(&row["suite"]),
        role: text(&row["role"]),
        wording: row["meta"]["rewrapped"].as_str().or(row["meta"]["attack"].as_str()).unwrap_or("none").to_owned(),
        compromised: label["compromised"] == true,
        injected: label["injection_present"] == true,
        right,
        spans: spans.collect(),
        calls,
        ambiguous: events(&label["ambiguous_calls"]),
    };
    (session, truth)
}

/// A session that was listened to, with its truth. The session lives as long as the program.
pub struct Case {
    /// In words of our own.
    pub reworded: bool,
    pub heard: Heard<'static>,
    pub truth: Truth,
    pub session: &'static Session,
}

/// The sessions, and some of them once more with the payload in other words.
pub struct Set {
    pub cases: Vec<Case>,
    pub reworded: Vec<Case>,
}

fn case(row: &Value, blind: bool, reworded: bool) -> Case {
    let (session, truth) = read(row, blind);
    let session: &'static Session = Box::leak(Box::new(session));
    Case { reworded, heard: Heard::new(View::new(session)), truth, session }
}

/// Reads every line of a file.
pub fn load(path: &str, blind: bool, reword: bool) -> Set {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let input: Box<dyn std::io::Read> =
        if path.ends_with(".gz") { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut set = Set { cases: Vec::new(), reworded: Vec::new() };
    for line in std::io::BufReader::new(input).lines() {
        let row: Value = serde_json::from_str(&line.expect("text")).expect("a session a line");
        let number = folds::hash(row["id"].as_str().unwrap_or_default()) >> 7;
        if reword && row["label"]["injection_present"] == true && number % 5 < 4 {
            set.reworded.extend(wordings::reworded(&row, number).map(|row| case(&row, blind, true)));
        }
        set.cases.push(case(&row, blind, false));
    }
    set
}

/// Of bytes, the share that both have of what either has.
pub fn overlap(a: &Range<usize>, b: &Range<usize>) -> f64 {
    let both = a.end.min(b.end).saturating_sub(a.start.max(b.start));
    let either = a.end.max(b.end) - a.start.min(b.start);
    if either == 0 { 0.0 } else { both as f64 / either as f64 }
}

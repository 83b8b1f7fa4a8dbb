//! Measures [`custody_engine::investigate::source`] on recorded sessions with known truth.
//!
//! `zcat public.jsonl.gz | cargo run -p custody-engine --example injection_source [full] [task] [misses]`
//!
//! The labels give the trigger (the first attacker call) and judge the answer; the code under measurement sees neither.
//! `full`: with what happened after the trigger, as an investigation later sees it. `task`: with the user's words.
#![allow(clippy::unwrap_used, missing_docs)]

use custody_engine::investigate::source_given;
use custody_model::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::BufRead};
use uuid::Uuid;

#[derive(Default)]
struct Tally {
    all: u32,
    right: u32,
    strict: u32,
    none: u32,
    overlap: f64,
    buckets: [(u32, u32); 5],
}

fn entries(events: &[Value]) -> Vec<OpenEntry> {
    let session = Some(SessionId(Uuid::nil()));
    let at = jiff::Timestamp::UNIX_EPOCH;
    events
        .iter()
        .map(|event| {
            let leaf = LeafIndex(event["i"].as_u64().unwrap());
            let call = event["type"] == "tool_call";
            let body = if call {
                json!({"jsonrpc": "2.0", "id": leaf.0, "method": "tools/call", "params": {"name": event["tool"], "arguments": event["args"]}})
            } else {
                json!({"jsonrpc": "2.0", "id": event["call"], "result": {"content": [{"type": "text", "text": event["content"].as_str().unwrap_or_default()}]}})
            };
            let message = Message {
                direction: if call { Direction::ToServer } else { Direction::ToAgent },
                server: "server".into(),
                transport: Transport::Http,
                shape: if call { Shape::Request } else { Shape::Result },
                method: Some("tools/call".to_owned()),
                tool: event["tool"].as_str().filter(|_| call).map(ToolName::from),
                answers: event["call"].as_u64().filter(|_| !call).map(LeafIndex),
                outcome: Outcome::Allowed,
                reason: None,
                denial: None,
                spliced: vec![],
                forwarded: None,
            };
            let entry = Entry { v: ENTRY_VERSION, at, session, event: Event::Message(message), detail: None, body: None };
            OpenEntry { leaf, entry, detail: None, body: Some(body.to_string().into_bytes()) }
        })
        .collect()
}

fn main() {
    let flags: Vec<String> = std::env::args().collect();
    let on = |flag: &str| flags.iter().any(|f| f == flag);
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut slowest = 0;
    for line in std::io::stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let label = &row["label"];
        let Some(trigger) = label["attacker_calls"][0].as_u64().filter(|_| label["compromised"] == true) else { continue };
        let mut record = entries(row["events"].as_array().unwrap());
        if !on("full") {
            record.retain(|open| open.leaf.0 <= trigger);
        }
        let started = std::time::Instant::now();
        let answer = source_given(&record, LeafIndex(trigger), if on("task") { row["user_task"].as_str().unwrap() } else { "" });
        slowest = slowest.max(started.elapsed().as_millis());
        let numbers = |v: &Value| v.as_array().map(|a| a.iter().filter_map(Value::as_u64).collect::<Vec<_>>()).unwrap_or_default();
        let decoys = numbers(&label["decoy_events"]);
        let places: Vec<u64> = numbers(&label["injection_event"]).into_iter().filter(|e| *e < trigger && !decoys.contains(e)).collect();
        let right = answer.as_ref().is_some_and(|a| places.contains(&a.leaf.0));
        if on("misses") && !right {
            let call = &row["events"][trigger as usize];
            println!(
                "{} [{}] {} {} | truth {:?}: {} | got {:?}\n",
                row["id"],
                row["source"],
                call["tool"],
                call["args"],
                places,
                label["injection_text"],
                answer.as_ref().map(|a| (a.leaf.0, a.confidence, &a.excerpt, &a.links))
            );
        }
        let overlap = answer.as_ref().map_or(0.0, |answer| {
            let text = row["events"][answer.leaf.0 as usize]["content"].as_str().unwrap_or_default();
            let chars = |byte: usize| text[..byte].chars().count() as f64;
            let (start, end) = (chars(answer.span.0), chars(answer.span.1));
            let spans =
                label["spans"].as_array().unwrap().iter().filter(|s| s["event"].as_u64() == Some(answer.leaf.0) && s["decoy"] != true);
            spans
                .map(|s| {
                    let (a, b) = (s["start"].as_f64().unwrap(), s["end"].as_f64().unwrap());
                    ((end.min(b) - start.max(a)).max(0.0)) / (end.max(b) - start.min(a))
                })
                .fold(0.0, f64::max)
        });
        for key in ["ALL", row["source"].as_str().unwrap()] {
            let tally = tallies.entry(key.to_owned()).or_default();
            tally.all += 1;
            tally.right += u32::from(right);
            tally.strict += u32::from(answer.as_ref().is_some_and(|a| Some(a.leaf.0) == label["source_event"].as_u64()));
            tally.none += u32::from(answer.is_none());
            tally.overlap += overlap;
            if let Some(answer) = &answer {
                let bucket = &mut tally.buckets[((answer.confidence * 5.0) as usize).min(4)];
                bucket.0 += 1;
                bucket.1 += u32::from(right);
            }
        }
    }
    println!("{:<28} {:>6} {:>6} {:>6} {:>6} {:>6}  right/answers by confidence", "set", "n", "right", "first", "none", "span");
    for (set, t) in &tallies {
        let n = f64::from(t.all);
        let by: Vec<String> = t.buckets.iter().map(|(n, right)| format!("{right}/{n}")).collect();
        println!(
            "{set:<28} {:>6} {:>6.3} {:>6.3} {:>6.3} {:>6.3}  {}",
            t.all,
            f64::from(t.right) / n,
            f64::from(t.strict) / n,
            f64::from(t.none) / n,
            t.overlap / n,
            by.join(" ")
        );
    }
    println!("slowest {slowest} ms");
}

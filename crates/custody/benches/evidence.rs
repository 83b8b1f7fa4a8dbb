//! What evidence and the tables cost: a bundle of 10,000 calls written and checked, and the tables made anew. Prints one line each:
//! `cargo bench --workspace --bench evidence`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use custody::{
    core::rebuild,
    preserve::{DirectoryTake, ExportRequest, export, verify_bundle},
    trust::{Home, InitOptions},
};
use custody_model::*;
use custody_store::ledger::{Draft, Ledger, LedgerKeys, LedgerOptions, Reader};
use jiff::Timestamp;
use serde_json::json;
use std::time::Instant;
use uuid::Uuid;

const CALLS: u64 = 10_000;
const SESSIONS: u128 = 100;
const ENTRIES: u64 = 200_000;
const ROUNDS: usize = 3;

fn message(direction: Direction, answers: Option<LeafIndex>) -> Event {
    let call = direction == Direction::ToServer;
    Event::Message(Message {
        direction,
        server: ServerName::from("practice"),
        transport: Transport::Http,
        shape: if call { Shape::Request } else { Shape::Result },
        method: call.then(|| "tools/call".to_owned()),
        tool: call.then(|| "read_file".into()),
        answers,
        outcome: Outcome::Allowed,
        reason: None,
        denial: None,
        spliced: Vec::new(),
        forwarded: None,
    })
}

/// A call of half a kilobyte and an answer of two.
fn call(ledger: &Ledger, session: SessionId, n: u64) {
    let record = |event, detail, text: String| {
        let draft = Draft { at: Timestamp::now(), session: Some(session), event, detail: Some(detail), body: Some(text.into_bytes()) };
        ledger.record(draft).unwrap().leaf()
    };
    let words = "quarterly report, row 17 of 40; ";
    let asked = format!("{{\"jsonrpc\":\"2.0\",\"id\":{n},\"method\":\"tools/call\",\"params\":{{\"x\":\"{}\"}}}}", words.repeat(14));
    let asked = record(message(Direction::ToServer, None), json!({"tool": "read_file", "id": n.to_string()}), asked);
    let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":{n},\"result\":{{\"text\":\"{}\"}}}}", words.repeat(61));
    record(message(Direction::ToAgent, Some(asked)), json!({"id": n.to_string()}), answer);
}

fn main() {
    // Cargo's own arguments (`--bench`) say nothing here.
    let dir = tempfile::tempdir().unwrap();
    let made = Home::init(&dir.path().join("home"), &InitOptions::default()).unwrap();
    let (home, own) = (made.home, made.credential.identity().unwrap());
    let signer = home.read_ledger_key().unwrap();
    let keys = LedgerKeys::parse(signer.expose(), &[own.to_public().to_string()], None).unwrap();
    let (ledger, _) = Ledger::open(&home.ledger(), keys, LedgerOptions::default()).unwrap();
    let incident = SessionId(Uuid::now_v7());
    let started =
        json!({"identity": {"principal": "agent", "assurance": "client_key", "role": null, "task": null}, "source": "127.0.0.1:1"});
    ledger
        .record(Draft { at: Timestamp::now(), session: Some(incident), event: Event::SessionStarted, detail: Some(started), body: None })
        .unwrap();
    (0..CALLS).for_each(|n| call(&ledger, incident, n));
    let others: Vec<SessionId> = (0..SESSIONS).map(|_| SessionId(Uuid::now_v7())).collect();
    let mut n = 0;
    while ledger.size() < ENTRIES {
        call(&ledger, others[n as usize % others.len()], n);
        n += 1;
    }
    ledger.checkpoint().unwrap();
    ledger.close().unwrap();

    let case = Case {
        id: CaseId(Uuid::now_v7()),
        opened: Timestamp::now(),
        state: CaseState::Open,
        severity: Severity::High,
        incident_type: IncidentType::PromptInjection,
        triage: Triage { disposition: Disposition::Confirmed, path: vec![] },
        findings: vec![],
        sessions: vec![incident],
        scopes: vec![],
        clocks: vec![],
        source: None,
    };
    let reader = Reader::open(&home.ledger(), vec![own.clone()]).unwrap();
    for round in 0..ROUNDS {
        let request = ExportRequest {
            now: Timestamp::now(),
            out: dir.path().join(format!("bag-{round}")),
            by: "bench".into(),
            reason: "bench".into(),
            sessions: vec![],
            processes: vec![],
            directory: DirectoryTake::Off,
        };
        let begun = Instant::now();
        let bundle = export(&reader, &case, &request, signer.expose()).unwrap();
        let wrote = begun.elapsed();
        let begun = Instant::now();
        let report = verify_bundle(&bundle.path, None);
        assert!(report.ok && report.entries == bundle.entries, "{:?}", report.faults);
        println!(
            "bundle of {CALLS} calls ({} files, {} bytes, in a ledger of {ENTRIES} entries): written in {wrote:.2?}, checked in {:.2?}",
            report.files,
            report.bytes,
            begun.elapsed()
        );
        std::fs::remove_dir_all(&bundle.path).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for _ in 0..ROUNDS {
        let rebuilt = runtime.block_on(rebuild(&home, own.clone(), false, &|_| ())).unwrap();
        println!(
            "tables of {} entries made anew in {} ms: {} entries/s",
            rebuilt.entries,
            rebuilt.took_ms,
            rebuilt.entries * 1000 / rebuilt.took_ms.max(1)
        );
    }
}

//! What recording costs: an entry of about 512 bytes with a body of 2 KB, all in (seal, place, write, hash), beside
//! the plain SHA-256 of the same bytes. Prints the ratio.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use custody_model::{Direction, Event, Message, Outcome, ServerName, SessionId, Shape, Transport};
use custody_store::ledger::{CreateOptions, Draft, Ledger, LedgerKeys, LedgerOptions};
use custody_tlog::Signer;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::{hint::black_box, time::Instant};

fn draft(session: SessionId, n: u64) -> Draft {
    // Text with a number in it: new each time, as compressible as JSON is.
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{n},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{}\"}}]}}}}",
        "quarterly report, row 17 of 40; ".repeat(61)
    );
    let message = Message {
        direction: Direction::ToAgent,
        server: ServerName::from("practice"),
        transport: Transport::Http,
        shape: Shape::Result,
        method: None,
        tool: Some("read_file".into()),
        answers: None,
        outcome: Outcome::Allowed,
        reason: None,
        denial: None,
        spliced: Vec::new(),
        forwarded: None,
    };
    Draft { at: Timestamp::now(), session: Some(session), event: Event::Message(message), detail: None, body: Some(body.into_bytes()) }
}

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let signer = Signer::from_seed("custody.example/bench", [1; 32]).unwrap();
    Ledger::create(&path, &CreateOptions { signer: signer.clone() }).unwrap();
    let keys = LedgerKeys { signer, responders: vec![age::x25519::Identity::generate().to_public()], daemon: None };
    let (ledger, _) = Ledger::open(&path, keys, LedgerOptions::default()).unwrap();
    let session = SessionId(uuid::Uuid::now_v7());
    let first = ledger.record(draft(session, 0)).unwrap();
    let line = serde_json::to_vec(first.entry()).unwrap();
    let bytes = [line, draft(session, 0).body.unwrap()].concat();

    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("sha256 of the same bytes", |b| b.iter(|| Sha256::digest(black_box(&bytes))));
    let mut n = 0;
    group.bench_function("record", |b| {
        b.iter_batched(
            || {
                n += 1;
                draft(session, n)
            },
            |draft| ledger.record(draft).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();

    const ROUNDS: u64 = 5000;
    let plain = Instant::now();
    for _ in 0..ROUNDS {
        black_box(Sha256::digest(black_box(&bytes)));
    }
    let plain = plain.elapsed();
    let drafts: Vec<_> = (0..ROUNDS).map(|m| draft(session, 1 << 40 | m)).collect();
    let recorded = Instant::now();
    drafts.into_iter().for_each(|draft| drop(ledger.record(draft).unwrap()));
    let recorded = recorded.elapsed();
    println!(
        "entry and body {} bytes: sha256 {:?}, record {:?} each, ratio {:.1}",
        bytes.len(),
        plain / ROUNDS as u32,
        recorded / ROUNDS as u32,
        recorded.as_secs_f64() / plain.as_secs_f64()
    );
    ledger.close().unwrap();
}

criterion_group!(benches, append);
criterion_main!(benches);

//! What the record costs: appending, verifying beside the machine's own SHA-256, and opening.
//!
//! Criterion measures one `record` beside the plain SHA-256 of the same bytes. Then the figures of `docs/benchmarks.md` are printed, of a
//! ledger of `CUSTODY_BENCH_ENTRIES` entries (default 100,000) in the temporary directory: an entry of about 512 bytes with a body of 2 KB,
//! new each time, all in (commit, compress, seal, hash, write).
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use custody_model::{Direction, Event, Message, Outcome, ServerName, SessionId, Shape, Transport};
use custody_store::ledger::{CreateOptions, Draft, Ledger, LedgerKeys, LedgerOptions, VerifyOptions, verify};
use custody_tlog::Signer;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::{
    hint::black_box,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

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

fn made(path: &Path) -> LedgerKeys {
    let signer = Signer::from_seed("custody.example/bench", [1; 32]).unwrap();
    Ledger::create(path, &CreateOptions { signer: signer.clone() }).unwrap();
    LedgerKeys { signer, responders: vec![age::x25519::Identity::generate().to_public()], daemon: None }
}

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let keys = made(&path);
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
    ledger.close().unwrap();
    figures();
}

/// The figures of the documentation.
fn figures() {
    let entries: u64 = std::env::var("CUSTODY_BENCH_ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let keys = made(&path);
    let reopen = || LedgerKeys { signer: keys.signer.clone(), responders: keys.responders.clone(), daemon: None };
    let (ledger, _) = Ledger::open(&path, reopen(), LedgerOptions::default()).unwrap();
    let mut session = SessionId(uuid::Uuid::now_v7());
    let mut each = Vec::with_capacity(entries as usize);
    for n in 0..entries {
        if n % 1000 == 999 {
            session = SessionId(uuid::Uuid::now_v7());
        }
        let draft = draft(session, n);
        let begun = Instant::now();
        drop(ledger.record(draft).unwrap());
        each.push(begun.elapsed());
    }
    let all: Duration = each.iter().sum();
    ledger.close().unwrap();
    each.sort();
    let at = |part: f64| each[((each.len() - 1) as f64 * part) as usize];
    println!(
        "append    {:.0} entries/s on one thread; each p50 {:?}, p99 {:?}, longest {:?}",
        entries as f64 / all.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );

    let size: u64 = ["segments", "packs"].iter().map(|part| bytes_in(&path.join(part))).sum();
    let begun = Instant::now();
    let report = verify(&path, &VerifyOptions::default());
    let took = begun.elapsed();
    assert!(report.ok, "{:#?}", report.faults);
    let rate = size as f64 / took.as_secs_f64();
    println!(
        "verify    {} entries, {:.0} MB in {took:?}: {:.0} MB/s, {:.0} entries/s",
        report.entries,
        size as f64 / 1e6,
        rate / 1e6,
        report.entries as f64 / took.as_secs_f64()
    );
    match openssl() {
        Some(own) => println!(
            "          {:.0} % of this machine's `openssl speed -evp sha256 -bytes 16384` ({:.0} MB/s)",
            100.0 * rate / own,
            own / 1e6
        ),
        None => println!("          no openssl to compare with"),
    }

    let begun = Instant::now();
    let (ledger, recovery) = Ledger::open(&path, reopen(), LedgerOptions::default()).unwrap();
    println!("start     {:?} on {} entries ({} bytes repaired); resident {}", begun.elapsed(), ledger.size(), recovery.bytes(), resident());
    ledger.close().unwrap();
}

fn bytes_in(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().metadata().unwrap().len()).sum()
}

/// Bytes a second, as openssl measures them.
fn openssl() -> Option<f64> {
    let output = Command::new("openssl").args(["speed", "-mr", "-seconds", "2", "-bytes", "16384", "-evp", "sha256"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `+F:24:sha256:1234567890.00`, the last field in bytes a second.
    text.lines().find(|line| line.starts_with("+F:"))?.rsplit(':').next()?.trim().parse().ok()
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or(" unknown").trim().to_owned()
}

criterion_group!(benches, append);
criterion_main!(benches);

//! Verification: a good ledger passes, and nothing that was changed does.

#![allow(clippy::unwrap_used)]

mod ledger_support;

use custody_model::{Event, LeafIndex};
use custody_store::ledger::{Draft, Ledger, LedgerOptions, Strength, VerifyOptions, VerifyReport, verify};
use jiff::Timestamp;
use ledger_support::*;
use proptest::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn check(home: &Home) -> VerifyReport {
    verify(&home.path(), &VerifyOptions::default())
}

/// Two segments, two sessions and the system key, one key destroyed, several checkpoints, closed in order.
fn small(home: &Home) {
    let (ledger, _) = home.open_with(LedgerOptions { segment_bytes: 3000, copies: vec![home.dir.path().join("copy")], ..quiet() });
    let (a, b) = (session(), session());
    let first = ledger.record(draft(a, b"one")).unwrap();
    ledger.record(draft(a, b"one")).unwrap();
    ledger.checkpoint().unwrap();
    ledger.record(draft(b, &b"two".repeat(40))).unwrap();
    ledger.record(Draft { detail: Some("text".into()), ..Draft::new(Timestamp::now(), None, Event::DaemonStopped) }).unwrap();
    ledger.destroy_key(first.entry().body.as_ref().unwrap().key).unwrap();
    ledger.record(draft(b, b"three")).unwrap();
    ledger.close().unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match item.file_type().unwrap().is_dir() {
            true => found.extend(files(&item.path())),
            false => found.push(item.path()),
        }
    }
    found.sort();
    found
}

#[test]
fn a_good_ledger_passes_and_says_how_far_it_is_proven() {
    let home = Home::new();
    small(&home);
    let report = check(&home);
    assert_eq!(report.faults, []);
    assert!(report.ok && !report.live && !report.vkey_trusted);
    assert_eq!((report.segments, report.keys, report.keys_destroyed, report.unsigned_entries), (2, 3, 1, 0));
    assert_eq!((report.erased_parts, report.opened_parts), (4, 0));
    assert_eq!(report.proven.len(), 1);
    assert_eq!((report.proven[0].strength, report.proven[0].to.0), (Strength::Signed, report.entries));

    let options = VerifyOptions {
        vkey: Some(signer().vkey().into()),
        copies: vec![home.dir.path().join("copy")],
        identities: vec![home.responder.clone()],
        progress: None,
        ..VerifyOptions::default()
    };
    let report = verify(&home.path(), &options);
    assert_eq!(report.faults, []);
    assert_eq!((report.proven[0].strength, report.proven[0].to.0), (Strength::Copied, report.entries));
    assert_eq!(report.opened_parts, 5, "all that were not erased");
    serde_json::to_string(&report).unwrap();
}

/// Issue 2, "Done when": flipping any byte of the ledger makes `verify` fail and name the place.
#[test]
fn every_flipped_byte_fails_and_its_file_is_named() {
    let home = Home::new();
    small(&home);
    let all = files(&home.path());
    assert!(all.len() > 8);
    let mut flipped = 0;
    for path in all {
        let good = fs::read(&path).unwrap();
        let name = path.strip_prefix(home.path()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= if at % 2 == 0 { 0x01 } else { 0x20 };
            fs::write(&path, &bad).unwrap();
            let report = check(&home);
            assert!(!report.ok && report.proven.is_empty(), "{name:?} at {at}");
            assert!(report.faults.iter().any(|f| f.path == name), "{name:?} at {at}: {:#?}", report.faults);
            flipped += 1;
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(flipped > 5000);
    assert!(check(&home).ok);
}

#[test]
fn every_missing_shortened_or_lengthened_file_is_named() {
    let home = Home::new();
    small(&home);
    for path in files(&home.path()) {
        let good = fs::read(&path).unwrap();
        let name = path.strip_prefix(home.path()).unwrap().to_owned();
        let named = |what: &str| {
            let report = check(&home);
            assert!(!report.ok, "{what} {name:?}");
            assert!(report.faults.iter().any(|f| f.path == name), "{what} {name:?}: {:#?}", report.faults);
        };
        fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        named("lengthened");
        if !good.is_empty() {
            fs::write(&path, &good[..good.len() - 1]).unwrap();
            named("shortened");
        }
        // The daemon's copy of a key passes away by design; a segment in the middle is missed by the next.
        fs::remove_file(&path).unwrap();
        if !name.to_string_lossy().ends_with(".daemon.json") {
            assert!(!check(&home).ok, "missing {name:?}");
        }
        fs::write(&path, &good).unwrap();
    }
    fs::write(home.path().join("keys/stray"), b"").unwrap();
    fs::write(home.path().join("stray"), b"").unwrap();
    let report = check(&home);
    assert_eq!(report.faults.iter().map(|f| f.path.to_str().unwrap()).collect::<Vec<_>>(), ["stray", "keys/stray"]);
}

#[test]
fn the_unsigned_tail_is_told_apart() {
    let home = Home::new();
    let ledger = home.open();
    ledger.record(draft(session(), b"x")).unwrap();
    let signed = ledger.checkpoint().unwrap().size();
    ledger.record(draft(session(), b"y")).unwrap();
    let live = check(&home);
    assert!(live.ok && live.live, "{:?}", live.faults);
    drop(ledger);
    let report = check(&home);
    assert!(report.ok && !report.live, "{:?}", report.faults);
    assert_eq!(report.unsigned_entries, 2);
    let parts: Vec<_> = report.proven.iter().map(|p| (p.strength, p.from.0, p.to.0)).collect();
    assert_eq!(parts, [(Strength::Signed, 0, signed), (Strength::Unsigned, signed, signed + 2)]);
}

/// Promise 2: with a copied checkpoint, even whoever holds the key cannot rewrite.
#[test]
fn a_rewritten_or_rolled_back_history_fails_against_the_copy() {
    let home = Home::new();
    small(&home);
    let copy = home.dir.path().join("copy");
    // The owner makes another history, with the true key.
    fs::remove_dir_all(home.path()).unwrap();
    Ledger::create(&home.path(), &custody_store::ledger::CreateOptions { signer: signer() }).unwrap();
    let ledger = home.open();
    for _ in 0..20 {
        ledger.record(draft(session(), b"a nicer story")).unwrap();
    }
    ledger.close().unwrap();
    let options = VerifyOptions { copies: vec![copy.clone()], ..VerifyOptions::default() };
    assert!(check(&home).ok);
    let report = verify(&home.path(), &options);
    assert!(!report.ok && report.faults[0].path == copy, "{:#?}", report.faults);

    fs::remove_dir_all(home.path()).unwrap();
    Ledger::create(&home.path(), &custody_store::ledger::CreateOptions { signer: signer() }).unwrap();
    let report = verify(&home.path(), &options);
    assert!(report.faults.iter().any(|f| f.what.contains("entries were removed")), "{:#?}", report.faults);
}

#[test]
fn another_key_than_the_trusted_one_is_a_fault() {
    let home = Home::new();
    let other = custody_tlog::Signer::from_seed(ORIGIN, [9; 32]).unwrap();
    for vkey in [other.vkey(), "nonsense"] {
        let report = verify(&home.path(), &VerifyOptions { vkey: Some(vkey.into()), ..VerifyOptions::default() });
        assert!(!report.ok && report.proven.is_empty());
    }
    assert!(!verify(&home.dir.path().join("nowhere"), &VerifyOptions::default()).ok);
}

#[test]
fn verification_beside_a_writer_finds_no_fault() {
    let home = Home::new();
    let (ledger, _) = home.open_with(LedgerOptions { segment_bytes: 40_000, sync_ms: 1, checkpoint_ms: 1, ..LedgerOptions::default() });
    let writer = {
        let ledger = ledger.clone();
        std::thread::spawn(move || {
            let mut id = session();
            for n in 0..600 {
                if n % 50 == 0 {
                    id = session();
                }
                ledger.record(draft(id, format!("body {n}").as_bytes())).unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let report = check(&home);
        assert!(report.ok, "{:#?}", report.faults);
    }
    writer.join().unwrap();
    ledger.close().unwrap();
    assert!(check(&home).ok);
}

#[derive(Debug, Clone)]
enum Act {
    Record(u8, Vec<u8>),
    Checkpoint,
    Reopen,
    Crash,
    Destroy(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0_u8..3, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(s, b)| Act::Record(s, b)),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::Reopen),
        1 => Just(Act::Crash),
        1 => (0_u8..3).prop_map(Act::Destroy),
    ];
    proptest::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a ledger in order leaves one that verifies and holds what was recorded.
    #[test]
    fn a_ledger_holds_what_was_recorded(acts in acts(), cut in 0_u64..400) {
        let home = Home::new();
        let options = LedgerOptions { segment_bytes: 4000, ..quiet() };
        let sessions = [session(), session(), session()];
        let mut bodies: Vec<(LeafIndex, usize, Option<Vec<u8>>)> = Vec::new();
        let (mut ledger, _) = home.open_with(options.clone());
        let mut signed = 1;
        for act in acts {
            match act {
                Act::Record(s, body) => {
                    let leaf = ledger.record(draft(sessions[usize::from(s)], &body)).unwrap().leaf();
                    bodies.push((leaf, usize::from(s), Some(body)));
                }
                Act::Checkpoint => signed = ledger.checkpoint().unwrap().size(),
                Act::Reopen => {
                    signed = ledger.size();
                    ledger.close().unwrap();
                    ledger = home.open_with(options.clone()).0;
                }
                Act::Crash => {
                    drop(ledger);
                    ledger = home.open_with(options.clone()).0;
                }
                Act::Destroy(s) => {
                    let keys: std::collections::HashSet<_> = bodies.iter().filter(|b| b.1 == usize::from(s) && b.2.is_some())
                        .map(|b| home.reader().entry(b.0).unwrap().0.body.unwrap().key).collect();
                    for key in keys {
                        signed = ledger.destroy_key(key).unwrap().leaf().0 + 1;
                    }
                    bodies.iter_mut().filter(|b| b.1 == usize::from(s)).for_each(|b| b.2 = None);
                }
            }
        }
        for (leaf, _, body) in &bodies {
            prop_assert_eq!(&home.reader().open_entry(*leaf).unwrap().body, body);
        }
        let size = ledger.size();
        drop(ledger);
        let report = verify(&home.path(), &VerifyOptions { identities: vec![home.responder.clone()], ..VerifyOptions::default() });
        prop_assert!(report.ok, "{:#?}", report.faults);
        prop_assert_eq!(report.entries, size);

        // Cut anywhere: either it goes on from there, or it says that signed entries are gone.
        let last = files(&home.path().join("segments")).pop().unwrap();
        let len = last.metadata().unwrap().len();
        fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(len.saturating_sub(cut)).unwrap();
        match Ledger::open(&home.path(), home.keys(), options) {
            Ok((ledger, _)) => {
                prop_assert!(ledger.size() >= signed && ledger.size() <= size);
                ledger.record(draft(sessions[0], b"after")).unwrap();
                ledger.close().unwrap();
                let report = check(&home);
                prop_assert!(report.ok, "{:#?}", report.faults);
            }
            Err(error) => {
                use custody_store::ledger::LedgerError;
                // Damaged: not even the first entry is left.
                prop_assert!(cut > 0 && matches!(error, LedgerError::RolledBack { .. } | LedgerError::Damaged { .. }), "{error:?}");
                prop_assert!(!check(&home).ok);
            }
        }
    }
}

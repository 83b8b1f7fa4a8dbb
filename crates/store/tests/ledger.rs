//! The ledger as its users meet it: record, read, reopen, erase, prove.

#![allow(clippy::unwrap_used)]

mod ledger_support;

use custody_model::{Event, LeafIndex};
use custody_store::ledger::{Draft, Durability, Ledger, LedgerError, LedgerOptions};
use custody_tlog::leaf_hash;
use jiff::Timestamp;
use ledger_support::*;

#[test]
fn what_is_recorded_is_read_back_by_the_daemon_and_the_responder() {
    let home = Home::new();
    let ledger = home.open();
    let session = session();
    let first = ledger.record(draft(session, b"one")).unwrap();
    assert_eq!(first.leaf(), LeafIndex(2), "after LedgerCreated and KeyCreated");
    ledger.record(draft(session, &b"two ".repeat(500))).unwrap();
    for reader in [ledger.reader(), home.reader()] {
        let entries: Vec<_> = reader.open_entries(LeafIndex(0)).map(Result::unwrap).collect();
        assert_eq!(entries.len(), 4);
        assert!(matches!(entries[0].entry.event, Event::LedgerCreated { .. }));
        assert!(matches!(entries[1].entry.event, Event::KeyCreated { .. }));
        assert_eq!(entries[1].entry.session, Some(session));
        assert_eq!(entries[2].body.as_deref(), Some(&b"one"[..]));
        assert_eq!(entries[3].detail.as_ref().unwrap()["tool"], "read_file");
        assert_eq!(entries[3].body.as_ref().unwrap().len(), 2000);
        assert!(entries[3].entry.body.as_ref().unwrap().stored < 200, "compressed");
        assert_eq!(reader.open_entry(LeafIndex(2)).unwrap(), entries[2]);
    }
    assert!(matches!(home.reader().entry(LeafIndex(4)), Err(LedgerError::NoEntry { .. })));
    ledger.close().unwrap();
}

#[test]
fn a_stranger_reads_neutral_facts_only() {
    let home = Home::new();
    let ledger = home.open();
    ledger.record(draft(session(), b"secret words")).unwrap();
    let stranger = custody_store::ledger::Reader::open(&home.path(), vec![age::x25519::Identity::generate()]).unwrap();
    let open = stranger.open_entry(LeafIndex(2)).unwrap();
    assert_eq!((open.detail, open.body), (None, None));
    assert!(open.entry.body.is_some());
}

#[test]
fn a_ledger_goes_on_where_it_ended_and_keeps_the_sessions_key() {
    let home = Home::new();
    let session = session();
    let ledger = home.open();
    let commitment = ledger.commitment(Some(session), b"x").unwrap();
    ledger.record(draft(session, b"one")).unwrap();
    ledger.close().unwrap();
    let (ledger, recovery) = home.open_with(quiet());
    assert_eq!(recovery, Default::default());
    assert_eq!(ledger.size(), 3);
    assert_eq!(ledger.commitment(Some(session), b"x").unwrap(), commitment);
    assert_eq!(ledger.record(draft(session, b"two")).unwrap().leaf(), LeafIndex(3));
}

#[test]
fn only_one_writer() {
    let home = Home::new();
    let ledger = home.open();
    assert!(matches!(Ledger::open(&home.path(), home.keys(), quiet()), Err(LedgerError::Locked { .. })));
    drop(ledger);
    home.open();
}

#[test]
fn the_same_body_of_a_session_lies_in_the_pack_once() {
    let home = Home::new();
    let ledger = home.open();
    let (a, b) = (session(), session());
    let body = b"the same listing again ".repeat(40);
    let part = |s| ledger.record(draft(s, &body)).unwrap().entry().body.clone().unwrap();
    let first = part(a);
    let pack = home.path().join("packs/00000000.pack");
    let before = pack.metadata().unwrap().len();
    let second = part(a);
    assert_eq!(first, second);
    assert!(pack.metadata().unwrap().len() - before < 120, "a detail only");
    let other = part(b);
    assert_ne!(first.commitment, other.commitment, "another key says nothing about equality");
    assert_ne!(first.offset, other.offset);
}

#[test]
fn a_destroyed_key_erases_content_and_nothing_else() {
    let home = Home::new();
    let ledger = home.open();
    let (erased, kept) = (session(), session());
    let recorded = ledger.record(draft(erased, b"erase me")).unwrap();
    let key = recorded.entry().body.as_ref().unwrap().key;
    ledger.record(draft(kept, b"keep me")).unwrap();
    let reader = ledger.reader();
    assert!(reader.open_entry(recorded.leaf()).unwrap().body.is_some());
    let prepared = ledger.prepare(draft(erased, b"on its way")).unwrap();
    ledger.destroy_key(key).unwrap();
    assert!(matches!(ledger.append(prepared), Err(LedgerError::KeyDestroyed { .. })));
    for reader in [reader, ledger.reader(), home.reader()] {
        let open = reader.open_entry(recorded.leaf()).unwrap();
        assert_eq!((open.detail, open.body), (None, None));
        assert!(matches!(reader.unseal(open.entry.body.as_ref().unwrap()), Err(LedgerError::NoKey { .. })));
        assert_eq!(reader.open_entry(LeafIndex(4)).unwrap().body.as_deref(), Some(&b"keep me"[..]));
    }
    assert!(matches!(ledger.destroy_key(key), Err(LedgerError::NoKey { .. })));
    let again = ledger.record(draft(erased, b"later")).unwrap();
    assert_ne!(again.entry().body.as_ref().unwrap().key, key);
    ledger.close().unwrap();
}

#[test]
fn checkpoints_are_signed_copied_and_announced() {
    let home = Home::new();
    let copy = home.dir.path().join("copy");
    let (ledger, _) = home.open_with(LedgerOptions { copies: vec![copy.clone()], checkpoint_ms: 1, sync_ms: 1, ..quiet() });
    let mut announced = ledger.watch_checkpoints();
    let size = ledger.record(draft(session(), b"x")).unwrap().leaf().0 + 1;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let signed =
        runtime.block_on(async { announced.wait_for(|c| c.as_ref().is_some_and(|c| c.size() == size)).await.unwrap().clone().unwrap() });
    signer().verifier().verify(&signed).unwrap();
    assert!(std::fs::read_to_string(copy).unwrap().ends_with(signed.note()));
    let proof = ledger.reader().inclusion_proof(LeafIndex(1), size).unwrap();
    let (_, line) = ledger.reader().entry(LeafIndex(1)).unwrap();
    proof.check(signed.root(), leaf_hash(line.as_bytes())).unwrap();
    let all: Vec<_> = ledger.reader().checkpoints().unwrap().map(Result::unwrap).collect();
    let first = &all[0];
    ledger.reader().consistency_proof(first.size(), size).unwrap().check(first.root(), signed.root()).unwrap();
    ledger.close().unwrap();
}

#[test]
fn segments_and_packs_rotate_together_and_read_as_one() {
    let home = Home::new();
    let options = LedgerOptions { segment_bytes: 2000, ..quiet() };
    let (ledger, _) = home.open_with(options.clone());
    let session = session();
    let body = b"again and again";
    for _ in 0..50 {
        let recorded = ledger.record(draft(session, body)).unwrap();
        let firsts = std::fs::read_dir(home.path().join("segments")).unwrap().count();
        assert_eq!(recorded.entry().body.as_ref().unwrap().pack as usize, firsts - 1, "references stay in their pair");
    }
    ledger.close().unwrap();
    assert!(std::fs::read_dir(home.path().join("segments")).unwrap().count() > 5);
    let (ledger, recovery) = home.open_with(options);
    assert_eq!(recovery, Default::default());
    let reader = home.reader();
    assert_eq!(reader.open_entries(LeafIndex(0)).map(Result::unwrap).filter(|e| e.body.as_deref() == Some(body)).count(), 50);
    for leaf in (0..ledger.size()).rev() {
        assert_eq!(reader.open_entry(LeafIndex(leaf)).unwrap().leaf, LeafIndex(leaf));
    }
}

#[test]
fn strict_mode_has_everything_synced_when_it_returns() {
    let home = Home::new();
    let (ledger, _) = home.open_with(LedgerOptions { durability: Durability::Strict, ..quiet() });
    ledger.record(draft(session(), b"strict")).unwrap();
    ledger.record(Draft::new(Timestamp::now(), None, Event::DaemonStopped)).unwrap();
    ledger.close().unwrap();
}

#[test]
fn a_closed_ledger_takes_nothing_more() {
    let home = Home::new();
    let ledger = home.open();
    let other = ledger.clone();
    ledger.close().unwrap();
    assert!(matches!(other.record(draft(session(), b"late")), Err(LedgerError::Closed)));
}

#[test]
fn a_reader_beside_the_writer_sees_whole_entries_in_order() {
    let home = Home::new();
    let (ledger, _) = home.open_with(LedgerOptions { segment_bytes: 20_000, ..quiet() });
    const COUNT: u64 = 400;
    let writer = {
        let ledger = ledger.clone();
        std::thread::spawn(move || {
            let session = session();
            (0..COUNT).for_each(|n| drop(ledger.record(draft(session, &vec![b'a'; n as usize])).unwrap()));
        })
    };
    for reader in [home.reader(), ledger.reader()] {
        let mut next = 0;
        while next < COUNT + 2 {
            for item in reader.open_entries(LeafIndex(next)) {
                let open = item.unwrap();
                assert_eq!(open.leaf.0, next);
                if next >= 2 {
                    assert_eq!(open.body.unwrap().len() as u64, next - 2);
                }
                next += 1;
            }
        }
    }
    writer.join().unwrap();
}

#[test]
fn the_wrong_signing_key_is_refused() {
    let home = Home::new();
    let mut keys = home.keys();
    keys.signer = custody_tlog::Signer::from_seed(ORIGIN, [6; 32]).unwrap();
    assert!(matches!(Ledger::open(&home.path(), keys, quiet()), Err(LedgerError::WrongKey { .. })));
    assert!(matches!(
        Ledger::create(&home.path(), &custody_store::ledger::CreateOptions { signer: signer() }),
        Err(LedgerError::Exists { .. })
    ));
}

#[test]
fn the_daemons_copy_of_a_key_passes_away_and_the_responders_stays() {
    let home = Home::new();
    let options = LedgerOptions { daemon_key_days: 0, ..quiet() };
    let (ledger, _) = home.open_with(options.clone());
    let session = session();
    let leaf = ledger.record(draft(session, b"for a short time")).unwrap().leaf();
    assert!(ledger.reader().open_entry(leaf).unwrap().body.is_some(), "while the session's key is in use");
    ledger.close().unwrap();
    let (ledger, _) = home.open_with(options);
    assert_eq!(std::fs::read_dir(home.path().join("keys")).unwrap().count(), 1);
    assert_eq!(ledger.reader().open_entry(leaf).unwrap().body, None);
    assert_eq!(home.reader().open_entry(leaf).unwrap().body.as_deref(), Some(&b"for a short time"[..]));
    let again = ledger.record(draft(session, b"under a second key")).unwrap().leaf();
    assert_eq!(home.reader().open_entry(again).unwrap().body.as_deref(), Some(&b"under a second key"[..]));
    ledger.close().unwrap();
    let report = custody_store::ledger::verify(&home.path(), &Default::default());
    assert!(report.ok, "{:#?}", report.faults);
}

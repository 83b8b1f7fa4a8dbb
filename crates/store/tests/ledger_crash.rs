//! Promise 1 under attack: the process dies, the disk fills up, the power goes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod ledger_support;

use custody_model::LeafIndex;
use custody_store::ledger::{Disk, Durability, Ledger, LedgerError, LedgerKeys, LedgerOptions, Storage, StoredFile, VerifyOptions, verify};
use ledger_support::*;
use proptest::prelude::*;
use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

const CHILD: &str = "CUSTODY_TEST_LEDGER_CHILD";

/// Not a test by itself: what the killed process runs. Appends from two threads, and says what was acknowledged.
#[test]
fn child_appends_until_it_is_killed() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let [dir, recipient, copy] = given.split('\n').collect::<Vec<_>>()[..] else { panic!("not what the parent says") };
    let keys = LedgerKeys { signer: signer(), responders: vec![recipient.parse().unwrap()], daemon: None };
    let copies = vec![PathBuf::from(copy)];
    let options = LedgerOptions { segment_bytes: 200_000, sync_ms: 2, checkpoint_ms: 5, copies, ..LedgerOptions::default() };
    let (ledger, _) = Ledger::open(Path::new(dir), keys, options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2_usize {
            let ledger = &ledger;
            scope.spawn(move || {
                let mut session = session();
                for n in thread.. {
                    if n % 64 == thread {
                        session = ledger_support::session();
                    }
                    let recorded = ledger.record(draft(session, &body_of(n))).unwrap();
                    let mut out = io::stdout().lock();
                    writeln!(out, "ack {} {n}", recorded.leaf()).and_then(|()| out.flush()).unwrap();
                }
            });
        }
    });
}

/// Differs for every n, in content and length; does not compress.
fn body_of(n: usize) -> Vec<u8> {
    let mut state = n as u64 + 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..(n * 997) % 3_000).map(next).collect()
}

/// How often; `cargo xtask crash` asks for more.
fn asked(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// Numbers below a bound, each seed its own row.
fn dice(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below.max(1)
    }
}

#[test]
fn what_was_acknowledged_survives_sigkill_at_any_instant() {
    let home = Home::new();
    let copy = home.dir.path().join("copy");
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut roll = dice(seed);
    let mut acknowledged: HashMap<u64, usize> = HashMap::new();
    for _ in 0..asked("CUSTODY_CRASHES", 200) {
        let given = format!("{}\n{}\n{}", home.path().display(), home.responder.to_public(), copy.display());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, given)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut take = |line: String| {
            // The test harness writes in front of the first line.
            let Some((leaf, n)) = line.split_once("ack ").and_then(|(_, rest)| rest.split_once(' ')) else { return };
            let Ok(n) = n.parse() else { return };
            acknowledged.insert(leaf.parse().unwrap(), n);
        };
        // One in eight dies before it has said anything: while it starts, or repairs what the one before left.
        if roll(8) > 0 {
            lines.by_ref().take(1 + roll(40) as usize).for_each(|line| take(line.unwrap()));
        }
        let until = std::time::Instant::now() + std::time::Duration::from_micros(roll(4000));
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), None, "it ended by itself: it could not open what the one before left");
        lines.map_while(Result::ok).for_each(take);
    }
    assert!(acknowledged.len() > 500);
    let (ledger, _) = home.open_with(quiet());
    let reader = home.reader();
    for (leaf, n) in &acknowledged {
        assert_eq!(reader.open_entry(LeafIndex(*leaf)).unwrap().body.unwrap(), body_of(*n), "entry {leaf}");
    }
    ledger.close().unwrap();
    whole_and_as_published(&home, &copy);
    println!("{} acknowledged entries", acknowledged.len());
}

/// No fault, and consistent with every checkpoint that was ever published. A copy that the killed writer left half is cut.
fn whole_and_as_published(home: &Home, copy: &Path) {
    let text = fs::read_to_string(copy).unwrap_or_default();
    let whole: String = custody_tlog::notes(&text).collect();
    fs::write(copy, whole).unwrap();
    let options = VerifyOptions { identities: vec![home.responder.clone()], copies: vec![copy.to_owned()], ..VerifyOptions::default() };
    let report = verify(&home.path(), &options);
    assert!(report.ok, "{:#?}", report.faults);
    assert!(report.segments > 1);
}

/// A disk with so many bytes left.
#[derive(Debug, Default)]
struct FullDisk {
    left: Arc<AtomicU64>,
    stuck: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
}

#[derive(Debug)]
struct FullFile {
    inner: Arc<dyn StoredFile>,
    left: Arc<AtomicU64>,
    stuck: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
}

impl Storage for FullDisk {
    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let (left, stuck, sync_fails) = (self.left.clone(), self.stuck.clone(), self.sync_fails.clone());
        Ok(Arc::new(FullFile { inner: Disk.open_append(path)?, left, stuck, sync_fails }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Disk.sync_dir(path)
    }
}

impl StoredFile for FullFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        let fits = left.min(bytes.len() as u64);
        self.inner.append(&bytes[..fits as usize])?;
        self.left.store(left - fits, Ordering::SeqCst);
        if fits == bytes.len() as u64 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        if self.stuck.load(Ordering::SeqCst) { Err(io::ErrorKind::Other.into()) } else { self.inner.truncate(len) }
    }
    fn sync(&self) -> io::Result<()> {
        if self.sync_fails.load(Ordering::SeqCst) { Err(io::ErrorKind::Other.into()) } else { self.inner.sync() }
    }
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
}

#[test]
fn a_full_disk_refuses_the_record_and_the_ledger_goes_on_when_there_is_room() {
    for (stuck, durability) in [(false, Durability::Default), (true, Durability::Default), (false, Durability::Strict)] {
        let home = Home::new();
        let disk = FullDisk::default();
        let (left, truncation) = (disk.left.clone(), disk.stuck.clone());
        left.store(u64::MAX, Ordering::SeqCst);
        let options = LedgerOptions { storage: Arc::new(disk), durability, segment_bytes: 30_000, ..quiet() };
        let (ledger, _) = home.open_with(options);
        let known = session();
        ledger.record(draft(known, b"room")).unwrap();
        let mut refused = 0;
        for room in (0..2500).step_by(19) {
            // A new session fails in its key files, a known one in pack, line or hashes.
            for session in [known, session()] {
                let size = ledger.size();
                left.store(room, Ordering::SeqCst);
                truncation.store(stuck, Ordering::SeqCst);
                let body = format!("body {room} {session}");
                let result = ledger.record(draft(session, body.as_bytes()));
                left.store(u64::MAX, Ordering::SeqCst);
                match result {
                    Ok(recorded) => assert!(recorded.leaf().0 >= size),
                    Err(error) => {
                        assert!(matches!(error, LedgerError::Storage { .. }), "{error:?}");
                        refused += 1;
                    }
                }
                if room % 5 == 0 {
                    // Until the disk lets the tail be cut, nothing is written behind it.
                    if stuck && ledger.size() == size {
                        drop(ledger.record(draft(known, b"still stuck")));
                    }
                    truncation.store(false, Ordering::SeqCst);
                    let body = format!("again {room}");
                    let recorded = ledger.record(draft(known, body.as_bytes())).unwrap();
                    assert_eq!(home.reader().open_entry(recorded.leaf()).unwrap().body.unwrap(), body.as_bytes());
                }
            }
        }
        assert!(refused > 100);
        truncation.store(false, Ordering::SeqCst);
        ledger.record(draft(known, b"the last")).unwrap();
        ledger.close().unwrap();
        let report = verify(&home.path(), &VerifyOptions { identities: vec![home.responder.clone()], ..VerifyOptions::default() });
        assert!(report.ok, "{:#?}", report.faults);
    }
}

#[test]
fn a_failed_sync_stops_the_default_mode_and_takes_back_the_strict_one() {
    let home = Home::new();
    let disk = FullDisk::default();
    let fails = disk.sync_fails.clone();
    disk.left.store(u64::MAX, Ordering::SeqCst);
    let disk = Arc::new(disk);
    let (ledger, _) = home.open_with(LedgerOptions { storage: disk.clone(), ..quiet() });
    let known = session();
    ledger.record(draft(known, b"acknowledged")).unwrap();
    fails.store(true, Ordering::SeqCst);
    assert!(matches!(ledger.sync(), Err(LedgerError::SyncFailed { .. })));
    fails.store(false, Ordering::SeqCst);
    assert!(matches!(ledger.record(draft(known, b"not after that")), Err(LedgerError::SyncFailed { .. })));
    assert!(ledger.checkpoint().is_err());
    drop(ledger);

    let (ledger, _) = home.open_with(LedgerOptions { storage: disk, durability: Durability::Strict, ..quiet() });
    let size = ledger.record(draft(known, b"before")).unwrap().leaf().0 + 1;
    fails.store(true, Ordering::SeqCst);
    assert!(matches!(ledger.record(draft(known, b"not recorded")), Err(LedgerError::Storage { .. })));
    fails.store(false, Ordering::SeqCst);
    assert_eq!(ledger.record(draft(known, b"after")).unwrap().leaf().0, size);
    ledger.close().unwrap();
    assert!(verify(&home.path(), &VerifyOptions::default()).ok);
}

/// A disk that remembers how much of each file was synced, and forgets the rest when the power goes: when it is told, or after so
/// many more operations.
#[derive(Debug, Default, Clone)]
struct LostPower(Arc<Mutex<HashMap<PathBuf, u64>>>, Arc<AtomicBool>, Arc<Mutex<Option<u64>>>);

#[derive(Debug)]
struct LostFile {
    inner: Arc<dyn StoredFile>,
    path: PathBuf,
    synced: LostPower,
}

impl Storage for LostPower {
    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        self.alive()?;
        let inner = Disk.open_append(path)?;
        let size = inner.size()?;
        self.0.lock().unwrap().entry(path.to_owned()).or_insert(size);
        Ok(Arc::new(LostFile { inner, path: path.to_owned(), synced: self.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive()?;
        let mut synced = self.0.lock().unwrap();
        if let Some(len) = synced.remove(from) {
            synced.insert(to.to_owned(), len);
        }
        Disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.alive()?;
        self.0.lock().unwrap().remove(path);
        Disk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.alive()?;
        Disk.sync_dir(path)
    }
}

impl StoredFile for LostFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if self.synced.1.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Other.into());
        }
        // The write in which the power goes is torn.
        self.synced.alive().inspect_err(|_| drop(self.inner.append(&bytes[..bytes.len() / 2])))?;
        self.inner.append(bytes)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.synced.alive()?;
        let mut synced = self.synced.0.lock().unwrap();
        synced.entry(self.path.clone()).and_modify(|synced| *synced = len.min(*synced));
        self.inner.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.synced.alive()?;
        let size = self.inner.size()?;
        self.synced.0.lock().unwrap().insert(self.path.clone(), size);
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
}

impl LostPower {
    fn alive(&self) -> io::Result<()> {
        let mut left = self.2.lock().unwrap();
        let gone = match left.as_mut() {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if gone || self.1.fetch_or(gone, Ordering::SeqCst) {
            self.1.store(true, Ordering::SeqCst);
            return Err(io::ErrorKind::Other.into());
        }
        Ok(())
    }

    /// Of what was not synced, each file keeps some prefix, and holes of zeros in it.
    fn cut(&self, seed: u64) {
        let mut roll = dice(seed);
        let mut files: Vec<_> = self.0.lock().unwrap().drain().collect();
        files.sort();
        for (path, synced) in files {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let len = file.metadata().unwrap().len();
            let keep = synced + roll(len - synced + 1);
            file.set_len(keep).unwrap();
            if keep > synced && roll(2) == 0 {
                let from = synced + roll(keep - synced);
                let hole = vec![0; (1 + roll(keep - from)) as usize];
                file.write_all_at(&hole[..hole.len().min((keep - from) as usize)], from).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: asked("CUSTODY_POWER_CUTS", 60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_after_any_operation_takes_nothing_that_was_synced(
        strict in any::<bool>(),
        rounds in proptest::collection::vec(
            (proptest::collection::vec((0_u8..10, 0_usize..600), 1..25), any::<u64>(), proptest::option::weighted(0.8, 0_u64..160)),
            1..5,
        ),
    ) {
        let home = Home::new();
        let power = LostPower::default();
        let durability = if strict { Durability::Strict } else { Durability::Default };
        let options = LedgerOptions { durability, segment_bytes: 6000, storage: Arc::new(power.clone()), ..quiet() };
        let mut safe: Vec<(LeafIndex, Vec<u8>)> = Vec::new();
        let mut published = String::new();
        let known = session();
        for (acts, dice, operations) in rounds {
            *power.2.lock().unwrap() = operations;
            // It may go while the ledger is being repaired after the cut before.
            let opened = Ledger::open(&home.path(), home.keys(), options.clone());
            prop_assert!(opened.is_ok() || power.1.load(Ordering::SeqCst), "{:?}", opened.err());
            let mut unsafe_yet = Vec::new();
            for (act, len) in if opened.is_ok() { acts } else { Vec::new() } {
                let (ledger, _) = opened.as_ref().unwrap();
                let session = if act == 9 { session() } else { known };
                let body: Vec<u8> = body_of(len + usize::from(act)).into_iter().take(len).collect();
                let Ok(recorded) = ledger.record(draft(session, &body)) else { break };
                unsafe_yet.push((recorded.leaf(), body));
                let synced = match act {
                    0 => ledger.sync(),
                    1 => ledger.checkpoint().map(|signed| published.push_str(signed.note())),
                    _ if strict => Ok(()),
                    _ => continue,
                };
                if synced.is_err() {
                    break;
                }
                safe.append(&mut unsafe_yet);
            }
            power.1.store(true, Ordering::SeqCst);
            drop(opened);
            power.1.store(false, Ordering::SeqCst);
            *power.2.lock().unwrap() = None;
            power.cut(dice);
        }
        let (ledger, _) = Ledger::open(&home.path(), home.keys(), options).unwrap();
        let reader = home.reader();
        for (leaf, body) in &safe {
            prop_assert_eq!(&reader.open_entry(*leaf).unwrap().body.unwrap(), body);
        }
        ledger.record(draft(known, b"it goes on")).unwrap();
        ledger.close().unwrap();
        let copy = home.dir.path().join("published");
        fs::write(&copy, &published).unwrap();
        let options = VerifyOptions { identities: vec![home.responder.clone()], copies: vec![copy], ..VerifyOptions::default() };
        let report = verify(&home.path(), &options);
        prop_assert!(report.ok, "{:#?}", report.faults);
    }
}

#[test]
fn a_torn_line_and_the_parts_before_it_are_cut_and_counted() {
    let home = Home::new();
    let ledger = home.open();
    let session = session();
    ledger.record(draft(session, b"whole")).unwrap();
    drop(ledger);
    let segment = home.path().join("segments/00000000000000000000.jsonl");
    let pack = home.path().join("packs/00000000.pack");
    let good = (fs::read(&segment).unwrap(), fs::read(&pack).unwrap());
    let append = |path: &Path, bytes: &[u8]| fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
    append(&segment, b"{\"v\":1,\"at\":\"2026");
    append(&pack, &[7; 99]);
    append(&home.path().join("checkpoints"), "custody.example/test\n3\nAAAA".as_bytes());
    fs::write(home.path().join("keys").join(format!("{}.json.new", custody_model::KeyId(uuid::Uuid::now_v7()))), b"x").unwrap();
    let report = verify(&home.path(), &VerifyOptions::default());
    assert!(!report.ok && report.faults.iter().filter(|f| f.after_crash).count() >= 3, "{:#?}", report.faults);
    let (ledger, recovery) = home.open_with(quiet());
    assert_eq!((recovery.line_bytes, recovery.pack_bytes, recovery.bytes()), (17, 99, 116));
    assert_eq!(recovery.checkpoint_bytes, 27);
    assert_eq!(good, (fs::read(&segment).unwrap(), fs::read(&pack).unwrap()));
    ledger.close().unwrap();
    assert!(verify(&home.path(), &VerifyOptions::default()).ok);
}

#[test]
fn lost_hashes_are_computed_again_and_a_lost_end_is_refused() {
    let home = Home::new();
    let (ledger, _) = home.open_with(LedgerOptions { segment_bytes: 2000, ..quiet() });
    let session = session();
    (0..30).for_each(|n| drop(ledger.record(draft(session, &[n; 50])).unwrap()));
    ledger.close().unwrap();
    let hashes = home.path().join("hashes");
    let good = fs::read(&hashes).unwrap();
    for len in [0, 100, good.len() - 40] {
        fs::OpenOptions::new().write(true).open(&hashes).unwrap().set_len(len as u64).unwrap();
        let (ledger, recovery) = home.open_with(quiet());
        assert!(recovery.hashes > 0);
        drop(ledger);
        assert_eq!(fs::read(&hashes).unwrap(), good);
    }
    let mut segments: Vec<_> = fs::read_dir(home.path().join("segments")).unwrap().map(|item| item.unwrap().path()).collect();
    segments.sort();
    let last = segments.pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let cut = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    fs::write(&last, &bytes[..cut]).unwrap();
    let before: Vec<_> = [&last, &hashes].map(|path| fs::read(path).unwrap()).into();
    let refused = Ledger::open(&home.path(), home.keys(), quiet());
    assert!(matches!(refused, Err(LedgerError::RolledBack { size: 31, signed: 32 })), "{refused:?}");
    assert_eq!(before, [&last, &hashes].map(|path| fs::read(path).unwrap()), "what is refused is left alone");
    let mut changed = bytes.clone();
    let at = changed.windows(10).position(|w| w == b"tools/call").unwrap();
    changed[at] = b'T';
    fs::write(&last, &changed).unwrap();
    assert!(matches!(Ledger::open(&home.path(), home.keys(), quiet()), Err(LedgerError::Damaged { .. })));
}

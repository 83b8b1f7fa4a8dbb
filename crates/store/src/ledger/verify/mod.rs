//! Checks every byte of a ledger, in one pass, with memory for one segment's references.

mod keyring;
mod parts;
mod report;
mod tree;

pub use report::{CopiedHead, Fault, Proven, SignedHead, Strength, VerifyReport, WitnessedHead};

use super::{
    keys::KeyStore,
    layout::{Head, Layout, names, pack_number, segment_first},
    lines::{Line, Lines},
    reader::parse_entry,
};
use age::x25519::Identity;
use custody_model::{Event, LeafIndex};
use custody_tlog::{Verifier, WitnessKey, leaf_hash};
use keyring::Keyring;
use parts::{Pack, PartFault};
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};
use tree::{Tree, describe};

/// Called now and then with the number of entries checked so far.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What to verify with.
#[derive(Clone, Default)]
pub struct VerifyOptions {
    /// The verifier key that the user trusts; `None`: the one that the ledger names for itself.
    pub vkey: Option<String>,
    /// Files of checkpoints that left the ledger: the ledger must be consistent with each.
    pub copies: Vec<PathBuf>,
    /// Checkpoints with cosignatures that are kept beside the ledger: they count as far as `witnesses` cosigned them.
    pub cosigned: Vec<PathBuf>,
    /// The witnesses that are trusted. Their cosignatures count in copies too.
    pub witnesses: Vec<WitnessKey>,
    /// How many of them it takes; 0 is 1.
    pub quorum: usize,
    /// Identities to unseal with, so that plaintexts are compared with their commitments.
    pub identities: Vec<Identity>,
    /// Told of the way so far.
    pub progress: Option<Progress>,
}

/// Verifies a ledger. Never fails: what cannot be read is a fault.
///
/// Beside a live writer it checks what was there when it began.
pub fn verify(dir: &Path, options: &VerifyOptions) -> VerifyReport {
    let layout = Layout::new(dir);
    let mut report = VerifyReport {
        ok: false,
        path: dir.to_owned(),
        origin: String::new(),
        vkey: String::new(),
        vkey_trusted: options.vkey.is_some(),
        live: is_live(&layout.head()),
        entries: 0,
        segments: 0,
        checkpoints: 0,
        sealed_parts: 0,
        opened_parts: 0,
        erased_parts: 0,
        keys: 0,
        keys_destroyed: 0,
        signed: None,
        unsigned_entries: 0,
        copied: None,
        witnessed: Vec::new(),
        quorum: options.quorum,
        first_uncovered: None,
        proven: Vec::new(),
        faults: Vec::new(),
        more_faults: 0,
    };
    let head = match Head::read(&layout.head()) {
        Ok(head) => head,
        Err(error) => {
            report.fault(Fault::new(layout.head(), describe(&error)));
            return report.conclude();
        }
    };
    (report.origin, report.vkey) = (head.origin.clone(), options.vkey.as_ref().unwrap_or(&head.vkey).trim().to_owned());
    if head.vkey != report.vkey {
        report.fault(Fault::new(layout.head(), format!("names the key {}, not the trusted {}", head.vkey, report.vkey)));
    }
    // Signed notes carry the name of their key: an origin that is another cannot be right.
    if head.vkey.split('+').next() != Some(&head.origin) {
        report.fault(Fault::new(layout.head(), "the origin is not the name of the key"));
    }
    match Verifier::parse(&report.vkey) {
        Ok(verifier) => check(&layout, &head, &verifier, options, &mut report),
        Err(error) => report.fault(Fault::new(layout.head(), error.to_string())),
    }
    report.conclude()
}

fn check(layout: &Layout, head: &Head, verifier: &Verifier, options: &VerifyOptions, report: &mut VerifyReport) {
    let mut tree = Tree::new(layout, options, report);
    let keys = (!options.identities.is_empty()).then(|| KeyStore::new(layout.clone(), options.identities.clone()));
    let mut ring = Keyring::default();
    let mut gone = Vec::new();
    let firsts = segments(layout, report);
    let count = firsts.len();
    for (ordinal, first) in firsts.iter().enumerate() {
        let path = layout.segment(*first);
        let last = ordinal + 1 == count;
        if first.0 != tree.size() {
            report.fault(Fault::new(&path, format!("begins at entry {first}, but {} entries stand before it", tree.size())));
        }
        let mut pack = Pack::open(layout, ordinal as u32);
        let mut lines = match Lines::open(&path, 0) {
            Ok(lines) => lines,
            Err(error) => {
                report.fault(Fault::new(&path, describe(&error)));
                continue;
            }
        };
        let mut number = 0;
        loop {
            let offset = lines.offset;
            number += 1;
            let leaf = tree.size();
            let fault = |what: String| Fault { line: Some(number), ..Fault::new(&path, what).at_leaf(leaf).at_offset(offset) };
            match lines.read() {
                Ok(Line::Whole) => {}
                Ok(Line::End) => break,
                Ok(Line::Torn(_)) if last && report.live => break,
                Ok(Line::Torn(bytes)) => {
                    let torn = fault(format!("{bytes} bytes that no newline ends"));
                    report.fault(if last { torn.after_crash() } else { torn });
                    break;
                }
                Ok(Line::TooLong) => {
                    report.fault(fault("a line over the limit".into()));
                    break;
                }
                Err(error) => {
                    report.fault(fault(describe(&error)));
                    break;
                }
            }
            match parse_entry(&lines.line) {
                Err(what) => report.fault(fault(what)),
                Ok(entry) => {
                    if let Some(what) = misplaced(leaf, &entry.event, head).or_else(|| ring.take(leaf, &entry)) {
                        report.fault(fault(what));
                    }
                    for part in [&entry.detail, &entry.body].into_iter().flatten() {
                        report.sealed_parts += 1;
                        if let Some(what) = ring.check(part, entry.session) {
                            report.fault(fault(what));
                        }
                        match pack.check(part, keys.as_ref()) {
                            Ok(opened) => report.opened_parts += u64::from(opened),
                            Err(PartFault::Reference(what)) => report.fault(fault(what)),
                            Err(PartFault::Content(what)) => {
                                let what = format!("entry {leaf} {what}");
                                report.fault(Fault::new(pack.path(), what).at_leaf(leaf).at_offset(part.offset));
                            }
                        }
                    }
                }
            }
            tree.push(leaf_hash(&lines.line), &path, verifier, report);
            if let Some(progress) = &options.progress
                && leaf.is_multiple_of(4096)
            {
                progress(leaf);
            }
        }
        gone.extend(pack.finish(last, report));
        report.segments += 1;
    }
    report.entries = tree.size();
    unknown_files(layout, count, report);
    let last_segment = firsts.last().map_or_else(|| layout.segments(), |first| layout.segment(*first));
    tree.finish(layout, &last_segment, verifier, report);
    ring.finish(layout, gone, report);
}

/// The first entry names the ledger, and no other does.
fn misplaced(leaf: u64, event: &Event, head: &Head) -> Option<String> {
    match (leaf, event) {
        (0, Event::LedgerCreated { origin, vkey }) if *origin == head.origin && *vkey == head.vkey => None,
        (0, _) => Some("the first entry does not name the ledger and key of `ledger.json`".into()),
        (_, Event::LedgerCreated { .. }) => Some("a second beginning".into()),
        _ => None,
    }
}

fn segments(layout: &Layout, report: &mut VerifyReport) -> Vec<LeafIndex> {
    let dir = layout.segments();
    let names = names(&dir).unwrap_or_else(|error| {
        report.fault(Fault::new(&dir, describe(&error)));
        Vec::new()
    });
    let mut firsts = Vec::new();
    for name in names {
        match segment_first(&name) {
            Some(first) => firsts.push(first),
            None => report.fault(Fault::new(dir.join(name), "is no part of a ledger")),
        }
    }
    if firsts.is_empty() {
        report.fault(Fault::new(dir, "there is no segment"));
    }
    firsts
}

/// Whatever is not part of the format does not belong here.
fn unknown_files(layout: &Layout, segments: usize, report: &mut VerifyReport) {
    const KNOWN: [&str; 7] = ["ledger.json", "segments", "packs", "keys", "hashes", "checkpoints", "checkpoint"];
    for name in names(&layout.dir).unwrap_or_default() {
        if name == "checkpoint.new" {
            if !report.live {
                report.fault(Fault::new(layout.dir.join(name), "is not in use yet").after_crash());
            }
        } else if !KNOWN.contains(&name.as_str()) {
            report.fault(Fault::new(layout.dir.join(name), "is no part of a ledger"));
        }
    }
    for name in names(&layout.packs()).unwrap_or_default() {
        let path = layout.packs().join(&name);
        match pack_number(&name) {
            Some(number) if (number as usize) < segments || report.live => {}
            Some(number) if number as usize == segments && path.metadata().is_ok_and(|m| m.len() == 0) => {
                report.fault(Fault::new(path, "is not in use yet").after_crash());
            }
            _ => report.fault(Fault::new(path, "is no part of a ledger")),
        }
    }
}

/// Whether a writer holds the ledger.
fn is_live(head: &Path) -> bool {
    File::open(head).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

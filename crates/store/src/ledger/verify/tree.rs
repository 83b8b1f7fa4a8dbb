//! Lines, stored hashes and checkpoints against each other, as the lines go by.

use super::{
    super::{LedgerError, layout::Layout, notes::NoteFile},
    VerifyOptions,
    report::{CopiedHead, Fault, SignedHead, VerifyReport, WitnessedHead},
};
use custody_tlog::{Frontier, HASH_SIZE, Hash, SignedCheckpoint, Verifier, WitnessKey, stored_hash_index};
use jiff::Timestamp;
use std::{
    fs::File,
    io::{BufReader, Read, Take},
    path::{Path, PathBuf},
};

/// Disagreements that wait for a checkpoint to say who is right.
const MAX_PENDING: usize = 16;

/// Two trees grow side by side: one from the lines, one from the stored leaf hashes. Where they part, the next
/// checkpoint tells which of the two files was changed.
pub(super) struct Tree {
    by_lines: Frontier,
    by_hashes: Frontier,
    hashes_path: PathBuf,
    hashes: Option<BufReader<Take<File>>>,
    /// Stored hashes that are there.
    stored: u64,
    pending: Vec<(u64, PathBuf)>,
    sources: Vec<Source>,
    witnesses: Vec<WitnessKey>,
    /// The note in `checkpoint`, and whether it was met in `checkpoints`.
    latest: Option<String>,
    latest_met: bool,
    last_note: Option<String>,
    disagreed: bool,
}

/// Checkpoints of one file, in order.
struct Source {
    path: PathBuf,
    /// Not the ledger's own file.
    copy: bool,
    /// Lies beside the ledger: counts by its cosignatures only.
    cosigned: bool,
    notes: NoteFile,
    next: Option<(u64, SignedCheckpoint)>,
    reached: u64,
}

impl Tree {
    /// Takes stock in the opposite order of writing: what is seen here must be in the segments looked at later.
    pub fn new(layout: &Layout, options: &VerifyOptions, report: &mut VerifyReport) -> Tree {
        let len = |path: &Path| path.metadata().map_or(0, |m| m.len());
        let latest_path = layout.checkpoint();
        let latest = match super::super::layout::read_small(&latest_path).map(String::from_utf8) {
            Ok(Ok(text)) => Some(text),
            Ok(Err(_)) => {
                report.fault(Fault::new(&latest_path, "not UTF-8"));
                None
            }
            Err(error) => {
                report.fault(Fault::new(&latest_path, describe(&error)).after_crash());
                None
            }
        };
        let own = layout.checkpoints();
        let mut sources = Vec::new();
        let copies = options.copies.iter().map(|path| (path.clone(), true, false, u64::MAX));
        let cosigned = options.cosigned.iter().map(|path| (path.clone(), true, true, len(path)));
        for (path, copy, cosigned, limit) in [(own.clone(), false, false, len(&own))].into_iter().chain(copies).chain(cosigned) {
            match NoteFile::open_up_to(&path, limit) {
                Ok(notes) => sources.push(Source { path, copy, cosigned, notes, next: None, reached: 0 }),
                Err(error) => report.fault(Fault::new(path, describe(&error))),
            }
        }
        let hashes_path = layout.hashes();
        let hashes_len = len(&hashes_path);
        let hashes = match File::open(&hashes_path) {
            Ok(file) => Some(BufReader::new(file.take(hashes_len))),
            Err(error) => {
                report.fault(Fault::new(&hashes_path, error.to_string()).after_crash());
                None
            }
        };
        if hashes_len % HASH_SIZE as u64 != 0 && !report.live {
            report.fault(
                Fault::new(&hashes_path, "ends with half a hash").at_offset(hashes_len - hashes_len % HASH_SIZE as u64).after_crash(),
            );
        }
        let mut tree = Tree {
            by_lines: Frontier::default(),
            by_hashes: Frontier::default(),
            hashes_path,
            hashes,
            stored: hashes_len / HASH_SIZE as u64,
            pending: Vec::new(),
            sources,
            witnesses: options.witnesses.clone(),
            latest,
            latest_met: false,
            last_note: None,
            disagreed: false,
        };
        tree.sources.iter_mut().for_each(|source| source.advance(report));
        tree
    }

    pub fn size(&self) -> u64 {
        self.by_lines.size()
    }

    /// The next leaf, as its line says.
    pub fn push(&mut self, leaf_hash: Hash, segment: &Path, verifier: &Verifier, report: &mut VerifyReport) {
        let leaf = self.size();
        let count = self.by_lines.push(leaf_hash).len();
        match self.read_stored(leaf, count) {
            Some(stored) => {
                let computed = self.by_hashes.push(stored[0]);
                let wrong = stored.iter().zip(&computed).position(|(a, b)| a != b);
                if let Some(at) = wrong {
                    let offset = (stored_hash_index(0, leaf) + at as u64) * HASH_SIZE as u64;
                    report.fault(
                        Fault::new(&self.hashes_path, "a hash that does not follow from those before it").at_offset(offset).at_leaf(leaf),
                    );
                }
                if stored[0] != leaf_hash && self.pending.len() < MAX_PENDING {
                    self.pending.push((leaf, segment.to_owned()));
                }
            }
            None => drop(self.by_hashes.push(leaf_hash)),
        }
        self.compare(verifier, report);
    }

    fn read_stored(&mut self, leaf: u64, count: usize) -> Option<Vec<Hash>> {
        if stored_hash_index(0, leaf) + count as u64 > self.stored {
            return None;
        }
        let mut bytes = vec![0; count * HASH_SIZE];
        self.hashes.as_mut()?.read_exact(&mut bytes).ok()?;
        Some(bytes.chunks_exact(HASH_SIZE).map(|hash| Hash(hash.try_into().expect("chunks of that size"))).collect())
    }

    /// Every checkpoint of exactly the present size.
    fn compare(&mut self, verifier: &Verifier, report: &mut VerifyReport) {
        let size = self.size();
        for index in 0..self.sources.len() {
            while let Some((offset, signed)) = self.sources[index].next.take_if(|(_, signed)| signed.size() <= size) {
                self.sources[index].advance(report);
                self.check(index, offset, &signed, verifier, report);
            }
        }
    }

    fn check(&mut self, index: usize, offset: u64, signed: &SignedCheckpoint, verifier: &Verifier, report: &mut VerifyReport) {
        let source = &mut self.sources[index];
        let (path, copy, cosigned) = (source.path.clone(), source.copy, source.cosigned);
        let fault = |what: String| Fault::new(&path, what).at_offset(offset);
        if !copy {
            self.latest_met |= self.latest.as_deref() == Some(signed.note());
            self.last_note = Some(signed.note().to_owned());
        }
        match verifier.verify_counting(signed) {
            Err(error) => return report.fault(fault(error.to_string())),
            Ok((_, unknown)) if unknown > 0 && !copy => return report.fault(fault("carries a signature that cannot be checked".into())),
            Ok(_) => report.checkpoints += 1,
        }
        if signed.size() < source.reached {
            return report.fault(fault(format!("signs {} entries after one that signs {}", signed.size(), source.reached)));
        }
        source.reached = signed.size();
        let (size, root) = (signed.size(), signed.root());
        // Sizes do not fall within a file, so only the empty tree can lie behind us.
        let (lines, hashes) = match size {
            0 => (root == Frontier::default().root(), false),
            _ => (self.by_lines.root() == root, self.by_hashes.root() == root),
        };
        if size == 0 && lines {
            return;
        }
        if lines {
            for (leaf, _) in self.pending.drain(..) {
                let offset = stored_hash_index(0, leaf) * HASH_SIZE as u64;
                report.fault(Fault::new(&self.hashes_path, "not the hash of its entry").at_offset(offset).at_leaf(leaf));
            }
            self.by_hashes = self.by_lines.clone();
            let root = root.to_string();
            if copy {
                self.witnessed(signed, report);
                if !cosigned {
                    report.copied = Some(CopiedHead { size, root, path });
                }
            } else {
                report.signed = Some(SignedHead { size, root });
            }
        } else if hashes {
            for (leaf, segment) in self.pending.drain(..) {
                report.fault(Fault::new(segment, "the entry is not the one that was signed").at_leaf(leaf));
            }
            self.by_lines = self.by_hashes.clone();
        } else if copy {
            report.fault(fault(format!("the first {size} entries do not have the root that was copied: history was rewritten")));
        } else if !self.disagreed {
            self.disagreed = true;
            report.fault(fault(format!("the first {size} entries do not have the root that was signed")));
        }
    }

    /// Which witnesses cosigned a checkpoint that holds.
    fn witnessed(&self, signed: &SignedCheckpoint, report: &mut VerifyReport) {
        for key in &self.witnesses {
            let Some(cosignature) = key.find(signed) else { continue };
            report.witnessed.retain(|head| head.vkey != key.vkey() || head.size > signed.size());
            if report.witnessed.iter().all(|head| head.vkey != key.vkey()) {
                let at = i64::try_from(cosignature.time).ok().and_then(|time| Timestamp::from_second(time).ok()).unwrap_or(Timestamp::MAX);
                report.witnessed.push(WitnessedHead { name: key.name().to_owned(), vkey: key.vkey().to_owned(), size: signed.size(), at });
            }
        }
    }

    /// What is left over when the lines have ended.
    pub fn finish(mut self, layout: &Layout, last_segment: &Path, verifier: &Verifier, report: &mut VerifyReport) {
        let size = self.size();
        for (leaf, segment) in self.pending.drain(..) {
            let what = "entry and stored hash disagree, and no checkpoint after them says which was changed";
            report.fault(Fault::new(segment, what).at_leaf(leaf));
            report.fault(Fault::new(&self.hashes_path, what).at_offset(stored_hash_index(0, leaf) * HASH_SIZE as u64).at_leaf(leaf));
        }
        let expected = custody_tlog::stored_hash_count(size);
        if self.stored > expected {
            let fault = Fault::new(&self.hashes_path, "more hashes than entries").at_offset(expected * HASH_SIZE as u64);
            report.fault(fault.after_crash());
        } else if self.stored < expected && !report.live {
            report
                .fault(Fault::new(&self.hashes_path, "fewer hashes than entries").at_offset(self.stored * HASH_SIZE as u64).after_crash());
        }
        for source in &mut self.sources {
            while let Some((offset, signed)) = source.next.take() {
                match verifier.verify(&signed) {
                    Err(error) => report.fault(Fault::new(&source.path, error.to_string()).at_offset(offset)),
                    Ok(_) => {
                        let of = if source.copy { "copied" } else { "signed" };
                        let what = format!(
                            "ends after {size} entries, but {} were {of} ({}, offset {offset}): entries were removed",
                            signed.size(),
                            source.path.display()
                        );
                        report.fault(Fault::new(last_segment, what).at_leaf(size));
                    }
                }
                if !source.copy {
                    self.latest_met |= self.latest.as_deref() == Some(signed.note());
                    self.last_note = Some(signed.note().to_owned());
                }
                source.advance(report);
            }
        }
        let is_last = self.latest == self.last_note;
        if self.latest.is_some() && !is_last && !(report.live && self.latest_met) {
            let fault = Fault::new(layout.checkpoint(), "not the last of `checkpoints`");
            report.fault(if self.latest_met { fault.after_crash() } else { fault });
        }
    }
}

impl Source {
    fn advance(&mut self, report: &mut VerifyReport) {
        self.next = match self.notes.next() {
            None => None,
            Some(Ok(next)) => Some(next),
            Some(Err(LedgerError::Damaged { path, what })) => {
                report.fault(Fault::new(path, what).at_offset(self.notes.start));
                None
            }
            Some(Err(error)) => {
                report.fault(Fault::new(&self.path, describe(&error)));
                None
            }
        };
    }
}

/// An error with its cause, in one line.
pub(super) fn describe(error: &LedgerError) -> String {
    match error {
        LedgerError::Storage { doing, source, .. } => format!("cannot {doing}: {source}"),
        LedgerError::Damaged { what, .. } => what.clone(),
        other => other.to_string(),
    }
}

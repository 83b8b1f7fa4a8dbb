//! What verification says.

use custody_model::LeafIndex;
use serde::Serialize;
use std::path::PathBuf;

/// Faults that are listed; more are counted.
pub(super) const MAX_FAULTS: usize = 100;

/// The outcome of [`super::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Whether there is no fault.
    pub ok: bool,
    /// The ledger's directory.
    pub path: PathBuf,
    /// Its name.
    pub origin: String,
    /// The verifier key that signatures were checked with.
    pub vkey: String,
    /// Whether the user gave that key; otherwise it is the one that the ledger names for itself.
    pub vkey_trusted: bool,
    /// Whether a daemon was writing meanwhile: then what it has not finished yet is no fault.
    pub live: bool,
    /// Entries read.
    pub entries: u64,
    /// Segments read.
    pub segments: u64,
    /// Checkpoints whose signature and root were checked.
    pub checkpoints: u64,
    /// References to sealed parts that were checked.
    pub sealed_parts: u64,
    /// Parts that were unsealed and compared with their commitment, with the identities given.
    pub opened_parts: u64,
    /// Parts whose key was destroyed.
    pub erased_parts: u64,
    /// Data keys made.
    pub keys: u64,
    /// Data keys destroyed.
    pub keys_destroyed: u64,
    /// The last checkpoint that holds.
    pub signed: Option<SignedHead>,
    /// Entries after it: not yet signed.
    pub unsigned_entries: u64,
    /// The newest checkpoint copy that holds.
    pub copied: Option<CopiedHead>,
    /// Of each witness whose key was given, the newest checkpoint of this ledger that it cosigned and that holds.
    pub witnessed: Vec<WitnessedHead>,
    /// How many witnesses it takes.
    pub quorum: usize,
    /// The first entry that nothing outside this ledger's own files covers; `None`: all are covered.
    pub first_uncovered: Option<LeafIndex>,
    /// What is proven, and against whom (promise 2). Empty when there is a fault.
    pub proven: Vec<Proven>,
    /// What is wrong, in the order found.
    pub faults: Vec<Fault>,
    /// Faults beyond those listed.
    pub more_faults: u64,
}

/// A tree head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignedHead {
    /// Entries.
    pub size: u64,
    /// Root hash, base64 as in the checkpoint.
    pub root: String,
}

/// A tree head that left the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopiedHead {
    /// Entries.
    pub size: u64,
    /// Root hash, base64 as in the checkpoint.
    pub root: String,
    /// Where the copy was read.
    pub path: PathBuf,
}

/// A tree head that a witness cosigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessedHead {
    /// Name of the witness.
    pub name: String,
    /// Its key.
    pub vkey: String,
    /// Entries.
    pub size: u64,
    /// When it saw them, by its own clock.
    pub at: jiff::Timestamp,
}

/// How far a range of entries is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Not signed yet: no proof against anybody who can write the files.
    Unsigned,
    /// Signed: nobody without the signing key changed them.
    Signed,
    /// A copied checkpoint matches: nobody changed them since, the owner included.
    Copied,
    /// Enough witnesses cosigned: nobody changed them since, the owner included, unless that many witnesses helped.
    Witnessed,
}

/// A range of entries and how far it is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// First entry.
    pub from: LeafIndex,
    /// The entry after the last.
    pub to: LeafIndex,
    /// How far.
    pub strength: Strength,
    /// The same in words.
    pub words: String,
}

/// Something is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, below the ledger's directory where it is there.
    pub path: PathBuf,
    /// The entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<LeafIndex>,
    /// Line of the segment, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Byte offset in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// A crash leaves this; opening the ledger repairs it.
    pub after_crash: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(leaf) = self.leaf {
            write!(f, ", entry {leaf}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        write!(f, ": {}", self.what)?;
        if self.after_crash { f.write_str(" (a crash leaves this; opening the ledger repairs it)") } else { Ok(()) }
    }
}

impl Fault {
    pub(super) fn new(path: impl Into<PathBuf>, what: impl Into<String>) -> Fault {
        Fault { path: path.into(), leaf: None, line: None, offset: None, what: what.into(), after_crash: false }
    }

    pub(super) fn at_offset(mut self, offset: u64) -> Fault {
        self.offset = Some(offset);
        self
    }

    pub(super) fn at_leaf(mut self, leaf: u64) -> Fault {
        self.leaf = Some(LeafIndex(leaf));
        self
    }

    pub(super) fn after_crash(mut self) -> Fault {
        self.after_crash = true;
        self
    }
}

impl VerifyReport {
    pub(super) fn fault(&mut self, mut fault: Fault) {
        if let Ok(below) = fault.path.strip_prefix(&self.path) {
            fault.path = below.to_owned();
        }
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        } else {
            self.more_faults += 1;
        }
    }

    /// Draws the conclusions.
    pub(super) fn conclude(mut self) -> VerifyReport {
        self.ok = self.faults.is_empty();
        let signed = self.signed.as_ref().map_or(0, |head| head.size);
        let copied = self.copied.as_ref().map_or(0, |head| head.size).min(self.entries);
        // As far as that many of them went; a tree that one cosigned holds all smaller ones that it cosigned.
        self.witnessed.sort_by(|a, b| b.size.cmp(&a.size).then(a.name.cmp(&b.name)));
        let enough = self.quorum.max(1).checked_sub(1).and_then(|nth| self.witnessed.get(nth));
        let witnessed = enough.map_or(0, |head| head.size).min(self.entries);
        self.unsigned_entries = self.entries.saturating_sub(signed.max(copied).max(witnessed));
        let covered = copied.max(witnessed);
        self.first_uncovered = (covered < self.entries || !self.ok).then_some(LeafIndex(if self.ok { covered } else { 0 }));
        if !self.ok {
            return self;
        }
        let key =
            if self.vkey_trusted { "" } else { ", provided that the verifier key, which the ledger names for itself, is the right one" };
        let mut from = 0;
        let who: Vec<String> =
            self.witnessed.iter().filter(|head| head.size >= witnessed).map(|head| format!("{} at {}", head.name, head.at)).collect();
        let ranges = [
            (
                witnessed,
                Strength::Witnessed,
                format!("nobody changed them since, the owner included, unless the witness helped: cosigned by {}", who.join(", ")),
            ),
            (copied, Strength::Copied, "nobody changed them since, the owner included: a copied checkpoint matches".to_owned()),
            (signed, Strength::Signed, format!("nobody without the signing key changed them{key}")),
            (self.entries, Strength::Unsigned, "not signed yet: no proof against anybody who can write the files".to_owned()),
        ];
        for (to, strength, words) in ranges {
            if to > from {
                self.proven.push(Proven { from: LeafIndex(from), to: LeafIndex(to), strength, words });
                from = to;
            }
        }
        self
    }
}

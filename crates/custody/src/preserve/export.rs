//! From the ledger to a bag, in one pass.

use super::{
    attestation::{EvidenceSigner, PREDICATE_TYPE, attest},
    bag::{BagError, BagFile, BagWriter},
    filesystem::DirectoryTake,
    history::History,
    items::{self, End, Item, Pending, Seen},
    process::{self, ProcessEvidence},
};
use crate::alerts::Neutral;
use askama::Template;
use custody_engine::preserve::{Selection, Take, completeness};
use custody_model::*;
use custody_store::ledger::{LedgerError, Prover, Reader};
use custody_tlog::SignedCheckpoint;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Who wants what, and why.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// Now.
    pub now: Timestamp,
    /// Where the bag shall lie. Its parent must exist, it must not.
    pub out: PathBuf,
    /// Who asked.
    pub by: OperatorName,
    /// Why, in words.
    pub reason: String,
    /// Sessions beyond those of the case.
    pub sessions: Vec<SessionId>,
    /// Server processes whose state is taken along: a live snapshot.
    pub processes: Vec<ProcessRef>,
    /// How much of the directories in which they work.
    pub directory: DirectoryTake,
}

/// A bag that was written.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Bundle {
    /// Where.
    pub path: PathBuf,
    /// SHA-256 of its tag manifest: names the whole bundle.
    pub digest: Digest,
    /// The nine items (E6).
    pub items: Vec<ItemReport>,
    /// Entries in it.
    pub entries: u64,
    /// Sealed parts that were opened.
    pub opened: u64,
    /// Sealed parts that could not be opened: erased, or not for us.
    pub unopened: u64,
}

impl Bundle {
    /// Items that are there.
    pub fn present(&self) -> usize {
        self.items.iter().filter(|item| matches!(item.presence, Presence::Present { .. })).count()
    }

    /// Items that are not.
    pub fn missing(&self) -> usize {
        self.items.len() - self.present()
    }
}

/// No bundle was written, and nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Writing failed.
    #[error(transparent)]
    Bag(#[from] BagError),
    /// The ledger can not be read.
    #[error("the ledger can not be read")]
    Ledger(#[from] LedgerError),
    /// The signing key is not one.
    #[error("the ledger's signing key can not be used")]
    Signer,
}

/// Writes the evidence of `case` as a bag, signed with the ledger's key (`signer`: text of `keys/ledger.key`).
///
/// Entries after the newest checkpoint cannot be proven and are left out: make a checkpoint first. Blocks; memory is bounded
/// by the largest message.
///
/// # Errors
/// [`ExportError`]; then there is no bag at `request.out`, not even half of one.
pub fn export(reader: &Reader, case: &Case, request: &ExportRequest, signer: &str) -> Result<Bundle, ExportError> {
    export_as(reader, case, request, signer, "export")
}

pub(super) fn export_as(reader: &Reader, case: &Case, request: &ExportRequest, signer: &str, kind: &str) -> Result<Bundle, ExportError> {
    let signer = EvidenceSigner::parse(signer).ok_or(ExportError::Signer)?;
    let checkpoint = reader.checkpoint()?;
    let mut bag = BagWriter::begin(&request.out)?;
    // Live state first: it is gone sooner than the ledger.
    let processes = request.processes.iter().map(|p| process::collect(*p, request.directory, &mut bag)).collect::<Result<Vec<_>, _>>()?;
    let mut pass = Pass::begin(reader, Selection::of(case, &request.sessions), &checkpoint, &bag)?;
    pass.run(&mut bag)?;
    let ended = Ended { case, request, kind, signer: &signer, checkpoint: &checkpoint, processes: &processes };
    pass.finish(ended, bag)
}

struct Pass<'a> {
    reader: &'a Reader,
    prover: Prover,
    selection: Selection,
    size: u64,
    lines: BagFile,
    proofs: BagFile,
    chain: BagFile,
    history: History,
    items: Vec<Box<dyn Item>>,
    pending: Pending,
    keys: BTreeSet<KeyId>,
    entries: u64,
    opened: u64,
    unopened: u64,
}

struct Ended<'a> {
    case: &'a Case,
    request: &'a ExportRequest,
    kind: &'a str,
    signer: &'a EvidenceSigner,
    checkpoint: &'a SignedCheckpoint,
    processes: &'a [ProcessEvidence],
}

impl<'a> Pass<'a> {
    fn begin(reader: &'a Reader, selection: Selection, checkpoint: &SignedCheckpoint, bag: &BagWriter) -> Result<Pass<'a>, ExportError> {
        Ok(Pass {
            reader,
            prover: reader.prover(checkpoint.size())?,
            selection,
            size: checkpoint.size(),
            lines: bag.create("data/ledger/entries.jsonl")?,
            proofs: bag.create("data/ledger/proofs.jsonl")?,
            chain: bag.create("data/chain_of_custody.jsonl")?,
            history: History::default(),
            items: items::all(),
            pending: Pending::default(),
            keys: BTreeSet::new(),
            entries: 0,
            opened: 0,
            unopened: 0,
        })
    }

    fn run(&mut self, bag: &mut BagWriter) -> Result<(), ExportError> {
        for item in self.reader.entries(LeafIndex(0)) {
            let (leaf, entry, line) = item?;
            if leaf.0 >= self.size {
                break;
            }
            let Some(take) = self.selection.takes(&entry) else { continue };
            self.lines.write(line.as_bytes())?;
            self.lines.write(b"\n")?;
            let proof = self.prover.prove(leaf)?;
            let hashes: Vec<String> = proof.hashes.iter().map(ToString::to_string).collect();
            self.proofs.line(&json!({"leaf": leaf, "hashes": hashes}))?;
            self.entries += 1;
            self.pass_on(leaf, entry, take, bag)?;
        }
        Ok(())
    }

    fn pass_on(&mut self, leaf: LeafIndex, entry: Entry, take: Take, bag: &mut BagWriter) -> Result<(), ExportError> {
        let mut open = OpenEntry { leaf, entry, detail: None, body: None };
        let mut body = None;
        if take == Take::Content {
            if let Some((bytes, _, _)) = self.open(&open, "detail", bag)? {
                open.detail = serde_json::from_slice(&bytes).ok();
            }
            if let Some((bytes, path, digest)) = self.open(&open, "body", bag)? {
                open.body = Some(bytes);
                body = Some((path, digest));
            }
        }
        let request = match &open.entry.event {
            Event::Message(message) => self.pending.pass(leaf, message, open.detail.as_ref()),
            _ => None,
        };
        let seen = Seen { open: &open, body: body.as_ref().map(|(path, digest)| (path.as_str(), *digest)), request: request.as_ref() };
        if let Some(line) = self.history.line(&seen) {
            self.chain.line(&line)?;
        }
        for item in &mut self.items {
            item.see(&seen, bag)?;
        }
        Ok(())
    }

    /// Opens one sealed part into `data/content/`.
    fn open(&mut self, open: &OpenEntry, part: &str, bag: &mut BagWriter) -> Result<Option<(Vec<u8>, String, Digest)>, ExportError> {
        let sealed = if part == "body" { &open.entry.body } else { &open.entry.detail };
        let Some(sealed) = sealed else { return Ok(None) };
        let bytes = match self.reader.unseal(sealed) {
            Ok(bytes) => bytes,
            Err(LedgerError::NoKey { .. } | LedgerError::KeyDestroyed { .. }) => {
                self.unopened += 1;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let path = format!("data/content/{}.{part}", open.leaf);
        let digest = bag.write(path.clone(), &bytes)?;
        self.opened += 1;
        // Only keys of the case's own sessions: the commitments of other content must not become guessable.
        if open.entry.session.is_some_and(|session| self.selection.has(session)) {
            self.keys.insert(sealed.key);
        }
        Ok(Some((bytes, path, digest)))
    }

    fn finish(self, ended: Ended<'_>, mut bag: BagWriter) -> Result<Bundle, ExportError> {
        let Ended { case, request, kind, signer, checkpoint, processes } = ended;
        let now = request.now;
        let mut found = BTreeMap::new();
        for item in self.items {
            let name = item.item();
            if let Some(presence) = item.finish(&End { case, processes }, &mut bag)? {
                found.insert(name, presence);
            }
        }
        let items = completeness(&found);
        let present = items.iter().filter(|item| matches!(item.presence, Presence::Present { .. })).count();
        let mut chain = self.chain;
        chain.line(&json!({
            "leaf": null,
            "at": now,
            "who": request.by,
            "what": if kind == "export" { "evidence exported" } else { "evidence snapshotted" },
            "why": request.reason,
            "how": concat!("custody ", env!("CARGO_PKG_VERSION")),
            "on": case.id,
            "result": format!("{present} of {} items, {} entries, {} parts opened, {} not", items.len(), self.entries, self.opened, self.unopened),
        }))?;
        bag.close(chain)?;
        bag.close(self.lines)?;
        bag.close(self.proofs)?;
        bag.write("data/ledger/checkpoint", checkpoint.note().as_bytes())?;
        bag.write("data/ledger/vkey", format!("{}\n", signer.vkey()).as_bytes())?;
        let mut keys = BTreeMap::new();
        for key in &self.keys {
            keys.insert(key.to_string(), hex::encode(self.reader.commitment_key(*key)?.as_slice()));
        }
        bag.write("data/ledger/commitment_keys.json", &pretty(&keys))?;
        bag.write("data/case.json", &pretty(case))?;
        let report = json!({
            "v": 1,
            "case": case.id,
            "items": items,
            "entries": self.entries,
            "opened": self.opened,
            "unopened": self.unopened,
            "processes": processes.iter().map(|p| json!({"process": p.process, "gone": p.gone, "directory": p.directory, "directory_missing": p.directory_missing})).collect::<Vec<_>>(),
            "unopened_why": "erased, or sealed for other keys than those at hand",
            "not_in_this_bundle": format!("entries from position {} on: they came after the checkpoint", self.size),
        });
        bag.write("data/completeness.json", &pretty(&report))?;
        let predicate = json!({
            "v": 1, "case": case.id, "kind": kind, "by": request.by, "reason": request.reason, "at": now, "origin": checkpoint.unverified().origin,
            "checkpoint_size": self.size, "entries": self.entries, "items": items, "sessions": self.selection.sessions().collect::<Vec<_>>(),
        });
        let digest = tags(&mut bag, case, request, &items, now, signer, predicate)?;
        let path = bag.publish()?;
        Ok(Bundle { path, digest, items, entries: self.entries, opened: self.opened, unopened: self.unopened })
    }
}

/// The tag files, in the order in which each covers those before it.
fn tags(
    bag: &mut BagWriter,
    case: &Case,
    request: &ExportRequest,
    items: &[ItemReport],
    now: Timestamp,
    signer: &EvidenceSigner,
    predicate: serde_json::Value,
) -> Result<Digest, BagError> {
    let manifest = bag.manifest(|name| name.starts_with("data/"));
    bag.write("manifest-sha256.txt", manifest.as_bytes())?;
    bag.write("bagit.txt", super::verify::BAGIT.as_bytes())?;
    let date = now.strftime("%Y-%m-%d");
    let (by, oxum) = (Neutral::name(&request.by), bag.oxum());
    let info = format!(
        "Bag-Software-Agent: custody {}\nBagging-Date: {date}\nContact-Name: {by}\nExternal-Identifier: {}\nPayload-Oxum: {oxum}\n",
        env!("CARGO_PKG_VERSION"),
        case.id
    );
    bag.write("bag-info.txt", info.as_bytes())?;
    let readme = Readme { case: case.id, by: &by, at: now, vkey: signer.vkey(), items: items.iter().map(Line::of).collect() };
    let readme = readme.render().expect("the template only reads fields");
    bag.write("README.txt", readme.as_bytes())?;
    let attestation = attest(signer, PREDICATE_TYPE, bag.files(), predicate);
    bag.write("attestation.dsse.json", &attestation)?;
    let manifest = bag.manifest(|name| !name.starts_with("data/"));
    bag.write("tagmanifest-sha256.txt", manifest.as_bytes())?;
    Ok(Digest(Sha256::digest(manifest.as_bytes()).into()))
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("strings, numbers and lists");
    text.push(b'\n');
    text
}

#[derive(Template)]
#[template(path = "evidence_readme.txt")]
struct Readme<'a> {
    case: CaseId,
    by: &'a Neutral,
    at: Timestamp,
    vkey: &'a str,
    items: Vec<Line>,
}

struct Line {
    name: Neutral,
    priority: Neutral,
    says: Neutral,
}

impl Line {
    fn of(report: &ItemReport) -> Line {
        let word = |value: serde_json::Value| Neutral::name(&value.as_str().unwrap_or_default());
        Line {
            name: word(json!(report.item)),
            priority: word(json!(report.priority)),
            says: match &report.presence {
                Presence::Present { path, .. } => Neutral::name(&format!("data/{path}")),
                Presence::Missing { why } => Neutral::quote(&format!("MISSING: {why}"), 200),
            },
        }
    }
}

//! Checks a bundle with nothing else at hand (E7). Every byte of a bundle is hostile until it is checked.

mod content;
mod files;

pub(super) use files::open;

use super::handover::{self, HandOver};
use custody_model::{CaseId, Digest, ItemReport};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The whole of `bagit.txt`.
pub(super) const BAGIT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
pub(super) const TAGMANIFEST: &str = "tagmanifest-sha256.txt";
pub(super) const ATTESTATION: &str = "attestation.dsse.json";
/// Faults that are listed; a bundle that is broken everywhere needs no longer list.
const FAULTS: usize = 1000;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct BundleReport {
    /// The bundle.
    pub path: PathBuf,
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What is wrong, file by file.
    pub faults: Vec<Fault>,
    /// Its case.
    pub case: Option<CaseId>,
    /// SHA-256 of its tag manifest.
    pub digest: Option<Digest>,
    /// Verifier key it is signed with.
    pub vkey: Option<String>,
    /// Whether that is the key the caller trusts. Without it, the bundle is whole, but nothing says whose it is.
    pub trusted: bool,
    /// Files and their bytes.
    pub files: u64,
    /// See `files`.
    pub bytes: u64,
    /// Entries proven to be in the ledger of that many entries.
    pub entries: u64,
    /// Size of the ledger that the checkpoint speaks of.
    pub ledger_size: u64,
    /// Opened parts whose content is proven to be what was recorded.
    pub proven: u64,
    /// Opened parts that only the signature covers: they belong to no session.
    pub unproven: u64,
    /// Hand-overs since it was made, each checked against the one before.
    pub hand_overs: Vec<HandOver>,
    /// The nine items, as the signed statement lists them.
    pub items: Vec<ItemReport>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, as a path inside the bundle.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

impl BundleReport {
    fn fault(&mut self, file: impl Into<String>, what: impl Into<String>) {
        self.ok = false;
        if self.faults.len() < FAULTS {
            self.faults.push(Fault { file: file.into(), what: what.into() });
        }
    }
}

/// Verifies a bundle. `trusted_vkey`: the ledger's verifier key, from a source that is not the bundle.
///
/// Never fails: what can not be read is a fault. Reads every file at most twice, line by line where a file may be large.
pub fn verify_bundle(path: &Path, trusted_vkey: Option<&str>) -> BundleReport {
    let mut report = BundleReport {
        path: path.to_owned(),
        ok: true,
        faults: Vec::new(),
        case: None,
        digest: None,
        vkey: None,
        trusted: false,
        files: 0,
        bytes: 0,
        entries: 0,
        ledger_size: 0,
        proven: 0,
        unproven: 0,
        hand_overs: Vec::new(),
        items: Vec::new(),
    };
    let Some(mut found) = files::walk(path, &mut report) else { return report };
    let vkey = files::vkey(path, &mut report);
    let hand_overs = handover::check(path, vkey.as_deref(), &mut found, |file, what| report.fault(file, what));
    report.hand_overs = hand_overs;
    if let (Some(trusted), Some(vkey)) = (trusted_vkey, &vkey) {
        report.trusted = trusted.trim() == vkey;
        if !report.trusted {
            report.fault("data/ledger/vkey", "is not the trusted key");
        }
    }
    let attested = files::attestation(path, vkey.as_deref(), &mut report);
    files::manifests(path, &found, attested.as_ref(), &mut report);
    if let Some(vkey) = &vkey {
        content::check(path, vkey, &found, &mut report);
    }
    report.vkey = vkey;
    report
}

//! Checkpoint, proofs, and whether opened content is what the ledger committed to.

use super::{
    BundleReport,
    files::{open, whole},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use custody_model::{Digest, Entry, KeyId, LeafIndex, Sealed};
use custody_tlog::{Hash, InclusionProof, SignedCheckpoint, Verifier, leaf_hash};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read},
    path::Path,
};

const ENTRIES: &str = "data/ledger/entries.jsonl";
const PROOFS: &str = "data/ledger/proofs.jsonl";
const CHECKPOINT: &str = "data/ledger/checkpoint";
const KEYS: &str = "data/ledger/commitment_keys.json";
/// Longest line of entries and proofs.
const LINE: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofLine {
    leaf: LeafIndex,
    hashes: Vec<String>,
}

pub(super) fn check(root: &Path, vkey: &str, found: &BTreeMap<String, Digest>, report: &mut BundleReport) {
    let Some((size, hash)) = checkpoint(root, vkey).map_err(|why| report.fault(CHECKPOINT, why)).ok() else { return };
    report.ledger_size = size;
    let keys = keys(root).map_err(|why| report.fault(KEYS, why)).unwrap_or_default();
    let lines = |name: &str| open(&root.join(name)).map(BufReader::new).map_err(|e| e.to_string());
    let (mut entries, mut proofs) = match (lines(ENTRIES), lines(PROOFS)) {
        (Ok(entries), Ok(proofs)) => (entries, proofs),
        (Err(why), _) => return report.fault(ENTRIES, why),
        (_, Err(why)) => return report.fault(PROOFS, why),
    };
    let mut opened: BTreeSet<&str> = found.keys().map(String::as_str).filter(|name| name.starts_with("data/content/")).collect();
    let mut last = None;
    for number in 1_u64.. {
        let (entry, proof) = match (line(&mut entries), line(&mut proofs)) {
            (Ok(None), Ok(None)) => break,
            (Ok(Some(entry)), Ok(Some(proof))) => (entry, proof),
            (Ok(Some(_)), Ok(None)) => return report.fault(PROOFS, format!("ends before line {number}")),
            (Ok(None), Ok(Some(_))) => return report.fault(ENTRIES, format!("ends before line {number}")),
            (Err(why), _) => return report.fault(ENTRIES, format!("line {number}: {why}")),
            (_, Err(why)) => return report.fault(PROOFS, format!("line {number}: {why}")),
        };
        let proof = match read_proof(&proof, size) {
            Ok(proof) if last.is_none_or(|last| last < proof.leaf) => proof,
            Ok(_) => return report.fault(PROOFS, format!("line {number}: out of order")),
            Err(why) => return report.fault(PROOFS, format!("line {number}: {why}")),
        };
        last = Some(proof.leaf);
        if proof.check(hash, leaf_hash(&entry)).is_err() {
            report.fault(ENTRIES, format!("line {number} (entry {}) is not what the ledger holds", proof.leaf));
            continue;
        }
        report.entries += 1;
        let entry: Entry = match serde_json::from_slice(&entry) {
            Ok(entry) => entry,
            Err(error) => {
                report.fault(ENTRIES, format!("line {number}: {error}"));
                continue;
            }
        };
        for (part, sealed) in [("detail", &entry.detail), ("body", &entry.body)] {
            let name = format!("data/content/{}.{part}", proof.leaf);
            if let (true, Some(sealed)) = (opened.remove(name.as_str()), sealed) {
                match commitment(root, &name, sealed, &keys) {
                    Ok(true) => report.proven += 1,
                    Ok(false) => report.unproven += 1,
                    Err(why) => report.fault(name, why),
                }
            } else if found.contains_key(&name) {
                report.fault(name, "the entry has no such part");
            }
        }
    }
    for name in opened {
        report.fault(name, "belongs to no entry of the bundle");
    }
}

fn checkpoint(root: &Path, vkey: &str) -> Result<(u64, Hash), String> {
    let text = String::from_utf8(whole(root, CHECKPOINT)?).map_err(|_| "is not text")?;
    let signed = SignedCheckpoint::parse(&text).map_err(|e| e.to_string())?;
    let verifier = Verifier::parse(vkey).map_err(|e| e.to_string())?;
    verifier.verify(&signed).map_err(|e| e.to_string())?;
    Ok((signed.size(), signed.root()))
}

/// HMAC-SHA-256 binds content and key together: another key that gives the same commitment to other content can not be found,
/// so a key from the bundle is as good as one from elsewhere.
fn keys(root: &Path) -> Result<BTreeMap<KeyId, [u8; 32]>, String> {
    let listed: BTreeMap<KeyId, Digest> = serde_json::from_slice(&whole(root, KEYS)?).map_err(|e| e.to_string())?;
    Ok(listed.into_iter().map(|(id, key)| (id, key.0)).collect())
}

fn read_proof(line: &[u8], size: u64) -> Result<InclusionProof, String> {
    let line: ProofLine = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    if line.leaf.0 >= size || line.hashes.len() > 64 {
        return Err("no entry of this ledger".into());
    }
    let hash = |text: &String| Some(Hash(BASE64_STANDARD.decode(text).ok()?.try_into().ok()?));
    let hashes = line.hashes.iter().map(hash).collect::<Option<_>>().ok_or("not a hash")?;
    Ok(InclusionProof { leaf: line.leaf, size, hashes })
}

/// `Ok(false)`: there is no key to check it with.
fn commitment(root: &Path, name: &str, sealed: &Sealed, keys: &BTreeMap<KeyId, [u8; 32]>) -> Result<bool, String> {
    let mut file = open(&root.join(name)).map_err(|e| e.to_string())?;
    let key = keys.get(&sealed.key);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.map_or(&[0; 32], |key| key)).map_err(|e| e.to_string())?;
    let (mut buffer, mut size) = (vec![0; 64 << 10], 0);
    loop {
        match file.read(&mut buffer).map_err(|e| e.to_string())? {
            0 => break,
            n => {
                mac.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
    if size != sealed.size {
        return Err(format!("has {size} bytes, the ledger says {}", sealed.size));
    }
    if key.is_none() {
        return Ok(false);
    }
    mac.verify_slice(&sealed.commitment.0).map(|()| true).map_err(|_| "is not the content that was recorded".into())
}

/// The next line without its newline.
fn line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    from.take(LINE).read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err("has no end".into()),
    }
}

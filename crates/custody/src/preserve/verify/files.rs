//! Files, manifests, signature.

use super::{ATTESTATION, BAGIT, BundleReport, TAGMANIFEST};
use crate::preserve::attestation::{self, Attested};
use custody_model::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Files of a bundle, and depth of its directories, at most.
const FILES: usize = 2_000_000;
const DEPTH: usize = 6;
/// Longest file that is read whole: manifests, signature.
const WHOLE: u64 = 512 << 20;

/// Every file with its digest. `None`: there is no bundle at all.
pub(super) fn walk(root: &Path, report: &mut BundleReport) -> Option<BTreeMap<String, Digest>> {
    match fs::symlink_metadata(root) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            report.fault(".", "is not a directory");
            return None;
        }
        Err(error) => {
            report.fault(".", error.to_string());
            return None;
        }
    }
    let mut found = BTreeMap::new();
    let mut directories = vec![(String::new(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        let entries = match fs::read_dir(root.join(&directory)) {
            Ok(entries) => entries,
            Err(error) => {
                report.fault(directory, error.to_string());
                continue;
            }
        };
        for entry in entries {
            let Ok(entry) = entry else {
                report.fault(directory.clone(), "can not be listed");
                continue;
            };
            let name = match entry.file_name().into_string() {
                Ok(name) if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) => {
                    format!("{directory}{name}")
                }
                other => {
                    report.fault(
                        format!("{directory}{}", other.unwrap_or_else(|n| n.to_string_lossy().into_owned()).escape_debug()),
                        "has a name that Custody never writes",
                    );
                    continue;
                }
            };
            let kind = entry.file_type();
            match kind {
                Ok(kind) if kind.is_dir() && depth < DEPTH => directories.push((format!("{name}/"), depth + 1)),
                Ok(kind) if kind.is_file() && found.len() < FILES => match hash(&entry.path()) {
                    Ok((digest, bytes)) => {
                        report.files += 1;
                        report.bytes += bytes;
                        found.insert(name, digest);
                    }
                    Err(error) => report.fault(name, error.to_string()),
                },
                Ok(kind) if kind.is_symlink() => report.fault(name, "is a link"),
                Ok(_) => report.fault(name, "is not a plain file, or too deep, or one too many"),
                Err(error) => report.fault(name, error.to_string()),
            }
        }
    }
    Some(found)
}

/// Opened without following links: what was looked at is what is read.
pub(in crate::preserve) fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    Ok(File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?))
}

/// A file with a hole of this size, of which the disk holds less than a sixty-fourth, is a bomb: it would be hashed for hours.
const HOLE: u64 = 1 << 30;

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = open(path)?;
    let meta = file.metadata()?;
    if meta.len() > HOLE && std::os::unix::fs::MetadataExt::blocks(&meta).saturating_mul(512) < meta.len() / 64 {
        return Err(io::Error::other(format!("says that it has {} bytes, but almost none were written", meta.len())));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Digest(hash.finalize().into()), size)),
            n => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

pub(super) fn whole(root: &Path, name: &str) -> Result<Vec<u8>, String> {
    let file = open(&root.join(name)).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(WHOLE + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > WHOLE { Err("is too long".into()) } else { Ok(bytes) }
}

/// The verifier key inside the bundle.
pub(super) fn vkey(root: &Path, report: &mut BundleReport) -> Option<String> {
    let name = "data/ledger/vkey";
    let text = whole(root, name).and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not text".into()));
    let key = text.and_then(|text| match text.strip_suffix('\n') {
        Some(key) => custody_tlog::Verifier::parse(key).map(|_| key.to_owned()).map_err(|e| e.to_string()),
        None => Err("does not end with a newline".into()),
    });
    key.map_err(|why| report.fault(name, why)).ok()
}

/// The signed statement, when its signature holds.
pub(super) fn attestation(root: &Path, vkey: Option<&str>, report: &mut BundleReport) -> Option<Attested> {
    let checked = whole(root, ATTESTATION).and_then(|text| match vkey {
        Some(vkey) => attestation::check(&text, vkey, attestation::PREDICATE_TYPE).map_err(str::to_owned),
        None => Err("can not be checked without the verifier key".into()),
    });
    let attested = checked.map_err(|why| report.fault(ATTESTATION, why)).ok()?;
    let part = |name: &str| attested.predicate.get(name).cloned().unwrap_or_default();
    report.case = serde_json::from_value(part("case")).ok();
    report.items = serde_json::from_value(part("items")).unwrap_or_default();
    Some(attested)
}

/// Compares manifests, statement and files with each other. When they disagree, the signed statement says which is wrong.
pub(super) fn manifests(root: &Path, found: &BTreeMap<String, Digest>, attested: Option<&Attested>, report: &mut BundleReport) {
    match whole(root, "bagit.txt") {
        Ok(bytes) if bytes == BAGIT.as_bytes() => {}
        Ok(_) => report.fault("bagit.txt", "is not that of a BagIt 1.0 bag"),
        Err(why) => report.fault("bagit.txt", why),
    }
    report.digest = found.get(TAGMANIFEST).copied();
    for (manifest, payload) in [("manifest-sha256.txt", true), (TAGMANIFEST, false)] {
        let listed = match whole(root, manifest).and_then(|bytes| parse(&bytes)) {
            Ok(listed) => listed,
            Err(why) => {
                report.fault(manifest, why);
                continue;
            }
        };
        let ours = |name: &str| name.starts_with("data/") == payload && name != TAGMANIFEST;
        for (name, digest) in &listed {
            let Some(actual) = found.get(name) else {
                // A name that the statement knows is a lost file; another one was put into the manifest.
                match attested {
                    Some(attested) if !attested.files.contains_key(name) => {
                        report.fault(manifest, format!("names {}, which is not in the bundle", name.escape_debug()))
                    }
                    _ => report.fault(name.clone(), "is missing"),
                }
                continue;
            };
            if !ours(name) {
                report.fault(manifest, format!("names {name}, which does not belong into it"));
            } else if digest != actual {
                // The envelope is not among its own subjects; whether it is good was checked by its signature.
                let signed = attested.and_then(|a| if name == ATTESTATION { Some(actual) } else { a.files.get(name) });
                let (wrong, why) = if signed == Some(actual) {
                    (manifest.to_owned(), format!("has another SHA-256 for {name}"))
                } else {
                    (name.clone(), format!("is not what {manifest} says"))
                };
                report.fault(wrong, why);
            }
        }
        for name in found.keys().filter(|name| ours(name) && !listed.contains_key(*name)) {
            let known = attested.is_some_and(|a| a.files.contains_key(name)) || name == ATTESTATION;
            let (wrong, why) = if known {
                (manifest.to_owned(), format!("does not name {name}"))
            } else {
                (name.clone(), format!("is not in {manifest}"))
            };
            report.fault(wrong, why);
        }
    }
    let Some(attested) = attested else { return };
    let known: BTreeSet<&String> = found.keys().chain(attested.files.keys()).collect();
    for name in known {
        match (found.get(name), attested.files.get(name)) {
            (Some(actual), Some(signed)) if actual == signed => {}
            (Some(_), None) if name == ATTESTATION || name == TAGMANIFEST => {}
            (Some(_), Some(_)) => report.fault(name.clone(), "is not what was signed"),
            (Some(_), None) => report.fault(name.clone(), "was not signed"),
            (None, _) => report.fault(name.clone(), "was signed and is missing"),
        }
    }
}

/// Lines of 64 lower-case hexadecimal digits, two spaces and a path, sorted by path.
fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Digest>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text")?;
    let mut listed = BTreeMap::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let bad = |why: &str| format!("line {}: {why}", number + 1);
        let line = line.strip_suffix('\n').ok_or_else(|| bad("no newline"))?;
        let (digest, path) = line.split_once("  ").ok_or_else(|| bad("not a digest and a path"))?;
        let lower = digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let digest: Digest = digest.parse().ok().filter(|_| lower).ok_or_else(|| bad("not a SHA-256"))?;
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(bad("a path that leaves the bundle"));
        }
        if listed.insert(path.to_owned(), digest).is_some() {
            return Err(bad("a path named twice"));
        }
    }
    Ok(listed)
}

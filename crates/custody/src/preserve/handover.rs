//! Hand-overs of a bundle (E2): who gave it to whom, when, how, where and why, and in which state it was.
//!
//! Each is a DSSE envelope of its own, `transfers/<number>.dsse.json`, whose subjects are the tag manifest (and with it the
//! whole bundle) and the hand-over before it. Giving and receiving take turns. The first giver signs with the ledger's key and
//! names the receiver's key; the receiver signs the receipt with that key, and gives on with it. So the keys form a chain that
//! begins at the ledger, and anybody can follow it offline.

use super::{
    attestation::{self, EvidenceSigner, HAND_OVER_TYPE},
    bag::{BagError, storage},
    verify::{TAGMANIFEST, verify_bundle},
};
use custody_model::Digest;
use custody_tlog::Verifier;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Where hand-overs lie in a bundle.
pub(super) const DIRECTORY: &str = "transfers";
/// Hand-overs of one bundle at most, and bytes of one.
const MOST: usize = 1_000;
const LONGEST: u64 = 64 << 10;
/// Longest name, place or reason, in characters.
const WORDS: usize = 2_000;

/// Which half of a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOverKind {
    /// It was given to somebody.
    Given,
    /// Who was to have it has it, and looked.
    Received,
}

/// One half of a hand-over, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// Format version.
    pub v: u16,
    /// Its place in the chain, from 1.
    pub number: usize,
    /// Which half.
    pub kind: HandOverKind,
    /// When, by the signer's clock.
    pub at: Timestamp,
    /// Who signed: the name in the key, or the operator at the ledger.
    pub by: String,
    /// The key it is signed with.
    pub by_key: String,
    /// To whom it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The key that the receiver signs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_key: Option<String>,
    /// Where, in words: from where it was given, or where it is now.
    #[serde(rename = "where")]
    pub place: String,
    /// How: by hand, by courier, over which channel.
    pub how: String,
    /// Why.
    pub reason: String,
    /// What the signer found when checking the bundle.
    pub result: String,
}

/// What is to be signed.
#[derive(Debug, Clone)]
pub struct HandOverRequest {
    /// When.
    pub at: Timestamp,
    /// Who, if it is not the name in the key.
    pub by: Option<String>,
    /// Given to: name and verifier key. `None`: this is the receipt.
    pub to: Option<(String, String)>,
    /// Where.
    pub place: String,
    /// How.
    pub how: String,
    /// Why.
    pub reason: String,
}

/// Nothing was written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HandOverError {
    /// The bundle is not whole; nobody should give it on, or sign for it.
    #[error("the bundle is not good: {file}: {what}")]
    #[diagnostic(help("`custody verify` lists every fault"))]
    Broken {
        /// The first fault's file.
        file: String,
        /// The first fault.
        what: String,
    },
    /// It is somebody else's turn.
    #[error("{what}")]
    #[diagnostic(help("giving and receiving take turns, each with the key that the last entry names; `custody verify` shows the chain"))]
    Turn {
        /// Why.
        what: String,
    },
    /// A key that is none.
    #[error("{which} is no Ed25519 key of a signed note")]
    #[diagnostic(help("`custody evidence key` makes one"))]
    Key {
        /// Whose.
        which: &'static str,
    },
    /// A text that is too long or empty.
    #[error("{what} is empty or longer than {WORDS} characters")]
    Words {
        /// Which.
        what: &'static str,
    },
    /// It can not be written.
    #[error(transparent)]
    Bag(#[from] BagError),
}

/// Appends one half of a hand-over, signed with `key`, after checking the whole bundle. `trusted_vkey`: the ledger's key, from
/// a source that is not the bundle.
///
/// # Errors
/// [`HandOverError`]; then the bundle is as it was.
pub fn hand_over(bundle: &Path, trusted_vkey: Option<&str>, key: &str, request: &HandOverRequest) -> Result<HandOver, HandOverError> {
    let signer = EvidenceSigner::parse(key).ok_or(HandOverError::Key { which: "the signer's key" })?;
    let words = [("the place", &request.place), ("the way", &request.how), ("the reason", &request.reason)];
    let names = [("the receiver's name", request.to.as_ref().map(|to| &to.0)), ("the giver's name", request.by.as_ref())];
    let all = words.into_iter().chain(names.into_iter().filter_map(|(what, name)| Some((what, name?))));
    for (what, text) in all {
        if text.trim().is_empty() || text.chars().count() > WORDS {
            return Err(HandOverError::Words { what });
        }
    }
    if let Some((_, to_key)) = &request.to {
        Verifier::parse(to_key.trim()).map_err(|_| HandOverError::Key { which: "the receiver's key" })?;
    }
    let report = verify_bundle(bundle, trusted_vkey);
    if let Some(fault) = report.faults.first() {
        return Err(HandOverError::Broken { file: fault.file.clone(), what: fault.what.clone() });
    }
    let (Some(ledger_key), Some(tagmanifest)) = (&report.vkey, report.digest) else {
        return Err(HandOverError::Broken { file: TAGMANIFEST.into(), what: "is missing".into() });
    };
    let turn = Turn::after(ledger_key, report.hand_overs.last());
    let kind = if request.to.is_some() { HandOverKind::Given } else { HandOverKind::Received };
    turn.admits(kind, signer.vkey()).map_err(|what| HandOverError::Turn { what })?;
    let number = report.hand_overs.len() + 1;
    if number > MOST {
        return Err(HandOverError::Turn { what: format!("the bundle has {MOST} hand-overs already") });
    }
    let (to, to_key) = request.to.clone().map(|(to, key)| (to, key.trim().to_owned())).unzip();
    let whose = match report.trusted {
        true => "signed with the ledger's key, which is trusted".to_owned(),
        false => "whole; the ledger's key was not compared with one from elsewhere".to_owned(),
    };
    let entry = HandOver {
        v: 1,
        number,
        kind,
        at: request.at,
        by: request.by.clone().unwrap_or_else(|| signer.name().to_owned()),
        by_key: signer.vkey().to_owned(),
        to,
        to_key,
        place: request.place.clone(),
        how: request.how.clone(),
        reason: request.reason.clone(),
        result: format!("{} files, {} entries proven: {whose}", report.files, report.entries),
    };
    let mut subjects = BTreeMap::from([(TAGMANIFEST.to_owned(), tagmanifest)]);
    if number > 1 {
        let former = path_of(number - 1);
        let bytes = read(&bundle.join(&former)).map_err(|what| HandOverError::Broken { file: former.clone(), what })?;
        subjects.insert(former, Digest(Sha256::digest(&bytes).into()));
    }
    let text = attestation::attest(&signer, HAND_OVER_TYPE, &subjects, serde_json::to_value(&entry).expect("strings and numbers"));
    write(bundle, number, &text)?;
    Ok(entry)
}

/// In a file of its own, all at once; never over another.
fn write(bundle: &Path, number: usize, text: &[u8]) -> Result<(), BagError> {
    let directory = bundle.join(DIRECTORY);
    match fs::create_dir(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(storage("create", &directory)(error)),
        _ => {}
    }
    let path = bundle.join(path_of(number));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path).map_err(storage("create", &path))?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&path);
        return Err(storage("write", &path)(error));
    }
    fs::File::open(&directory).and_then(|directory| directory.sync_all()).map_err(storage("sync", &directory))
}

fn path_of(number: usize) -> String {
    format!("{DIRECTORY}/{number:04}.dsse.json")
}

/// The number in the name of a hand-over; `None`: it is no such name.
fn number_of(name: &str) -> Option<usize> {
    let number: usize = name.strip_prefix(DIRECTORY)?.strip_prefix('/')?.strip_suffix(".dsse.json")?.parse().ok()?;
    ((1..=MOST).contains(&number) && path_of(number) == name).then_some(number)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = super::verify::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST { Err("is too long".into()) } else { Ok(bytes) }
}

/// Whose turn it is, and with which key.
struct Turn<'a> {
    kind: HandOverKind,
    key: &'a str,
}

impl<'a> Turn<'a> {
    fn after(ledger_key: &'a str, last: Option<&'a HandOver>) -> Turn<'a> {
        match last {
            None => Turn { kind: HandOverKind::Given, key: ledger_key },
            // A giving without a key is refused when it is read.
            Some(HandOver { kind: HandOverKind::Given, to_key, .. }) => {
                Turn { kind: HandOverKind::Received, key: to_key.as_deref().unwrap_or_default() }
            }
            Some(HandOver { kind: HandOverKind::Received, by_key, .. }) => Turn { kind: HandOverKind::Given, key: by_key },
        }
    }

    fn admits(&self, kind: HandOverKind, key: &str) -> Result<(), String> {
        let next = match self.kind {
            HandOverKind::Given => "who has it gives it on",
            HandOverKind::Received => "who was given it signs the receipt",
        };
        if kind != self.kind {
            return Err(format!("next, {next}"));
        }
        if key != self.key {
            return Err(format!("next, {next}, with the key {}", self.key));
        }
        Ok(())
    }
}

/// Reads and checks the chain. `found`: every file of the bundle, without those of the chain, which are taken out.
pub(super) fn check(
    root: &Path,
    ledger_key: Option<&str>,
    found: &mut BTreeMap<String, Digest>,
    mut fault: impl FnMut(String, String),
) -> Vec<HandOver> {
    let prefix = format!("{DIRECTORY}/");
    let ours: BTreeMap<String, Digest> = found
        .range(prefix.clone()..)
        .take_while(|(name, _)| name.starts_with(&prefix))
        .map(|(name, digest)| (name.clone(), *digest))
        .collect();
    found.retain(|name, _| !name.starts_with(&prefix));
    let mut chain: Vec<HandOver> = Vec::new();
    let Some(ledger_key) = ledger_key else { return chain };
    let numbers: BTreeMap<&str, usize> = ours.keys().filter_map(|name| Some((name.as_str(), number_of(name)?))).collect();
    for name in ours.keys().filter(|name| !numbers.contains_key(name.as_str())) {
        fault(name.clone(), "is no hand-over".into());
    }
    let last = numbers.values().max().copied().unwrap_or_default();
    for number in 1..=last {
        let name = path_of(number);
        if !ours.contains_key(&name) {
            fault(name, "is missing in the chain of hand-overs".into());
            return chain;
        }
        let turn = Turn::after(ledger_key, chain.last());
        match checked(root, &name, number, &turn, found.get(TAGMANIFEST), ours.get(&path_of(number - 1))) {
            Ok(entry) => chain.push(entry),
            Err(what) => {
                fault(name, what);
                return chain;
            }
        }
    }
    chain
}

fn checked(
    root: &Path,
    name: &str,
    number: usize,
    turn: &Turn<'_>,
    tagmanifest: Option<&Digest>,
    former: Option<&Digest>,
) -> Result<HandOver, String> {
    let attested = attestation::check(&read(&root.join(name))?, turn.key, HAND_OVER_TYPE).map_err(str::to_owned)?;
    let entry: HandOver = serde_json::from_value(attested.predicate).map_err(|error| error.to_string())?;
    turn.admits(entry.kind, &entry.by_key)?;
    if entry.v != 1 || entry.number != number {
        return Err("is not the hand-over of this place".into());
    }
    if (entry.kind == HandOverKind::Given) != (entry.to.is_some() && entry.to_key.is_some()) {
        return Err("names no receiver with a key, or one too many".into());
    }
    if attested.files.get(TAGMANIFEST) != tagmanifest {
        return Err("is a hand-over of another bundle".into());
    }
    let expected = 1 + usize::from(number > 1);
    if attested.files.len() != expected || (number > 1 && attested.files.get(&path_of(number - 1)) != former) {
        return Err("does not follow the hand-over before it".into());
    }
    Ok(entry)
}

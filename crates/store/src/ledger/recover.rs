//! Finding the end of a ledger after whatever happened to its last writer.

use super::{
    LedgerError, LedgerKeys, LedgerOptions, Recovery, Storage,
    keys::{self, KeyStore, NEW},
    layout::{Head, Layout, names, pack_number},
    lines::{Line, Lines},
    sha256,
    storage::Tail,
    stored::{self, StoredHashes},
    write::{Core, State},
};
use custody_model::{Entry, Event, KeyId, LeafIndex, Sealed, SessionId};
use custody_tlog::{Frontier, HASH_SIZE, Hash, SignedCheckpoint, leaf_hash, notes, stored_hash_count};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

/// Bytes at the end of `checkpoints` in which the last note is sought.
const NOTES_TAIL: u64 = 256 << 10;

/// What a scan of the last segment gives.
#[derive(Default)]
struct LastSegment {
    len: u64,
    pack_len: u64,
    leaves: Vec<Hash>,
    created: HashMap<KeyId, Option<SessionId>>,
    destroyed: HashSet<KeyId>,
}

pub(super) fn open(layout: Layout, keys: LedgerKeys, options: LedgerOptions) -> Result<(Core, Recovery), LedgerError> {
    let mut recovery = Recovery::default();
    let storage = options.storage.clone();
    let head = Head::read(&layout.head())?;
    if head.vkey != keys.signer.vkey() {
        return Err(LedgerError::WrongKey { expected: head.vkey, found: keys.signer.vkey().to_owned() });
    }
    let signed = last_checkpoint(&layout, &keys, &*storage, &mut recovery)?;
    let signed_size = signed.as_ref().map_or(0, SignedCheckpoint::size);

    let firsts = layout.list_segments()?;
    let Some(&first) = firsts.last() else {
        return Err(LedgerError::damaged(&layout.segments(), "there is no segment"));
    };
    check_first_entry(&layout, &head)?;
    let ordinal = (firsts.len() - 1) as u32;
    remove_spare_pack(&layout, ordinal, &*storage)?;

    let segment_path = layout.segment(first);
    let pack_path = layout.pack(ordinal);
    let last = scan_last(&segment_path, &pack_path, ordinal, first, signed_size)?;
    let size = first.0 + last.leaves.len() as u64;
    if size < signed_size {
        return Err(LedgerError::RolledBack { size, signed: signed_size });
    }
    let before = tree_before(&layout, &*storage, &firsts, &mut recovery)?;
    if let Some(signed) = &signed
        && root_at(&layout, signed.size(), &before, &last.leaves)? != signed.root()
    {
        let what = format!("the first {} entries do not have the root that was signed; run `custody verify`", signed.size());
        return Err(LedgerError::damaged(&layout.segments(), what));
    }
    // Nothing was changed up to here but hashes that can be computed again: a ledger that is refused stays as it is.
    let segment = tail(&*storage, &segment_path, last.len)?;
    let pack = tail(&*storage, &pack_path, last.pack_len)?;
    recovery.line_bytes = segment.1;
    recovery.pack_bytes = pack.1;
    let (hashes, frontier) = restore_hashes(&layout, &*storage, before, &last.leaves, &mut recovery)?;

    settle_keys(&layout, &*storage, &last)?;
    let store = KeyStore::new(layout.clone(), keys.daemon.clone().into_iter().collect());
    expire_daemon_keys(&layout, &*storage, &store);
    let resumed = last.created.iter().filter(|(key, _)| !last.destroyed.contains(key));
    let resumed = resumed.filter_map(|(key, session)| Some((*session, store.find(*key)?))).collect();

    let synced = if recovery == Recovery::default() { signed_size } else { 0 };
    let state = State {
        segment: segment.0,
        pack: pack.0,
        hashes,
        hashes_waiting: Vec::new(),
        ordinal,
        first,
        frontier,
        unnamed_keys: Vec::new(),
        synced,
        failed: None,
        closed: false,
    };
    Ok((Core::new(layout, keys, options, state, signed, resumed), recovery))
}

/// Opens a file to append to, cut to `good`; also how many bytes went.
fn tail(storage: &dyn Storage, path: &Path, good: u64) -> Result<(Tail, u64), LedgerError> {
    let file = storage.open_append(path).map_err(LedgerError::storage("open", path))?;
    let size = file.size().map_err(LedgerError::storage("read", path))?;
    if size > good {
        file.truncate(good).and_then(|()| file.sync()).map_err(LedgerError::storage("cut", path))?;
    }
    Ok((Tail::new(file, good), size.saturating_sub(good)))
}

/// The newest note in `checkpoints`, its signature checked; a half-written one behind it is cut.
fn last_checkpoint(
    layout: &Layout,
    keys: &LedgerKeys,
    storage: &dyn Storage,
    recovery: &mut Recovery,
) -> Result<Option<SignedCheckpoint>, LedgerError> {
    let (path, latest) = (layout.checkpoints(), layout.checkpoint());
    let verifier = keys.signer.verifier();
    let mut last = None;
    if path.exists() {
        let (from, bytes) = read_tail(&path, NOTES_TAIL)?;
        let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let mut split = notes(&text[if from == 0 { 0 } else { first_boundary(text) }..]);
        last = split.by_ref().last().map(str::to_owned);
        let torn = (bytes.len() - (text.len() - split.rest().len())) as u64;
        if torn > 0 {
            if last.is_none() && from > 0 {
                return Err(LedgerError::damaged(&path, "holds no checkpoint near its end"));
            }
            recovery.checkpoint_bytes = torn;
            tail(storage, &path, from + bytes.len() as u64 - torn)?;
        }
    }
    let parse = |path: &Path, note: &str| {
        let signed = SignedCheckpoint::parse(note).map_err(|e| LedgerError::damaged(path, e.to_string()))?;
        verifier.verify(&signed).map_err(|e| LedgerError::damaged(path, e.to_string()))?;
        Ok::<_, LedgerError>(signed)
    };
    let last = last.map(|note| parse(&path, &note)).transpose()?;
    if latest.exists() {
        let text = String::from_utf8(super::layout::read_small(&latest)?).map_err(|_| LedgerError::damaged(&latest, "not UTF-8"))?;
        let newest = parse(&latest, &text)?;
        if last.as_ref().is_none_or(|last| newest.size() > last.size()) {
            let signed = last.as_ref().map_or(0, SignedCheckpoint::size);
            return Err(LedgerError::damaged(&path, format!("ends at size {signed}, but {} was signed", newest.size())));
        }
    }
    if let Some(last) = &last {
        restore_latest(layout, storage, last)?;
    }
    Ok(last)
}

/// Gives `checkpoint` the last of `checkpoints`, if a crash came between the two.
fn restore_latest(layout: &Layout, storage: &dyn Storage, last: &SignedCheckpoint) -> Result<(), LedgerError> {
    let path = layout.checkpoint();
    let passing = keys::passing(&path);
    if std::fs::read(&path).is_ok_and(|bytes| bytes == last.note().as_bytes()) {
        if passing.exists() {
            storage.remove(&passing).map_err(LedgerError::storage("remove", &passing))?;
        }
        return Ok(());
    }
    let write = || {
        let file = storage.open_append(&passing)?;
        file.truncate(0)?;
        file.append(last.note().as_bytes())?;
        file.sync()?;
        storage.rename(&passing, &path)?;
        storage.sync_dir(&layout.dir)
    };
    write().map_err(LedgerError::storage("write", &path))
}

/// Where the first note that is whole begins in a text cut anywhere.
fn first_boundary(text: &str) -> usize {
    let mut signature = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let is_signature = line.starts_with("— ");
        if signature && !is_signature {
            return at;
        }
        // The first line may be the end of a longer one.
        signature = is_signature && at > 0;
        at += line.len();
    }
    text.len()
}

fn read_tail(path: &Path, limit: u64) -> Result<(u64, Vec<u8>), LedgerError> {
    let read = || {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut from = len.saturating_sub(limit);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if from > 0 {
            // Begin at a line, so that it begins at a character.
            let skip = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1);
            bytes.drain(..skip);
            from += skip as u64;
        }
        Ok((from, bytes))
    };
    read().map_err(LedgerError::storage("read", path))
}

fn check_first_entry(layout: &Layout, head: &Head) -> Result<(), LedgerError> {
    let path = layout.segment(LeafIndex(0));
    let mut lines = Lines::open(&path, 0)?;
    let whole = lines.read()? == Line::Whole;
    let entry = serde_json::from_slice::<Entry>(&lines.line).ok().filter(|_| whole);
    match entry.map(|entry| entry.event) {
        Some(Event::LedgerCreated { origin, vkey }) if origin == head.origin && vkey == head.vkey => Ok(()),
        _ => Err(LedgerError::damaged(&path, "the first entry does not name this ledger and its key")),
    }
}

/// A rotation makes the pack before the segment; a crash between the two leaves an empty pack.
fn remove_spare_pack(layout: &Layout, ordinal: u32, storage: &dyn Storage) -> Result<(), LedgerError> {
    for name in names(&layout.packs())? {
        let path = layout.packs().join(&name);
        match pack_number(&name) {
            Some(number) if number <= ordinal => {}
            Some(number) if number == ordinal + 1 && path.metadata().is_ok_and(|m| m.len() == 0) => {
                storage.remove(&path).map_err(LedgerError::storage("remove", &path))?;
            }
            Some(_) => return Err(LedgerError::damaged(&path, "belongs to a segment that is missing")),
            None => return Err(LedgerError::damaged(&path, "not the name of a pack")),
        }
    }
    Ok(())
}

/// Reads the last segment up to the last entry that is whole. What is signed must be; behind that, the first line
/// or part that a power cut left incomplete ends the ledger, for nothing behind it was synced.
fn scan_last(segment: &Path, pack: &Path, ordinal: u32, first: LeafIndex, signed: u64) -> Result<LastSegment, LedgerError> {
    let mut found = LastSegment::default();
    let pack_file = File::open(pack).map_err(LedgerError::storage("open", pack))?;
    let pack_size = pack_file.metadata().map_err(LedgerError::storage("read", pack))?.len();
    let mut lines = Lines::open(segment, 0)?;
    loop {
        let leaf = first.0 + found.leaves.len() as u64;
        let is_signed = leaf < signed;
        match lines.read()? {
            Line::End | Line::Torn(_) => return Ok(found),
            Line::TooLong if is_signed => return Err(LedgerError::damaged(segment, format!("entry {leaf} has no end"))),
            Line::TooLong => return Ok(found),
            Line::Whole => {}
        }
        let problem = match serde_json::from_slice::<Entry>(&lines.line) {
            Err(error) => Some(error.to_string()),
            Ok(entry) => {
                let before = found.pack_len;
                let mut end = before;
                let problem = [&entry.detail, &entry.body].into_iter().flatten().find_map(|part| {
                    let fresh = part.offset >= end;
                    let fault = check_part(part, ordinal, pack_size, (fresh && !is_signed).then_some(&pack_file));
                    end = end.max(part.offset.saturating_add(part.stored));
                    fault
                });
                if problem.is_none() {
                    found.pack_len = end;
                    match entry.event {
                        Event::KeyCreated { key, .. } => drop(found.created.insert(key, entry.session)),
                        Event::KeyDestroyed { key } => drop(found.destroyed.insert(key)),
                        _ => {}
                    }
                }
                problem
            }
        };
        match problem {
            Some(what) if is_signed => return Err(LedgerError::damaged(segment, format!("entry {leaf}: {what}"))),
            Some(_) => return Ok(found),
            None => {
                found.leaves.push(leaf_hash(&lines.line));
                found.len = lines.offset;
            }
        }
    }
}

/// What is wrong with a reference; the ciphertext is read when `file` is given.
fn check_part(part: &Sealed, ordinal: u32, pack_size: u64, file: Option<&File>) -> Option<String> {
    if part.pack != ordinal {
        return Some(format!("refers to pack {}, which belongs to another segment", part.pack));
    }
    if part.offset.checked_add(part.stored).is_none_or(|end| end > pack_size) {
        return Some("refers to bytes beyond the end of its pack".into());
    }
    let file = file?;
    let mut bytes = vec![0; part.stored as usize];
    match file.read_exact_at(&mut bytes, part.offset) {
        Ok(()) if sha256(&bytes) == part.digest => None,
        Ok(()) => Some("refers to bytes that are not in its pack".into()),
        Err(error) => Some(error.to_string()),
    }
}

/// The tree up to the last segment: from `hashes`, or from all segments when that lacks some.
fn tree_before(layout: &Layout, storage: &dyn Storage, firsts: &[LeafIndex], recovery: &mut Recovery) -> Result<Frontier, LedgerError> {
    let path = layout.hashes();
    let file = storage.open_append(&path).map_err(LedgerError::storage("open", &path))?;
    let size = file.size().map_err(LedgerError::storage("read", &path))?;
    let (last, earlier) = firsts.split_last().expect("checked by the caller");
    if size >= stored_hash_count(last.0) * HASH_SIZE as u64 {
        let stored = StoredHashes::open(&path).map_err(LedgerError::storage("open", &path))?;
        return Frontier::read(last.0, &stored).map_err(|e| LedgerError::damaged(&path, e.to_string()));
    }
    file.truncate(0).map_err(LedgerError::storage("cut", &path))?;
    let mut frontier = Frontier::default();
    for first in earlier {
        let mut lines = Lines::open(&layout.segment(*first), 0)?;
        while lines.read()? == Line::Whole {
            let added = stored::bytes(&frontier.push(leaf_hash(&lines.line)));
            file.append(&added).map_err(LedgerError::storage("write", &path))?;
        }
    }
    recovery.hashes += stored_hash_count(frontier.size());
    if frontier.size() != last.0 {
        let what = format!("the segment after {} entries begins at {last}", frontier.size());
        return Err(LedgerError::damaged(&layout.segments(), what));
    }
    Ok(frontier)
}

/// Root of the first `size` entries, by the lines of the last segment and the stored hashes before it.
fn root_at(layout: &Layout, size: u64, before: &Frontier, last_leaves: &[Hash]) -> Result<Hash, LedgerError> {
    if size >= before.size() {
        let mut frontier = before.clone();
        last_leaves[..(size - before.size()) as usize].iter().for_each(|leaf| drop(frontier.push(*leaf)));
        return Ok(frontier.root());
    }
    let path = layout.hashes();
    let stored = StoredHashes::open(&path).map_err(LedgerError::storage("open", &path))?;
    custody_tlog::root(size, &stored).map_err(|e| LedgerError::damaged(&path, e.to_string()))
}

/// Makes `hashes` agree with the lines of the last segment.
fn restore_hashes(
    layout: &Layout,
    storage: &dyn Storage,
    mut frontier: Frontier,
    last_leaves: &[Hash],
    recovery: &mut Recovery,
) -> Result<(Tail, Frontier), LedgerError> {
    let path = layout.hashes();
    let file = storage.open_append(&path).map_err(LedgerError::storage("open", &path))?;
    let good = stored_hash_count(frontier.size()) * HASH_SIZE as u64;
    let mut known = Vec::new();
    let read = File::open(&path).and_then(|mut file| {
        file.seek(SeekFrom::Start(good))?;
        file.read_to_end(&mut known)
    });
    read.map_err(LedgerError::storage("read", &path))?;
    let added: Vec<u8> = last_leaves.iter().flat_map(|leaf| stored::bytes(&frontier.push(*leaf))).collect();
    let same = added.iter().zip(&known).take_while(|(a, b)| a == b).count();
    let same = same - same % HASH_SIZE;
    if same < known.len() {
        file.truncate(good + same as u64).map_err(LedgerError::storage("cut", &path))?;
    }
    if same < added.len() {
        file.append(&added[same..]).map_err(LedgerError::storage("write", &path))?;
        recovery.hashes += ((added.len() - same) / HASH_SIZE) as u64;
    }
    Ok((Tail::new(file, good + added.len() as u64), frontier))
}

/// Key files whose entry a crash cut off go; those whose entry stands get their name; those destroyed go.
fn settle_keys(layout: &Layout, storage: &dyn Storage, last: &LastSegment) -> Result<(), LedgerError> {
    for name in names(&layout.keys())? {
        let path = layout.keys().join(&name);
        let Some(id) = name.split('.').next().and_then(|stem| stem.parse::<KeyId>().ok()) else { continue };
        if last.destroyed.contains(&id) {
            storage.remove(&path).map_err(LedgerError::storage("remove", &path))?;
        } else if let Some(own) = name.strip_suffix(NEW) {
            if last.created.contains_key(&id) {
                storage.rename(&path, &layout.keys().join(own)).map_err(LedgerError::storage("rename", &path))?;
            } else {
                storage.remove(&path).map_err(LedgerError::storage("remove", &path))?;
            }
        }
    }
    storage.sync_dir(&layout.keys()).map_err(LedgerError::storage("sync", &layout.keys()))
}

/// Removes the daemon's copies whose time is over.
pub(super) fn expire_daemon_keys(layout: &Layout, storage: &dyn Storage, keys: &KeyStore) {
    let now = Timestamp::now();
    for name in names(&layout.keys()).unwrap_or_default().iter().filter(|name| name.ends_with(".daemon.json")) {
        let path = layout.keys().join(name);
        match keys::read_daemon_key_file(&path) {
            Ok((file, _)) if file.until <= now => {
                keys.forget(file.key);
                if let Err(error) = storage.remove(&path) {
                    tracing::warn!(path = %path.display(), %error, "a key of the daemon could not be removed in its time");
                }
            }
            // A damaged one opens nothing; `verify` names it.
            _ => {}
        }
    }
}

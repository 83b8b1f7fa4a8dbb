//! Appending: seal outside the lock, place and write inside it.

use super::{
    Draft, Durability, LedgerError, LedgerKeys, LedgerOptions, Reader, Recorded,
    keys::{self, KeyStore, passing},
    layout::{Layout, MAX_LINE, MAX_PART},
    newest::Newest,
    recent::Recent,
    seal::{DataKey, SealError, SealedBytes, nonces},
    storage::Tail,
};
use custody_model::{Commitment, ENTRY_VERSION, Entry, Event, KeyId, LeafIndex, Sealed, SessionId};
use custody_tlog::{Frontier, SignedCheckpoint, Signer, leaf_hash};
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use tokio::sync::watch;

/// Places of recent bodies, for reuse inside a session.
pub(super) type RecentParts = Recent<(KeyId, Commitment), Sealed>;
/// A session's key, or none yet; its lock is held while the key is made.
type KeySlot = Arc<Mutex<Option<Arc<DataKey>>>>;

/// Bodies remembered for reuse, at most twice that many.
pub(super) const REMEMBERED_PARTS: usize = 4096;
/// Sessions whose key is at hand, at most twice that many. One that comes back later gets a second key.
pub(super) const REMEMBERED_SESSIONS: usize = 4096;
/// Bytes of hashes that wait for the next sync at most. They can be computed again from the lines.
const HASHES_WAITING: usize = 64 << 10;

/// Everything behind a [`super::Ledger`].
#[derive(Debug)]
pub(super) struct Core {
    pub layout: Layout,
    pub options: LedgerOptions,
    pub signer: Signer,
    pub responders: Vec<age::x25519::Recipient>,
    pub daemon: Option<age::x25519::Recipient>,
    pub keys: Arc<KeyStore>,
    pub slots: Mutex<Recent<Option<SessionId>, KeySlot>>,
    /// Bodies and where they lie. Its own lock, inside `state`'s: preparing must not wait for an append.
    pub recent: Mutex<RecentParts>,
    /// Keys destroyed since the ledger was opened. Its own lock, inside `state`'s, as above.
    pub destroyed: RwLock<HashSet<KeyId>>,
    pub state: Mutex<State>,
    /// Entries that whoever follows has not fetched yet. Its own lock, inside `state`'s.
    pub newest: Mutex<Newest>,
    /// Held while a checkpoint is made: one after the other.
    pub signing: Mutex<super::sign::Signing>,
    pub size: watch::Sender<u64>,
    pub signed: watch::Sender<Option<SignedCheckpoint>>,
}

/// What an append changes.
#[derive(Debug)]
pub(super) struct State {
    pub segment: Tail,
    pub pack: Tail,
    pub hashes: Tail,
    /// Hashes of the newest entries, which are written at the next sync, in one piece.
    pub hashes_waiting: Vec<u8>,
    /// Number of the last segment and its pack.
    pub ordinal: u32,
    /// First leaf of the last segment.
    pub first: LeafIndex,
    pub frontier: Frontier,
    /// Key files that get their own name when the entry of that position is synced.
    pub unnamed_keys: Vec<(LeafIndex, PathBuf)>,
    /// Entries known to survive a power cut.
    pub synced: u64,
    /// Where syncing failed; nothing is recorded any more.
    pub failed: Option<PathBuf>,
    pub closed: bool,
}

impl State {
    pub fn usable(&self) -> Result<(), LedgerError> {
        match &self.failed {
            _ if self.closed => Err(LedgerError::Closed),
            Some(path) => Err(LedgerError::SyncFailed { path: path.clone() }),
            None => Ok(()),
        }
    }
}

/// A sealed draft.
#[derive(Debug)]
pub(super) struct Pending {
    at: Timestamp,
    session: Option<SessionId>,
    event: Event,
    key: Option<Arc<DataKey>>,
    detail: Option<SealedBytes>,
    body: Option<Body>,
}

#[derive(Debug)]
enum Body {
    Fresh(SealedBytes),
    /// Lies in the pack already, if the pack is still the same when it is appended.
    Known {
        plain: Vec<u8>,
        commitment: Commitment,
    },
}

impl Core {
    pub fn new(
        layout: Layout,
        keys: LedgerKeys,
        options: LedgerOptions,
        state: State,
        last: Option<SignedCheckpoint>,
        resumed: Vec<(Option<SessionId>, Arc<DataKey>)>,
    ) -> Core {
        let store = Arc::new(KeyStore::new(layout.clone(), keys.daemon.clone().into_iter().collect()));
        let mut slots = Recent::new(REMEMBERED_SESSIONS);
        for (session, key) in resumed {
            store.remember(&key);
            slots.insert(session, Arc::new(Mutex::new(Some(key))));
        }
        Core {
            signing: Mutex::new(super::sign::Signing::new(&options.copies)),
            size: watch::Sender::new(state.frontier.size()),
            signed: watch::Sender::new(last),
            daemon: keys.daemon.as_ref().map(age::x25519::Identity::to_public),
            responders: keys.responders,
            signer: keys.signer,
            keys: store,
            slots: Mutex::new(slots),
            recent: Mutex::new(Recent::new(REMEMBERED_PARTS)),
            destroyed: RwLock::default(),
            newest: Mutex::default(),
            state: Mutex::new(state),
            layout,
            options,
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside the lock leaves at most bytes behind the good lengths, which the next append cuts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a body of this key lies in the current pack.
    fn known(&self, key: KeyId, commitment: Commitment) -> Option<Sealed> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).lookup(&(key, commitment))
    }

    fn is_destroyed(&self, key: KeyId) -> bool {
        self.destroyed.read().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    pub fn reader(&self) -> Reader {
        Reader::beside(self.layout.clone(), self.keys.clone(), self.size.subscribe())
    }

    pub fn prepare(&self, mut draft: Draft) -> Result<Pending, LedgerError> {
        let detail = draft.detail.take();
        self.prepare_with(draft, detail.as_ref())
    }

    /// With this detail, whatever the draft says of one.
    pub fn prepare_with(&self, draft: Draft, detail: Option<&impl Serialize>) -> Result<Pending, LedgerError> {
        let Draft { at, session, event, body, .. } = draft;
        let key = if detail.is_some() || body.is_some() { Some(self.key_of(session, at)?) } else { None };
        let [for_detail, for_body] = nonces().map_err(|e| seal_error(e, 0))?;
        let seal = |nonce, plain: &[u8], commitment| -> Result<SealedBytes, LedgerError> {
            let key = key.as_ref().expect("made above, since there is a part");
            key.seal_under(nonce, plain, commitment).map_err(|e| seal_error(e, plain.len()))
        };
        let commitment = |plain: &[u8]| key.as_ref().expect("made above, since there is a part").commitment(plain);
        let detail = match detail {
            Some(value) => {
                let plain = serde_json::to_vec(value).expect("details are plain data");
                Some(seal(for_detail, &plain, commitment(&plain))?)
            }
            None => None,
        };
        let body = match body {
            Some(plain) => {
                let commitment = commitment(&plain);
                let id = key.as_ref().expect("made above, since there is a part").id;
                let known = self.known(id, commitment).is_some();
                Some(if known { Body::Known { plain, commitment } } else { Body::Fresh(seal(for_body, &plain, commitment)?) })
            }
            None => None,
        };
        Ok(Pending { at, session, event, key, detail, body })
    }

    pub fn append(&self, pending: Pending) -> Result<Recorded, LedgerError> {
        let mut state = self.lock();
        self.append_locked(&mut state, pending)
    }

    /// The session's data key; makes it, with an entry, when there is none.
    pub fn key_of(&self, session: Option<SessionId>, at: Timestamp) -> Result<Arc<DataKey>, LedgerError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            match slots.lookup(&session) {
                Some(slot) => slot,
                None => {
                    let slot = KeySlot::default();
                    slots.insert(session, slot.clone());
                    slot
                }
            }
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = slot.as_ref().filter(|key| !self.is_destroyed(key.id)) {
            return Ok(key.clone());
        }
        let key = self.make_key(session, at)?;
        *slot = Some(key.clone());
        Ok(key)
    }

    /// The files are written and synced under a passing name; they get their own once the entry is synced. Whatever
    /// a crash leaves, opening the ledger can tell whether the key was recorded.
    fn make_key(&self, session: Option<SessionId>, at: Timestamp) -> Result<Arc<DataKey>, LedgerError> {
        let until = Timestamp::now().checked_add((24 * i64::from(self.options.daemon_key_days)).hours()).unwrap_or(Timestamp::MAX);
        let new = keys::make(session, at, &self.responders, self.daemon.as_ref().map(|daemon| (daemon, until)))?;
        let mut files = Vec::new();
        files.extend(new.daemon.as_ref().map(|bytes| (self.layout.daemon_key(new.key.id), bytes)));
        files.push((self.layout.key(new.key.id), &new.file));
        let storage = &self.options.storage;
        let write = |(path, bytes): &(PathBuf, &Vec<u8>)| {
            let path = passing(path);
            let write = || {
                let file = storage.open_append(&path)?;
                file.append(bytes)?;
                file.sync()
            };
            write().map_err(LedgerError::storage("write", &path))
        };
        let keys = self.layout.keys();
        let written = files.iter().try_for_each(write).and_then(|()| storage.sync_dir(&keys).map_err(LedgerError::storage("sync", &keys)));
        let recorded = written.and_then(|()| {
            let event = Event::KeyCreated { key: new.key.id, file: new.digest };
            let mut state = self.lock();
            let recorded = self.append_locked(&mut state, Pending { at, session, event, key: None, detail: None, body: None })?;
            state.unnamed_keys.extend(files.iter().map(|(path, _)| (recorded.leaf, path.clone())));
            Ok(())
        });
        if let Err(error) = recorded {
            files.iter().for_each(|(path, _)| drop(storage.remove(&passing(path))));
            return Err(error);
        }
        self.keys.remember(&new.key);
        Ok(new.key)
    }

    /// Gives key files their names, now that the first `synced` entries are safe.
    pub fn name_keys(&self, state: &mut State, synced: u64) -> Result<(), LedgerError> {
        let storage = &self.options.storage;
        let mut named = false;
        while let Some((_, path)) = state.unnamed_keys.first().filter(|(leaf, _)| leaf.0 < synced) {
            storage.rename(&passing(path), path).map_err(LedgerError::storage("rename", path))?;
            state.unnamed_keys.remove(0);
            named = true;
        }
        if named {
            let keys = self.layout.keys();
            storage.sync_dir(&keys).map_err(LedgerError::storage("sync", &keys))?;
        }
        Ok(())
    }

    pub fn append_locked(&self, state: &mut State, pending: Pending) -> Result<Recorded, LedgerError> {
        state.usable()?;
        if let Some(key) = pending.key.as_ref().filter(|key| self.is_destroyed(key.id)) {
            return Err(LedgerError::KeyDestroyed { key: key.id });
        }
        self.rotate_if_full(state)?;
        if state.hashes_waiting.len() >= HASHES_WAITING {
            self.write_hashes(state)?;
        }
        let before = (state.pack.good, state.segment.good);
        let written = self.write(state, pending);
        if written.is_err() {
            // Take back in the opposite order: never a line without its parts.
            for (tail, len) in [(&mut state.segment, before.1), (&mut state.pack, before.0)] {
                tail.cut_to(len);
            }
        }
        let (recorded, added, fresh_body) = written?;
        state.frontier.commit(&added);
        added.iter().for_each(|hash| state.hashes_waiting.extend_from_slice(&hash.0));
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).add(recorded.leaf, &recorded.entry);
        if let Some(body) = fresh_body {
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).insert((body.key, body.commitment), body);
        }
        if self.options.durability == Durability::Strict {
            state.synced = state.frontier.size();
        }
        self.size.send_replace(state.frontier.size());
        Ok(recorded)
    }

    #[allow(clippy::type_complexity, reason = "one caller, right above")]
    fn write(&self, state: &mut State, pending: Pending) -> Result<(Recorded, Vec<custody_tlog::Hash>, Option<Sealed>), LedgerError> {
        let Pending { at, session, event, key, detail, body } = pending;
        let (first, ordinal) = (state.first, state.ordinal);
        let segment = |doing| move |error| LedgerError::storage(doing, &self.layout.segment(first))(error);
        let pack = |doing| move |error| LedgerError::storage(doing, &self.layout.pack(ordinal))(error);
        // A tail that could not be cut after an earlier failure must go before anything is placed behind it.
        state.segment.heal().map_err(segment("cut"))?;

        // Both parts go to the pack as one piece.
        let mut parts = Vec::new();
        let mut place = |part: SealedBytes| -> Sealed {
            let key = key.as_ref().expect("a part has a key").id;
            let offset = state.pack.good + parts.len() as u64;
            let SealedBytes { commitment, digest, size, bytes } = part;
            let stored = bytes.len() as u64;
            if parts.is_empty() {
                parts = bytes;
            } else {
                parts.extend_from_slice(&bytes);
            }
            Sealed { key, commitment, digest, size, stored, pack: state.ordinal, offset }
        };
        let detail = detail.map(&mut place);
        let mut fresh_body = None;
        let body = match body {
            None => None,
            Some(Body::Fresh(part)) => match self.known(key.as_ref().expect("a part has a key").id, part.commitment) {
                Some(known) => Some(known),
                None => fresh_body.insert(place(part)).clone().into(),
            },
            Some(Body::Known { plain, commitment }) => {
                let key = key.as_ref().expect("a part has a key");
                match self.known(key.id, commitment) {
                    Some(known) => Some(known),
                    // The pack changed meanwhile; rare enough to seal inside the lock.
                    None => {
                        let part = key.seal(&plain, commitment).map_err(|e| seal_error(e, plain.len()))?;
                        fresh_body.insert(place(part)).clone().into()
                    }
                }
            }
        };
        if !parts.is_empty() {
            state.pack.append(&parts).map_err(pack("write"))?;
        }

        let entry = Entry { v: ENTRY_VERSION, at, session, event, detail, body };
        let mut line = Vec::with_capacity(1024);
        serde_json::to_writer(&mut line, &entry).expect("an entry is JSON");
        if line.len() as u64 > MAX_LINE {
            return Err(LedgerError::TooLarge { what: "an entry", size: line.len() as u64, limit: MAX_LINE });
        }
        let added = state.frontier.added_by(leaf_hash(&line));
        line.push(b'\n');
        state.segment.append(&line).map_err(segment("write"))?;
        if self.options.durability == Durability::Strict {
            state.pack.file.sync().map_err(pack("sync"))?;
            state.segment.file.sync().map_err(segment("sync"))?;
        }
        let leaf = LeafIndex(state.frontier.size());
        Ok((Recorded { leaf, entry: Arc::new(entry) }, added, fresh_body))
    }

    /// Writes the hashes that wait. Without them nothing is lost: opening the ledger computes what is missing.
    pub fn write_hashes(&self, state: &mut State) -> Result<(), LedgerError> {
        if !state.hashes_waiting.is_empty() {
            state.hashes.append(&state.hashes_waiting).map_err(LedgerError::storage("write", &self.layout.hashes()))?;
            state.hashes_waiting.clear();
        }
        Ok(())
    }

    pub fn current_paths(&self, state: &State) -> (PathBuf, PathBuf) {
        (self.layout.segment(state.first), self.layout.pack(state.ordinal))
    }

    /// A segment and its pack end together, synced with all that belongs to them; references never leave their pair.
    fn rotate_if_full(&self, state: &mut State) -> Result<(), LedgerError> {
        if state.segment.good < self.options.segment_bytes && state.pack.good < self.options.pack_bytes {
            return Ok(());
        }
        self.sync_locked(state)?;
        self.write_hashes(state)?;
        let hashes = self.layout.hashes();
        state.hashes.file.sync().map_err(LedgerError::storage("sync", &hashes))?;
        let storage = &self.options.storage;
        let open = |path: &PathBuf| {
            let file = storage.open_append(path).map_err(LedgerError::storage("make", path))?;
            // What an earlier attempt that failed half-way left is empty.
            let size = file.size().map_err(LedgerError::storage("make", path))?;
            if size == 0 { Ok(Tail::new(file, 0)) } else { Err(LedgerError::damaged(path, "is in the way of a new one")) }
        };
        let ordinal = state.ordinal + 1;
        let pack = open(&self.layout.pack(ordinal))?;
        storage.sync_dir(&self.layout.packs()).map_err(LedgerError::storage("sync", &self.layout.packs()))?;
        let segment = open(&self.layout.segment(LeafIndex(state.frontier.size())))?;
        storage.sync_dir(&self.layout.segments()).map_err(LedgerError::storage("sync", &self.layout.segments()))?;
        state.first = LeafIndex(state.frontier.size());
        (state.pack, state.segment, state.ordinal) = (pack, segment, ordinal);
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    pub fn destroy_key(&self, key: KeyId, at: Timestamp) -> Result<Recorded, LedgerError> {
        let path = self.layout.key(key);
        let mut state = self.lock();
        state.usable()?;
        self.sync_locked(&mut state)?;
        if !path.exists() {
            return Err(LedgerError::NoKey { key });
        }
        let session = keys::read_key_file(&path)?.0.session;
        let event = Event::KeyDestroyed { key };
        let recorded = self.append_locked(&mut state, Pending { at, session, event, key: None, detail: None, body: None })?;
        self.destroyed.write().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.sync_locked(&mut state)?;
        self.forget_key(key);
        let storage = &self.options.storage;
        let daemon = self.layout.daemon_key(key);
        if daemon.exists() {
            storage.remove(&daemon).map_err(LedgerError::storage("remove", &daemon))?;
        }
        storage.remove(&path).map_err(LedgerError::storage("remove", &path))?;
        storage.sync_dir(&self.layout.keys()).map_err(LedgerError::storage("sync", &self.layout.keys()))?;
        drop(state);
        // Signed at once: an erasure that could be cut off again would look like a loss.
        self.checkpoint()?;
        Ok(recorded)
    }

    fn forget_key(&self, key: KeyId) {
        self.keys.forget(key);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that is locked is making a key, which is another one.
        slots.retain(|_, slot| slot.try_lock().map_or(true, |slot| slot.as_ref().is_none_or(|known| known.id != key)));
    }
}

fn seal_error(error: SealError, size: usize) -> LedgerError {
    match error {
        SealError::TooLarge => LedgerError::TooLarge { what: "a sealed part", size: size as u64, limit: MAX_PART },
        other => LedgerError::BadOptions { what: other.to_string() },
    }
}

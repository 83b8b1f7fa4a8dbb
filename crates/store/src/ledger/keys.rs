//! Data keys: made, wrapped with `age` for those who may open, found again, destroyed.
//!
//! `keys/<id>.json` holds the key wrapped for the responders; its digest stands in the ledger. The daemon's copy is
//! a file of its own, for it passes away: after some days the daemon can no longer read what it recorded.

use super::{
    LedgerError,
    layout::{FORMAT_VERSION, Layout, read_small},
    recent::Recent,
    seal::DataKey,
};
use age::x25519::{Identity, Recipient};
use base64::prelude::{BASE64_STANDARD, Engine};
use custody_model::{Digest, KeyId, SessionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use zeroize::Zeroizing;

/// Unwrapped keys that are kept in memory, at most twice that many.
const KEPT: usize = 4096;
/// Suffix of a file that is not in use yet; of a key file, while its entry may yet be lost.
pub(super) const NEW: &str = ".new";

/// The passing name of a file.
pub(super) fn passing(own: &Path) -> PathBuf {
    PathBuf::from(format!("{}{NEW}", own.display()))
}

/// `keys/<id>.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub v: u16,
    pub key: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    pub created: Timestamp,
    /// age file for the responders, base64.
    pub responders: String,
    /// SHA-256 of the daemon's file, if there ever was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<Digest>,
}

/// `keys/<id>.daemon.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DaemonKeyFile {
    pub v: u16,
    pub key: KeyId,
    /// From then on the file is removed.
    pub until: Timestamp,
    /// age file for the daemon, base64.
    pub wrapped: String,
}

/// A key just made, with the bytes of its files.
pub(super) struct NewKey {
    pub key: Arc<DataKey>,
    pub file: Vec<u8>,
    pub digest: Digest,
    pub daemon: Option<Vec<u8>>,
}

/// Makes a data key and wraps it.
pub(super) fn make(
    session: Option<SessionId>,
    created: Timestamp,
    responders: &[Recipient],
    daemon: Option<(&Recipient, Timestamp)>,
) -> Result<NewKey, LedgerError> {
    let mut secret = Zeroizing::new([0_u8; 32]);
    getrandom::fill(secret.as_mut()).map_err(|_| bad("the operating system gave no random bytes"))?;
    let id = KeyId(uuid::Uuid::now_v7());
    let daemon = match daemon {
        Some((recipient, until)) => {
            let wrapped = BASE64_STANDARD.encode(wrap(secret.as_slice(), &mut std::iter::once(recipient))?);
            Some(line(&DaemonKeyFile { v: FORMAT_VERSION, key: id, until, wrapped }))
        }
        None => None,
    };
    let file = line(&KeyFile {
        v: FORMAT_VERSION,
        key: id,
        session,
        created,
        responders: BASE64_STANDARD.encode(wrap(secret.as_slice(), &mut responders.iter())?),
        daemon: daemon.as_deref().map(digest),
    });
    let key = Arc::new(DataKey::new(id, &secret));
    Ok(NewKey { key, digest: digest(&file), file, daemon })
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("strings and numbers");
    bytes.push(b'\n');
    bytes
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn bad(what: &str) -> LedgerError {
    LedgerError::BadOptions { what: what.to_owned() }
}

fn wrap(secret: &[u8], recipients: &mut dyn Iterator<Item = &Recipient>) -> Result<Vec<u8>, LedgerError> {
    let encryptor =
        age::Encryptor::with_recipients(recipients.map(|r| r as _)).map_err(|e| bad(&format!("cannot wrap a data key: {e}")))?;
    let mut wrapped = Vec::new();
    let written = encryptor.wrap_output(&mut wrapped).and_then(|mut writer| {
        writer.write_all(secret)?;
        writer.finish()
    });
    written.map_err(|e| bad(&format!("cannot wrap a data key: {e}")))?;
    Ok(wrapped)
}

fn unwrap(wrapped: &str, identities: &[Identity]) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = BASE64_STANDARD.decode(wrapped).ok()?;
    let decryptor = age::Decryptor::new(&bytes[..]).ok()?;
    let mut reader = decryptor.decrypt(identities.iter().map(|i| i as _)).ok()?;
    let mut secret = Zeroizing::new([0_u8; 32]);
    reader.read_exact(secret.as_mut()).ok()?;
    (reader.read(&mut [0]).ok()? == 0).then_some(secret)
}

pub(super) fn read_key_file(path: &Path) -> Result<(KeyFile, Digest), LedgerError> {
    let bytes = read_small(path)?;
    let file: KeyFile = serde_json::from_slice(&bytes).map_err(|e| LedgerError::damaged(path, e.to_string()))?;
    if file.v != FORMAT_VERSION {
        return Err(LedgerError::damaged(path, format!("version {} is unknown to this program", file.v)));
    }
    Ok((file, digest(&bytes)))
}

pub(super) fn read_daemon_key_file(path: &Path) -> Result<(DaemonKeyFile, Digest), LedgerError> {
    let bytes = read_small(path)?;
    let file: DaemonKeyFile = serde_json::from_slice(&bytes).map_err(|e| LedgerError::damaged(path, e.to_string()))?;
    Ok((file, digest(&bytes)))
}

/// Finds data keys: those in memory, and those that the identities at hand unwrap.
pub(super) struct KeyStore {
    layout: Layout,
    identities: Vec<Identity>,
    known: Mutex<Recent<KeyId, Option<Arc<DataKey>>>>,
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyStore").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl KeyStore {
    pub fn new(layout: Layout, identities: Vec<Identity>) -> KeyStore {
        KeyStore { layout, identities, known: Mutex::new(Recent::new(KEPT)) }
    }

    /// The key, if its file is there and an identity opens it.
    pub fn find(&self, id: KeyId) -> Option<Arc<DataKey>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).lookup(&id);
        if let Some(known) = known {
            // Another process may have destroyed the key: what is erased must stay erased here too.
            return known.filter(|_| self.path(self.layout.key(id)).is_some());
        }
        let (file, _) = read_key_file(&self.path(self.layout.key(id))?).ok().filter(|(file, _)| file.key == id)?;
        let key = self.unwrap(&file).map(|secret| Arc::new(DataKey::new(id, &secret)));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, key.clone());
        key
    }

    /// The file, under its own name or the passing one that it has until its entry is synced.
    fn path(&self, own: PathBuf) -> Option<PathBuf> {
        let passing = passing(&own);
        // Own name twice: it may be given between the looks.
        [&own, &passing, &own].into_iter().find(|path| path.exists()).cloned()
    }

    fn unwrap(&self, file: &KeyFile) -> Option<Zeroizing<[u8; 32]>> {
        if self.identities.is_empty() {
            return None;
        }
        unwrap(&file.responders, &self.identities).or_else(|| {
            let (daemon, digest) = read_daemon_key_file(&self.path(self.layout.daemon_key(file.key))?).ok()?;
            (Some(digest) == file.daemon && daemon.key == file.key && daemon.until > Timestamp::now())
                .then(|| unwrap(&daemon.wrapped, &self.identities))?
        })
    }

    pub fn remember(&self, key: &Arc<DataKey>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id, Some(key.clone()));
    }

    pub fn forget(&self, id: KeyId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|known, _| *known != id);
    }

    /// Whether `forget` matters: somebody could open the key.
    #[cfg(test)]
    pub fn knows(&self, id: KeyId) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).lookup(&id).flatten().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_for_the_responder_and_the_daemon_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir(layout.keys()).unwrap();
        let (responder, daemon, stranger) = (Identity::generate(), Identity::generate(), Identity::generate());
        let until = "2999-01-01T00:00:00Z".parse().unwrap();
        let new = make(None, Timestamp::UNIX_EPOCH, &[responder.to_public()], Some((&daemon.to_public(), until))).unwrap();
        std::fs::write(layout.key(new.key.id), &new.file).unwrap();
        std::fs::write(layout.daemon_key(new.key.id), new.daemon.unwrap()).unwrap();
        let opens = |identity: &Identity| KeyStore::new(layout.clone(), vec![identity.clone()]).find(new.key.id);
        let expected = new.key.commitment(b"x");
        assert_eq!(opens(&responder).unwrap().commitment(b"x"), expected);
        assert_eq!(opens(&daemon).unwrap().commitment(b"x"), expected);
        assert!(opens(&stranger).is_none());
        std::fs::remove_file(layout.daemon_key(new.key.id)).unwrap();
        assert!(opens(&daemon).is_none());
        let store = KeyStore::new(layout.clone(), vec![responder]);
        assert!(store.find(new.key.id).is_some() && store.knows(new.key.id));
        std::fs::remove_file(layout.key(new.key.id)).unwrap();
        assert!(store.find(new.key.id).is_none());
    }

    #[test]
    fn a_daemons_copy_past_its_time_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir(layout.keys()).unwrap();
        let (responder, daemon) = (Identity::generate(), Identity::generate());
        let past = "2001-01-01T00:00:00Z".parse().unwrap();
        let new = make(None, Timestamp::UNIX_EPOCH, &[responder.to_public()], Some((&daemon.to_public(), past))).unwrap();
        std::fs::write(layout.key(new.key.id), &new.file).unwrap();
        std::fs::write(layout.daemon_key(new.key.id), new.daemon.unwrap()).unwrap();
        assert!(KeyStore::new(layout, vec![daemon]).find(new.key.id).is_none());
    }
}

//! Key files against the entries that speak of them.

use super::{
    super::{
        keys::{read_daemon_key_file, read_key_file},
        layout::{Layout, names},
    },
    report::{Fault, VerifyReport},
    tree::describe,
};
use custody_model::{Digest, Entry, Event, KeyId, Sealed, SessionId};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

struct Known {
    leaf: u64,
    file: Digest,
    session: Option<SessionId>,
    destroyed: bool,
}

/// Data keys, as the entries tell.
#[derive(Default)]
pub(super) struct Keyring {
    known: HashMap<KeyId, Known>,
    /// References by key: they count as erased when it is destroyed.
    uses: HashMap<KeyId, u64>,
}

impl Keyring {
    /// Takes an entry in; says what is wrong with it.
    pub fn take(&mut self, leaf: u64, entry: &Entry) -> Option<String> {
        match &entry.event {
            Event::KeyCreated { key, file } => {
                let new = Known { leaf, file: *file, session: entry.session, destroyed: false };
                self.known.insert(*key, new).is_some().then(|| format!("makes {key} a second time"))
            }
            Event::KeyDestroyed { key } => match self.known.get_mut(key) {
                Some(known) if !known.destroyed => {
                    known.destroyed = true;
                    None
                }
                _ => Some(format!("destroys {key}, which is not there")),
            },
            _ => None,
        }
    }

    /// What is wrong with the key of a part.
    pub fn check(&mut self, part: &Sealed, session: Option<SessionId>) -> Option<String> {
        *self.uses.entry(part.key).or_default() += 1;
        match self.known.get(&part.key) {
            None => Some(format!("is sealed with {}, which was never made", part.key)),
            Some(known) if known.destroyed => Some(format!("is sealed with {}, which was destroyed before", part.key)),
            Some(known) if known.session != session => Some(format!("is sealed with {}, the key of another session", part.key)),
            Some(_) => None,
        }
    }

    pub fn finish(self, layout: &Layout, gone: Vec<(PathBuf, HashSet<KeyId>)>, report: &mut VerifyReport) {
        report.keys = self.known.len() as u64;
        report.keys_destroyed = self.known.values().filter(|known| known.destroyed).count() as u64;
        let destroyed = |key: &KeyId| self.known.get(key).is_some_and(|known| known.destroyed);
        report.erased_parts = self.uses.iter().filter(|(key, _)| destroyed(key)).map(|(_, uses)| uses).sum();
        for (path, keys) in gone {
            if keys.is_empty() || !keys.iter().all(destroyed) {
                report.fault(Fault::new(path, "is missing, and not all of its parts are erased"));
            }
        }
        let mut missing: HashMap<KeyId, &Known> = self.known.iter().filter(|(_, k)| !k.destroyed).map(|(id, k)| (*id, k)).collect();
        let files = names(&layout.keys()).unwrap_or_else(|error| {
            report.fault(Fault::new(layout.keys(), describe(&error)));
            Vec::new()
        });
        for name in files {
            let path = layout.keys().join(&name);
            let id = name.split('.').next().and_then(|stem| stem.parse::<KeyId>().ok());
            let (Some(id), Some(rest)) = (id, name.split_once('.').map(|(_, rest)| rest)) else {
                report.fault(Fault::new(path, "is no part of a ledger"));
                continue;
            };
            match (self.known.get(&id), rest) {
                (_, "json.new" | "daemon.json.new") => {
                    missing.remove(&id);
                    if !report.live {
                        report.fault(Fault::new(path, "is not in use yet").after_crash());
                    }
                }
                (None, "json" | "daemon.json") if report.live => {}
                (Some(known), "json" | "daemon.json") if known.destroyed => {
                    report.fault(Fault::new(path, "should have been destroyed").after_crash());
                }
                (Some(known), "json") => {
                    missing.remove(&id);
                    match read_key_file(&path) {
                        Ok((_, digest)) if digest != known.file => {
                            report.fault(Fault::new(path, format!("is not the file that entry {} names", known.leaf)));
                        }
                        Ok((file, _)) if file.key != id || file.session != known.session => {
                            report.fault(Fault::new(path, "is of another key or session"));
                        }
                        Ok(_) => {}
                        Err(error) => report.fault(Fault::new(path, describe(&error))),
                    }
                }
                (Some(_), "daemon.json") => {
                    let expected = read_key_file(&layout.key(id)).ok().and_then(|(file, _)| file.daemon);
                    match read_daemon_key_file(&path) {
                        Ok((file, digest)) if Some(digest) == expected && file.key == id => {}
                        Ok(_) => report.fault(Fault::new(path, "is not the file that the key file names")),
                        Err(error) => report.fault(Fault::new(path, describe(&error))),
                    }
                }
                _ => report.fault(Fault::new(path, "is no part of a ledger")),
            }
        }
        for (id, known) in missing {
            report.fault(Fault::new(layout.key(id), "is missing, and no entry destroys it").at_leaf(known.leaf));
        }
    }
}

//! Which keys seal what of whom: what an erasure asks before it destroys.

use super::{Ledger, LedgerError, keys};
use custody_model::{KeyId, SessionId};
use std::collections::HashSet;

impl Ledger {
    /// The data keys of these sessions that still exist.
    ///
    /// # Errors
    /// [`LedgerError::Storage`]; [`LedgerError::Damaged`] when a key file is not one, for nobody knows whose it is.
    pub fn keys_of(&self, sessions: &HashSet<SessionId>) -> Result<Vec<(SessionId, KeyId)>, LedgerError> {
        // With the sync, keys that were just made get their names.
        self.sync()?;
        let layout = &self.0.core.layout;
        let directory = layout.keys();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(LedgerError::storage("read", &directory))? {
            let name = entry.map_err(LedgerError::storage("read", &directory))?.file_name();
            let Some(key) = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<KeyId>().ok()) else { continue };
            let (file, _) = match keys::read_key_file(&layout.key(key)) {
                Err(LedgerError::Storage { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
                read => read?,
            };
            if let Some(session) = file.session.filter(|session| sessions.contains(session)) {
                found.push((session, key));
            }
        }
        found.sort();
        Ok(found)
    }
}

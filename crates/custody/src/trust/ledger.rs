//! Makes the ledger of a new home.

use super::{Home, HomeError, NoteKey};

/// `recipients`: age public keys for which every data key is wrapped, the daemon's last.
pub(super) fn create(home: &Home, _origin: &str, _signer: &NoteKey, _recipients: &[String]) -> Result<(), HomeError> {
    let path = home.ledger();
    super::files::make_private_directory(&path, 0o700).map_err(|source| HomeError::Io {
        doing: "make",
        path: path.display().to_string(),
        source,
    })
}

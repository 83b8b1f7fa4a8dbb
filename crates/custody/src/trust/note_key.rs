//! The ledger's signing key in the text form of C2SP signed notes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Secret;

/// Algorithm byte of Ed25519 in signed-note keys.
const ED25519: u8 = 1;

/// A new signed-note key pair (<https://c2sp.org/signed-note>).
#[derive(Debug, Clone)]
pub struct NoteKey {
    /// `PRIVATE+KEY+<name>+<id>+<base64>`.
    pub signer: Secret,
    /// `<name>+<id>+<base64>`: give this to whoever shall verify.
    pub verifier: String,
}

impl NoteKey {
    /// Makes a key pair. `name` has no whitespace and no plus: it becomes the origin line of every checkpoint.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(name: &str) -> std::io::Result<NoteKey> {
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(std::io::Error::other)?;
        let key = SigningKey::from_bytes(&seed);
        let public = [&[ED25519], key.verifying_key().to_bytes().as_slice()].concat();
        let private = Zeroizing::new([&[ED25519], seed.as_slice()].concat());
        let id = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(&public).finalize();
        let id = hex::encode(&id[..4]);
        Ok(NoteKey {
            signer: Secret::from(format!("PRIVATE+KEY+{name}+{id}+{}", STANDARD.encode(&*private))),
            verifier: format!("{name}+{id}+{}", STANDARD.encode(&public)),
        })
    }
}

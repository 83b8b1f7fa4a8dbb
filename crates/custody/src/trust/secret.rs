//! Random bearer tokens, and the digests by which they are recognised.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use custody_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

/// A text that must never be printed: `Debug` hides it, dropping wipes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A new token: the prefix and 256 random bits in URL-safe base64.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn mint(prefix: &str) -> std::io::Result<Secret> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        let token = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
        bytes.zeroize();
        Ok(Secret(token))
    }

    /// The text itself. Name the reason where you call it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored instead of the token.
    pub fn digest(&self) -> Digest {
        token_digest(&self.0)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// SHA-256 of what must not stand somewhere itself.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// SHA-256 of a presented token. The token has 256 random bits: it needs no salt and no slow hash.
pub(super) fn token_digest(token: &str) -> Digest {
    Digest(Sha256::digest(token.as_bytes()).into())
}

/// The index of the entry whose digest is `wanted`; looks at all of them, always.
pub(super) fn find_digest<'a>(digests: impl Iterator<Item = &'a Digest>, wanted: &Digest) -> Option<usize> {
    let mut found = None;
    for (index, digest) in digests.enumerate() {
        if bool::from(digest.0.ct_eq(&wanted.0)) {
            found = Some(index);
        }
    }
    found
}

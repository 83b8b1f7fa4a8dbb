//! Sealed parts: commitment, compression, encryption. No files.

use super::layout::MAX_PART;
use chacha20poly1305::{
    AeadInPlace, KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload, generic_array::GenericArray},
};
use custody_model::{Commitment, Digest, KeyId};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use zeroize::Zeroizing;

/// Nonce and tag: a part is longer than its envelope by this.
pub(super) const OVERHEAD: u64 = 24 + 16;
/// First byte of the envelope: the rest is the plaintext.
const RAW: u8 = 0;
/// First byte of the envelope: the rest is one zstd frame.
const ZSTD: u8 = 1;
/// Shorter plaintexts are not worth compressing: it would cost more than everything else that is done to them, and save a hundred bytes.
const WORTH_COMPRESSING: usize = 512;
/// Compression is in the way of every message: this level takes little more than half the time of level 1, and the result is an
/// eighth longer (docs/adr/0005).
const LEVEL: i32 = -3;

/// A part could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("over the limit of {MAX_PART} bytes")]
    TooLarge,
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    #[error("the ciphertext is not what this key sealed")]
    Forged,
    #[error("the plaintext is not of the size that the entry says")]
    WrongSize,
}

/// The data key of a session, or of the system, ready for use.
pub(super) struct DataKey {
    pub id: KeyId,
    commitment_key: Zeroizing<[u8; 32]>,
    commitment: Hmac<Sha256>,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

/// A random number, to be used once. It cannot be copied.
pub(super) struct Nonce([u8; 24]);

/// New nonces, all from one question to the operating system.
pub(super) fn nonces<const N: usize>() -> Result<[Nonce; N], SealError> {
    let mut bytes = [[0; 24]; N];
    getrandom::fill(bytes.as_flattened_mut()).map_err(|_| SealError::NoRandomness)?;
    Ok(bytes.map(Nonce))
}

/// A part before it has a place.
#[derive(Debug)]
pub(super) struct SealedBytes {
    pub commitment: Commitment,
    pub digest: Digest,
    pub size: u64,
    pub bytes: Vec<u8>,
}

impl DataKey {
    pub fn new(id: KeyId, secret: &[u8; 32]) -> DataKey {
        let derived = Hkdf::<Sha256>::new(None, secret);
        let expand = |info: &[u8]| {
            let mut key = Zeroizing::new([0_u8; 32]);
            derived.expand(info, key.as_mut()).expect("32 bytes are a valid HKDF length");
            key
        };
        let commitment = expand(b"custody commitment");
        let seal = expand(b"custody seal");
        DataKey {
            id,
            commitment: <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(commitment.as_slice()).expect("HMAC takes any key"),
            cipher: XChaCha20Poly1305::new(GenericArray::from_slice(seal.as_slice())),
            commitment_key: commitment,
        }
    }

    /// What opens the commitments, and nothing else: it does not decrypt.
    pub fn commitment_key(&self) -> Zeroizing<[u8; 32]> {
        self.commitment_key.clone()
    }

    /// Proves the plaintext to whoever holds the key; means nothing to anybody else.
    pub fn commitment(&self, plain: &[u8]) -> Commitment {
        let mut mac = self.commitment.clone();
        mac.update(plain);
        Commitment(mac.finalize().into_bytes().into())
    }

    /// Compresses where it helps, and encrypts under a random nonce, bound to the commitment.
    pub fn seal(&self, plain: &[u8], commitment: Commitment) -> Result<SealedBytes, SealError> {
        let [nonce] = nonces()?;
        self.seal_under(nonce, plain, commitment)
    }

    /// As [`DataKey::seal`], under a nonce that was just made for it.
    pub fn seal_under(&self, Nonce(nonce): Nonce, plain: &[u8], commitment: Commitment) -> Result<SealedBytes, SealError> {
        if plain.len() as u64 > MAX_PART {
            return Err(SealError::TooLarge);
        }
        let mut bytes = Vec::with_capacity(plain.len() + 64);
        bytes.extend_from_slice(&nonce);
        match compress(plain) {
            Some(frame) => {
                bytes.push(ZSTD);
                bytes.extend_from_slice(&frame);
            }
            None => {
                bytes.push(RAW);
                bytes.extend_from_slice(plain);
            }
        }
        let nonce = GenericArray::from(nonce);
        let tag = self.cipher.encrypt_in_place_detached(&nonce, &commitment.0, &mut bytes[24..]).map_err(|_| SealError::TooLarge)?;
        bytes.extend_from_slice(&tag);
        let digest = Digest(Sha256::digest(&bytes).into());
        Ok(SealedBytes { commitment, digest, size: plain.len() as u64, bytes })
    }

    /// The plaintext, of exactly `size` bytes.
    pub fn open(&self, stored: &[u8], commitment: Commitment, size: u64) -> Result<Vec<u8>, SealError> {
        if size > MAX_PART {
            return Err(SealError::TooLarge);
        }
        let (nonce, sealed) = stored.split_at_checked(24).ok_or(SealError::Forged)?;
        let payload = Payload { msg: sealed, aad: &commitment.0 };
        let envelope = self.cipher.decrypt(GenericArray::from_slice(nonce), payload).map_err(|_| SealError::Forged)?;
        self.open_envelope(envelope, size)
    }

    /// The plaintext in a decrypted envelope.
    pub fn open_envelope(&self, mut envelope: Vec<u8>, size: u64) -> Result<Vec<u8>, SealError> {
        if envelope.is_empty() {
            return Err(SealError::Forged);
        }
        let plain = match envelope.remove(0) {
            RAW => envelope,
            // The size bounds the memory: a frame that holds more is refused.
            ZSTD => zstd::bulk::decompress(&envelope, size as usize).map_err(|_| SealError::WrongSize)?,
            _ => return Err(SealError::Forged),
        };
        if plain.len() as u64 == size { Ok(plain) } else { Err(SealError::WrongSize) }
    }
}

fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    if plain.len() < WORTH_COMPRESSING {
        return None;
    }
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        slot.as_mut()?.compress(plain).ok().filter(|frame| frame.len() < plain.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(secret: u8) -> DataKey {
        DataKey::new(KeyId(uuid::Uuid::nil()), &[secret; 32])
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(plain in proptest::collection::vec(any::<u8>(), 0..600), at in any::<usize>(), repeat in 1_usize..20) {
            let plain = plain.repeat(repeat);
            let key = key(1);
            let sealed = key.seal(&plain, key.commitment(&plain)).unwrap();
            prop_assert!(sealed.bytes.len() as u64 <= sealed.size + 1 + OVERHEAD);
            prop_assert_eq!(key.open(&sealed.bytes, sealed.commitment, sealed.size), Ok(plain.clone()));
            let mut changed = sealed.bytes.clone();
            let at = at % changed.len();
            changed[at] ^= 1;
            prop_assert_eq!(key.open(&changed, sealed.commitment, sealed.size), Err(SealError::Forged));
            prop_assert_eq!(key.open(&sealed.bytes, Commitment([0; 32]), sealed.size), Err(SealError::Forged));
            prop_assert!(key.open(&sealed.bytes, sealed.commitment, sealed.size + 1).is_err());
            prop_assert!(super::tests::key(2).open(&sealed.bytes, sealed.commitment, sealed.size).is_err());
        }
    }

    #[test]
    fn commitments_need_the_key() {
        assert_eq!(key(1).commitment(b"x"), key(1).commitment(b"x"));
        assert_ne!(key(1).commitment(b"x"), key(2).commitment(b"x"));
    }

    #[test]
    fn equal_plaintexts_do_not_look_equal() {
        let key = key(1);
        let commitment = key.commitment(b"same");
        assert_ne!(key.seal(b"same", commitment).unwrap().bytes, key.seal(b"same", commitment).unwrap().bytes);
    }
}

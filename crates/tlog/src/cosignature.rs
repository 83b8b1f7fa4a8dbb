//! Cosignatures of witnesses (C2SP `tlog-cosignature`, `cosignature/v1`): who saw a checkpoint, and when.

use crate::{BadCheckpoint, SignedCheckpoint};
use base64::prelude::{BASE64_STANDARD, Engine};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// Signature type of `cosignature/v1` with Ed25519.
const KIND: u8 = 4;

fn bad(what: impl Into<String>) -> BadCheckpoint {
    BadCheckpoint::Key { what: what.into() }
}

/// What is signed: a header, the time, and the text of the checkpoint.
fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// One witness's signature over a checkpoint: from then on it refuses every other history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// Name of the witness.
    pub name: String,
    /// First four bytes of the hash of name and key.
    id: u32,
    /// When it signed, in seconds since 1970 (POSIX).
    pub time: u64,
    signature: [u8; 64],
}

impl Cosignature {
    /// Reads a signature line, without its newline.
    ///
    /// # Errors
    /// [`BadCheckpoint::Malformed`].
    pub fn parse(line: &str) -> Result<Self, BadCheckpoint> {
        let malformed = BadCheckpoint::Malformed { what: "not a cosignature" };
        let (name, bytes) = signature_line(line).ok_or(malformed.clone())?;
        Self::of(name, &bytes).ok_or(malformed)
    }

    fn of(name: &str, bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (time, signature) = rest.split_first_chunk()?;
        let (id, time) = (u32::from_be_bytes(*id), u64::from_be_bytes(*time));
        Some(Cosignature { name: name.to_owned(), id, time, signature: signature.try_into().ok()? })
    }

    /// The line that stands below a checkpoint, with its newline.
    pub fn line(&self) -> String {
        let bytes = [&self.id.to_be_bytes()[..], &self.time.to_be_bytes(), &self.signature].concat();
        format!("— {} {}\n", self.name, BASE64_STANDARD.encode(bytes))
    }
}

fn signature_line(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = BASE64_STANDARD.decode(bytes).ok()?;
    (signed_note::is_key_name_valid(name) && bytes.len() > 4).then_some((name, bytes))
}

/// A witness's signing key.
#[derive(Clone)]
pub struct Cosigner {
    key: SigningKey,
    public: WitnessKey,
}

impl std::fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cosigner({})", self.public.vkey)
    }
}

impl Cosigner {
    /// Makes the key of a witness from 32 random bytes.
    ///
    /// # Errors
    /// [`BadCheckpoint::Key`] when the name is empty, or has white space or `+`.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, BadCheckpoint> {
        if !signed_note::is_key_name_valid(name) {
            return Err(bad("the name is empty, or has white space or `+`"));
        }
        let key = SigningKey::from_bytes(&seed);
        let public = WitnessKey::new(name, key.verifying_key());
        Ok(Cosigner { key, public })
    }

    /// Reads `PRIVATE+KEY+<name>+<id>+<base64>` with the algorithm byte of cosignatures.
    ///
    /// # Errors
    /// [`BadCheckpoint::Key`]; the key is not repeated.
    pub fn parse(text: &str) -> Result<Self, BadCheckpoint> {
        let rest = text.trim().strip_prefix("PRIVATE+KEY+").ok_or(bad("does not begin with PRIVATE+KEY+"))?;
        let (name, id, bytes) = fields(rest)?;
        let seed = bytes.try_into().map_err(|_| bad("not 32 bytes"))?;
        let cosigner = Self::from_seed(name, seed)?;
        if cosigner.public.id == id { Ok(cosigner) } else { Err(bad("the key id does not fit")) }
    }

    /// The key in the form that [`Cosigner::parse`] reads. Secret.
    pub fn encode(&self) -> String {
        let bytes = [&[KIND][..], self.key.as_bytes()].concat();
        format!("PRIVATE+KEY+{}+{:08x}+{}", self.public.name, self.public.id, BASE64_STANDARD.encode(bytes))
    }

    /// What others check its cosignatures with.
    pub fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// Cosigns. The caller has made sure that this checkpoint follows what was cosigned before ([`crate::consider`]).
    pub fn cosign(&self, checkpoint: &SignedCheckpoint, time: u64) -> Cosignature {
        let signature = self.key.sign(&message(time, checkpoint.text())).to_bytes();
        Cosignature { name: self.public.name.clone(), id: self.public.id, time, signature }
    }
}

/// A witness's verifier key, `<name>+<id>+<base64>` with the algorithm byte of cosignatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: VerifyingKey,
    vkey: String,
}

impl WitnessKey {
    fn new(name: &str, key: VerifyingKey) -> Self {
        let bytes = [&[KIND][..], key.as_bytes()].concat();
        let id = signed_note::key_id(name, &bytes);
        WitnessKey { name: name.to_owned(), id, key, vkey: format!("{name}+{id:08x}+{}", BASE64_STANDARD.encode(bytes)) }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`BadCheckpoint::Key`].
    pub fn parse(vkey: &str) -> Result<Self, BadCheckpoint> {
        let (name, id, bytes) = fields(vkey.trim())?;
        let bytes = bytes.try_into().map_err(|_| bad("not 32 bytes"))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| bad("not an Ed25519 key"))?;
        let read = Self::new(name, key);
        if read.id == id { Ok(read) } else { Err(bad("the key id does not fit")) }
    }

    /// Name of the witness.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key as text.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// Checks one cosignature of a checkpoint.
    ///
    /// # Errors
    /// [`BadCheckpoint::Signature`].
    pub fn check(&self, checkpoint: &SignedCheckpoint, cosignature: &Cosignature) -> Result<(), BadCheckpoint> {
        let wrong = || BadCheckpoint::Signature { by: self.name.clone() };
        if (cosignature.name.as_str(), cosignature.id) != (&self.name, self.id) {
            return Err(wrong());
        }
        let signature = Signature::from_bytes(&cosignature.signature);
        self.key.verify_strict(&message(cosignature.time, checkpoint.text()), &signature).map_err(|_| wrong())
    }

    /// This witness's good cosignature below a checkpoint, if there is one; of several, the latest. Says nothing about the
    /// log's own signature.
    pub fn find(&self, checkpoint: &SignedCheckpoint) -> Option<Cosignature> {
        let lines = checkpoint.signature_lines().filter_map(|line| Cosignature::parse(line).ok());
        lines.filter(|cosignature| self.check(checkpoint, cosignature).is_ok()).max_by_key(|cosignature| cosignature.time)
    }
}

/// Name, id and the 32 bytes behind the algorithm byte.
fn fields(text: &str) -> Result<(&str, u32, Vec<u8>), BadCheckpoint> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad("not <name>+<id>+<base64>"));
    };
    let id = Some(id).filter(|id| id.len() == 8).and_then(|id| u32::from_str_radix(id, 16).ok()).ok_or(bad("no key id of 8 digits"))?;
    let bytes = BASE64_STANDARD.decode(bytes).map_err(|_| bad("not base64"))?;
    match bytes.split_first() {
        Some((&KIND, rest)) => Ok((name, id, rest.to_vec())),
        Some((1, _)) => Err(bad("the key of a log, not of a witness (algorithm byte 1; cosignature/v1 has 4)")),
        _ => Err(bad("not a key for cosignature/v1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Hash, Signer};

    fn checkpoint(size: u64) -> SignedCheckpoint {
        let signer = Signer::from_seed("custody.example/a", [7; 32]).unwrap();
        signer.sign(&Checkpoint { origin: "custody.example/a".into(), size, root: Hash([3; 32]) }).unwrap()
    }

    #[test]
    fn a_cosignature_holds_for_its_checkpoint_and_time_only() {
        let witness = Cosigner::from_seed("witness.example/w1", [9; 32]).unwrap();
        let signed = checkpoint(5);
        let cosigned = signed.with(&[witness.cosign(&signed, 1_700_000_000)]).unwrap();
        assert_eq!(witness.public().find(&cosigned).unwrap().time, 1_700_000_000);
        assert_eq!(witness.public().find(&signed), None);
        // The log's own verifier is content with the line it does not know.
        let log = Signer::from_seed("custody.example/a", [7; 32]).unwrap().verifier();
        assert_eq!(log.verify(&cosigned).unwrap().size, 5);
        let other = checkpoint(6);
        let moved = other.with(&[witness.cosign(&signed, 1_700_000_000)]).unwrap();
        assert_eq!(witness.public().find(&moved), None);
        let mut later = witness.cosign(&signed, 1_700_000_000);
        later.time += 1;
        assert!(witness.public().check(&signed, &later).is_err());
        let stranger = Cosigner::from_seed("witness.example/w1", [8; 32]).unwrap();
        assert_eq!(stranger.public().find(&cosigned), None);
    }

    #[test]
    fn keys_and_lines_survive_their_text() {
        for seed in 0..32 {
            let witness = Cosigner::from_seed("w", [seed; 32]).unwrap();
            assert_eq!(Cosigner::parse(&witness.encode()).unwrap().public(), witness.public());
            assert_eq!(&WitnessKey::parse(witness.public().vkey()).unwrap(), witness.public());
            let line = witness.cosign(&checkpoint(1), u64::from(seed));
            assert_eq!(Cosignature::parse(line.line().trim_end()).unwrap(), line);
        }
        let log = Signer::from_seed("x", [1; 32]).unwrap();
        assert!(WitnessKey::parse(log.vkey()).unwrap_err().to_string().contains("not of a witness"));
        assert!(Cosigner::parse("PRIVATE+KEY+w+00000000+AAAA").is_err());
        assert!(Cosignature::parse("— w AAAA").is_err());
        assert!(Cosignature::parse("w").is_err());
    }
}

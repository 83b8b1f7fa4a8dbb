//! Checkpoints: the signed head of a tree.

use base64::prelude::{BASE64_STANDARD, Engine};
use signed_note::{Note, Signer as _, StandardSigner, StandardVerifier, Verifier as _, VerifierList};
use tlog_tiles::Hash;

/// Longest note that is read.
const MAX_NOTE: usize = 64 * 1024;

/// A key or a checkpoint is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// A signer or verifier key is malformed. (The key itself is never repeated.)
    #[error("not a signed-note key: {what}")]
    Key {
        /// What is wrong.
        what: String,
    },
    /// The text is no signed checkpoint.
    #[error("not a signed checkpoint: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// No good signature by the trusted key.
    #[error("no valid signature by {by}")]
    Signature {
        /// The verifier's name.
        by: String,
    },
    /// The checkpoint is of another log.
    #[error("a checkpoint of `{found}`, not of `{expected}`")]
    Origin {
        /// The log in question.
        expected: String,
        /// The log that the checkpoint names.
        found: String,
    },
}

/// The head of a tree (C2SP `tlog-checkpoint`, without extension lines).
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Name of the log; also the name of its key.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

/// A checkpoint with its signatures, as the bytes that were signed. Parsing says nothing about trust:
/// [`Verifier::verify`] does.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedCheckpoint {
    note: String,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Reads a signed note that holds a checkpoint. The signature is not checked.
    ///
    /// # Errors
    /// [`BadCheckpoint::Malformed`].
    pub fn parse(note: &str) -> Result<Self, BadCheckpoint> {
        let bad = |what| BadCheckpoint::Malformed { what };
        if note.len() > MAX_NOTE {
            return Err(bad("too long"));
        }
        let parsed = Note::from_bytes(note.as_bytes()).map_err(|_| bad("not a signed note"))?;
        let read = tlog_tiles::Checkpoint::from_bytes(parsed.text()).map_err(|_| bad("not a checkpoint"))?;
        let checkpoint = Checkpoint { origin: read.origin().to_owned(), size: read.size(), root: *read.hash() };
        Ok(SignedCheckpoint { note: note.to_owned(), checkpoint })
    }

    /// The signed note, with its final newline.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What is signed: the note without its signature lines and the empty line before them.
    pub fn text(&self) -> &str {
        // A note that was parsed has it; its text holds no empty line (no extension lines are written).
        self.note.rfind("\n\n").map_or("", |at| &self.note[..=at])
    }

    /// The signature lines, without their newlines.
    pub fn signature_lines(&self) -> impl Iterator<Item = &str> {
        self.note[self.text().len()..].lines().filter(|line| !line.is_empty())
    }

    /// The same checkpoint with further signatures below it.
    ///
    /// # Errors
    /// [`BadCheckpoint::Malformed`] when they are too many.
    pub fn with(&self, cosignatures: &[crate::Cosignature]) -> Result<Self, BadCheckpoint> {
        let lines: String = cosignatures.iter().map(crate::Cosignature::line).collect();
        Self::parse(&format!("{}{lines}", self.note))
    }

    /// Number of leaves it speaks of.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// Root it speaks of.
    pub fn root(&self) -> Hash {
        self.checkpoint.root
    }

    /// The head, signature unchecked.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// A signing key (Ed25519 signed note).
#[derive(Clone)]
pub struct Signer {
    inner: StandardSigner,
    vkey: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.vkey)
    }
}

impl Signer {
    /// Makes the key for a log from 32 random bytes.
    ///
    /// # Errors
    /// [`BadCheckpoint::Key`] when the name is empty, or has white space or `+`.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, BadCheckpoint> {
        Self::parse(&encode(name, &seed)?)
    }

    /// Reads `PRIVATE+KEY+<name>+<id>+<base64>`.
    ///
    /// # Errors
    /// [`BadCheckpoint::Key`].
    pub fn parse(text: &str) -> Result<Self, BadCheckpoint> {
        let bad = |what: String| BadCheckpoint::Key { what };
        let inner = StandardSigner::new(text).map_err(|e| bad(e.to_string()))?;
        let private = secret_of(text).ok_or_else(|| bad("malformed signer key".into()))?;
        let public = ed25519_dalek::SigningKey::from_bytes(&private).verifying_key();
        let vkey = signed_note::new_ed25519_verifier_key(inner.name(), &public);
        Ok(Signer { inner, vkey })
    }

    /// The key in the form that [`Signer::parse`] reads. Secret.
    ///
    /// # Errors
    /// [`BadCheckpoint::Key`] when the name will not do.
    pub fn encode(name: &str, seed: &[u8; 32]) -> Result<String, BadCheckpoint> {
        encode(name, seed)
    }

    /// Name of the log that it signs for.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// The verifier key, `<name>+<id>+<base64>`.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// The matching verifier.
    pub fn verifier(&self) -> Verifier {
        Verifier::parse(&self.vkey).expect("a key that we encoded")
    }

    /// Signs a checkpoint. Deterministic (Ed25519).
    ///
    /// # Errors
    /// [`BadCheckpoint::Malformed`] when the origin cannot stand in a checkpoint.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, BadCheckpoint> {
        let bad = |_| BadCheckpoint::Malformed { what: "the origin cannot stand in a checkpoint" };
        let text = tlog_tiles::Checkpoint::new(&checkpoint.origin, checkpoint.size, checkpoint.root, "")
            .map_err(|_| BadCheckpoint::Malformed { what: "the origin cannot stand in a checkpoint" })?
            .to_bytes();
        let mut note = Note::new(&text, &[]).map_err(bad)?;
        note.add_sigs(&[&self.inner]).map_err(bad)?;
        let note = String::from_utf8(note.to_bytes()).map_err(|_| BadCheckpoint::Malformed { what: "not UTF-8" })?;
        SignedCheckpoint::parse(&note)
    }
}

fn encode(name: &str, seed: &[u8; 32]) -> Result<String, BadCheckpoint> {
    if !signed_note::is_key_name_valid(name) {
        return Err(BadCheckpoint::Key { what: "the name is empty, or has white space or `+`".into() });
    }
    let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key();
    let id = signed_note::key_id(name, &[&[1], public.as_bytes().as_slice()].concat());
    let private = [&[1], seed.as_slice()].concat();
    Ok(format!("PRIVATE+KEY+{name}+{id:08x}+{}", BASE64_STANDARD.encode(private)))
}

/// The 32 secret bytes; the base64 part may itself hold `+`, so the fields are counted from the front.
fn secret_of(text: &str) -> Option<[u8; 32]> {
    let bytes = BASE64_STANDARD.decode(text.splitn(5, '+').nth(4)?).ok()?;
    bytes.get(1..)?.try_into().ok()
}

/// Checks signatures of one log.
#[derive(Clone)]
pub struct Verifier {
    inner: StandardVerifier,
    vkey: String,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({})", self.vkey)
    }
}

impl Verifier {
    /// Reads `<name>+<id>+<base64>`.
    ///
    /// # Errors
    /// [`BadCheckpoint::Key`].
    pub fn parse(vkey: &str) -> Result<Self, BadCheckpoint> {
        let inner = StandardVerifier::new(vkey).map_err(|e| BadCheckpoint::Key { what: e.to_string() })?;
        Ok(Verifier { inner, vkey: vkey.to_owned() })
    }

    /// Name of the log.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// The key as text.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// Checks that this key signed the note, and that the note speaks of this key's log. Signatures by other keys
    /// (witnesses) are ignored, as C2SP says.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    pub fn verify<'a>(&self, signed: &'a SignedCheckpoint) -> Result<&'a Checkpoint, BadCheckpoint> {
        self.verify_counting(signed).map(|(checkpoint, _)| checkpoint)
    }

    /// As [`Verifier::verify`]; also how many signatures there are by keys that this verifier does not know.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    pub fn verify_counting<'a>(&self, signed: &'a SignedCheckpoint) -> Result<(&'a Checkpoint, usize), BadCheckpoint> {
        let note = Note::from_bytes(signed.note.as_bytes()).map_err(|_| BadCheckpoint::Malformed { what: "not a signed note" })?;
        let known = VerifierList::new(vec![Box::new(self.inner.clone())]);
        let unsigned = |_| BadCheckpoint::Signature { by: self.name().to_owned() };
        let (good, unknown) = note.verify(&known).map_err(unsigned)?;
        debug_assert!(!good.is_empty());
        if signed.checkpoint.origin != self.name() {
            return Err(BadCheckpoint::Origin { expected: self.name().to_owned(), found: signed.checkpoint.origin.clone() });
        }
        Ok((&signed.checkpoint, unknown.len()))
    }
}

/// Splits signed notes that were appended to each other: text, an empty line, one or more lines that begin with an em
/// dash and a space. A note ends before the first line that does not.
pub fn notes(text: &str) -> Notes<'_> {
    Notes { rest: text }
}

/// See [`notes`]. What follows the last whole note is [`Notes::rest`].
#[derive(Debug, Clone)]
pub struct Notes<'a> {
    rest: &'a str,
}

impl<'a> Notes<'a> {
    /// What was not yet given out; at the end, the bytes that are no whole note.
    pub fn rest(&self) -> &'a str {
        self.rest
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut end = self.rest.find("\n\n")? + 2;
        let start = end;
        while self.rest[end..].starts_with("— ") {
            match self.rest[end..].find('\n') {
                Some(at) => end += at + 1,
                None => break,
            }
        }
        if end == start {
            return None;
        }
        let (note, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "custody.example/ledger";

    fn signed(size: u64) -> (Signer, SignedCheckpoint) {
        let signer = Signer::from_seed(NAME, [3; 32]).unwrap();
        let signed = signer.sign(&Checkpoint { origin: NAME.into(), size, root: Hash([9; 32]) }).unwrap();
        (signer, signed)
    }

    #[test]
    fn a_signature_is_checked_and_every_byte_counts() {
        let (signer, signed) = signed(42);
        let verifier = signer.verifier();
        assert_eq!(verifier.verify(&signed).unwrap().size, 42);
        let bytes = signed.note().as_bytes();
        for at in 0..bytes.len() {
            for mask in [0x01, 0x20, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] ^= mask;
                let passes = String::from_utf8(changed)
                    .ok()
                    .and_then(|text| SignedCheckpoint::parse(&text).ok())
                    .is_some_and(|read| verifier.verify(&read).is_ok());
                assert!(!passes, "byte {at} with {mask:#x}");
            }
        }
    }

    #[test]
    fn another_logs_checkpoint_is_refused_even_when_the_key_signed_it() {
        let (signer, _) = signed(1);
        let other = signer.sign(&Checkpoint { origin: "other".into(), size: 1, root: Hash([1; 32]) }).unwrap();
        assert!(matches!(signer.verifier().verify(&other), Err(BadCheckpoint::Origin { .. })));
    }

    #[test]
    fn keys_survive_their_text() {
        for seed in 0..64 {
            let text = Signer::encode(NAME, &[seed; 32]).unwrap();
            assert_eq!(Signer::parse(&text).unwrap().vkey(), Signer::from_seed(NAME, [seed; 32]).unwrap().vkey());
        }
        assert!(Signer::from_seed("white space", [1; 32]).is_err());
        assert!(Signer::parse("PRIVATE+KEY+x+00000000+AAAA").is_err());
    }

    #[test]
    fn appended_notes_come_apart_again() {
        let (a, b) = (signed(1).1, signed(2).1);
        let text = format!("{}{}{}", a.note(), b.note(), &a.note()[..20]);
        let mut split = notes(&text);
        assert_eq!(split.by_ref().collect::<Vec<_>>(), [a.note(), b.note()]);
        assert_eq!(split.rest(), &a.note()[..20]);
    }
}

//! The signature: an in-toto Statement v1 in a DSSE envelope, with the ledger's own Ed25519 key.

use base64::prelude::{BASE64_STANDARD, Engine};
use custody_model::Digest;
use custody_tlog::Signer;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// DSSE payload type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Predicate type of a Custody evidence bundle.
pub const PREDICATE_TYPE: &str = "urn:custody:evidence:v1";
/// Predicate type of a hand-over of a bundle.
pub const HAND_OVER_TYPE: &str = "urn:custody:hand-over:v1";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// Signs bundles. Made from the text of `keys/ledger.key`.
pub struct EvidenceSigner {
    key: SigningKey,
    vkey: String,
}

impl EvidenceSigner {
    /// Reads a signed-note signer key, `PRIVATE+KEY+<name>+<id>+<base64>`. `None`: it is none.
    pub fn parse(text: &str) -> Option<EvidenceSigner> {
        let text = text.trim();
        let vkey = Signer::parse(text).ok()?.vkey().to_owned();
        let key = zeroize::Zeroizing::new(BASE64_STANDARD.decode(text.splitn(5, '+').nth(4)?).ok()?);
        let seed = zeroize::Zeroizing::new(<[u8; 32]>::try_from(key.get(1..)?).ok()?);
        Some(EvidenceSigner { key: SigningKey::from_bytes(&seed), vkey })
    }

    /// The verifier key.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// The name in the key.
    pub fn name(&self) -> &str {
        self.vkey.split('+').next().unwrap_or_default()
    }
}

/// The public key inside a verifier key, `<name>+<id>+<base64>`.
fn public(vkey: &str) -> Option<VerifyingKey> {
    let key = BASE64_STANDARD.decode(vkey.splitn(3, '+').nth(2)?).ok()?;
    let (kind, key) = key.split_first()?;
    (*kind == 1).then_some(())?;
    VerifyingKey::from_bytes(key.try_into().ok()?).ok()
}

/// What DSSE signs. Never confused with a checkpoint: an origin begins no line with `DSSEv1 `, for it has no spaces.
fn pae(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    keyid: String,
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

/// A statement of the given type about `files`, signed: the text of `attestation.dsse.json` and of each hand-over.
pub(super) fn attest(signer: &EvidenceSigner, predicate_type: &str, files: &BTreeMap<String, Digest>, predicate: Value) -> Vec<u8> {
    let subject = |(name, digest): (&String, &Digest)| Subject {
        name: name.clone(),
        digest: BTreeMap::from([("sha256".to_owned(), digest.to_string())]),
    };
    let statement = Statement {
        kind: STATEMENT_TYPE.into(),
        subject: files.iter().map(subject).collect(),
        predicate_type: predicate_type.into(),
        predicate,
    };
    let payload = serde_json::to_vec(&statement).expect("strings and JSON values");
    let signature = signer.key.sign(&pae(&payload));
    let envelope = Envelope {
        payload: BASE64_STANDARD.encode(&payload),
        payload_type: PAYLOAD_TYPE.into(),
        signatures: vec![EnvelopeSignature { keyid: signer.vkey.clone(), sig: BASE64_STANDARD.encode(signature.to_bytes()) }],
    };
    let mut text = serde_json::to_vec(&envelope).expect("strings");
    text.push(b'\n');
    text
}

/// A statement whose signature holds.
pub(super) struct Attested {
    pub files: BTreeMap<String, Digest>,
    pub predicate: Value,
}

/// Checks an envelope against a verifier key. Only the exact bytes that [`attest`] writes pass.
pub(super) fn check(text: &[u8], vkey: &str, predicate_type: &str) -> Result<Attested, &'static str> {
    let envelope: Envelope = serde_json::from_slice(text).map_err(|_| "not a DSSE envelope")?;
    let mut again = serde_json::to_vec(&envelope).map_err(|_| "not a DSSE envelope")?;
    again.push(b'\n');
    if again != text {
        return Err("not in the form that Custody writes");
    }
    let [signature] = &envelope.signatures[..] else { return Err("not exactly one signature") };
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err("not an in-toto statement");
    }
    if signature.keyid != vkey {
        return Err("signed by another key than it must be");
    }
    let payload = BASE64_STANDARD.decode(&envelope.payload).map_err(|_| "the payload is not base64")?;
    let sig = BASE64_STANDARD.decode(&signature.sig).ok().and_then(|sig| Signature::from_slice(&sig).ok());
    let key = public(vkey).ok_or("the verifier key is not an Ed25519 key")?;
    key.verify_strict(&pae(&payload), &sig.ok_or("the signature is malformed")?).map_err(|_| "the signature does not hold")?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(|_| "the statement is malformed")?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != predicate_type {
        return Err("not a statement of this kind");
    }
    let mut files = BTreeMap::new();
    for subject in statement.subject {
        let digest = subject.digest.get("sha256").and_then(|hex| hex.parse().ok()).ok_or("a subject has no SHA-256")?;
        if files.insert(subject.name, digest).is_some() {
            return Err("a subject is named twice");
        }
    }
    Ok(Attested { files, predicate: statement.predicate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_of_an_envelope_is_noticed() {
        let signer = EvidenceSigner::parse(&Signer::encode("example.org/log", &[7; 32]).unwrap()).unwrap();
        let files = BTreeMap::from([("data/x".to_owned(), Digest([3; 32]))]);
        let text = attest(&signer, PREDICATE_TYPE, &files, serde_json::json!({"case": "x"}));
        assert_eq!(check(&text, signer.vkey(), PREDICATE_TYPE).map(|a| a.files).unwrap(), files);
        for at in 0..text.len() {
            for bit in [1, 0x20, 0x80] {
                let mut bad = text.clone();
                bad[at] ^= bit;
                assert!(check(&bad, signer.vkey(), PREDICATE_TYPE).is_err(), "byte {at}, bit {bit}");
            }
        }
        let other = EvidenceSigner::parse(&Signer::encode("example.org/log", &[8; 32]).unwrap()).unwrap();
        assert!(check(&text, other.vkey(), PREDICATE_TYPE).is_err());
        assert!(check(&text, signer.vkey(), HAND_OVER_TYPE).is_err());
    }
}

//! The keys of one issuer, kept fresh by one task.
//!
//! Asked for regularly, and at once when a token names a key that is not there: at most once in [`GAP`], however many such
//! tokens are shown. Whoever waits, waits for the next attempt and no longer than [`PATIENCE`].

use super::fetch::Fetcher;
use crate::config::Issuer;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Between two regular looks: so long does a withdrawn key live on at most.
const REGULAR: Duration = Duration::from_secs(600);
/// Until the next regular look after one that failed.
const AGAIN: Duration = Duration::from_secs(10);
/// Between two looks for the sake of unknown keys.
const GAP: Duration = Duration::from_secs(10);
/// So long are keys believed without being seen again.
const BELIEVED: Duration = Duration::from_secs(3600);
/// Longest wait for a look: metadata at two places, then the keys.
const PATIENCE: Duration = Duration::from_secs(16);
/// Keys of one issuer; more are not looked at.
const MOST: usize = 64;

/// What is known of an issuer's keys at one moment.
#[derive(Default)]
pub struct Keys {
    list: Arc<[Key]>,
    /// Last seen, if ever.
    seen: Option<Instant>,
    /// Grows whenever other keys are seen.
    pub version: u64,
    /// Grows with every attempt.
    attempt: u64,
    text: Arc<Value>,
}

struct Key {
    id: Option<String>,
    /// The only algorithm it says it is for.
    only: Option<String>,
    kind: Kind,
    key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Keys {
    /// Whether they have been seen lately enough to be believed.
    pub fn are_believed(&self) -> bool {
        self.seen.is_some_and(|seen| seen.elapsed() < BELIEVED)
    }

    /// The keys that could have made a signature: by id where the token names one, by kind in any case.
    pub fn candidates(&self, id: Option<&str>, algorithm: Algorithm, name: &str) -> impl Iterator<Item = &DecodingKey> {
        let kind = match algorithm {
            Algorithm::ES256 => Some(Kind::P256),
            Algorithm::ES384 => Some(Kind::P384),
            Algorithm::EdDSA => Some(Kind::Ed25519),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => None,
            _ => Some(Kind::Rsa),
        };
        self.list
            .iter()
            .filter(move |key| Some(key.kind) == kind)
            .filter(move |key| id.is_none() || key.id.as_deref() == id)
            .filter(move |key| key.only.as_deref().is_none_or(|only| only == name))
            .map(|key| &key.key)
    }
}

/// Reads a key set. What is no public signature key of a known kind is passed over.
fn read(set: &Value) -> Vec<Key> {
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    keys.iter().take(MOST).filter_map(|key| read_key(key.clone())).collect()
}

fn read_key(key: Value) -> Option<Key> {
    let only = key["alg"].as_str().map(str::to_owned);
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let (kind, key) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Kind::Rsa, DecodingKey::from_jwk(&jwk).ok()?),
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 => (Kind::P256, DecodingKey::from_jwk(&jwk).ok()?),
            EllipticCurve::P384 => (Kind::P384, DecodingKey::from_jwk(&jwk).ok()?),
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Kind::Ed25519, DecodingKey::from_jwk(&jwk).ok()?)
        }
        // A shared secret has no place in a public document.
        _ => return None,
    };
    Some(Key { id: jwk.common.key_id, only, kind, key })
}

/// One issuer's keys, from outside.
pub struct KeySource {
    known: watch::Receiver<Arc<Keys>>,
    ask: mpsc::Sender<()>,
}

impl KeySource {
    /// The source, and the task that keeps it fresh until `stop`.
    pub fn new(name: String, issuer: Issuer, fetcher: Fetcher, stop: CancellationToken) -> (KeySource, impl Future<Output = ()> + Send) {
        let (publish, known) = watch::channel(Arc::default());
        // One question is enough: whoever asks beside it waits for the same attempt.
        let (ask, asked) = mpsc::channel(1);
        let task = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = keep_fresh(name, issuer, fetcher, publish, asked) => {}
            }
        };
        (KeySource { known, ask }, task)
    }

    /// What is known now. Waits for the very first attempt.
    pub async fn known(&self) -> Arc<Keys> {
        self.after(0).await
    }

    /// What is known after one more attempt than `keys` saw.
    pub async fn newer_than(&self, keys: &Keys) -> Arc<Keys> {
        let _ = self.ask.try_send(());
        self.after(keys.attempt).await
    }

    async fn after(&self, attempt: u64) -> Arc<Keys> {
        let mut known = self.known.clone();
        let _ = tokio::time::timeout(PATIENCE, known.wait_for(|keys| keys.attempt > attempt)).await;
        self.known.borrow().clone()
    }
}

async fn keep_fresh(name: String, issuer: Issuer, fetcher: Fetcher, publish: watch::Sender<Arc<Keys>>, mut asked: mpsc::Receiver<()>) {
    let mut keys = Arc::new(Keys::default());
    let mut next = Instant::now();
    let mut last_asked: Option<Instant> = None;
    loop {
        let regular = tokio::select! {
            question = asked.recv() => match question {
                Some(()) => false,
                None => return,
            },
            () = tokio::time::sleep_until(next) => true,
        };
        let too_soon = !regular && last_asked.is_some_and(|last| last.elapsed() < GAP);
        if !regular && !too_soon {
            last_asked = Some(Instant::now());
        }
        let fetched = if too_soon { None } else { Some(fetcher.keys(&issuer).await) };
        let attempt = keys.attempt + 1;
        keys = match fetched {
            Some(Ok(text)) => {
                next = Instant::now() + REGULAR;
                let list: Arc<[Key]> = read(&text).into();
                if list.is_empty() {
                    tracing::error!(issuer = %name, "the issuer has no key that a token could be checked with");
                }
                let version = keys.version + u64::from(text != *keys.text);
                Arc::new(Keys { list, seen: Some(Instant::now()), version, attempt, text: Arc::new(text) })
            }
            failed => {
                if let Some(Err(error)) = failed {
                    tracing::error!(issuer = %name, %error, "the keys of an issuer cannot be had; those seen before are believed for an hour");
                    next = Instant::now() + AGAIN;
                }
                Arc::new(Keys { list: keys.list.clone(), seen: keys.seen, version: keys.version, attempt, text: keys.text.clone() })
            }
        };
        publish.send_replace(keys.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_public_signature_keys_are_read() {
        let set = json!({"keys": [
            {"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB", "use": "sig", "alg": "RS256"},
            {"kty": "RSA", "kid": "b", "n": "AQAB", "e": "AQAB", "use": "enc"},
            {"kty": "oct", "kid": "c", "k": "c2VjcmV0"},
            {"kty": "EC", "kid": "d", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
            {"kty": "EC", "kid": "e", "crv": "P-521", "x": "AQAB", "y": "AQAB"},
            {"kty": "OKP", "kid": "f", "crv": "Ed25519", "x": "AQAB"},
            {"kty": "new", "kid": "g"}, 7, null, "x",
            {"kty": "RSA", "kid": "h", "n": "!", "e": "AQAB"}
        ]});
        let ids: Vec<_> = read(&set).into_iter().map(|key| key.id.unwrap()).collect();
        assert_eq!(ids, ["a", "d", "f"]);
        for hostile in [json!(null), json!([]), json!({"keys": {}}), json!({"keys": "x"})] {
            assert!(read(&hostile).is_empty());
        }
    }

    #[test]
    fn a_key_answers_for_its_own_algorithm_only() {
        let set = json!({"keys": [{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB", "alg": "RS256"}]});
        let keys = Keys { list: read(&set).into(), ..Keys::default() };
        let count = |id, algorithm, name| keys.candidates(id, algorithm, name).count();
        assert_eq!(count(Some("a"), Algorithm::RS256, "RS256"), 1);
        assert_eq!(count(None, Algorithm::RS256, "RS256"), 1);
        assert_eq!(count(Some("b"), Algorithm::RS256, "RS256"), 0);
        assert_eq!(count(Some("a"), Algorithm::PS256, "PS256"), 0, "it says RS256");
        assert_eq!(count(Some("a"), Algorithm::HS256, "HS256"), 0, "a public key is no shared secret");
        assert_eq!(count(Some("a"), Algorithm::ES256, "ES256"), 0);
        assert!(!keys.are_believed(), "never seen");
    }
}

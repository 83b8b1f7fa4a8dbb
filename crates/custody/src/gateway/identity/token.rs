//! One token (RFC 7519, RFC 9068), against one issuer's keys.

use super::keys::Keys;
use crate::config::Issuer;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use custody_model::PrincipalName;
use jsonwebtoken::{Validation, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

/// No token is longer.
const LONGEST: usize = 16 << 10;
/// No principal's name in a token is longer.
const LONGEST_NAME: usize = 200;
/// Roles of one token; more are not looked at.
const MOST_ROLES: usize = 64;

/// Why a token proves nothing. What it says goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not three parts of base64 with JSON in them.
    #[error("not a signed token")]
    Malformed,
    /// Signed for another purpose, or with demands that nobody here understands.
    #[error("a token of another kind")]
    OtherKind,
    /// `iss` is none of the configured ones.
    #[error("not from an issuer that is trusted here")]
    Issuer,
    /// `alg` is not allowed for this issuer.
    #[error("signed with an algorithm that is not allowed")]
    Algorithm,
    /// The issuer has no such key.
    #[error("signed with a key that the issuer does not show")]
    Key,
    /// The signature is another's.
    #[error("the signature does not fit")]
    Signature,
    /// `exp` is past.
    #[error("expired")]
    Expired,
    /// `nbf` is not reached.
    #[error("not valid yet")]
    Early,
    /// `aud` names others.
    #[error("meant for another audience")]
    Audience,
    /// A claim is missing, or is not what it should be.
    #[error("without a usable claim `{0}`")]
    Claim(String),
    /// `cnf`: whoever holds it alone proves nothing.
    #[error("bound to a key that is not checked here")]
    Bound,
    /// The issuer's keys cannot be had. Not the token's fault.
    #[error("the issuer's keys cannot be had at the moment")]
    NoKeys,
}

/// What a token proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// `NAME:claim`, so that no issuer can speak of another's principals, nor of adopted clients.
    pub principal: PrincipalName,
    /// As the role claim lists them.
    pub roles: Vec<String>,
    /// As the task claim says.
    pub task: Option<String>,
    /// `exp` and the allowed skew, in seconds since 1970.
    pub until: u64,
}

/// What is read before anything is believed.
pub struct Shown<'a> {
    token: &'a str,
    header: Header,
    algorithm: jsonwebtoken::Algorithm,
    /// `iss`, unproven: it only chooses whose keys to try.
    pub issuer: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    /// RFC 7797: an unencoded payload.
    b64: Option<Value>,
}

#[derive(Deserialize)]
struct Names {
    iss: String,
}

impl<'a> Shown<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`Refused::Malformed`], [`Refused::OtherKind`], [`Refused::Algorithm`] for what is not even looked at.
    pub fn read(token: &'a str) -> Result<Shown<'a>, Refused> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Refused::Malformed);
        };
        if token.len() > LONGEST {
            return Err(Refused::Malformed);
        }
        let header: Header = part(header)?;
        if header.crit.is_some() || header.b64.is_some() || !header.typ.as_deref().is_none_or(is_access_token) {
            return Err(Refused::OtherKind);
        }
        let algorithm = header.alg.parse().map_err(|_| Refused::Algorithm)?;
        let Names { iss } = part(claims)?;
        Ok(Shown { token, header, algorithm, issuer: iss })
    }

    /// The algorithm and key that it names, for [`Keys::candidates`].
    fn candidates<'k>(&'k self, keys: &'k Keys) -> impl Iterator<Item = &'k jsonwebtoken::DecodingKey> {
        keys.candidates(self.header.kid.as_deref(), self.algorithm, &self.header.alg)
    }

    /// Whether the issuer shows a key that could have signed it.
    pub fn has_key(&self, keys: &Keys) -> bool {
        self.candidates(keys).next().is_some()
    }

    /// Whether this issuer may sign so.
    ///
    /// # Errors
    /// [`Refused::Algorithm`].
    pub fn check_algorithm(&self, issuer: &Issuer) -> Result<(), Refused> {
        let allowed = issuer.algorithms.iter().any(|allowed| format!("{allowed:?}") == self.header.alg);
        if allowed { Ok(()) } else { Err(Refused::Algorithm) }
    }

    /// Checks signature, times, issuer and audience, then reads the claims.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn verify(&self, name: &str, issuer: &Issuer, keys: &Keys, audience: &[String]) -> Result<Verified, Refused> {
        self.check_algorithm(issuer)?;
        if !keys.are_believed() {
            return Err(Refused::NoKeys);
        }
        let mut validation = Validation::new(self.algorithm);
        validation.leeway = issuer.skew_seconds;
        validation.validate_nbf = true;
        validation.set_issuer(&[&issuer.issuer]);
        validation.set_audience(audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut refused = Refused::Key;
        for key in self.candidates(keys) {
            match jsonwebtoken::decode::<Map<String, Value>>(self.token, key, &validation) {
                Ok(decoded) => return accept(name, issuer, &decoded.claims),
                // Without a key id another key may still fit.
                Err(error) => refused = why(error.kind()),
            }
            if refused != Refused::Signature {
                break;
            }
        }
        Err(refused)
    }
}

/// The claims of a token that everything else was checked of.
fn accept(name: &str, issuer: &Issuer, claims: &Map<String, Value>) -> Result<Verified, Refused> {
    // The library takes a list of issuers too; the standard knows none.
    if claims.get("iss").and_then(Value::as_str) != Some(&issuer.issuer) {
        return Err(Refused::Issuer);
    }
    if claims.get("cnf").is_some_and(|bound| !bound.is_null()) {
        return Err(Refused::Bound);
    }
    let principal = claim(claims, &issuer.principal_claim).and_then(Value::as_str).filter(|name| is_name(name));
    let Some(principal) = principal else { return Err(Refused::Claim(issuer.principal_claim.clone())) };
    let text = |value: &Value| value.as_str().filter(|text| is_name(text)).map(str::to_owned);
    let roles = match issuer.role_claim.as_deref().and_then(|role| claim(claims, role)) {
        Some(Value::Array(roles)) => roles.iter().take(MOST_ROLES).filter_map(text).collect(),
        Some(role) => text(role).into_iter().collect(),
        None => Vec::new(),
    };
    let task = issuer.task_claim.as_deref().and_then(|task| claim(claims, task));
    let task = match (task, &issuer.task_claim) {
        (Some(task), Some(key)) if !task.is_null() => Some(text(task).ok_or_else(|| Refused::Claim(key.clone()))?),
        _ => None,
    };
    let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and a negative time is long past")]
    let until = (expires as u64).saturating_add(issuer.skew_seconds);
    Ok(Verified { principal: PrincipalName(format!("{name}:{principal}")), roles, task, until })
}

/// A claim by its whole name, else by dots that reach into objects.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, key| value.get(key))
    })
}

/// Fit to stand in a policy, a record and a terminal, and to be read as one thing only.
fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'`\\<>".contains(&byte))
}

/// RFC 9068; many issuers write `JWT`, or nothing. Others are for other purposes: logout, proofs, security events.
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

fn part<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refused::Malformed)
}

fn why(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::Early,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::InvalidIssuer => Refused::Issuer,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Refused::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => Refused::Claim(claim.clone()),
        ErrorKind::InvalidSignature => Refused::Signature,
        _ => Refused::Malformed,
    }
}

//! `[issuers.NAME]`: who may vouch for agents with signed tokens.

use serde::Deserialize;
use std::path::PathBuf;

/// One issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// As it stands in `iss`, character for character.
    pub issuer: String,
    /// What `aud` must name one of. Empty: the address of the server as Custody publishes it.
    pub audience: Vec<String>,
    /// The only algorithms that are looked at.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are; `None`: as its metadata says.
    pub jwks_url: Option<String>,
    /// The claim that names the principal.
    pub principal_claim: String,
    /// The claim that names the role.
    pub role_claim: Option<String>,
    /// The role of all its principals, where the claim names none.
    pub role: Option<String>,
    /// The claim that names the task.
    pub task_claim: Option<String>,
    /// How far its clock may be off.
    pub skew_seconds: u64,
    /// The only authorities that its certificate is believed from, PEM; `None`: the usual ones.
    pub ca_file: Option<PathBuf>,
}

/// Signature algorithms (RFC 7518, RFC 8037). Asymmetric ones only: with a shared secret whoever can check could also sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5, SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5, SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5, SHA-512.
    RS512,
    /// RSASSA-PSS, SHA-256.
    PS256,
    /// RSASSA-PSS, SHA-384.
    PS384,
    /// RSASSA-PSS, SHA-512.
    PS512,
    /// ECDSA, P-256.
    ES256,
    /// ECDSA, P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// What is accepted where the configuration says nothing.
    pub const USUAL: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
}

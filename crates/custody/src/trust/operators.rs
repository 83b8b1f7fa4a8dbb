//! Operators: people whose credential changes state.

use super::{
    Secret,
    files::{write_private, write_private_new},
    secret::{find_digest, token_digest},
};
use age::secrecy::ExposeSecret as _;
use custody_model::{Digest, OperatorName};
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// Prefix of operator tokens.
pub const TOKEN_PREFIX: &str = "cok_";
/// Version of the credential file.
const VERSION: u16 = 1;
/// No credential file is larger.
const MAX_FILE: u64 = 1 << 20;

/// Why a credential or the list of operators cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OperatorError {
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    #[diagnostic(help("check that the file exists and that your account may read it"))]
    Io {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not {what}")]
    #[diagnostic(help("restore it from your backup; `custody init` makes these files, and nothing else should write them"))]
    Malformed {
        /// Which.
        path: String,
        /// What was expected.
        what: &'static str,
        /// Why it is not.
        #[source]
        source: serde_json::Error,
    },
    /// A file of a later release.
    #[error("{path} has version {found}, this program knows {VERSION}")]
    #[diagnostic(help("use the release of custody that wrote it, or a later one"))]
    Version {
        /// Which.
        path: String,
        /// What it says.
        found: u16,
    },
    /// Others can read a secret.
    #[error("{path} can be read by others (mode {mode:04o})")]
    #[diagnostic(help("chmod 600 {path}; if others had access, make a new credential"))]
    Exposed {
        /// Which.
        path: String,
        /// Its mode.
        mode: u32,
    },
}

/// The credential file of one operator (`operator.key`): what proves who they are, and what opens sealed content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorCredential {
    /// Format version.
    pub v: u16,
    /// The operator.
    pub name: OperatorName,
    /// Bearer token for the operators' listener.
    pub token: Secret,
    /// Secret key (age X25519) for which session keys are wrapped.
    pub identity: Secret,
}

impl OperatorCredential {
    /// A new credential.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(name: OperatorName) -> io::Result<OperatorCredential> {
        let identity = age::x25519::Identity::generate();
        Ok(OperatorCredential {
            v: VERSION,
            name,
            token: Secret::mint(TOKEN_PREFIX)?,
            identity: Secret::from(identity.to_string().expose_secret().to_owned()),
        })
    }

    /// Reads a credential file; refuses one that others can read.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub fn read(path: &Path) -> Result<OperatorCredential, OperatorError> {
        use std::os::unix::fs::MetadataExt as _;
        let named = || path.display().to_string();
        let io = |source| OperatorError::Io { path: named(), source };
        let metadata = std::fs::metadata(path).map_err(io)?;
        if metadata.mode() & 0o077 != 0 {
            return Err(OperatorError::Exposed { path: named(), mode: metadata.mode() & 0o7777 });
        }
        let bytes = read_bounded(path).map_err(io)?;
        let credential: OperatorCredential = serde_json::from_slice(&bytes).map_err(|source| OperatorError::Malformed {
            path: named(),
            what: "an operator's credential file",
            source,
        })?;
        if credential.v != VERSION {
            return Err(OperatorError::Version { path: named(), found: credential.v });
        }
        Ok(credential)
    }

    /// Writes the file, mode 0600; never replaces one.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write_new(&self, path: &Path) -> io::Result<()> {
        write_private_new(path, &pretty(self))
    }

    /// The identity for unsealing.
    ///
    /// # Errors
    /// When the text is no age identity.
    pub fn identity(&self) -> io::Result<age::x25519::Identity> {
        self.identity.expose().parse().map_err(|why: &str| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// What the daemon keeps of it.
    ///
    /// # Errors
    /// When the identity is no age identity.
    pub fn registration(&self) -> io::Result<Registration> {
        Ok(Registration { name: self.name.clone(), token_sha256: self.token.digest(), recipient: self.identity()?.to_public().to_string() })
    }
}

/// One line of `operators.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The operator.
    pub name: OperatorName,
    /// SHA-256 of the token.
    pub token_sha256: Digest,
    /// Public key (age) for which session keys are wrapped.
    pub recipient: String,
}

/// The operators of one home.
#[derive(Debug, Clone, Default)]
pub struct Operators {
    registered: Vec<Registration>,
}

impl Operators {
    /// Reads `operators.json`.
    ///
    /// # Errors
    /// See [`OperatorError`]; a missing file is an error, never an empty list.
    pub fn read(path: &Path) -> Result<Operators, OperatorError> {
        let named = || path.display().to_string();
        let bytes = read_bounded(path).map_err(|source| OperatorError::Io { path: named(), source })?;
        let registered = serde_json::from_slice(&bytes).map_err(|source| OperatorError::Malformed {
            path: named(),
            what: "the list of operators",
            source,
        })?;
        Ok(Operators { registered })
    }

    /// Writes `operators.json`, atomically.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write(path: &Path, registered: &[Registration]) -> io::Result<()> {
        write_private(path, &pretty(&registered))
    }

    /// Whose token this is. Takes the same time for every wrong one.
    pub fn authenticate(&self, bearer: &str) -> Option<OperatorName> {
        let digest = token_digest(bearer);
        let index = find_digest(self.registered.iter().map(|one| &one.token_sha256), &digest)?;
        bearer.starts_with(TOKEN_PREFIX).then(|| self.registered[index].name.clone())
    }

    /// Everybody registered.
    pub fn registered(&self) -> &[Registration] {
        &self.registered
    }

    /// The public keys for which session keys are wrapped.
    pub fn recipients(&self) -> Vec<String> {
        self.registered.iter().map(|one| one.recipient.clone()).collect()
    }
}

pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than one mebibyte"));
    }
    Ok(bytes)
}

pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("these types have no maps with odd keys and no failing serializers");
    bytes.push(b'\n');
    bytes
}

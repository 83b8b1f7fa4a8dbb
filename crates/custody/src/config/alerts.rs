//! `[alerts.NAME]`: where people are told (N3).

use super::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One channel.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertChannel {
    /// A generic webhook, signed when a secret is given.
    Webhook {
        /// `http` or `https`.
        url: Secret,
        /// Key of the signature.
        secret: Option<SecretSource>,
    },
    /// A Slack-compatible incoming webhook; its url is its credential.
    Slack {
        /// `http` or `https`.
        url: Secret,
    },
    /// Mail.
    Smtp(Smtp),
}

impl AlertChannel {
    /// `webhook`, `slack` or `smtp`.
    pub fn kind(&self) -> &'static str {
        match self {
            AlertChannel::Webhook { .. } => "webhook",
            AlertChannel::Slack { .. } => "slack",
            AlertChannel::Smtp(_) => "smtp",
        }
    }
}

/// Mail through one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Smtp {
    /// Host name or address.
    pub server: String,
    /// Port; by default 25, 587 or 465 as `tls` says.
    pub port: u16,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
    /// Account, where the server wants one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretSource>,
    /// Encryption.
    pub tls: Tls,
}

/// Encryption of a mail connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// None.
    None,
    /// Upgraded after the greeting; refused if the server cannot.
    #[default]
    Starttls,
    /// From the first byte.
    Tls,
}

/// Where a secret is read from when it is needed. Never from `custody.toml` itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; a trailing newline is cut.
    File(PathBuf),
}

/// A secret that is not where the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable.
    #[error("environment variable {0} is not set")]
    Env(String),
    /// The file.
    #[error("secret file {path} cannot be read")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`SecretError`] when the variable or file is not there.
    pub fn load(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Env(name) => std::env::var(name).map(Secret::new).map_err(|_| SecretError::Env(name.clone())),
            SecretSource::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text.trim_end_matches(['\n', '\r']))),
                Err(source) => Err(SecretError::File { path: path.clone(), source }),
            },
        }
    }
}

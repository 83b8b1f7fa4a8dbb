//! The kinds of channel, and how one is made from the configuration.

use super::{Alert, slack, smtp, webhook};
use crate::config::{AlertChannel, SecretError, SecretSource, Tls};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::{path::PathBuf, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// All kinds. A new channel adds its line here.
pub fn all() -> [Kind; 3] {
    [webhook::KIND, slack::KIND, smtp::KIND]
}

/// A kind of channel.
#[derive(Clone, Copy)]
pub struct Kind {
    /// As in `custody.toml`: `kind = "webhook"`.
    pub name: &'static str,
    /// Makes a channel, with its secrets read and its addresses checked.
    pub open: fn(&ChannelConfig) -> Result<Box<dyn Send>, ChannelError>,
}

/// One `[alerts.NAME]` table. Which fields a kind needs, and refuses, is said by its `open`.
#[derive(Debug, Clone, Default)]
pub struct ChannelConfig {
    /// The name of the table.
    pub name: String,
    /// `webhook`, `slack` or `smtp`.
    pub kind: String,
    /// Where to post.
    pub url: Option<String>,
    /// The webhook's signing secret.
    pub secret: Option<SecretSource>,
    /// Mail server.
    pub server: Option<String>,
    /// Its port; the usual one of `tls` when absent.
    pub port: Option<u16>,
    /// Sender.
    pub from: Option<String>,
    /// Receivers.
    pub to: Vec<String>,
    /// Account at the mail server.
    pub username: Option<String>,
    /// The account's password.
    pub password: Option<SecretSource>,
    /// How the mail connection is protected.
    pub tls: Option<Tls>,
    /// Certificate authorities (PEM) to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

/// A channel can not be made from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No such kind.
    #[error("alert channel `{name}`: unknown kind `{kind}` (known: webhook, slack, smtp)")]
    UnknownKind {
        /// The channel.
        name: String,
        /// The kind asked for.
        kind: String,
    },
    /// A field is absent, superfluous or wrong.
    #[error("alert channel `{name}`: `{field}` {why}")]
    Field {
        /// The channel.
        name: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A secret is not where the configuration says.
    #[error("alert channel `{name}`: `{field}` can not be read")]
    Secret {
        /// The channel.
        name: String,
        /// The field.
        field: &'static str,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// A file it names can not be read.
    #[error("alert channel `{name}`: can not read {}", path.display())]
    Unreadable {
        /// The channel.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ChannelConfig {
    pub(super) fn wrong(&self, field: &'static str, why: impl Into<String>) -> ChannelError {
        ChannelError::Field { name: self.name.clone(), field, why: why.into() }
    }

    pub(super) fn needed<'a, T>(&self, field: &'static str, value: &'a Option<T>) -> Result<&'a T, ChannelError> {
        value.as_ref().ok_or_else(|| self.wrong(field, "is needed"))
    }

    /// Reads a secret. An empty one is a mistake, never "no secret".
    pub(super) fn secret(&self, field: &'static str, from: Option<&SecretSource>) -> Result<Option<Zeroizing<String>>, ChannelError> {
        let Some(from) = from else { return Ok(None) };
        let secret = from.load().map_err(|source| ChannelError::Secret { name: self.name.clone(), field, source })?;
        let secret = Zeroizing::new(secret.expose().to_owned());
        if secret.is_empty() { Err(self.wrong(field, "is empty")) } else { Ok(Some(secret)) }
    }
}

impl ChannelConfig {
    /// From `[alerts.NAME]` of `custody.toml`.
    pub fn of(name: &str, channel: &AlertChannel) -> ChannelConfig {
        let config = ChannelConfig { name: name.to_owned(), kind: channel.kind().to_owned(), ..ChannelConfig::default() };
        match channel {
            AlertChannel::Webhook { url, secret } => ChannelConfig { url: Some(url.expose().to_owned()), secret: secret.clone(), ..config },
            AlertChannel::Slack { url } => ChannelConfig { url: Some(url.expose().to_owned()), ..config },
            AlertChannel::Smtp(smtp) => ChannelConfig {
                server: Some(smtp.server.clone()),
                port: Some(smtp.port),
                from: Some(smtp.from.clone()),
                to: smtp.to.clone(),
                username: smtp.username.clone(),
                password: smtp.password.clone(),
                tls: Some(smtp.tls),
                ..config
            },
        }
    }
}

/// What a kind must do. One attempt; tries, deadline and record are the same for all ([`super::deliver()`]).
pub trait Send: std::marker::Send + Sync {
    /// The receiver, without credentials.
    fn to(&self) -> String;
    /// The bytes to send: composed once, the same in each attempt.
    fn compose(&self, alert: &Alert) -> Result<Vec<u8>, String>;
    /// One attempt. `Ok`: the receiver's answer.
    fn attempt<'a>(&'a self, message: &'a [u8], now: Timestamp) -> BoxFuture<'a, Result<String, Refusal>>;
    /// What must never stand in a record.
    fn secrets(&self) -> Vec<&str>;
}

/// An attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The answer or the error.
    pub answer: String,
    /// Whether another attempt may succeed.
    pub passing: bool,
    /// When the receiver wants to be asked again.
    pub after: Option<Duration>,
}

impl Refusal {
    pub(super) fn passing(answer: impl Into<String>) -> Refusal {
        Refusal { answer: answer.into(), passing: true, after: None }
    }
    pub(super) fn last(answer: impl Into<String>) -> Refusal {
        Refusal { answer: answer.into(), passing: false, after: None }
    }
}

/// A channel, ready to send. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    name: String,
    kind: &'static str,
    pub(super) sender: Arc<dyn Send>,
    pub(super) limits: super::DeliveryLimits,
}

impl Channel {
    /// Checks the configuration, reads the secrets.
    ///
    /// # Errors
    /// Whatever would make every delivery fail: an unknown kind, an absent field, an unset variable, an address that is none.
    pub fn open(config: &ChannelConfig) -> Result<Channel, ChannelError> {
        let unknown = || ChannelError::UnknownKind { name: config.name.clone(), kind: config.kind.clone() };
        let kind = all().into_iter().find(|kind| kind.name == config.kind).ok_or_else(unknown)?;
        let sender = (kind.open)(config)?.into();
        Ok(Channel { name: config.name.clone(), kind: kind.name, sender, limits: super::DeliveryLimits::default() })
    }

    /// With other limits than the default.
    pub fn with_limits(self, limits: super::DeliveryLimits) -> Channel {
        Channel { limits, ..self }
    }

    /// As configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `webhook`, `slack` or `smtp`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The receiver, without credentials.
    pub fn to(&self) -> String {
        self.sender.to()
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).field("kind", &self.kind).field("to", &self.to()).finish_non_exhaustive()
    }
}

//! Newtypes for everything that is named or numbered.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// A text that should be an id is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what} id (expected `{prefix}_` and 32 hexadecimal digits)")]
pub struct BadId {
    /// What was expected, such as `session`.
    pub what: &'static str,
    /// The prefix of that kind.
    pub prefix: &'static str,
    /// What was found.
    pub text: String,
}

/// A prefix of three letters, `_`, and the digits of a UUID.
const ID_LENGTH: usize = 3 + 1 + 32;

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Written as the prefix, `_` and the 32 hexadecimal digits of a UUID (version 7: sorts by time).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What stands before the `_`.
            pub const PREFIX: &'static str = $prefix;
        }

        impl $name {
            fn write<'a>(&self, text: &'a mut [u8; ID_LENGTH]) -> &'a str {
                text[..3].copy_from_slice($prefix.as_bytes());
                text[3] = b'_';
                self.0.simple().encode_lower(&mut text[4..]);
                std::str::from_utf8(text).expect("a prefix and hexadecimal digits are ASCII")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.write(&mut [0; ID_LENGTH]))
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = || BadId { what: $what, prefix: $prefix, text: text.chars().take(80).collect() };
                let hex = text.strip_prefix(concat!($prefix, "_")).ok_or_else(bad)?;
                if hex.len() != 32 || hex.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(bad());
                }
                Uuid::try_parse(hex).map($name).map_err(|_| bad())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.write(&mut [0; ID_LENGTH]))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

uuid_ids! {
    /// One agent run, over any number of servers (R9). For analysis; containment acts on a [`crate::Scope`].
    SessionId = "ses", "session";
    /// One TCP connection, Unix connection or pair of pipes.
    ConnectionId = "con", "connection";
    /// One incident.
    CaseId = "inc", "case";
    /// One finding.
    FindingId = "fnd", "finding";
    /// One containment action.
    ActionId = "act", "action";
    /// A data key: what sealed parts are encrypted with. Destroying it erases them.
    KeyId = "key", "key";
    /// A rule that a person silenced for a while.
    SuppressionId = "sup", "suppression";
    /// What a denied client reads: points to the denial in the ledger, says nothing else.
    DenialId = "den", "denial";
}

/// Position of a leaf in the ledger, from 0. The only order that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeafIndex(pub u64);

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.to_owned())
            }
        }
    )*};
}

names! {
    /// An MCP server as the configuration names it.
    ServerName;
    /// A tool as its server names it.
    ToolName;
    /// Who an agent is to Custody: the name of an adopted client, or of a verified token.
    PrincipalName;
    /// A role, from the configuration.
    RoleName;
    /// A declared task, from the configuration or a trusted hint.
    TaskName;
    /// A rule, such as `mcp-001-unauthorized-tool`.
    RuleId;
    /// A policy, such as `role:analyst` or the `@id` of a Cedar policy.
    PolicyId;
    /// A containment verb, such as `freeze_scope`.
    ActionName;
    /// An operator, as the credential names them, or `custody` for what it does by itself.
    OperatorName;
}

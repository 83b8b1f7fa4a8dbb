//! Ledger, limits, sessions, rules, policies and containment.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// What a record survives before its message is forwarded (promise 1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The death of the process at any instant; a power cut but for the last sync interval.
    #[default]
    Default,
    /// Both.
    Strict,
}

/// `[ledger]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// What a record survives.
    pub durability: Durability,
    /// Milliseconds between syncs.
    pub sync_ms: u64,
    /// Milliseconds between checkpoints, when something was appended.
    pub checkpoint_ms: u64,
    /// Days for which the daemon can open what it sealed.
    pub daemon_key_days: u32,
    /// Where signed checkpoints go, off this ledger.
    pub copies: Vec<LedgerCopy>,
    /// Where tiles are served; `None`: nowhere.
    pub tiles: Option<Tiles>,
    /// Who cosigns checkpoints.
    pub witnesses: Vec<Witness>,
    /// How many of them it takes before a checkpoint is published; 0 without witnesses.
    pub witness_quorum: usize,
    /// Bytes that the ledger may take; `None`: what the disk has.
    pub quota_bytes: Option<u64>,
    /// Who says when a checkpoint existed; `None`: nobody.
    pub timestamps: Option<Timestamps>,
}

/// `[ledger.tiles]`: the ledger for others to follow (C2SP `tlog-tiles`), read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether the clear lines of entries are shown, not only hashes.
    pub entries: bool,
}

/// `[ledger.timestamps]`: an authority that stamps checkpoints (RFC 3161).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamps {
    /// Where to post.
    pub url: String,
    /// Minutes between two stamps, when something was recorded.
    pub every_minutes: u64,
    /// Certificate authorities (PEM) to trust for the connection instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

/// `[[ledger.witnesses]]`: who cosigns checkpoints (C2SP `tlog-witness`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The address before `/add-checkpoint`.
    pub url: String,
    /// Its key.
    pub key: custody_tlog::WitnessKey,
    /// Certificate authorities (PEM) to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

/// `[[ledger.copies]]`: a place that checkpoints are sent to (promise 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerCopy {
    /// Appended to a file, best on another disk.
    File {
        /// The file.
        path: PathBuf,
    },
    /// Posted to an address.
    Webhook {
        /// `http` or `https`.
        url: String,
    },
}

/// `[limits]`: what one agent may ask for at most.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one frame.
    pub frame_bytes: usize,
    /// Nesting of one frame.
    pub depth: usize,
    /// Milliseconds for which a call is held before it is denied.
    pub held_ms: u64,
    /// Calls of one client under way at one time.
    pub concurrent_calls: usize,
    /// Streams that one client listens on.
    pub streams_per_client: usize,
    /// Streams that all clients listen on.
    pub streams: usize,
    /// Connections of agents; a further one waits in the kernel's queue.
    pub connections: usize,
    /// Headers of one request.
    pub headers: usize,
    /// Bytes of the head of one request.
    pub header_bytes: usize,
    /// Milliseconds within which the head of a request must have come.
    pub head_ms: u64,
    /// Milliseconds within which its body must have come.
    pub body_ms: u64,
    /// Bytes of large request bodies that are being received or handed over; a further one waits.
    pub bodies_bytes: usize,
    /// Bytes of large answers of servers that are being received or handed over; a further one waits.
    pub answers_bytes: usize,
    /// Milliseconds that calls under way have at shutdown.
    pub drain_ms: u64,
}

/// `[sessions]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Minutes without a message after which a session ends.
    pub idle_minutes: u64,
}

/// `[rules]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Directory of rule files; one with the name of a shipped rule replaces it. `None`: the shipped rules.
    pub dir: Option<PathBuf>,
    /// Per rule id, where it differs from the rule's own.
    pub modes: BTreeMap<String, custody_engine::detect::RuleMode>,
}

/// `[policies]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// Directory of `.cedar` files. `None`: only what the roles say.
    pub dir: Option<PathBuf>,
}

/// What Custody may do without being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Automatic {
    /// Freeze the scopes of a P1.
    Freeze,
    /// Preserve what exists only while the session lives.
    Snapshot,
    /// Tell people.
    Alert,
    /// End the session, after its snapshot.
    Terminate,
}

/// `[containment]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Containment {
    /// In any order; Custody's own order is freeze, snapshot, terminate, alert.
    pub automatic: Vec<Automatic>,
}

/// `[telemetry]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Base address of an OpenTelemetry collector (OTLP over HTTP); `None`: no spans.
    pub otlp: Option<String>,
}

impl Ledger {
    /// `sync_ms`.
    pub fn sync(&self) -> Duration {
        Duration::from_millis(self.sync_ms)
    }

    /// `checkpoint_ms`.
    pub fn checkpoint(&self) -> Duration {
        Duration::from_millis(self.checkpoint_ms)
    }
}

impl Limits {
    /// `held_ms`.
    pub fn held(&self) -> Duration {
        Duration::from_millis(self.held_ms)
    }

    /// `head_ms`.
    pub fn head(&self) -> Duration {
        Duration::from_millis(self.head_ms)
    }

    /// `body_ms`.
    pub fn body(&self) -> Duration {
        Duration::from_millis(self.body_ms)
    }

    /// `drain_ms`.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

impl Sessions {
    /// `idle_minutes`.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_minutes * 60)
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            durability: Durability::Default,
            sync_ms: 100,
            checkpoint_ms: 1_000,
            daemon_key_days: 30,
            copies: Vec::new(),
            tiles: None,
            witnesses: Vec::new(),
            witness_quorum: 0,
            quota_bytes: None,
            timestamps: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frame_bytes: 32 << 20,
            depth: 128,
            held_ms: 30_000,
            concurrent_calls: 4_096,
            streams_per_client: 256,
            streams: 4_096,
            connections: 8_192,
            headers: 100,
            header_bytes: 64 << 10,
            head_ms: 10_000,
            body_ms: 60_000,
            bodies_bytes: 256 << 20,
            answers_bytes: 256 << 20,
            drain_ms: 5_000,
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions { idle_minutes: 30 }
    }
}

impl Default for Containment {
    fn default() -> Self {
        Containment { automatic: vec![Automatic::Freeze, Automatic::Snapshot, Automatic::Alert] }
    }
}

//! The evidence items of E1.

use crate::Digest;
use serde::{Deserialize, Serialize};

/// How badly an evidence item is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EvidencePriority {
    /// Without it there is no case.
    Must,
    /// Should be there.
    High,
    /// Completes the picture.
    Medium,
}

/// The nine items (E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the documentation; source 003")]
pub enum EvidenceItem {
    InvocationLog,
    ContextWindow,
    ToolResponses,
    ManifestComparison,
    DownstreamLogs,
    TokenHistory,
    MemoryStore,
    NetworkConnections,
    InjectionSource,
}

impl EvidenceItem {
    /// All nine, most needed first.
    pub const ALL: [EvidenceItem; 9] = [
        EvidenceItem::InvocationLog,
        EvidenceItem::ContextWindow,
        EvidenceItem::ToolResponses,
        EvidenceItem::ManifestComparison,
        EvidenceItem::DownstreamLogs,
        EvidenceItem::TokenHistory,
        EvidenceItem::MemoryStore,
        EvidenceItem::NetworkConnections,
        EvidenceItem::InjectionSource,
    ];

    /// How badly it is needed.
    pub fn priority(self) -> EvidencePriority {
        use EvidenceItem::*;
        match self {
            InvocationLog | ContextWindow | ToolResponses | ManifestComparison => EvidencePriority::Must,
            DownstreamLogs | TokenHistory | MemoryStore | NetworkConnections => EvidencePriority::High,
            InjectionSource => EvidencePriority::Medium,
        }
    }
}

/// Whether an item is in a bundle (E6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Presence {
    /// It is, at this path inside the bag, with this digest.
    Present {
        /// Path below `data/`.
        path: String,
        /// SHA-256 of the file.
        digest: Digest,
    },
    /// It is not, and this is why.
    Missing {
        /// In words.
        why: String,
    },
}

/// One line of the completeness report (E6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemReport {
    /// Which of the nine.
    pub item: EvidenceItem,
    /// How badly it is needed.
    pub priority: EvidencePriority,
    /// Whether it is there.
    pub presence: Presence,
}

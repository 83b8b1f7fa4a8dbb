//! The ledger's entry: one JSON line, one leaf.

use crate::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the entry format that this code writes.
pub const ENTRY_VERSION: u16 = 1;

/// One leaf. Its bytes are the JSON line without the newline; the leaf hash is over exactly those bytes.
///
/// Only neutral facts stand here, for they cannot be erased. What could identify somebody or be guessed is
/// in `detail` and `body`, sealed under the session's data key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Format version.
    pub v: u16,
    /// Wall clock when it was appended. Order is leaf order, never this.
    pub at: Timestamp,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// Sealed JSON document; its type follows from the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Sealed>,
    /// Sealed bytes as they were received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Sealed>,
}

/// Where a sealed part lies and what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The data key.
    pub key: KeyId,
    /// Keyed commitment to the plaintext.
    pub commitment: Commitment,
    /// SHA-256 of the stored ciphertext (nonce included).
    pub digest: Digest,
    /// Plaintext bytes.
    pub size: u64,
    /// Stored bytes.
    pub stored: u64,
    /// Number of the pack file.
    pub pack: u32,
    /// Byte offset in it.
    pub offset: u64,
}

/// What an entry says. The variant's detail type is named in its documentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// First entry of a ledger: its name and the key that signs its checkpoints (a signed-note verifier key).
    LedgerCreated {
        /// Origin line of every checkpoint.
        origin: String,
        /// Verifier key.
        vkey: String,
    },
    /// The daemon started. `recovered`: torn bytes cut from the end of the last segment and pack.
    DaemonStarted {
        /// Program version.
        version: String,
        /// Bytes cut off after a crash.
        recovered: u64,
    },
    /// The daemon stopped in order.
    DaemonStopped,
    /// A data key came into use. `file` is the digest of its wrapped form.
    KeyCreated {
        /// The key.
        key: KeyId,
        /// SHA-256 of the key file.
        file: Digest,
    },
    /// A data key was destroyed: what it sealed is erased.
    KeyDestroyed {
        /// The key.
        key: KeyId,
    },
    /// Configuration, policies or rules in force from here on (R5). Detail: the text (system key).
    ConfigLoaded {
        /// What: `config`, `policies`, `rules`.
        what: String,
        /// SHA-256 of the text.
        digest: Digest,
    },
    /// A session began (R9). Detail: [`SessionDetail`].
    SessionStarted,
    /// A link was added. Detail: [`Link`].
    SessionLinked {
        /// Its kind.
        kind_of: LinkKind,
        /// How far it can be believed.
        strength: Strength,
    },
    /// A session ended.
    SessionEnded {
        /// `idle`, `client`, `evicted`, `terminated`, `shutdown`, `joined`, `split`.
        why: String,
    },
    /// A person said that another session is this one (R9): it is shown with it. Detail: [`Correction`].
    ///
    /// Joining what a split made takes the split back.
    SessionJoined {
        /// The other one.
        other: SessionId,
    },
    /// A person said that a session is two (R9): what was recorded from an entry on until here is shown as another. Detail:
    /// [`Correction`].
    ///
    /// A split at the entry that joined them takes the join back.
    SessionSplit {
        /// The other one.
        into: SessionId,
        /// The first entry of it, or the join.
        from: LeafIndex,
    },
    /// One MCP message. Detail: [`MessageDetail`]; body: the bytes.
    Message(Message),
    /// The agent's host told something beside the MCP traffic (R3): the user's words, built-in tools, the end of a turn. Detail:
    /// [`HostDetail`]; body: the bytes, where they were one message of their own.
    HostTold {
        /// By which way.
        source: HostSource,
        /// What, in one word.
        word: HostWord,
    },
    /// A listing was seen (R4): hash of each definition.
    ///
    /// The names of tools and prompts are the server's vocabulary and stand here. The addresses of resources can
    /// identify people: of such a listing `definitions` and `changed` are empty here and stand in the detail
    /// ([`ListingDetail`]), and `digest` is keyed like a commitment.
    ManifestSeen {
        /// Which server.
        server: ServerName,
        /// The listing's method, such as `tools/list`.
        listing: String,
        /// Digest over all definitions.
        digest: Digest,
        /// Name and RFC 8785 digest of each definition.
        definitions: Vec<(String, Digest)>,
        /// Names added, removed or changed since the listing before; empty when nothing changed.
        changed: Vec<String>,
    },
    /// It was decided which definitions agents may see (D2). Detail: [`RulingDetail`] (system key, except of resources).
    ManifestRuled {
        /// Which server.
        server: ServerName,
        /// The listing's method, such as `tools/list`; `initialize` for what a server says of itself.
        listing: String,
        /// What was decided.
        ruling: Ruling,
        /// Name and RFC 8785 digest of each definition; empty for resources, as in [`Event::ManifestSeen`].
        definitions: Vec<(String, Digest)>,
    },
    /// A finding was raised. Detail: [`Finding`].
    FindingRaised {
        /// Its id.
        finding: FindingId,
        /// The rule.
        rule: RuleId,
        /// P1 to P3.
        priority: Priority,
        /// The requirement it implements, such as `D1`.
        requirement: String,
        /// The entry that decided it.
        leaf: Option<LeafIndex>,
    },
    /// It was judged whether the agent of the session follows words that were not the user's (D9). Detail: JSON with the words and the calls.
    SessionJudged {
        /// Whether it does.
        hijacked: bool,
        /// The last entry that was looked at.
        upto: LeafIndex,
    },
    /// A finding was triaged (T1). Detail: [`Triage`].
    Triaged {
        /// The finding.
        finding: FindingId,
        /// The answer.
        disposition: Disposition,
        /// The case it belongs to, if any.
        case: Option<CaseId>,
    },
    /// A finding went on firing while its window hid it: at powers of ten, and when the window ended.
    FindingRepeated {
        /// The finding.
        finding: FindingId,
        /// How often so far.
        repeats: u64,
    },
    /// A person said what a finding or a case was (T1). Detail: [`Assessment`].
    Disposed {
        /// The finding, or
        finding: Option<FindingId>,
        /// the case.
        case: Option<CaseId>,
        /// The answer.
        verdict: Verdict,
    },
    /// A person silenced a rule for a while. Detail: [`Suppression`].
    RuleSuppressed {
        /// Its id.
        suppression: SuppressionId,
        /// The rule.
        rule: RuleId,
        /// Until when.
        until: Timestamp,
    },
    /// It is heard again. Detail: JSON with who and why.
    RuleHeard {
        /// Which suppression ended.
        suppression: SuppressionId,
        /// The rule.
        rule: RuleId,
        /// What was hidden in the meantime.
        hidden: u64,
    },
    /// A case was opened or changed. Detail: [`Case`].
    CaseUpdated {
        /// The case.
        case: CaseId,
        /// Severity now.
        severity: Severity,
        /// State now.
        state: CaseState,
    },
    /// An action is about to run. Detail: [`Step`].
    ActionIntended {
        /// The action.
        action: ActionId,
        /// Its verb.
        verb: ActionName,
        /// Its case.
        case: Option<CaseId>,
    },
    /// An action ran. Detail: [`Receipt`].
    ActionDone {
        /// The action.
        action: ActionId,
        /// Its verb.
        verb: ActionName,
        /// Its case.
        case: Option<CaseId>,
        /// Whether it did what it should.
        ok: bool,
    },
    /// An alert was delivered or given up (N3). Detail: [`AlertRecord`].
    AlertSent {
        /// Its case.
        case: CaseId,
        /// The channel, as configured.
        channel: String,
        /// Whether it arrived.
        ok: bool,
    },
    /// Evidence left the ledger (E2). Detail: JSON with path and items.
    EvidenceExported {
        /// Its case.
        case: CaseId,
        /// SHA-256 of the bundle's tag manifest.
        digest: Digest,
    },
    /// Somebody looked at raw content (R8). Detail: JSON with who and why.
    ContentOpened {
        /// What was opened.
        leaf: LeafIndex,
    },
    /// An operator did something else that changes state (promise 7). Detail: JSON.
    OperatorActed {
        /// What, as a verb.
        verb: String,
    },
    /// A witness answered otherwise than before (R7). Detail: JSON with what it said.
    WitnessSaid {
        /// Its name, as configured; `timestamps` is the authority of RFC 3161.
        witness: String,
        /// `cosigned`, `stamped`, `unreachable`, `refused`, `ahead`, `other_history`.
        word: String,
        /// Entries of the checkpoint that it was asked to cosign.
        size: u64,
    },
    /// Requests without a valid credential were refused. Detail: JSON with addresses.
    AccessRefused {
        /// `agents` or `operators`.
        listener: String,
        /// How many since the last such entry.
        count: u64,
    },
}

/// Sealed companion of an [`Event::ManifestSeen`] about resources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingDetail {
    /// Address and RFC 8785 digest of each definition.
    pub definitions: Vec<(String, Digest)>,
    /// Addresses added or changed since the listing before.
    pub changed: Vec<String>,
}

/// Who corrected sessions, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The operator.
    pub by: OperatorName,
    /// Why.
    pub reason: String,
}

/// Sealed companion of [`Event::SessionStarted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDetail {
    /// Who.
    pub identity: Identity,
    /// Where from: an address, or a process.
    pub source: String,
    /// What the agent says of itself; never trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_info: Option<Value>,
    /// The allowlist in force for role and task, as `server/tool` patterns; `None`: no policy declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<Vec<String>>,
}

/// An entry at its place, with what could be unsealed. What investigation and evidence work on.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenEntry {
    /// Its position.
    pub leaf: LeafIndex,
    /// The entry.
    pub entry: Entry,
    /// The detail, if there is one and its key is at hand.
    pub detail: Option<Value>,
    /// The body, likewise.
    pub body: Option<Vec<u8>>,
}

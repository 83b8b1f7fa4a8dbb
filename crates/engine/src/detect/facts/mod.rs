//! What rules can ask about one message: flat facts with dotted names.

mod behavior;
mod drift;
mod event;
mod frame;
mod hijack;
mod identity;
mod outcome;
mod policy;
mod tool;
mod user;

use crate::behavior::Signals;
use custody_model::{DangerClass, DenyReason, Direction, Identity, LeafIndex, Outcome, PolicyId, ServerName, SessionId};
use jiff::Timestamp;
use rsigma_eval::{Event, EventValue};
use serde_json::Value;
use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

/// What happened, as the gateway knows it when it decides.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Which kind of message.
    pub event: EventKind,
    /// Which way it goes.
    pub direction: Direction,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not forwarded.
    pub reason: Option<DenyReason>,
    /// What the policies say, whether or not they are enforced.
    pub policy: PolicyOutcome,
    /// Whether denials hold for this server.
    pub enforced: bool,
    /// The server.
    pub server: ServerName,
    /// The tool, address or prompt asked for.
    pub tool: Option<String>,
    /// Whether the server lists a tool of that name.
    pub listed: bool,
    /// The method.
    pub method: Option<String>,
    /// Who.
    pub identity: Identity,
    /// The session.
    pub session: Option<SessionId>,
    /// What makes the frame ambiguous or malformed.
    pub faults: Vec<String>,
    /// The entry of the message.
    pub leaf: Option<LeafIndex>,
    /// What a call, a read or a prompt is asked with. `Null`: nothing, or not readable.
    pub arguments: Value,
    /// What the server says of the tool.
    pub hints: ToolHints,
    /// When the tool was first listed, or last changed with an approval. `None`: not known.
    pub listed_since: Option<Timestamp>,
    /// Bytes of the answer, for a message to the agent that answers a call, a read or a prompt (`tool` names it).
    pub returned: Option<u64>,
    /// For a listing: how it differs from what is pinned.
    pub drift: Option<DriftFacts>,
    /// For a session that was judged: what is thought of it.
    pub hijack: Option<HijackFacts>,
    /// Whether a user is there. `None`: no hook is installed for the client, or nobody knows.
    pub user: Option<crate::host::UserFacts>,
}

/// What is thought of a session as a whole (D9), in the words of [`crate::hijack`].
#[derive(Debug, Clone, PartialEq)]
pub struct HijackFacts {
    /// Whether the agent follows words that were not the user's.
    pub followed: bool,
    /// How sure, in percent.
    pub percent: u8,
    /// The words.
    pub words: String,
    /// The calls that follow them: tools, each with what explains it.
    pub calls: String,
}

/// What is unusual about a listing (D2): one of these for all its definitions together; `Facts::tool` names the worst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftFacts {
    /// Which kind.
    pub kind: DriftKind,
    /// `tools/list`, …, `initialize`.
    pub listing: String,
    /// The worst class among them.
    pub class: Option<DangerClass>,
    /// What differs, in words.
    pub what: String,
    /// The words that led to the class.
    pub words: Vec<String>,
    /// How many definitions.
    pub definitions: usize,
    /// The change record that announced it.
    pub change: Option<String>,
}

/// How a listing can differ from what is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriftKind {
    /// A pinned definition came back different.
    Changed,
    /// A pinned definition came back under another name.
    Renamed,
    /// A definition in a listing that had been seen to its end without it.
    Added,
    /// A definition of a listing that is seen for the first time.
    First,
    /// Two readers could read the listing differently, or nobody can.
    Unreadable,
}

impl DriftKind {
    /// As in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            DriftKind::Changed => "changed",
            DriftKind::Renamed => "renamed",
            DriftKind::Added => "added",
            DriftKind::First => "first",
            DriftKind::Unreadable => "unreadable",
        }
    }
}

/// What a listing says of a tool (`annotations`). Hints of a server, never proof.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolHints {
    /// `readOnlyHint`.
    pub read_only: Option<bool>,
    /// `destructiveHint`.
    pub destructive: Option<bool>,
    /// `openWorldHint`.
    pub open_world: Option<bool>,
}

impl ToolHints {
    /// Of a tool's definition, as JSON. What cannot be read says nothing.
    pub fn of(definition: &str) -> ToolHints {
        /// As a listing has it.
        #[derive(serde::Deserialize)]
        struct Definition {
            annotations: Option<Annotations>,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Annotations {
            read_only_hint: Option<bool>,
            destructive_hint: Option<bool>,
            open_world_hint: Option<bool>,
        }
        let annotations = serde_json::from_str(definition).ok().and_then(|definition: Definition| definition.annotations);
        annotations.map_or_else(ToolHints::default, |said| ToolHints {
            read_only: said.read_only_hint,
            destructive: said.destructive_hint,
            open_world: said.open_world_hint,
        })
    }

    /// Whether a call may change something. What says nothing of itself may.
    pub fn writes(self) -> bool {
        self.read_only != Some(true)
    }
}

impl Facts {
    /// A permitted message of which nothing else is known: what a caller knows besides, it sets.
    pub fn new(event: EventKind, direction: Direction, server: ServerName, identity: Identity) -> Facts {
        Facts {
            event,
            direction,
            outcome: Outcome::Allowed,
            reason: None,
            policy: PolicyOutcome::Undeclared,
            enforced: false,
            server,
            tool: None,
            listed: false,
            method: None,
            identity,
            session: None,
            faults: Vec::new(),
            leaf: None,
            arguments: Value::Null,
            hints: ToolHints::default(),
            listed_since: None,
            returned: None,
            drift: None,
            hijack: None,
            user: None,
        }
    }
}

/// Kinds of messages that rules tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// `tools/call`.
    ToolInvoked,
    /// `resources/read`.
    ResourceRead,
    /// `prompts/get`.
    PromptRequested,
    /// A verdict on the session as a whole; no message.
    SessionJudged,
    /// Anything else, either way.
    Message,
}

impl EventKind {
    /// The kind of a request by its method.
    pub fn of(method: Option<&str>) -> EventKind {
        match method {
            Some("tools/call") => EventKind::ToolInvoked,
            Some("resources/read") => EventKind::ResourceRead,
            Some("prompts/get") => EventKind::PromptRequested,
            _ => EventKind::Message,
        }
    }
}

/// What the policies say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyOutcome {
    /// Permitted.
    Allowed,
    /// Forbidden, or on no allowlist.
    Denied {
        /// Which policy.
        policy: PolicyId,
        /// In one sentence.
        why: String,
    },
    /// Not to be evaluated, which denies.
    Error {
        /// Which policy.
        policy: PolicyId,
        /// In one sentence.
        why: String,
    },
    /// No policy is declared, or none is asked about such messages.
    Undeclared,
}

impl From<crate::policy::Verdict> for PolicyOutcome {
    fn from(verdict: crate::policy::Verdict) -> Self {
        use crate::policy::Verdict;
        match verdict {
            Verdict::Allow { .. } => PolicyOutcome::Allowed,
            Verdict::Deny { policy, why } => PolicyOutcome::Denied { policy, why },
            Verdict::Error { policy, why } => PolicyOutcome::Error { policy, why },
            Verdict::Undeclared => PolicyOutcome::Undeclared,
        }
    }
}

/// A message, and what is unusual about it in its session.
pub struct Seen<'a> {
    /// The message.
    pub facts: &'a Facts,
    /// What its session's behaviour says.
    pub signals: &'a Signals,
}

impl std::ops::Deref for Seen<'_> {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        self.facts
    }
}

/// One fact: its name in rules, and how it is computed.
pub struct Fact {
    /// Dotted name.
    pub name: &'static str,
    /// `None`: the field is absent.
    pub value: for<'a> fn(&'a Seen<'a>) -> Option<FactValue<'a>>,
}

/// A value of a fact.
#[derive(Debug, Clone, PartialEq)]
pub enum FactValue<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Truth.
    Bool(bool),
    /// Whole number.
    Number(i64),
    /// Number with a fraction.
    Float(f64),
}

impl<'a> From<&'a str> for FactValue<'a> {
    fn from(text: &'a str) -> Self {
        FactValue::Text(Cow::Borrowed(text))
    }
}

impl FactValue<'_> {
    /// As a sentence has it.
    pub fn text(&self) -> String {
        match self {
            FactValue::Text(text) => text.to_string(),
            FactValue::Bool(bool) => bool.to_string(),
            FactValue::Number(number) => number.to_string(),
            // One digit behind the point, and none where it is a whole number.
            FactValue::Float(number) => format!("{number:.1}").trim_end_matches(".0").to_owned(),
        }
    }
}

/// Every fact. A new one is a file in this directory and a line here.
pub fn all() -> impl Iterator<Item = &'static Fact> {
    [
        event::FACTS,
        drift::FACTS,
        outcome::FACTS,
        policy::FACTS,
        tool::FACTS,
        identity::FACTS,
        frame::FACTS,
        hijack::FACTS,
        user::FACTS,
        behavior::FACTS,
        behavior::RATE,
        behavior::USAGE,
        behavior::TOOL_USAGE,
        behavior::VOLUME,
        behavior::VOLUME_OF_ALL,
        behavior::DURATION,
        behavior::STREAK,
        behavior::CHANGES,
        behavior::UNFAMILIAR,
        behavior::SURPRISE,
        behavior::SEQUENCE,
        behavior::FIRST_USE,
        behavior::DESTINATION,
        behavior::ARGUMENT,
        behavior::MAGNITUDE,
    ]
    .into_iter()
    .flatten()
}

impl<'a> Seen<'a> {
    /// The facts as a flat event.
    pub(super) fn flat(&'a self) -> Flat<'a> {
        Flat(self)
    }
}

/// Facts by name. Most messages are asked for few of them, so each is computed when a rule asks.
static BY_NAME: LazyLock<HashMap<&'static str, &'static Fact>> = LazyLock::new(|| all().map(|fact| (fact.name, fact)).collect());

/// The fact of that name, whatever its value.
pub(super) fn named(name: &str) -> Option<&'static Fact> {
    BY_NAME.get(name).copied()
}

/// Facts by name, as the rule engine reads them.
pub(super) struct Flat<'a>(&'a Seen<'a>);

impl<'a> Flat<'a> {
    /// The fact of that name.
    pub fn named(&self, name: &str) -> Option<FactValue<'a>> {
        (BY_NAME.get(name)?.value)(self.0)
    }

    fn every(&self) -> impl Iterator<Item = (&'static str, FactValue<'a>)> + '_ {
        all().filter_map(|fact| Some((fact.name, (fact.value)(self.0)?)))
    }
}

impl Event for Flat<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        Some(self.named(path)?.into_event_value())
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.every().any(|(_, value)| matches!(value, FactValue::Text(text) if pred(&text)))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.every().filter_map(|(_, value)| if let FactValue::Text(text) = value { Some(text) } else { None }).collect()
    }

    fn to_json(&self) -> Value {
        let json = |value: FactValue<'_>| match value {
            FactValue::Text(text) => Value::from(&*text),
            FactValue::Bool(bool) => Value::from(bool),
            FactValue::Number(number) => Value::from(number),
            FactValue::Float(number) => Value::from(number),
        };
        Value::Object(self.every().map(|(name, value)| (name.to_owned(), json(value))).collect())
    }

    fn field_keys(&self) -> Vec<Cow<'_, str>> {
        self.every().map(|(name, _)| Cow::Borrowed(name)).collect()
    }
}

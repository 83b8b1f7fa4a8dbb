//! What rules can ask about one message: flat facts with dotted names.

mod event;
mod frame;
mod identity;
mod outcome;
mod policy;
mod tool;

use custody_model::{DenyReason, Direction, Identity, LeafIndex, Outcome, PolicyId, ServerName, SessionId};
use rsigma_eval::{Event, EventValue};
use serde_json::Value;
use std::borrow::Cow;

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
    /// Anything else, either way.
    Message,
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

/// One fact: its name in rules, and how it is computed.
pub struct Fact {
    /// Dotted name.
    pub name: &'static str,
    /// `None`: the field is absent.
    pub value: for<'a> fn(&'a Facts) -> Option<FactValue<'a>>,
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
        }
    }
}

/// Every fact. A new one is a file in this directory and a line here.
pub fn all() -> impl Iterator<Item = &'static Fact> {
    [event::FACTS, outcome::FACTS, policy::FACTS, tool::FACTS, identity::FACTS, frame::FACTS].into_iter().flatten()
}

impl Facts {
    /// The facts as a flat event.
    pub(super) fn flat(&self) -> Flat<'_> {
        Flat(all().filter_map(|fact| Some((fact.name, (fact.value)(self)?))).collect())
    }
}

/// Facts by name, as the rule engine reads them.
pub(super) struct Flat<'a>(Vec<(&'static str, FactValue<'a>)>);

impl Flat<'_> {
    /// The fact of that name.
    pub fn named(&self, name: &str) -> Option<&FactValue<'_>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl Event for Flat<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        Some(match self.named(path)? {
            FactValue::Text(text) => EventValue::Str(Cow::Borrowed(text)),
            FactValue::Bool(bool) => EventValue::Bool(*bool),
            FactValue::Number(number) => EventValue::Int(*number),
        })
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.0.iter().any(|(_, value)| matches!(value, FactValue::Text(text) if pred(text)))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.0.iter().filter_map(|(_, value)| if let FactValue::Text(text) = value { Some(Cow::Borrowed(&**text)) } else { None }).collect()
    }

    fn to_json(&self) -> Value {
        let json = |value: &FactValue<'_>| match value {
            FactValue::Text(text) => Value::from(&**text),
            FactValue::Bool(bool) => Value::from(*bool),
            FactValue::Number(number) => Value::from(*number),
        };
        Value::Object(self.0.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect())
    }

    fn field_keys(&self) -> Vec<Cow<'_, str>> {
        self.0.iter().map(|(name, _)| Cow::Borrowed(*name)).collect()
    }
}

//! From first contact to containment, in plain words (I1).

use super::{record, source::source};
use custody_model::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a moment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The agent at its own work.
    Legitimate,
    /// The agent read the injection.
    Exposure,
    /// After the exposure: what the agent did may be the attacker's will.
    AttackerDriven,
    /// Asked for and not forwarded.
    Denied,
    /// Custody or an operator acted.
    Response,
    /// Neither: findings, sessions, listings.
    Information,
}

/// One step of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The entry.
    pub leaf: LeafIndex,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Milliseconds since the first moment; never less than that of the moment before.
    pub t_ms: u64,
    /// What it is.
    pub mark: Mark,
    /// In plain words.
    pub text: String,
}

/// The timeline of a case, in leaf order.
///
/// The exposure is the source that the latest `CaseUpdated` names; without one, it is looked for from the first finding's
/// entry. Calls between exposure and containment are marked attacker-driven only from the first denied or found call on:
/// what came between may still have been the agent's own work.
pub fn timeline(entries: &[OpenEntry]) -> Vec<Moment> {
    let exposure = exposure(entries);
    let mut moments: Vec<Moment> = Vec::new();
    let mut turned = false;
    let first_found = entries.iter().find_map(trigger);
    let mut start = None;
    for open in entries {
        turned |= first_found.is_some_and(|leaf| open.leaf >= leaf);
        let Some((mark, text)) = moment(open, entries, exposure.as_ref(), turned) else { continue };
        let at = open.entry.at;
        let start = *start.get_or_insert(at);
        let since = u64::try_from(at.as_millisecond() - start.as_millisecond()).unwrap_or(0);
        let t_ms = moments.last().map_or(since, |last| last.t_ms.max(since));
        moments.push(Moment { leaf: open.leaf, at, t_ms, mark, text });
    }
    moments
}

fn trigger(open: &OpenEntry) -> Option<LeafIndex> {
    match &open.entry.event {
        Event::FindingRaised { leaf, .. } => *leaf,
        _ => None,
    }
}

fn exposure(entries: &[OpenEntry]) -> Option<InjectionSource> {
    let named = entries
        .iter()
        .rev()
        .filter(|open| matches!(open.entry.event, Event::CaseUpdated { .. }))
        .find_map(|open| detail::<Case>(open)?.source);
    named.or_else(|| source(entries, entries.iter().find_map(trigger)?))
}

fn detail<T: DeserializeOwned>(open: &OpenEntry) -> Option<T> {
    T::deserialize(open.detail.as_ref()?).ok()
}

fn moment(open: &OpenEntry, entries: &[OpenEntry], exposure: Option<&InjectionSource>, turned: bool) -> Option<(Mark, String)> {
    let say = |mark, text: String| Some((mark, text));
    match &open.entry.event {
        Event::SessionStarted => {
            let who = detail::<SessionDetail>(open);
            say(
                Mark::Information,
                match who {
                    Some(SessionDetail { identity, .. }) => format!(
                        "session starts: {}{}{}",
                        identity.principal,
                        identity.role.map(|role| format!(", role {role}")).unwrap_or_default(),
                        identity.task.map(|task| format!(", task {task}")).unwrap_or_default()
                    ),
                    None => "session starts".to_owned(),
                },
            )
        }
        Event::SessionEnded { why } => {
            say(if why == "terminated" { Mark::Response } else { Mark::Information }, format!("session ends ({why})"))
        }
        Event::SessionJoined { other } => say(Mark::Information, format!("a person says that {other} is the same session")),
        Event::SessionSplit { into, from } => {
            say(Mark::Information, format!("a person says that another session, {into}, begins at entry {from}"))
        }
        Event::Message(message) => message_moment(open, message, exposure, turned),
        Event::ManifestSeen { server, listing, changed, .. } if !changed.is_empty() => {
            say(Mark::Information, format!("{server}: new or changed in {listing}: {}", list(changed)))
        }
        Event::ManifestRuled { server, listing, ruling, definitions } if *ruling != Ruling::Completed => {
            let names: Vec<&str> = definitions.iter().map(|(name, _)| name.as_str()).collect();
            say(Mark::Information, format!("{server}, {listing}: {} {}", ruling.as_str(), names.join(", ")))
        }
        Event::FindingRaised { rule, priority, requirement, .. } => {
            let why = detail::<Finding>(open).map(|finding| format!(": {}", finding.why)).unwrap_or_default();
            say(Mark::Response, format!("finding {priority:?} {rule} ({requirement}){why}"))
        }
        Event::Triaged { disposition, .. } => say(Mark::Response, format!("triage: {}", words_of(disposition))),
        Event::FindingRepeated { repeats, .. } => say(Mark::Information, format!("the finding fired {repeats} times more")),
        Event::Disposed { verdict, case, .. } => {
            let what = if case.is_some() { "the case" } else { "a finding" };
            say(Mark::Response, format!("a person called {what} {}", words_of(verdict)))
        }
        Event::CaseUpdated { case, severity, state } => {
            let first = entries.iter().find(|other| matches!(&other.entry.event, Event::CaseUpdated { case: id, .. } if id == case))?.leaf
                == open.leaf;
            let named = detail::<Case>(open).and_then(|case| case.source).is_some();
            match (first, *state, named) {
                (true, ..) => say(Mark::Response, format!("case {case} opened, severity {}", words_of(severity))),
                (_, CaseState::Contained, _) => say(Mark::Response, format!("case {case} contained")),
                (_, CaseState::Closed, _) => say(Mark::Response, format!("case {case} closed")),
                (_, _, true) => say(Mark::Response, "injection source named".to_owned()),
                _ => None,
            }
        }
        Event::ActionDone { verb, ok, .. } => {
            let result = detail::<Receipt>(open).map(|receipt| format!(": {}", receipt.result)).unwrap_or_default();
            say(Mark::Response, format!("{verb} {}{result}", if *ok { "done" } else { "FAILED" }))
        }
        Event::AlertSent { channel, ok, .. } => {
            say(Mark::Response, format!("alert {} over {channel}", if *ok { "delivered" } else { "NOT delivered" }))
        }
        Event::EvidenceExported { digest, .. } => say(Mark::Response, format!("evidence exported, digest {digest}")),
        Event::ContentOpened { leaf } => say(Mark::Response, format!("content of entry {leaf} opened")),
        Event::OperatorActed { verb } => say(Mark::Response, format!("operator: {verb}")),
        _ => None,
    }
}

fn message_moment(open: &OpenEntry, message: &Message, exposure: Option<&InjectionSource>, turned: bool) -> Option<(Mark, String)> {
    if message.direction == Direction::ToAgent {
        let source = exposure.filter(|source| source.leaf == open.leaf)?;
        let document = source.document.as_ref().map(|document| format!(" of {document}")).unwrap_or_default();
        let place = source.place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
        return Some((Mark::Exposure, format!("{} returns the injection in the content{document}{place}", source.tool)));
    }
    let denied = message.outcome == Outcome::Denied;
    if !denied && !record::is_call(message) {
        return None;
    }
    let call = record::asked(open, message);
    let what = call.as_ref().and_then(record::Call::document).map(|what| format!(" {what}")).unwrap_or_default();
    let tool = call.map(|call| call.tool).filter(|tool| !tool.is_empty()).unwrap_or_else(|| "message".to_owned());
    let tool = format!("{}/{tool}", message.server);
    let why = message.reason.as_ref().map(|reason| format!(" ({})", reason_words(reason))).unwrap_or_default();
    Some(match (message.outcome, turned) {
        (Outcome::Denied, _) => (Mark::Denied, format!("DENIED {tool}{what}{why}")),
        (Outcome::Held, _) => (Mark::Information, format!("held {tool}{what}{why}")),
        (Outcome::Allowed, true) => (Mark::AttackerDriven, format!("{tool}{what}{why}")),
        (Outcome::Allowed, false) => (Mark::Legitimate, format!("{tool}{what}{why}")),
    })
}

fn reason_words(reason: &DenyReason) -> String {
    match reason {
        DenyReason::Policy(policy) => format!("policy {policy}"),
        DenyReason::PolicyError(policy) => format!("policy {policy} could not be evaluated"),
        other => words_of(other),
    }
}

/// A plain enum as people read it.
fn words_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        Ok(serde_json::Value::Object(tagged)) => {
            tagged.get("reason").and_then(|reason| reason.as_str()).unwrap_or_default().replace('_', " ")
        }
        _ => String::new(),
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    let more = names.len().saturating_sub(5);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

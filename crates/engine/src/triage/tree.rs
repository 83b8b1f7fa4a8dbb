//! The decision tree of source 003.

use custody_model::{Assurance, Disposition, Family, Finding, Priority, ServerName, Triage};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// An identity younger than this is new.
pub const NEW_IDENTITY: SignedDuration = SignedDuration::from_hours(24);
/// A manifest change within this time before the finding coincides with it.
pub const RECENT_CHANGE: SignedDuration = SignedDuration::from_hours(24);

/// All that a triage decision looks at.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The finding to decide on.
    pub finding: &'a Finding,
    /// Other findings; those of another session are passed over.
    pub others: &'a [Finding],
    /// How the agent is known.
    pub assurance: Assurance,
    /// When its credential was made. `None`: not known.
    pub identity_created: Option<Timestamp>,
    /// When it was first seen. `None`: not known.
    pub first_seen: Option<Timestamp>,
    /// Changes of the definitions of the session's servers. `None`: not known.
    pub manifest_changes: Option<&'a [ManifestChange]>,
}

/// A change of a server's definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestChange {
    /// Whose.
    pub server: ServerName,
    /// When it was seen.
    pub at: Timestamp,
    /// Whether a change record announced it.
    pub recorded: bool,
    /// The change record.
    pub reference: Option<String>,
}

/// Triages a finding (T1). The path holds each question with its answer, and the conclusion last.
pub fn decide(input: &Input<'_>) -> Triage {
    let mut path = Vec::new();
    let disposition = walk(input, &mut path);
    path.push(
        match disposition {
            Disposition::Confirmed => "confirmed incident: contain now, evidence first",
            Disposition::Suspicious => "suspicious: suspend the session and look into it",
            Disposition::ProbableFalsePositive => "probable false positive: logged, watched for recurrence",
            Disposition::Escalate => "escalated: a person must rule an incident out",
        }
        .to_owned(),
    );
    Triage { disposition, path }
}

fn walk(input: &Input<'_>, path: &mut Vec<String>) -> Disposition {
    let finding = input.finding;
    let mut ask = |question: &str, answer: Option<bool>, detail: String| {
        let word = match answer {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        path.push(format!("{question} {word}: {detail}"));
        answer == Some(true)
    };

    let is_p1 = finding.priority == Priority::P1;
    if ask("P1 signal?", Some(is_p1), format!("{} is {:?} ({})", finding.rule, finding.priority, finding.requirement)) {
        return Disposition::Confirmed;
    }

    let signals: Vec<&Finding> = std::iter::once(finding).chain(input.others.iter().filter(|other| together(finding, other))).collect();
    let families: BTreeSet<_> =
        signals.iter().filter(|signal| super::counts(signal.family, signal.priority)).map(|signal| signal.family).collect();
    let rules: BTreeSet<&str> = signals.iter().map(|signal| signal.rule.as_str()).collect();
    let listed = rules.iter().copied().collect::<Vec<_>>().join(", ");
    let detail = match (families.len(), rules.len()) {
        (2.., _) => format!("{listed} are of {} independent families", families.len()),
        (_, 1) => "it is the only one".to_owned(),
        _ => format!("{listed} are all of one family"),
    };
    if ask("Two or more independent signals in the session?", Some(families.len() >= 2), detail) {
        return Disposition::Confirmed;
    }

    // Signals of one family are one signal seen twice.
    let lone_p3 = signals.iter().all(|signal| signal.priority == Priority::P3);
    let detail = if lone_p3 { "which never escalates alone (D5)" } else { "it is more urgent" };
    if ask("Lone P3?", Some(lone_p3), detail.to_owned()) {
        return Disposition::ProbableFalsePositive;
    }

    // Anybody can be made to read anything: words alone suspend nobody, however new (D9).
    let words_only = signals.iter().all(|signal| signal.family == Family::Hijack);
    if words_only {
        ask("Only what was read says so?", Some(true), "words are a hint, so a person looks before anything is cut off".to_owned());
        return Disposition::Escalate;
    }

    let (is_new, detail) = identity(input);
    if ask("Identity new, recently created or unrecognised?", is_new, detail) {
        return Disposition::Suspicious;
    }

    let (changed, detail) = manifest(input);
    if ask("Recent manifest change?", changed, detail) {
        return Disposition::Suspicious;
    }

    // Legitimate odd duties show several rules of one family at once, so their number says little (measured: ADR 0010).
    let strong = signals.iter().find(|signal| signal.escalates && signal.priority == Priority::P2);
    let detail = strong.map_or("none".to_owned(), |signal| format!("{} says too much to be put aside", signal.rule));
    if ask("A signal that is for a person even alone?", Some(strong.is_some()), detail) {
        return Disposition::Escalate;
    }

    let known = is_new.is_some() && changed.is_some();
    let detail = if known { "one signal, known agent, no change" } else { "what is known of the agent or its servers has gaps" };
    if ask("Lone P2, known agent, no change?", Some(known), detail.to_owned()) {
        return Disposition::ProbableFalsePositive;
    }
    Disposition::Escalate
}

/// Same session; where one has none, same agent.
fn together(a: &Finding, b: &Finding) -> bool {
    if a.id == b.id {
        return false;
    }
    match (a.session, b.session) {
        (Some(a), Some(b)) => a == b,
        _ => a.principal.is_some() && a.principal == b.principal,
    }
}

fn identity(input: &Input<'_>) -> (Option<bool>, String) {
    if input.assurance == Assurance::Unverified {
        return (Some(true), "nothing vouches for who the agent is".to_owned());
    }
    let age = |since: Timestamp| input.finding.at.duration_since(since);
    match (input.identity_created, input.first_seen) {
        (Some(created), _) if age(created) < NEW_IDENTITY => (Some(true), format!("its credential was made at {created:.0}")),
        (_, Some(seen)) if age(seen) < NEW_IDENTITY => (Some(true), format!("it was first seen at {seen:.0}")),
        (Some(_), Some(seen)) => (Some(false), format!("known since {seen:.0}")),
        _ => (None, "not known since when".to_owned()),
    }
}

fn manifest(input: &Input<'_>) -> (Option<bool>, String) {
    let Some(changes) = input.manifest_changes else { return (None, "not known".to_owned()) };
    let age = |change: &ManifestChange| input.finding.at.duration_since(change.at);
    // A change seen after the finding is within reach too: the listing may have been late.
    match changes.iter().filter(|change| age(change).abs() <= RECENT_CHANGE).max_by_key(|change| (!change.recorded, change.at)) {
        Some(ManifestChange { server, at, recorded: true, reference }) => {
            let reference = reference.as_deref().map(|reference| format!(" {reference}")).unwrap_or_default();
            (Some(false), format!("server {server} at {at:.0}, announced by change record{reference}"))
        }
        Some(change) => (Some(true), format!("server {} at {:.0}, without a change record", change.server, change.at)),
        None => (Some(false), "none within a day".to_owned()),
    }
}

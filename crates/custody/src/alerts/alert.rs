//! What an alert says: neutral facts and redacted excerpts, never whole bodies.

use super::text::Neutral;
use askama::Template;
use custody_model::{ActionName, Case, CaseId, Finding};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Findings and actions shown before "and … more".
const SHOWN: usize = 12;

/// One alert about one case (N3). Serialised, it is what a webhook receives.
///
/// Every word that an agent, a server or a document may have chosen is a [`Neutral`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// Format version.
    pub v: u16,
    /// Always `custody.alert`.
    pub kind: &'static str,
    /// The case.
    pub case: CaseId,
    /// When this alert was composed.
    pub at: Timestamp,
    /// When the case was opened.
    pub opened: Timestamp,
    /// How bad: `critical`, `high`, `moderate`.
    pub severity: Neutral,
    /// What kind, such as `prompt_injection`.
    pub incident_type: Neutral,
    /// Where it stands.
    pub state: Neutral,
    /// The triage answer.
    pub disposition: Neutral,
    /// Who.
    pub principals: Vec<Neutral>,
    /// The sessions.
    pub sessions: Vec<Neutral>,
    /// What was found.
    pub findings: Vec<FindingLine>,
    /// Findings that are not listed.
    pub more_findings: usize,
    /// What is cut off.
    pub scopes: Vec<Neutral>,
    /// What Custody did so far.
    pub actions: Vec<ActionLine>,
    /// The deadlines that are running (C9).
    pub deadlines: Vec<DeadlineLine>,
    /// Where the injection came from, once known.
    pub source: Option<SourceLine>,
}

/// A finding in an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in custody_model::Finding")]
pub struct FindingLine {
    pub at: Timestamp,
    pub priority: Neutral,
    pub rule: Neutral,
    pub requirement: Neutral,
    pub server: Option<Neutral>,
    pub tool: Option<Neutral>,
    pub pattern: Option<PatternLine>,
    pub silence: Option<Neutral>,
}

/// The named pattern of a finding in an alert (D15).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in custody_model::Pattern")]
pub struct PatternLine {
    pub name: Neutral,
    pub entry_point: Neutral,
}

/// An action in an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in custody_model::Receipt")]
pub struct ActionLine {
    pub at: Timestamp,
    pub verb: Neutral,
    pub ok: bool,
}

/// A running clock in an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadlineLine {
    /// What must be done.
    pub goal: Neutral,
    /// Until when.
    pub due: Timestamp,
}

/// The injection source in an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in custody_model::InjectionSource")]
pub struct SourceLine {
    pub server: Neutral,
    pub tool: Neutral,
    pub document: Option<Neutral>,
    pub place: Option<Neutral>,
    pub excerpt: Neutral,
}

/// An action that was taken for a case, as an alert tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The verb.
    pub verb: ActionName,
    /// When it ended.
    pub at: Timestamp,
    /// Whether it did what it should.
    pub ok: bool,
}

impl Alert {
    /// Says what is known of `case` at `now`. `findings` are those of the case, `taken` what was done.
    pub fn of_case(case: &Case, findings: &[Finding], taken: &[Taken], now: Timestamp) -> Alert {
        let mut principals: Vec<Neutral> =
            findings.iter().filter_map(|f| f.principal.as_ref()).map(|p| Neutral::quote(p.as_str(), 80)).collect();
        principals.dedup();
        principals.truncate(SHOWN);
        Alert {
            v: 1,
            kind: "custody.alert",
            case: case.id,
            at: now,
            opened: case.opened,
            severity: word(&case.severity),
            incident_type: word(&case.incident_type),
            state: word(&case.state),
            disposition: word(&case.triage.disposition),
            principals,
            sessions: case.sessions.iter().take(SHOWN).map(Neutral::name).collect(),
            findings: findings.iter().take(SHOWN).map(FindingLine::of).collect(),
            more_findings: findings.len().saturating_sub(SHOWN),
            scopes: case.scopes.iter().take(SHOWN).map(|s| Neutral::quote(&s.to_string(), 160)).collect(),
            actions: taken.iter().take(SHOWN).map(|t| ActionLine { at: t.at, verb: Neutral::name(&t.verb), ok: t.ok }).collect(),
            deadlines: deadlines(case),
            source: case.source.as_ref().map(|source| SourceLine {
                server: Neutral::quote(source.server.as_str(), 80),
                tool: Neutral::quote(&source.tool, 80),
                document: source.document.as_deref().map(|d| Neutral::quote(d, 160)),
                place: source.place.as_deref().map(|p| Neutral::quote(p, 80)),
                excerpt: Neutral::quote(&source.excerpt, 240),
            }),
        }
    }

    /// One line: the subject of a mail, the head of a chat message.
    pub fn subject(&self) -> String {
        let who = self.principals.first().map(|p| format!(": {p}")).unwrap_or_default();
        format!("[Custody] {} {}{who} ({})", self.severity, self.incident_type, self.case)
    }

    /// The plain text, from `templates/alert.txt`.
    pub fn text(&self) -> String {
        AlertText { alert: self }.render().expect("the template only reads fields")
    }
}

impl FindingLine {
    fn of(finding: &Finding) -> FindingLine {
        FindingLine {
            at: finding.at,
            priority: word(&finding.priority),
            rule: Neutral::name(&finding.rule),
            requirement: Neutral::name(&finding.requirement),
            server: finding.server.as_ref().map(|s| Neutral::quote(s.as_str(), 80)),
            tool: finding.tool.as_deref().map(|t| Neutral::quote(t, 80)),
            pattern: finding
                .pattern
                .as_ref()
                .map(|pattern| PatternLine { name: word(&pattern.name), entry_point: Neutral::quote(&pattern.entry_point, 240) }),
            silence: finding.silence.as_deref().map(|silence| Neutral::quote(silence, 400)),
        }
    }
}

#[derive(Template)]
#[template(path = "alert.txt")]
struct AlertText<'a> {
    alert: &'a Alert,
}

fn deadlines(case: &Case) -> Vec<DeadlineLine> {
    let mut due: Vec<DeadlineLine> = case
        .clocks
        .iter()
        .filter(|clock| clock.met.is_none())
        .filter_map(|clock| {
            let limit = SignedDuration::from_secs(i64::try_from(clock.limit_s).ok()?);
            Some(DeadlineLine { goal: Neutral::name(&clock.goal), due: clock.started?.checked_add(limit).ok()? })
        })
        .collect();
    due.sort_by_key(|line| line.due);
    due.truncate(SHOWN);
    due
}

/// The name that serde gives a unit variant.
fn word(variant: &impl Serialize) -> Neutral {
    let value = serde_json::to_value(variant).unwrap_or_default();
    Neutral::name(&value.as_str().unwrap_or("unknown"))
}

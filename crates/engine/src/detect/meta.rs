//! What Custody needs to know of a rule beyond Sigma: the `custody:` section.

use custody_model::{Family, Priority, RuleId};
use rsigma_parser::{Level, Timespan};
use serde::Deserialize;

/// How a rule's findings are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The rule: its `name`, or else its `id` or title.
    pub rule: RuleId,
    /// Its title.
    pub title: String,
    /// How urgent. Only an explicit `custody.priority` makes a P1.
    pub priority: Priority,
    /// What kind of signal; independent families confirm (T1).
    pub family: Family,
    /// Which requirement.
    pub requirement: String,
    /// Technique ids, such as `atlas:AML.T0053`.
    pub techniques: Vec<String>,
    /// Whether its findings contain by themselves, or are only told.
    pub enforce: bool,
    /// Milliseconds for which a repeat is counted instead of raised.
    pub suppress_ms: i64,
    /// Sentence with `{fact}` in it.
    pub why: Option<String>,
    /// The file.
    pub file: String,
    /// Whether it only feeds a correlation.
    pub internal: bool,
}

/// The section as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Written {
    priority: Option<Priority>,
    family: Option<Family>,
    requirement: Option<String>,
    mode: Option<Mode>,
    suppress: Option<String>,
    why: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Observe,
    Enforce,
}

/// Ten minutes.
const SUPPRESS_MS: i64 = 600_000;

/// The parts of a rule or correlation that both have.
pub(super) struct Head<'a> {
    pub file: &'a str,
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    pub title: &'a str,
    pub level: Option<Level>,
    pub tags: &'a [String],
    /// The `custody:` section as JSON.
    pub section: Option<serde_json::Value>,
}

impl Meta {
    /// Reads the section; `Err` says what is wrong with it.
    pub(super) fn read(head: Head<'_>) -> Result<Meta, String> {
        let written: Written = match head.section {
            Some(section) => serde_json::from_value(section).map_err(|e| format!("custody: {e}"))?,
            None => Written::default(),
        };
        let suppress_ms = match &written.suppress {
            None => SUPPRESS_MS,
            Some(text) => Timespan::parse(text)
                .ok()
                .and_then(|span| i64::try_from(span.seconds).ok()?.checked_mul(1_000))
                .ok_or_else(|| format!("custody.suppress: `{text}` is no time span, such as `10m`"))?,
        };
        Ok(Meta {
            rule: RuleId(head.name.or(head.id).unwrap_or(head.title).to_owned()),
            title: head.title.to_owned(),
            priority: written.priority.unwrap_or(match head.level {
                Some(Level::Critical | Level::High) => Priority::P2,
                _ => Priority::P3,
            }),
            family: written.family.unwrap_or(Family::Content),
            requirement: written.requirement.unwrap_or_else(|| "D17".to_owned()),
            techniques: head.tags.iter().filter_map(|tag| technique(tag)).collect(),
            enforce: written.mode == Some(Mode::Enforce),
            suppress_ms,
            why: written.why,
            file: head.file.to_owned(),
            internal: false,
        })
    }
}

/// `atlas.aml.t0053` → `atlas:AML.T0053`. Tags of other namespaces (tactics, TLP) are no techniques.
fn technique(tag: &str) -> Option<String> {
    let (namespace, id) = tag.split_once('.')?;
    let is_technique = match namespace {
        "attack" => id.starts_with(['t', 'T']) && id.as_bytes().get(1).is_some_and(u8::is_ascii_digit),
        "atlas" | "owasp-mcp" | "owasp-agentic" | "safe-mcp" => true,
        _ => false,
    };
    is_technique.then(|| format!("{namespace}:{}", id.to_ascii_uppercase()))
}

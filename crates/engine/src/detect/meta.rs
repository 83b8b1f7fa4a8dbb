//! What Custody needs to know of a rule beyond Sigma: the `custody:` section.

use custody_model::{Digest, Family, Pattern, PatternName, Priority, RuleId};
use rsigma_parser::{Level, Timespan};
use serde::{Deserialize, Serialize};

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
    /// Whether its findings contain by themselves, are only told, or are not raised at all.
    pub mode: RuleMode,
    /// Milliseconds for which a repeat is counted instead of raised.
    pub suppress_ms: i64,
    /// Sentence with `{fact}` in it.
    pub why: Option<String>,
    /// How to silence it: sentence with `{fact}` and `{rule}` in it.
    pub silence: String,
    /// The named pattern it looks for (D15); `{fact}`s in its entry point.
    pub pattern: Option<Pattern>,
    /// What one of its findings is, when nothing else speaks against the session.
    pub alone: Alone,
    /// The file.
    pub file: String,
    /// The line of its title.
    pub line: usize,
    /// SHA-256 of all that decides when it fires: its text, and that of the rules it counts and of filters on them.
    pub fingerprint: Digest,
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
    mode: Option<RuleMode>,
    suppress: Option<String>,
    why: Option<String>,
    silence: Option<String>,
    pattern: Option<PatternName>,
    entry_point: Option<String>,
    alone: Alone,
}

/// What a lone P2 finding of a rule is worth (T1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alone {
    /// Logged and watched: legitimate work shows it now and then.
    #[default]
    Watch,
    /// A person looks at it: it says so much that it cannot be put aside.
    Escalate,
}

/// What a rule's findings lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleMode {
    /// None are raised.
    Off,
    /// They are told.
    Observe,
    /// They contain by themselves.
    Enforce,
}

/// How any rule can be silenced.
const SILENCE: &str = "to silence it for a day, run `custody rules suppress {rule} --principal {principal} --for 24h --reason …`; for good, write \
     `\"{rule}\" = \"off\"` under [rules.modes] of custody.toml and run `custody rules reload`";

/// Ten minutes.
const SUPPRESS_MS: i64 = 600_000;

/// The parts of a rule or correlation that both have.
pub(super) struct Head<'a> {
    pub file: &'a str,
    pub line: usize,
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    pub title: &'a str,
    pub level: Option<Level>,
    pub tags: &'a [String],
    /// The `custody:` section as JSON.
    pub section: Option<serde_json::Value>,
}

impl Meta {
    /// Whether it raises findings of its own.
    pub fn raises(&self) -> bool {
        !self.internal && self.mode != RuleMode::Off
    }

    /// Whether they contain by themselves.
    pub fn enforce(&self) -> bool {
        self.mode == RuleMode::Enforce
    }

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
        let pattern = match (written.pattern, written.entry_point) {
            (Some(name), Some(entry_point)) => Some(Pattern { name, entry_point }),
            (None, None) => None,
            (Some(_), None) => return Err("custody.pattern: its likely `entry_point` is missing".to_owned()),
            (None, Some(_)) => return Err("custody.entry_point: it belongs to a `pattern`, which is missing".to_owned()),
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
            mode: written.mode.unwrap_or(RuleMode::Observe),
            suppress_ms,
            why: written.why,
            silence: written.silence.unwrap_or_else(|| SILENCE.to_owned()),
            pattern,
            alone: written.alone,
            file: head.file.to_owned(),
            line: head.line,
            fingerprint: Digest([0; 32]),
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

//! The attack file: which attacks, on whom, when. Everything that it leaves out is drawn by the seed.

use super::roles::Company;
use crate::config::nearest;
use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The largest file that is read.
pub const FILE: usize = 4 << 20;
/// Most attacks of a file.
const ATTACKS: usize = 10_000;
/// Most steps or repetitions of one.
const STEPS: u32 = 20_000;

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Calls tools that are not on the allowlist.
    UnauthorizedTool,
    /// A server's tools change without a change record, in the middle of the day.
    ManifestDrift,
    /// One record after the other at machine speed, with an allowed tool.
    BurstEnumeration,
    /// Allowed tools in an order that nobody uses.
    SequenceAbuse,
    /// Record after record, slowly, for hours.
    SlowDrip,
    /// A description of a tool tells the agent what to do, and the agent obeys.
    ToolPoisoning,
    /// A secret is read and sent away.
    CredentialExfiltration,
    /// Records are changed or deleted in numbers.
    DataModification,
    /// Tools of other servers, which the task does not need.
    LateralToolAbuse,
    /// The steps that the file gives.
    Steps,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 10] = [
        Kind::UnauthorizedTool,
        Kind::ManifestDrift,
        Kind::BurstEnumeration,
        Kind::SequenceAbuse,
        Kind::SlowDrip,
        Kind::ToolPoisoning,
        Kind::CredentialExfiltration,
        Kind::DataModification,
        Kind::LateralToolAbuse,
        Kind::Steps,
    ];

    /// As the file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::UnauthorizedTool => "unauthorized-tool",
            Kind::ManifestDrift => "manifest-drift",
            Kind::BurstEnumeration => "burst-enumeration",
            Kind::SequenceAbuse => "sequence-abuse",
            Kind::SlowDrip => "slow-drip",
            Kind::ToolPoisoning => "tool-poisoning",
            Kind::CredentialExfiltration => "credential-exfiltration",
            Kind::DataModification => "data-modification",
            Kind::LateralToolAbuse => "lateral-tool-abuse",
            Kind::Steps => "steps",
        }
    }
}

/// One attack, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// What.
    pub kind: Kind,
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// A role, such as `support-2`, or a kind of work, such as `support`.
    #[serde(default)]
    pub role: Option<String>,
    /// A task of that role.
    #[serde(default)]
    pub task: Option<String>,
    /// A principal, such as `support-2-agent1`.
    #[serde(default)]
    pub principal: Option<String>,
    /// The evaluated day, from 1.
    #[serde(default)]
    pub day: Option<u32>,
    /// The time of the day, UTC: `10:30`.
    #[serde(default)]
    pub at: Option<String>,
    /// Calls of ordinary work before it.
    #[serde(default)]
    pub after_calls: Option<u32>,
    /// Multiplies how much is done; below 1 it is quieter.
    #[serde(default)]
    pub intensity: Option<f64>,
    /// How many calls, records or tools.
    #[serde(default)]
    pub count: Option<u32>,
    /// Milliseconds between two calls of the attacker, in the middle.
    #[serde(default)]
    pub pace_ms: Option<u64>,
    /// Tools that it uses, `server/tool`.
    #[serde(default)]
    pub tools: Option<Vec<String>>,
    /// Host or mail domain that things are sent to.
    #[serde(default)]
    pub destination: Option<String>,
    /// What is called, one after the other.
    #[serde(default)]
    pub steps: Option<Vec<Step>>,
}

/// One given step.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `server/tool`.
    pub tool: String,
    /// What it is called with. Left out: something ordinary.
    #[serde(default)]
    pub arguments: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    attack: Vec<Attack>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{name}:{line}: {what}")]
pub struct AttackFileError {
    /// The file.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    #[source_code]
    shown: Arc<NamedSource<String>>,
    #[label("here")]
    span: SourceSpan,
    #[help]
    help: Option<String>,
}

/// Reads a file's text: TOML, or JSON.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse(name: &str, text: &str) -> Result<Vec<Attack>, AttackFileError> {
    let source = Source { name, text };
    let attacks = if is_json(name, text) { json(&source)? } else { toml(&source)? };
    if attacks.len() > ATTACKS {
        return Err(source.error(0..0, format!("{} attacks; {ATTACKS} are the most", attacks.len()), None));
    }
    for (nth, attack) in attacks.iter().enumerate() {
        check(attack).map_err(|(field, what, help)| source.error(source.place(nth, field), what, help))?;
    }
    Ok(attacks)
}

/// Whether everything that the attacks name exists in this company, and within these days.
///
/// # Errors
/// The first thing that does not.
pub fn check_names(name: &str, text: &str, attacks: &[Attack], company: &Company, days: u32) -> Result<(), AttackFileError> {
    let source = Source { name, text };
    for (nth, attack) in attacks.iter().enumerate() {
        named(attack, company, days).map_err(|(word, what, help)| source.error(source.place(nth, &word), what, Some(help)))?;
    }
    Ok(())
}

fn is_json(name: &str, text: &str) -> bool {
    let mut signs = text.chars().filter(|c| !c.is_whitespace());
    let first = (signs.next(), signs.next());
    name.ends_with(".json") || matches!(first, (Some('{'), _) | (Some('['), Some('{' | ']')))
}

fn toml(source: &Source<'_>) -> Result<Vec<Attack>, AttackFileError> {
    match toml::from_str::<File>(source.text) {
        Ok(file) => Ok(file.attack),
        Err(error) => {
            let message = error.message().lines().next().unwrap_or("not valid TOML").to_owned();
            let help = suggestion(&message);
            Err(source.error(error.span().unwrap_or(0..0), message, help))
        }
    }
}

fn json(source: &Source<'_>) -> Result<Vec<Attack>, AttackFileError> {
    let read = if source.text.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<Attack>>(source.text)
    } else {
        serde_json::from_str::<File>(source.text).map(|file| file.attack)
    };
    read.map_err(|error| {
        let before: usize = source.text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (before + error.column().saturating_sub(1)).min(source.text.len());
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message).to_owned();
        let help = suggestion(&message);
        source.error(at..at, message, help)
    })
}

/// What was probably meant by an unknown word, from serde's sentence about it.
fn suggestion(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let word = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    nearest(word, &known).map(|meant| format!("did you mean `{meant}`?"))
}

type Fault<'a> = (&'a str, String, Option<String>);

/// What can be said without knowing the company.
fn check(attack: &Attack) -> Result<(), Fault<'static>> {
    let fault = |field, what: &str, help: &str| Err((field, what.to_owned(), Some(help.to_owned())));
    if attack.at.as_deref().is_some_and(|at| minute_of_day(at).is_none()) {
        return fault("at", "`at` is no time of the day", "write hours and minutes, such as \"10:30\"");
    }
    if attack.day == Some(0) {
        return fault("day", "days are counted from 1", "day = 1 is the first one after learning");
    }
    if attack.intensity.is_some_and(|intensity| !(0.01..=100.0).contains(&intensity)) {
        return fault("intensity", "`intensity` must lie between 0.01 and 100", "1 is usual");
    }
    if attack.count.is_some_and(|count| count == 0 || count > STEPS) {
        return fault("count", "`count` must lie between 1 and 20000", "");
    }
    if attack.pace_ms.is_some_and(|pace| pace > 86_400_000) {
        return fault("pace_ms", "`pace_ms` is longer than a day", "");
    }
    if attack.after_calls.is_some_and(|calls| calls > 1_000) {
        return fault("after_calls", "`after_calls` must not exceed 1000", "");
    }
    let given = attack.steps.as_ref().map_or(0, Vec::len);
    match (attack.kind, given) {
        (Kind::Steps, 0) => {
            fault("kind", "an attack of kind `steps` needs steps", "steps = [{ tool = \"crm/get_customer\", arguments = { id = 7 } }]")
        }
        (Kind::Steps, _) if given > STEPS as usize => fault("steps", "too many steps: 20000 are the most", ""),
        (Kind::Steps, _) | (_, 0) => Ok(()),
        _ => fault("steps", "only an attack of kind `steps` takes steps", "kind = \"steps\""),
    }
}

/// The word that is wrong, what is wrong with it, and what to do.
fn named(attack: &Attack, company: &Company, days: u32) -> Result<(), (String, String, String)> {
    let help = |word: &str, known: &[&str]| match nearest(word, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are: {}", known.join(", ")),
    };
    if let Some(day) = attack.day.filter(|day| *day > days) {
        return Err(("day".to_owned(), format!("day {day} is not simulated"), format!("days 1 to {days} are")));
    }
    let mut kinds: Vec<&str> = company.roles.iter().map(|role| role.kind.name).collect();
    kinds.dedup();
    if let Some(role) = &attack.role
        && !company.roles.iter().any(|known| known.name.as_str() == role || known.kind.name == role)
    {
        let mut known: Vec<&str> = company.roles.iter().map(|role| role.name.as_str()).collect();
        known.extend(company.roles.iter().map(|role| role.kind.name));
        known.sort_unstable();
        known.dedup();
        return Err((role.clone(), format!("no role is called `{role}`"), help(role, &known)));
    }
    let fits = |role: &&super::roles::Role| attack.role.as_ref().is_none_or(|name| role.name.as_str() == name || role.kind.name == name);
    if let Some(principal) = &attack.principal {
        let known: Vec<&str> =
            company.principals.iter().filter(|known| fits(&&company.roles[known.role])).map(|known| known.name.as_str()).collect();
        if !known.contains(&principal.as_str()) {
            let what = match &attack.role {
                Some(role) => format!("role `{role}` has no principal `{principal}`"),
                None => format!("no principal is called `{principal}`"),
            };
            return Err((principal.clone(), what, help(principal, &known)));
        }
    }
    if let Some(task) = &attack.task {
        let mut known: Vec<&str> =
            company.roles.iter().filter(fits).flat_map(|role| role.tasks.iter().map(|task| task.name.as_str())).collect();
        known.sort_unstable();
        known.dedup();
        if !known.contains(&task.as_str()) {
            let what = match &attack.role {
                Some(role) => format!("role `{role}` has no task `{task}`"),
                None => format!("no role has a task `{task}`"),
            };
            return Err((task.clone(), what, help(task, &known)));
        }
    }
    let steps = attack.steps.iter().flatten().map(|step| &step.tool);
    for tool in attack.tools.iter().flatten().chain(steps) {
        if company.world.named(tool).is_none() {
            let known: Vec<&str> = company.world.tools.iter().map(|tool| tool.full.as_str()).collect();
            let help = nearest(tool, &known).map_or_else(
                || "`custody simulate --show-company` lists servers and tools".to_owned(),
                |meant| format!("did you mean `{meant}`?"),
            );
            return Err((tool.clone(), format!("no tool is called `{tool}`"), help));
        }
    }
    Ok(())
}

/// Minutes after midnight.
pub fn minute_of_day(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: i64| text.parse::<i64>().ok().filter(|number| (0..=most).contains(number));
    Some(number(hours, 23)? * 60 + number(minutes, 59)?)
}

struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn error(&self, span: std::ops::Range<usize>, what: String, help: Option<String>) -> AttackFileError {
        let line = self.text.get(..span.start).unwrap_or(self.text).matches('\n').count() + 1;
        AttackFileError {
            name: self.name.to_owned(),
            line,
            what,
            shown: Arc::new(NamedSource::new(self.name, self.text.to_owned())),
            span: span.into(),
            help: help.filter(|help| !help.is_empty()),
        }
    }

    /// Where the word stands in the attack of that number; else the attack.
    fn place(&self, nth: usize, word: &str) -> std::ops::Range<usize> {
        let heads: Vec<usize> = self.text.match_indices("[[attack]]").map(|(at, _)| at).collect();
        let from = heads.get(nth).copied().unwrap_or(0);
        let to = heads.get(nth + 1).copied().unwrap_or(self.text.len());
        let part = &self.text[from..to];
        let found = part.find(&format!("\"{word}\"")).map(|at| (at + 1, word.len())).or_else(|| {
            let start = part.find(&format!("\n{word}"))?;
            Some((start + 1, word.len()))
        });
        let (at, length) = found.unwrap_or((0, part.lines().next().map_or(0, str::len)));
        from + at..from + at + length
    }
}

//! Rules in force: loaded strictly, exchanged whole or not at all, silenced by persons for a while.
//!
//! A set with any fault is refused; the one before stays in force. The entry that says which rules are in force comes before
//! the first finding of theirs.

use super::{Core, CoreError};
use crate::config::{self, Config};
use custody_engine::detect::{Detector, Heard, MAX_SILENCED, Repeated, RuleMode, Rules, Silenced, shipped};
use custody_model::*;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Between two looks at the directory of rules, and at what should be told by now.
const LOOK: Duration = Duration::from_secs(1);
/// A larger file is no rule file.
const MAX_FILE: u64 = 1 << 20;
/// More bytes than these are not loaded.
const MAX_ALL: u64 = 16 << 20;
/// Files of a directory at most.
const MAX_FILES: usize = 10_000;
/// Longest that a person can silence a rule: for longer there is `off`.
const LONGEST_S: u64 = 90 * 24 * 3600;

/// What the daemon keeps of its rules beside the detector.
pub(super) struct InForce {
    settings: config::Rules,
    since: Timestamp,
    /// What the directory looked like when it was read last, whether or not it was taken.
    seen: Print,
    fault: Option<RulesFault>,
}

/// A directory by names, sizes, times and inodes of its files; `Err`: it cannot be read.
type Print = Result<Vec<(String, u64, i64, i64, u64)>, String>;

/// A set that was refused. The rules before it are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesFault {
    /// When.
    pub at: Timestamp,
    /// A line a fault, each with file and line.
    pub faults: String,
}

/// One rule that raises findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in custody_engine::detect::Meta")]
pub struct RuleRow {
    pub rule: RuleId,
    pub title: String,
    pub priority: Priority,
    pub family: Family,
    pub mode: RuleMode,
    pub requirement: String,
    /// Seconds for which a repeat is counted instead of raised.
    pub suppress_s: u64,
    pub techniques: Vec<String>,
    pub pattern: Option<Pattern>,
    pub file: String,
    pub line: usize,
}

/// Rules in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesView {
    /// SHA-256 over files and modes; findings name it.
    pub digest: Digest,
    /// Since when; `None`: no daemon runs.
    pub since: Option<Timestamp>,
    /// The directory beside the shipped ones.
    pub dir: Option<PathBuf>,
    /// The rules, by name.
    pub rules: Vec<RuleRow>,
    /// What persons silenced.
    pub silenced: Vec<Silenced>,
    /// The last set, if it was refused.
    pub fault: Option<RulesFault>,
}

/// What a status says of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesStatus {
    /// SHA-256 over files and modes.
    pub digest: Digest,
    /// Since when.
    pub since: Timestamp,
    /// Suppressions in force.
    pub silenced: usize,
    /// The last set, if it was refused.
    pub fault: Option<RulesFault>,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The rules in force now.
    pub digest: Digest,
    /// Whether they differ from those before.
    pub changed: bool,
    /// Rules that raise findings.
    pub rules: usize,
}

/// What a person wants silenced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuppressRequest {
    /// The rule.
    pub rule: RuleId,
    /// Only of this agent.
    #[serde(default)]
    pub principal: Option<PrincipalName>,
    /// Only on this server.
    #[serde(default)]
    pub server: Option<ServerName>,
    /// Only for this tool.
    #[serde(default)]
    pub tool: Option<String>,
    /// For so many seconds.
    pub for_s: u64,
    /// Why.
    pub reason: String,
    /// Also a rule whose findings contain by themselves.
    #[serde(default)]
    pub also_p1: bool,
}

impl InForce {
    pub fn new(settings: config::Rules, seen: Print, since: Timestamp) -> Mutex<InForce> {
        Mutex::new(InForce { settings, since, seen, fault: None })
    }
}

impl Core {
    /// Rules in force, and what is silenced.
    pub fn rules_view(&self) -> RulesView {
        let in_force = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let detector = self.detector();
        RulesView {
            digest: detector.digest(),
            since: Some(in_force.since),
            dir: in_force.settings.dir.clone(),
            rules: rows(detector.rules()),
            silenced: detector.silenced().to_vec(),
            fault: in_force.fault.clone(),
        }
    }

    /// What a status says of them.
    pub(super) fn rules_status(&self) -> RulesStatus {
        let in_force = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let detector = self.detector();
        RulesStatus { digest: detector.digest(), since: in_force.since, silenced: detector.silenced().len(), fault: in_force.fault.clone() }
    }

    /// Reads `[rules]` of `custody.toml` and the directory anew, and puts them in force.
    ///
    /// # Errors
    /// What is wrong with them, with file and line; then the rules before stay in force, and the fault stands in the status
    /// and in the ledger.
    pub fn reload_rules(&self, by: &OperatorName) -> Result<Reloaded, CoreError> {
        self.exchange_rules(by, true)
    }

    fn exchange_rules(&self, by: &OperatorName, reread: bool) -> Result<Reloaded, CoreError> {
        // One exchange at a time; decisions do not wait for this lock.
        let mut in_force = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = if reread { self.settings() } else { Ok((in_force.settings.clone(), String::new())) };
        let loaded = settings.and_then(|(settings, text)| {
            // Looked at before it is read: what changes in between is seen at the next look.
            in_force.seen = print(settings.dir.as_deref());
            Ok((load(&settings, &text)?, settings))
        });
        let ((rules, text), settings) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let faults = crate::api::with_causes(&error);
                let fault = RulesFault { at: self.now(), faults };
                let event = Event::OperatorActed { verb: "rules_refused".to_owned() };
                self.note(None, event, Some(json!({"by": by, "faults": fault.faults})));
                in_force.fault = Some(fault);
                return Err(error);
            }
        };
        let digest = rules.digest();
        let count = rules.metas().len();
        let mut detector = self.detector();
        let changed = detector.digest() != digest;
        let event = Event::ConfigLoaded { what: "rules".to_owned(), digest };
        // Under the detector's lock: the entry stands before every finding of these rules.
        if self.note(None, event, Some(json!({"by": by, "text": text, "modes": settings.modes}))).is_none() {
            return Err(CoreError::Loading {
                what: "rules",
                faults: "the record cannot be written, so the rules before stay in force".into(),
            });
        }
        detector.reload(rules);
        drop(detector);
        in_force.settings = settings;
        in_force.fault = None;
        in_force.since = self.now();
        Ok(Reloaded { digest, changed, rules: count })
    }

    /// `[rules]` as the file says it now, and the file.
    fn settings(&self) -> Result<(config::Rules, String), CoreError> {
        let broken = |error| CoreError::Loading { what: "custody.toml", faults: format!("{:?}", miette::Report::new(error)) };
        let config = Config::read(&self.home.config()).map_err(broken)?;
        Ok((config.rules, config.text.expose().to_owned()))
    }

    /// Silences a rule for a while, on a person's name.
    ///
    /// # Errors
    /// [`CoreError::Unknown`] rule; [`CoreError::NotSilenced`]; [`CoreError::Ledger`].
    pub fn suppress_rule(&self, by: &OperatorName, request: SuppressRequest) -> Result<Suppression, CoreError> {
        let now = self.now();
        let refuse = |why: &str| CoreError::NotSilenced { rule: request.rule.clone(), why: why.to_owned() };
        let mut detector = self.detector();
        let Some((priority, enforce)) = found(&detector, &request.rule) else {
            return Err(CoreError::Unknown { what: "rule", id: request.rule.to_string() });
        };
        if priority == Priority::P1 && enforce && !request.also_p1 {
            return Err(refuse("its findings contain an agent at once; say `--also-p1` if that is what you want"));
        }
        if request.for_s == 0 || request.for_s > LONGEST_S {
            return Err(refuse("a rule is silenced for a second to ninety days; for longer, set its mode to `off`"));
        }
        if detector.silenced().len() >= MAX_SILENCED {
            return Err(refuse("too much is silenced already"));
        }
        let suppression = Suppression {
            id: SuppressionId(uuid::Uuid::now_v7()),
            rule: request.rule,
            principal: request.principal,
            server: request.server,
            tool: request.tool,
            since: now,
            until: now.saturating_add(SignedDuration::from_secs(request.for_s.cast_signed())).unwrap_or(Timestamp::MAX),
            by: by.clone(),
            reason: request.reason,
            also_p1: request.also_p1,
        };
        let event = Event::RuleSuppressed { suppression: suppression.id, rule: suppression.rule.clone(), until: suppression.until };
        let detail = serde_json::to_value(&suppression).expect("a suppression is plain data");
        self.ledger.record(custody_store::ledger::Draft { at: now, session: None, event, detail: Some(detail), body: None })?;
        let _added = detector.silence(suppression.clone());
        Ok(suppression)
    }

    /// Ends suppressions.
    ///
    /// # Errors
    /// [`CoreError::Unknown`] when there is none.
    pub fn unsuppress_rule(&self, by: &OperatorName, which: &Heard, reason: &str) -> Result<Vec<Silenced>, CoreError> {
        let heard = self.hear(by, which, reason);
        match heard.is_empty() {
            true => Err(CoreError::Unknown {
                what: "suppression of",
                id: match which {
                    Heard::Id(id) => id.to_string(),
                    Heard::Rule(rule) => rule.to_string(),
                    Heard::Over(at) => at.to_string(),
                },
            }),
            false => Ok(heard),
        }
    }

    fn hear(&self, by: &OperatorName, which: &Heard, reason: &str) -> Vec<Silenced> {
        let mut detector = self.detector();
        let heard = detector.hear(which);
        for Silenced { suppression, hidden } in &heard {
            let event = Event::RuleHeard { suppression: suppression.id, rule: suppression.rule.clone(), hidden: *hidden };
            self.note(None, event, Some(json!({"by": by, "reason": reason})));
        }
        heard
    }

    /// Looks once a second whether the directory changed, which repeats should be told, and what is heard again. Runs until
    /// the daemon stops.
    pub(super) async fn watch_rules(self: Arc<Self>) {
        let mut before: Option<Print> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return,
            }
            let core = self.clone();
            let last = before.take();
            let looked = tokio::task::spawn_blocking(move || core.look_at_rules(last)).await;
            before = looked.ok().flatten();
        }
    }

    /// `before`: what the directory looked like at the last look, if it was not as it was read.
    fn look_at_rules(&self, before: Option<Print>) -> Option<Print> {
        let now = self.now();
        let repeated = self.detector().repeated(now);
        self.tell_repeated(&repeated);
        self.hear(&OperatorName::from("custody"), &Heard::Over(now), "its time is over");
        let (dir, seen) = {
            let in_force = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
            (in_force.settings.dir.clone(), in_force.seen.clone())
        };
        let dir = dir?;
        let found = print(Some(&dir));
        if found == seen {
            return None;
        }
        // A file may be half written: only what stayed as it is for a second is read.
        if before.as_ref() == Some(&found) {
            match self.exchange_rules(&OperatorName::from("custody"), false) {
                Ok(reloaded) => tracing::warn!(rules = reloaded.rules, digest = %reloaded.digest, "rules changed and are in force"),
                Err(error) => {
                    tracing::error!(error = %crate::api::with_causes(&error), "changed rules are refused; those before stay in force")
                }
            }
            return None;
        }
        Some(found)
    }

    fn tell_repeated(&self, repeated: &[Repeated]) {
        for Repeated { finding, session, repeats } in repeated {
            self.note(*session, Event::FindingRepeated { finding: *finding, repeats: *repeats }, None::<()>);
        }
    }

    /// Tells the repeats that the record does not have, before the daemon stops.
    pub(super) fn tell_last_repeats(&self) {
        let repeated = self.detector().repeated_at_last();
        self.tell_repeated(&repeated);
    }
}

fn found(detector: &Detector, rule: &RuleId) -> Option<(Priority, bool)> {
    detector.rules().metas().into_iter().find(|meta| meta.rule == *rule).map(|meta| (meta.priority, meta.enforce()))
}

/// The rules that raise findings, by name.
pub fn rows(rules: &Rules) -> Vec<RuleRow> {
    let row = |meta: &custody_engine::detect::Meta| RuleRow {
        rule: meta.rule.clone(),
        title: meta.title.clone(),
        priority: meta.priority,
        family: meta.family,
        mode: meta.mode,
        requirement: meta.requirement.clone(),
        suppress_s: u64::try_from(meta.suppress_ms / 1_000).unwrap_or(0),
        techniques: meta.techniques.clone(),
        pattern: meta.pattern.clone(),
        file: meta.file.clone(),
        line: meta.line,
    };
    rules.metas().into_iter().map(row).collect()
}

/// Rules of the settings, and their text. `config`: the file that says the modes, for its lines.
///
/// # Errors
/// Every fault, with file and line.
pub fn load(settings: &config::Rules, config: &str) -> Result<(Rules, String), CoreError> {
    let own = read_rules(settings.dir.as_deref())?;
    let mut rules =
        Rules::with_directory(&own).map_err(|faults| CoreError::Loading { what: "rules", faults: super::open::lines(&faults) })?;
    let mut unknown = Vec::new();
    for (rule, mode) in &settings.modes {
        if !rules.set_mode(&RuleId(rule.clone()), *mode) {
            let line = config
                .lines()
                .position(|line| line.contains(rule.as_str()))
                .map_or(String::new(), |at| format!("custody.toml:{}: ", at + 1));
            unknown.push(format!("{line}[rules.modes] names `{rule}`, and there is no such rule"));
        }
    }
    if !unknown.is_empty() {
        return Err(CoreError::Loading { what: "rules", faults: unknown.join("\n") });
    }
    let shipped = shipped().iter().filter(|(name, _)| !own.iter().any(|(file, _)| file == name));
    let shipped = shipped.map(|(name, text)| format!("# {name}\n{text}\n"));
    let text = shipped.chain(own.iter().map(|(name, text)| format!("# {name}\n{text}\n"))).collect();
    Ok((rules, text))
}

/// Rules from the text that the record has of them: each file after a line with its name.
///
/// # Errors
/// Every fault, with file and line.
pub fn load_text(text: &str, modes: &std::collections::BTreeMap<String, RuleMode>) -> Result<Rules, CoreError> {
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        let name = line.strip_prefix("# ").filter(|name| is_rule_file(Path::new(name)) && !name.contains(['/', ' ']));
        match (name, files.last_mut()) {
            (Some(name), _) => files.push((name, String::new())),
            (None, Some((_, file))) => {
                file.push_str(line);
                file.push('\n');
            }
            (None, None) => {}
        }
    }
    // Each text was followed by one newline that is not its own.
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.strip_suffix('\n').unwrap_or(text))).collect();
    let faulty = |faults: String| CoreError::Loading { what: "rules", faults };
    let mut rules = Rules::load(&files).map_err(|faults| faulty(super::open::lines(&faults)))?;
    for (rule, mode) in modes {
        if !rules.set_mode(&RuleId(rule.clone()), *mode) {
            return Err(faulty(format!("there is no rule `{rule}` whose mode could be set")));
        }
    }
    Ok(rules)
}

/// The rule files of a directory, sorted by name.
///
/// # Errors
/// [`CoreError::Io`]; [`CoreError::Loading`] when there is too much.
pub fn read_rules(dir: Option<&Path>) -> Result<Vec<(String, String)>, CoreError> {
    let Some(dir) = dir else { return Ok(Vec::new()) };
    let failed = |path: &Path, source| CoreError::Io { doing: "read", path: path.display().to_string(), source };
    let much = |what: String| CoreError::Loading { what: "rules", faults: what };
    let mut files = Vec::new();
    let mut all = 0;
    for entry in std::fs::read_dir(dir).map_err(|error| failed(dir, error))? {
        let path = entry.map_err(|error| failed(dir, error))?.path();
        if !is_rule_file(&path) {
            continue;
        }
        let metadata = std::fs::metadata(&path).map_err(|error| failed(&path, error))?;
        // A pipe would keep the reader for ever.
        if !metadata.is_file() {
            return Err(much(format!("{}:1: not a file", path.display())));
        }
        all += metadata.len();
        if metadata.len() > MAX_FILE || all > MAX_ALL || files.len() >= MAX_FILES {
            return Err(much(format!("{}:1: too much: a file has at most 1 MiB, all together 16 MiB", path.display())));
        }
        let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            much(format!("{}:{line}: not UTF-8", path.display()))
        })?;
        files.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text));
    }
    files.sort();
    Ok(files)
}

fn is_rule_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml")
}

/// What a directory looks like from outside.
pub(super) fn print(dir: Option<&Path>) -> Print {
    let Some(dir) = dir else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if is_rule_file(&path) && files.len() <= MAX_FILES {
            let metadata = std::fs::metadata(&path).map_err(|error| error.to_string())?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino()));
        }
    }
    files.sort();
    Ok(files)
}

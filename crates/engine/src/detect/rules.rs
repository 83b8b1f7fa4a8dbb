//! Sigma rules, read strictly: a file with any fault is refused, never half used.

use super::{
    facts,
    meta::{Head, Meta},
};
use custody_model::{Digest, RuleId};
use rsigma_eval::{CorrelationConfig, CorrelationEngine, RuleFieldSet};
use rsigma_parser::{SigmaCollection, parse_sigma_yaml};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The rules that come with Custody: file name and text.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    &[
        ("mcp-001-unauthorized-tool.yml", include_str!("../../../../rules/mcp-001-unauthorized-tool.yml")),
        ("mcp-006-ambiguous-frame.yml", include_str!("../../../../rules/mcp-006-ambiguous-frame.yml")),
        ("mcp-007-denied-iteration.yml", include_str!("../../../../rules/mcp-007-denied-iteration.yml")),
    ]
}

/// One fault of one rule file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct RuleError {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1, as near as it is known.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Rules in force.
#[derive(Clone)]
pub struct Rules {
    pub(super) collection: SigmaCollection,
    /// By Sigma `id`, which every rule must have.
    pub(super) metas: HashMap<String, Meta>,
    digest: Digest,
}

/// State entries over all correlations and groups; the oldest go first.
const MAX_STATE: usize = 50_000;
/// Events remembered per correlation and group.
const MAX_GROUP: usize = 1_000;

impl Rules {
    /// The shipped rules.
    pub fn standard() -> Rules {
        Rules::load(shipped()).unwrap_or_else(|errors| unreachable!("the shipped rules are tested: {errors:?}"))
    }

    /// The shipped rules and a directory's: a file with the name of a shipped one replaces it.
    ///
    /// # Errors
    /// As [`Rules::load`].
    pub fn with_directory(files: &[(String, String)]) -> Result<Rules, Vec<RuleError>> {
        let replaced = |name: &str| files.iter().any(|(file, _)| file == name);
        let mut all: Vec<(&str, &str)> = shipped().iter().copied().filter(|(name, _)| !replaced(name)).collect();
        all.extend(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        Rules::load(&all)
    }

    /// Reads rule files (name and text).
    ///
    /// # Errors
    /// Every fault of every file: YAML, Sigma, a correlation of a rule that does not exist, a field that no fact provides,
    /// an id used twice.
    pub fn load(files: &[(&str, &str)]) -> Result<Rules, Vec<RuleError>> {
        let mut loading = Loading::default();
        for (file, text) in files {
            loading.file(file, text);
        }
        loading.finish(files)
    }

    /// Whether a rule's findings contain by themselves. `false`: there is no such rule.
    #[must_use]
    pub fn set_enforce(&mut self, rule: &RuleId, enforce: bool) -> bool {
        let meta = self.metas.values_mut().find(|meta| meta.rule == *rule && !meta.internal);
        meta.map(|meta| meta.enforce = enforce).is_some()
    }

    /// The rules that raise findings, by name.
    pub fn metas(&self) -> Vec<&Meta> {
        let mut metas: Vec<&Meta> = self.metas.values().filter(|meta| !meta.internal).collect();
        metas.sort_by(|a, b| a.rule.cmp(&b.rule));
        metas
    }

    /// SHA-256 over names and texts of all files, and each rule's mode.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(self.digest.0);
        for meta in self.metas().iter().filter(|meta| meta.enforce) {
            hash.update(meta.rule.as_str());
            hash.update([0]);
        }
        Digest(hash.finalize().into())
    }

    /// A fresh engine. Its clock counts milliseconds where Sigma says seconds: whole seconds would let
    /// `temporal_ordered` fire on reversed events.
    pub(super) fn engine(&self) -> Result<CorrelationEngine, rsigma_eval::EvalError> {
        let config = CorrelationConfig { max_state_entries: MAX_STATE, max_group_entries: Some(MAX_GROUP), ..CorrelationConfig::default() };
        let mut engine = CorrelationEngine::new(config);
        engine.add_collection(&self.collection)?;
        Ok(engine)
    }
}

#[derive(Default)]
struct Loading {
    collection: SigmaCollection,
    metas: HashMap<String, Meta>,
    errors: Vec<RuleError>,
}

impl Loading {
    fn file(&mut self, file: &str, text: &str) {
        let mut fault =
            |at: &str, what: String| self.errors.push(RuleError { file: file.to_owned(), line: line_of(text, at, &what), what });
        let mut collection = match parse_sigma_yaml(text) {
            Ok(collection) => collection,
            Err(error) => return fault("", error.to_string()),
        };
        for error in std::mem::take(&mut collection.errors) {
            fault("", error);
        }
        if collection.is_empty() {
            fault("", "no rule in this file".to_owned());
        }
        let known: HashSet<&str> = facts::all().map(|fact| fact.name).collect();
        if collection.rules.iter().any(|rule| rule.logsource.product.as_deref() == Some("mcp")) {
            for field in RuleFieldSet::collect(&collection, &[], true).names().filter(|field| !known.contains(field)) {
                fault(field, format!("no fact is called `{field}`: the rule could never match"));
            }
        }
        for correlation in &mut collection.correlations {
            let gap = correlation.gap.as_mut().map(|gap| &mut gap.seconds);
            for seconds in std::iter::once(&mut correlation.timespan.seconds).chain(gap) {
                match seconds.checked_mul(1_000).filter(|ms| *ms < i64::MAX as u64 / 4) {
                    Some(ms) => *seconds = ms,
                    None => fault("timespan", "the time span is too long".to_owned()),
                }
            }
        }
        let heads = collection.rules.iter().map(|r| (&r.id, &r.name, &r.title, r.level, &r.tags, &r.custom_attributes));
        let correlations = collection.correlations.iter().map(|c| (&c.id, &c.name, &c.title, c.level, &c.tags, &c.custom_attributes));
        for (id, name, title, level, tags, attributes) in heads.chain(correlations) {
            // It would set the suppression of every other rule, and count it in seconds.
            if let Some(trap) = ["rsigma.suppress", "rsigma.timestamp_field"].iter().find(|key| attributes.contains_key(**key)) {
                fault(trap, format!("`{trap}` is not used here: write `custody: {{ suppress: … }}`"));
            }
            let Some(id) = id else {
                fault(title, format!("rule `{title}` has no id"));
                continue;
            };
            let section = attributes.get("custody").and_then(|section| serde_json::to_value(section).ok());
            let head = Head { file, id: Some(id), name: name.as_deref(), title, level, tags, section };
            match Meta::read(head) {
                Err(what) => fault("custody:", what),
                Ok(meta) if self.metas.values().any(|other| other.rule == meta.rule) => {
                    fault(meta.rule.as_str(), format!("the rule name `{}` is used twice", meta.rule));
                }
                Ok(meta) => {
                    if self.metas.insert(id.clone(), meta).is_some() {
                        fault(id, format!("the rule id `{id}` is used twice"));
                    }
                }
            }
        }
        self.collection.rules.append(&mut collection.rules);
        self.collection.correlations.append(&mut collection.correlations);
        self.collection.filters.append(&mut collection.filters);
    }

    fn finish(mut self, files: &[(&str, &str)]) -> Result<Rules, Vec<RuleError>> {
        let counted: BTreeSet<&str> =
            self.collection.correlations.iter().filter(|c| !c.generate).flat_map(|c| c.rules.iter().map(String::as_str)).collect();
        for (id, meta) in &mut self.metas {
            meta.internal = counted.contains(id.as_str()) || counted.contains(meta.rule.as_str());
        }
        let mut hash = Sha256::new();
        for (name, text) in files {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        let rules = Rules { collection: self.collection, metas: self.metas, digest: Digest(hash.finalize().into()) };
        if self.errors.is_empty()
            && let Err(error) = rules.engine()
        {
            let what = error.to_string();
            let quoted = what.rsplit(": ").next().unwrap_or_default();
            let (file, text) = files.iter().find(|(_, text)| text.contains(quoted)).copied().unwrap_or(("rules", ""));
            self.errors.push(RuleError { file: file.to_owned(), line: line_of(text, quoted, &what), what });
        }
        if self.errors.is_empty() { Ok(rules) } else { Err(self.errors) }
    }
}

/// The line that the message names, or else the first one with `at` in it.
fn line_of(text: &str, at: &str, message: &str) -> usize {
    let named = message.split("line ").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    let found = || text.lines().position(|line| !at.is_empty() && line.contains(at)).map(|i| i + 1);
    named.or_else(found).unwrap_or(1)
}

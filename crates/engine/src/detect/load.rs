//! Reads rule files strictly. What the engine would pass over in silence is a fault here: half a rule set looks like a whole one.

use super::{
    RuleError, Rules, facts,
    meta::{Head, Meta},
    place::{Document, documents},
    rules::MAX_GROUP,
};
use custody_model::Digest;
use rsigma_eval::{RuleFieldSet, compile_rule};
use rsigma_parser::{
    ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, Detection, FilterRule, FilterRuleTarget, LintRule, Modifier,
    SigmaCollection, SigmaRule, SigmaValue, lint::lint_yaml_str, parse_sigma_yaml,
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Ticks of the engine's clock in a second.
pub(super) const TICKS: u64 = 1_000_000;

/// What the linter knows and the parser accepts, although the rule would not do what it says.
const REFUSED: &[LintRule] = &[
    LintRule::UnknownKey,
    LintRule::ConditionReferencesUnknown,
    LintRule::DeprecatedAggregationSyntax,
    LintRule::EmptyValueList,
    LintRule::IncompatibleModifiers,
    LintRule::MissingCorrelationRules,
    LintRule::EmptyCorrelationRules,
    LintRule::MissingGroupBy,
    LintRule::MissingConditionField,
    LintRule::InvalidConditionOperator,
    LintRule::ConditionValueNotNumeric,
    LintRule::MissingFilterRules,
    LintRule::EmptyFilterRules,
    LintRule::MissingFilterSelection,
    LintRule::MissingFilterCondition,
    LintRule::ExemplarShape,
    LintRule::ExemplarWrongRuleKind,
];

/// Most hits of one rule that an ordered correlation remembers, by the number of its rules: the engine tries combinations.
const ORDERED: [u64; 4] = [1_000, 1_000, 200, 30];
/// More rules than these cannot be correlated in order.
const ORDERED_RULES: usize = 4;

/// A set being read.
#[derive(Default)]
pub(super) struct Loading {
    collection: SigmaCollection,
    metas: HashMap<String, Meta>,
    errors: Vec<RuleError>,
    /// Digests of the texts that belong to a rule, by id; a filter's under the names of its rules.
    texts: HashMap<String, BTreeSet<[u8; 32]>>,
    /// What filters and correlations name, with the place where they do.
    named: Vec<(RuleError, String)>,
}

/// The place of a fault.
struct At<'a> {
    file: &'a str,
    document: &'a Document<'a>,
}

impl At<'_> {
    fn fault(&self, at: &str, what: impl Into<String>) -> RuleError {
        let what = what.into();
        RuleError { file: self.file.to_owned(), line: self.document.line(at, &what), what: in_one_line(&what) }
    }
}

impl Loading {
    pub fn file(&mut self, file: &str, text: &str) {
        let documents = documents(text);
        if documents.is_empty() {
            self.errors.push(RuleError { file: file.to_owned(), line: 1, what: "no rule in this file".to_owned() });
        }
        for document in &documents {
            self.document(&At { file, document });
        }
    }

    fn document(&mut self, at: &At<'_>) {
        let text = at.document.text;
        let mut collection = match parse_sigma_yaml(text) {
            Ok(collection) => collection,
            Err(error) => return self.errors.push(at.fault("", error.to_string())),
        };
        let before = self.errors.len();
        for error in std::mem::take(&mut collection.errors) {
            let key = if error.starts_with("Condition") { "condition:" } else { "" };
            self.errors.push(at.fault(key, error));
        }
        if text.lines().any(|line| line.starts_with("action:")) {
            self.errors.push(at.fault("action:", "`action:` is not used here: write each rule out"));
        } else if self.errors.len() == before {
            for warning in lint_yaml_str(text).into_iter().filter(|warning| REFUSED.contains(&warning.rule)) {
                let line = warning.span.map(|span| at.document.before + span.start_line as usize + 1);
                let fault = at.fault("", warning.message);
                self.errors.push(RuleError { line: line.unwrap_or(fault.line), ..fault });
            }
        }
        if collection.is_empty() {
            if self.errors.len() == before {
                self.errors.push(at.fault("", "no rule in this document"));
            }
            return;
        }
        let linted = self.errors.len() > before;
        let known: HashSet<&str> = facts::all().map(|fact| fact.name).collect();
        for field in RuleFieldSet::collect(&collection, &[], true).names().filter(|field| !known.contains(field)) {
            self.errors.push(at.fault(field, format!("no fact is called `{field}`: the rule could never match")));
        }
        for rule in &collection.rules {
            self.rule(at, rule, &known, linted);
        }
        for correlation in &mut collection.correlations {
            self.correlation(at, correlation);
        }
        for filter in &collection.filters {
            self.filter(at, filter);
        }
        self.collection.rules.append(&mut collection.rules);
        self.collection.correlations.append(&mut collection.correlations);
        self.collection.filters.append(&mut collection.filters);
    }

    fn rule(&mut self, at: &At<'_>, rule: &SigmaRule, known: &HashSet<&str>, linted: bool) {
        match rule.logsource.product.as_deref() {
            Some("mcp") => {}
            Some(other) => {
                let what =
                    format!("`product: {other}`: only messages of `product: mcp` are judged here, and the rule would be asked about them");
                self.errors.push(at.fault("product:", what));
            }
            None => self.errors.push(at.fault("logsource:", "`product: mcp` is missing in the logsource")),
        }
        if rule.detection.timeframe.is_some() {
            self.errors.push(at.fault("timeframe:", "`timeframe` in a detection does nothing: write a correlation"));
        }
        for detection in rule.detection.named.values() {
            for field in referred(detection).into_iter().filter(|field| !known.contains(field.as_str())) {
                self.errors.push(at.fault(&field, format!("no fact is called `{field}`: the rule could never match")));
            }
        }
        if !linted && let Err(error) = compile_rule(rule) {
            self.errors.push(at.fault("", error.to_string()));
        }
        let head = (&rule.id, &rule.name, rule.title.as_str(), rule.level, rule.tags.as_slice());
        self.head(at, head, rule.custom_attributes.keys(), rule.custom_attributes.get("custody"));
    }

    fn correlation(&mut self, at: &At<'_>, rule: &mut CorrelationRule) {
        let gap = rule.gap.as_mut().map(|gap| &mut gap.seconds);
        for seconds in std::iter::once(&mut rule.timespan.seconds).chain(gap) {
            match seconds.checked_mul(TICKS).filter(|ticks| *ticks < i64::MAX as u64 / 4) {
                Some(ticks) => *seconds = ticks,
                None => self.errors.push(at.fault("timespan", "the time span is too long")),
            }
        }
        if let CorrelationCondition::Threshold { predicates, .. } = &rule.condition
            && matches!(rule.correlation_type, CorrelationType::EventCount | CorrelationType::ValueCount)
        {
            let unreachable = |(op, bound): &&(ConditionOperator, u64)| {
                let least = bound.saturating_add(u64::from(*op == ConditionOperator::Gt));
                matches!(op, ConditionOperator::Gt | ConditionOperator::Gte | ConditionOperator::Eq) && least > MAX_GROUP as u64
            };
            if let Some((_, bound)) = predicates.iter().find(unreachable) {
                let what = format!("`{bound}` can never be reached: at most {MAX_GROUP} events are remembered per group");
                self.errors.push(at.fault(&bound.to_string(), what));
            }
        }
        let head = (&rule.id, &rule.name, rule.title.as_str(), rule.level, rule.tags.as_slice());
        self.head(at, head, rule.custom_attributes.keys(), rule.custom_attributes.get("custody"));
        if rule.correlation_type == CorrelationType::TemporalOrdered {
            match ORDERED.get(rule.rules.len().saturating_sub(1)) {
                Some(cap) => {
                    rule.custom_attributes.insert("rsigma.max_group_entries".to_owned(), (*cap).into());
                }
                None => self.errors.push(at.fault("rules:", format!("at most {ORDERED_RULES} rules can be correlated in order"))),
            }
        }
        for name in &rule.rules {
            self.named.push((at.fault(name, format!("there is no rule `{name}`")), name.clone()));
        }
    }

    fn filter(&mut self, at: &At<'_>, filter: &FilterRule) {
        if let Some(other) = filter.logsource.as_ref().and_then(|source| source.product.as_deref()).filter(|product| *product != "mcp") {
            self.errors.push(at.fault("product:", format!("`product: {other}`: the filter would filter nothing here")));
        }
        if let Some(trap) = filter.custom_attributes.keys().find(|key| key.starts_with("rsigma.")) {
            self.errors.push(at.fault(trap, format!("`{trap}` is not used here")));
        }
        if let FilterRuleTarget::Specific(names) = &filter.rules {
            for name in names {
                self.texts.entry(name.clone()).or_default().insert(sha256(at.document.text));
            }
        }
        match &filter.rules {
            FilterRuleTarget::Any => {
                self.errors.push(at.fault("rules:", "name the rules that the filter is for: `any` would weaken every rule"))
            }
            FilterRuleTarget::Specific(names) => {
                for name in names {
                    self.named.push((at.fault(name, format!("there is no rule `{name}` to filter")), name.clone()));
                }
            }
        }
    }

    fn head<'k>(
        &mut self,
        at: &At<'_>,
        (id, name, title, level, tags): (&Option<String>, &Option<String>, &str, Option<rsigma_parser::Level>, &[String]),
        mut attributes: impl Iterator<Item = &'k String>,
        section: Option<&impl serde::Serialize>,
    ) {
        // They would set what holds for every other rule, and count it in seconds.
        if let Some(trap) = attributes.find(|key| key.starts_with("rsigma.") && *key != "rsigma.exemplars") {
            let what = match trap.as_str() {
                "rsigma.suppress" | "rsigma.action" => format!("`{trap}` is not used here: write `custody: {{ suppress: … }}`"),
                _ => format!("`{trap}` is not used here"),
            };
            self.errors.push(at.fault(trap, what));
        }
        let Some(id) = id else {
            return self.errors.push(at.fault("", format!("rule `{title}` has no id")));
        };
        let section = section.and_then(|section| serde_json::to_value(section).ok());
        self.texts.entry(id.clone()).or_default().insert(sha256(at.document.text));
        let line = at.document.line("title:", "");
        match Meta::read(Head { file: at.file, line, id: Some(id), name: name.as_deref(), title, level, tags, section }) {
            Err(what) => {
                let key = what.split(':').next().and_then(|at| at.strip_prefix("custody.")).map(|key| format!("{key}:"));
                self.errors.push(at.fault(key.as_deref().unwrap_or_default(), what));
            }
            Ok(meta) if self.metas.values().any(|other| other.rule == meta.rule) => {
                self.errors.push(at.fault(meta.rule.as_str(), format!("the rule name `{}` is used twice", meta.rule)));
            }
            Ok(meta) => {
                if self.metas.insert(id.clone(), meta).is_some() {
                    self.errors.push(at.fault(id, format!("the rule id `{id}` is used twice")));
                }
            }
        }
    }

    pub fn finish(mut self, files: &[(&str, &str)]) -> Result<Rules, Vec<RuleError>> {
        let counted: BTreeSet<&str> =
            self.collection.correlations.iter().filter(|c| !c.generate).flat_map(|c| c.rules.iter().map(String::as_str)).collect();
        for (id, meta) in &mut self.metas {
            meta.internal = counted.contains(id.as_str()) || counted.contains(meta.rule.as_str());
        }
        let ids: HashMap<&str, &str> =
            self.metas.iter().flat_map(|(id, meta)| [(id.as_str(), id.as_str()), (meta.rule.as_str(), id.as_str())]).collect();
        self.errors.extend(self.named.into_iter().filter(|(_, name)| !ids.contains_key(name.as_str())).map(|(fault, _)| fault));
        let ids: HashMap<String, String> = ids.into_iter().map(|(name, id)| (name.to_owned(), id.to_owned())).collect();
        let fingerprints: Vec<(String, Digest)> =
            self.metas.keys().map(|id| (id.clone(), fingerprint(id, &self.collection, &ids, &self.texts))).collect();
        for (id, digest) in fingerprints {
            if let Some(meta) = self.metas.get_mut(&id) {
                meta.fingerprint = digest;
            }
        }
        // The engine finds what a filter is for by id, not by name.
        for filter in &mut self.collection.filters {
            if let FilterRuleTarget::Specific(names) = &mut filter.rules {
                for name in names {
                    if let Some(id) = ids.get(name.as_str()) {
                        name.clone_from(id);
                    }
                }
            }
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
            // Only a correlation is left to be wrong: rules were compiled one by one.
            let what = error.to_string();
            // The longest name in the message, for short ones stand in other words.
            let named = rules.metas.iter().flat_map(|(id, meta)| [(id.as_str(), meta), (meta.rule.as_str(), meta)]);
            let meta = named.filter(|(name, _)| what.contains(name)).max_by_key(|(name, _)| (name.len(), *name)).map(|(_, meta)| meta);
            let (file, line) = meta.map_or(("rules", 1), |meta| (meta.file.as_str(), meta.line));
            self.errors.push(RuleError { file: file.to_owned(), line, what });
        }
        if self.errors.is_empty() {
            return Ok(rules);
        }
        let order = |file: &str| files.iter().position(|(name, _)| *name == file);
        self.errors.sort_by_key(|error| (order(&error.file), error.line));
        self.errors.dedup();
        Err(self.errors)
    }
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// SHA-256 of all texts that decide when a rule fires.
fn fingerprint(
    id: &str,
    collection: &SigmaCollection,
    ids: &HashMap<String, String>,
    texts: &HashMap<String, BTreeSet<[u8; 32]>>,
) -> Digest {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let counts = collection.correlations.iter().filter(|rule| rule.id.as_deref() == Some(id));
            open.extend(counts.flat_map(|rule| rule.rules.iter()).filter_map(|name| ids.get(name)).map(String::as_str));
        }
    }
    let mut hash = Sha256::new();
    for id in seen {
        let names = ids.iter().filter(|(_, other)| *other == id).map(|(name, _)| name);
        let digests: BTreeSet<&[u8; 32]> = names.filter_map(|name| texts.get(name)).flatten().collect();
        for digest in digests {
            hash.update(digest);
        }
    }
    Digest(hash.finalize().into())
}

/// Fields that values refer to (`|fieldref`); the engine does not count them among the rule's fields.
fn referred(detection: &Detection) -> Vec<String> {
    match detection {
        Detection::AllOf(items) => items
            .iter()
            .filter(|item| item.field.modifiers.contains(&Modifier::FieldRef))
            .flat_map(|item| item.values.iter())
            .filter_map(|value| if let SigmaValue::String(text) = value { Some(text.original.clone()) } else { None })
            .collect(),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().flat_map(referred).collect(),
        Detection::ArrayMatch { body, .. } => referred(body),
        Detection::Conditional { named, .. } => named.values().flat_map(referred).collect(),
        Detection::Keywords(_) => Vec::new(),
    }
}

/// A message without pictures of the text, and without lines that count from the start of the document.
fn in_one_line(message: &str) -> String {
    if message.starts_with("Condition parse error") {
        let condition = message.lines().find_map(|line| line.strip_prefix("1 | ")).unwrap_or_default();
        let expected = message.lines().find_map(|line| line.trim().strip_prefix("= ")).unwrap_or("not a condition");
        let advice = if condition.contains('|') { "; `| count()`, `| near` and the like are correlations today" } else { "" };
        return format!("the condition `{}` cannot be read: {expected}{advice}", condition.trim());
    }
    let mut out = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(" at line ") {
        out.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = rest.strip_prefix(" column ").map_or(rest, |column| column.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

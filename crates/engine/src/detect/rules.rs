//! Sigma rules, read strictly: a file with any fault is refused, never half used.

use super::{
    load::Loading,
    meta::{Meta, RuleMode},
};
use custody_model::{Digest, RuleId};
use rsigma_eval::{CorrelationConfig, CorrelationEngine};
use rsigma_parser::SigmaCollection;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// The rules that come with Custody: file name and text.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    &[
        ("mcp-001-unauthorized-tool.yml", include_str!("../../../../rules/mcp-001-unauthorized-tool.yml")),
        ("mcp-002-burst.yml", include_str!("../../../../rules/mcp-002-burst.yml")),
        ("mcp-003-sequence.yml", include_str!("../../../../rules/mcp-003-sequence.yml")),
        ("mcp-004-manifest-drift.yml", include_str!("../../../../rules/mcp-004-manifest-drift.yml")),
        ("mcp-005-duration.yml", include_str!("../../../../rules/mcp-005-duration.yml")),
        ("mcp-006-ambiguous-frame.yml", include_str!("../../../../rules/mcp-006-ambiguous-frame.yml")),
        ("mcp-007-denied-iteration.yml", include_str!("../../../../rules/mcp-007-denied-iteration.yml")),
        ("mcp-008-dangerous-definition.yml", include_str!("../../../../rules/mcp-008-dangerous-definition.yml")),
        ("mcp-010-new-destination.yml", include_str!("../../../../rules/mcp-010-new-destination.yml")),
        ("mcp-011-new-argument.yml", include_str!("../../../../rules/mcp-011-new-argument.yml")),
        ("mcp-012-enumeration.yml", include_str!("../../../../rules/mcp-012-enumeration.yml")),
        ("mcp-013-usage.yml", include_str!("../../../../rules/mcp-013-usage.yml")),
        ("mcp-014-first-use-write.yml", include_str!("../../../../rules/mcp-014-first-use-write.yml")),
        ("mcp-015-first-use-read.yml", include_str!("../../../../rules/mcp-015-first-use-read.yml")),
        ("mcp-016-volume.yml", include_str!("../../../../rules/mcp-016-volume.yml")),
        ("mcp-017-out-of-hours.yml", include_str!("../../../../rules/mcp-017-out-of-hours.yml")),
        ("mcp-018-calls-per-hour.yml", include_str!("../../../../rules/mcp-018-calls-per-hour.yml")),
        ("mcp-019-magnitude.yml", include_str!("../../../../rules/mcp-019-magnitude.yml")),
        ("mcp-020-secret-file.yml", include_str!("../../../../rules/mcp-020-secret-file.yml")),
        ("mcp-021-unfamiliar-work.yml", include_str!("../../../../rules/mcp-021-unfamiliar-work.yml")),
        ("mcp-022-mass-change.yml", include_str!("../../../../rules/mcp-022-mass-change.yml")),
        ("mcp-023-credential-exfiltration.yml", include_str!("../../../../rules/mcp-023-credential-exfiltration.yml")),
        ("mcp-024-streak.yml", include_str!("../../../../rules/mcp-024-streak.yml")),
        ("mcp-025-many-values.yml", include_str!("../../../../rules/mcp-025-many-values.yml")),
        ("mcp-026-disorder.yml", include_str!("../../../../rules/mcp-026-disorder.yml")),
        ("mcp-027-flood.yml", include_str!("../../../../rules/mcp-027-flood.yml")),
        ("mcp-028-one-tool.yml", include_str!("../../../../rules/mcp-028-one-tool.yml")),
        ("mcp-029-secret-new-to-role.yml", include_str!("../../../../rules/mcp-029-secret-new-to-role.yml")),
        ("mcp-030-rapid-changes.yml", include_str!("../../../../rules/mcp-030-rapid-changes.yml")),
        ("mcp-040-hijacked-agent.yml", include_str!("../../../../rules/mcp-040-hijacked-agent.yml")),
        ("mcp-041-nobody-there.yml", include_str!("../../../../rules/mcp-041-nobody-there.yml")),
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
    pub(super) digest: Digest,
}

/// State entries over all correlations and groups; the oldest go first.
const MAX_STATE: usize = 50_000;
/// Events remembered per correlation and group.
pub(super) const MAX_GROUP: usize = 1_000;

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
    /// Every fault of every file: YAML, Sigma, a correlation or a filter of a rule that does not exist, a field that no fact
    /// provides, an id used twice, and whatever the engine would pass over in silence.
    pub fn load(files: &[(&str, &str)]) -> Result<Rules, Vec<RuleError>> {
        let mut loading = Loading::default();
        for (file, text) in files {
            loading.file(file, text);
        }
        loading.finish(files)
    }

    /// What a rule's findings lead to. `false`: there is no such rule, or it raises none.
    #[must_use]
    pub fn set_mode(&mut self, rule: &RuleId, mode: RuleMode) -> bool {
        let meta = self.metas.values_mut().find(|meta| meta.rule == *rule && !meta.internal);
        meta.map(|meta| meta.mode = mode).is_some()
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
        for meta in self.metas() {
            // As before there was `off`: a rule that observes adds nothing.
            let mode: &[u8] = match meta.mode {
                RuleMode::Observe => continue,
                RuleMode::Enforce => &[0],
                RuleMode::Off => &[1],
            };
            hash.update(meta.rule.as_str());
            hash.update(mode);
        }
        Digest(hash.finalize().into())
    }

    /// A fresh engine. Its clock counts microseconds where Sigma says seconds: whole seconds would let
    /// `temporal_ordered` fire on reversed events.
    pub(super) fn engine(&self) -> Result<CorrelationEngine, rsigma_eval::EvalError> {
        let config = CorrelationConfig { max_state_entries: MAX_STATE, max_group_entries: Some(MAX_GROUP), ..CorrelationConfig::default() };
        let mut engine = CorrelationEngine::new(config);
        engine.add_collection(&self.collection)?;
        Ok(engine)
    }
}

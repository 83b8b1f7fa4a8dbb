//! Content goes, the record stays (R8): keys are destroyed, an entry says so, the log still verifies.

use super::{Core, CoreError};
use custody_model::*;
use custody_store::{ledger::Draft, projection::Erasable};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

/// Between two looks at what is older than it may be.
const LOOK: SignedDuration = SignedDuration::from_hours(1);
/// Tries to overwrite what is left in the database, while others read an older state of it.
const SCRUBS: u32 = 50;

/// Whose content is erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EraseTarget {
    /// One session.
    Session(SessionId),
    /// Every session of an agent.
    Subject(PrincipalName),
    /// Every session whose last message came before.
    Before(Timestamp),
}

/// A session that keeps its content, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which.
    pub session: SessionId,
    /// Why.
    pub why: String,
}

/// What was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Sessions whose content is gone.
    pub sessions: Vec<SessionId>,
    /// Keys that were destroyed.
    pub keys: u64,
    /// Sessions that keep theirs.
    pub kept: Vec<Kept>,
    /// Bundles that were written before and hold content of these sessions: Custody does not touch them.
    pub bundles: Vec<PathBuf>,
    /// Whether nothing was done, for it was only asked.
    pub dry_run: bool,
}

impl Core {
    /// Erases the content of sessions. Those of an incident that is not closed, and those that a freeze in force rests on, keep
    /// theirs.
    ///
    /// # Errors
    /// [`CoreError::Unknown`]; [`CoreError::NotErased`] when a single session must keep its content; what the ledger meets.
    pub async fn erase(self: &Arc<Self>, by: &OperatorName, target: EraseTarget, reason: &str, dry_run: bool) -> Result<Erased, CoreError> {
        self.settled().await;
        let unknown = |what, id: String| CoreError::Unknown { what, id };
        let mut all = match &target {
            EraseTarget::Subject(name) => self.projection.erasable(Some(name)).await?,
            _ => self.projection.erasable(None).await?,
        };
        match &target {
            EraseTarget::Session(id) => {
                let row = self.projection.session(*id).await?.ok_or_else(|| unknown("session", id.to_string()))?;
                all.retain(|session| session.session == row.id);
            }
            EraseTarget::Subject(name) if all.is_empty() => return Err(unknown("session of", name.to_string())),
            EraseTarget::Subject(_) => {}
            EraseTarget::Before(before) => all.retain(|session| session.last < *before),
        }
        let erased = self.erase_these(by.as_str(), all, reason, dry_run).await?;
        match (&target, erased.kept.first()) {
            (EraseTarget::Session(session), Some(kept)) => Err(CoreError::NotErased { session: *session, why: kept.why.clone() }),
            _ => Ok(erased),
        }
    }

    async fn erase_these(self: &Arc<Self>, by: &str, all: Vec<Erasable>, reason: &str, dry_run: bool) -> Result<Erased, CoreError> {
        let mut outcome = Erased { dry_run, ..Erased::default() };
        let held = self.held_by_freezes().await?;
        let mut recorded = HashSet::new();
        for session in all {
            let open = session.cases.iter().find(|(_, state)| *state != CaseState::Closed);
            let parts = self.projection.recorded_as(session.session).await?;
            let why = match open {
                Some((case, _)) => Some(format!("{case} is not closed")),
                None if parts.iter().any(|part| held.contains(part)) => Some("a freeze that is in force rests on it".to_owned()),
                None => None,
            };
            match why {
                Some(why) => outcome.kept.push(Kept { session: session.session, why }),
                None => {
                    for (case, _) in &session.cases {
                        outcome.bundles.extend(self.bundles(*case).await?);
                    }
                    recorded.extend(parts);
                    outcome.sessions.push(session.session);
                }
            }
        }
        outcome.bundles.sort();
        outcome.bundles.dedup();
        let ledger = self.ledger.clone();
        let keys = joined(tokio::task::spawn_blocking(move || ledger.keys_of(&recorded)).await)?;
        outcome.keys = keys.len() as u64;
        if dry_run || keys.is_empty() {
            return Ok(outcome);
        }
        // Who wanted it stands there before anything goes.
        let detail = serde_json::json!({"by": by, "reason": reason, "sessions": outcome.sessions, "keys": outcome.keys});
        let draft = Draft {
            at: self.now(),
            session: None,
            event: Event::OperatorActed { verb: "erase_content".to_owned() },
            detail: Some(detail),
            body: None,
        };
        let ledger = self.ledger.clone();
        joined(
            tokio::task::spawn_blocking(move || {
                ledger.record(draft)?;
                for (_, key) in keys {
                    ledger.destroy_key(key)?;
                }
                Ok(())
            })
            .await,
        )?;
        self.settled().await;
        self.scrub().await;
        Ok(outcome)
    }

    /// Sessions in which the freezes in force were set: without their words nobody could tell what is frozen.
    async fn held_by_freezes(&self) -> Result<HashSet<SessionId>, CoreError> {
        let mut held = HashSet::new();
        for freeze in self.projection.active_freezes().await? {
            if let Some(session) = self.projection.action(freeze.action).await?.and_then(|action| action.session) {
                held.extend(self.projection.recorded_as(session).await?);
            }
        }
        Ok(held)
    }

    async fn bundles(&self, case: CaseId) -> Result<Vec<PathBuf>, CoreError> {
        let rows = self.projection.evidence_of(case).await?;
        let path = |detail: serde_json::Value| detail.get("path")?.as_str().map(PathBuf::from);
        Ok(rows.into_iter().filter_map(|row| row.detail.and_then(path)).filter(|path| path.exists()).collect())
    }

    /// What is wiped must not be found in the database's files either.
    async fn scrub(&self) {
        for _ in 0..SCRUBS {
            match self.projection.scrub().await {
                Ok(true) => return,
                Ok(false) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => return tracing::warn!(%error, "what was erased may still stand in the database's files"),
            }
        }
        tracing::warn!(
            "what was erased may still stand in the database's files until they are written over: somebody reads them all the time"
        );
    }

    /// Applies `[retention]`, every hour of the daemon's clock, until told to stop.
    pub(super) async fn retain(self: Arc<Self>) {
        let mut next = self.now();
        loop {
            if self.now() >= next {
                next = self.now().saturating_add(LOOK).unwrap_or(Timestamp::MAX);
                if let Err(error) = self.erase_expired().await {
                    tracing::error!(%error, "content is kept longer than `[retention]` says");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(super::sessions::SWEEP) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Erases what is older than its class may be.
    async fn erase_expired(self: &Arc<Self>) -> Result<(), CoreError> {
        let retention = &self.config.retention;
        if retention.is_unlimited() {
            return Ok(());
        }
        self.settled().await;
        let now = self.now();
        let mut due = self.projection.erasable(None).await?;
        due.retain(|session| {
            let days = retention.days(!session.cases.is_empty(), session.findings);
            let limit = days.and_then(|days| now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).ok());
            limit.is_some_and(|limit| session.last < limit)
        });
        if !due.is_empty() {
            let erased = self.erase_these("custody", due, "retention", false).await?;
            tracing::info!(sessions = erased.sessions.len(), keys = erased.keys, kept = erased.kept.len(), "retention erased content");
        }
        Ok(())
    }

    /// Records that a person reads a session's context whole (R8); then it may be shown.
    ///
    /// # Errors
    /// It cannot be recorded; nothing is shown.
    pub fn context_opened(&self, by: &OperatorName, context: &custody_engine::investigate::Context, reason: &str) -> Result<(), CoreError> {
        let detail = serde_json::json!({"by": by, "reason": reason, "context": {"from": context.from, "pieces": context.pieces.len()}});
        let event = Event::ContentOpened { leaf: context.at };
        self.ledger.record(Draft { at: self.now(), session: Some(context.session), event, detail: Some(detail), body: None })?;
        self.ledger.sync()?;
        Ok(())
    }

    /// Opens one entry for a person: the look is recorded first, then the content read with the daemon's eyes (R8).
    ///
    /// # Errors
    /// [`CoreError::Ledger`], also when there is no such entry; then no look is recorded.
    pub async fn open_entry(self: &Arc<Self>, by: &OperatorName, leaf: LeafIndex, reason: &str) -> Result<OpenEntry, CoreError> {
        let (ledger, by, reason, at) = (self.ledger.clone(), by.clone(), reason.to_owned(), self.now());
        joined(
            tokio::task::spawn_blocking(move || {
                let reader = ledger.reader();
                let (entry, _) = reader.entry(leaf)?;
                let detail = serde_json::json!({"by": by, "reason": reason});
                let event = Event::ContentOpened { leaf };
                ledger.record(Draft { at, session: entry.session, event, detail: Some(detail), body: None })?;
                // A look that a power cut could take back would be none.
                ledger.sync()?;
                reader.open_entry(leaf)
            })
            .await,
        )
    }
}

fn joined<T>(done: Result<Result<T, custody_store::ledger::LedgerError>, tokio::task::JoinError>) -> Result<T, CoreError> {
    Ok(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
}

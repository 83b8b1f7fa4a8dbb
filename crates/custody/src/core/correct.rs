//! Persons correct sessions (R9). In the pipeline's order, for it changes what cases are about.
//!
//! The entry comes first, the graph of open sessions after it. A correction moves what is shown and where later messages
//! belong; freezes stay in force, for they name principals, processes and connections, and related sessions besides.

use super::{Core, CoreError, incident::Job};
use custody_engine::session::EndReason;
use custody_model::*;
use custody_store::{
    ledger::Draft,
    projection::{CorrectionRow, SessionRow},
};
use std::sync::PoisonError;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A correction that waits for its turn.
pub(super) struct Correct {
    by: OperatorName,
    reason: String,
    what: What,
    done: oneshot::Sender<Result<SessionId, CoreError>>,
}

enum What {
    Join(SessionId, SessionId),
    Split(SessionId, LeafIndex),
}

impl Core {
    /// Says that two sessions are one: `other` is shown with `session` from now on. Twice is once. Joining what a split made
    /// takes the split back. Gives the session that goes on.
    ///
    /// # Errors
    /// [`CoreError::Unknown`]; [`CoreError::Uncorrectable`], as for two principals; [`CoreError::Ledger`].
    pub async fn join_sessions(
        &self,
        by: &OperatorName,
        session: SessionId,
        other: SessionId,
        reason: &str,
    ) -> Result<SessionId, CoreError> {
        self.correct(by, reason, What::Join(session, other)).await
    }

    /// Says that a session is two: what was recorded from `at` on is another one. Twice is once. At the entry of a join it
    /// takes that join back. Gives the other session.
    ///
    /// # Errors
    /// As [`Core::join_sessions`].
    pub async fn split_session(&self, by: &OperatorName, session: SessionId, at: LeafIndex, reason: &str) -> Result<SessionId, CoreError> {
        self.correct(by, reason, What::Split(session, at)).await
    }

    async fn correct(&self, by: &OperatorName, reason: &str, what: What) -> Result<SessionId, CoreError> {
        let (done, wait) = oneshot::channel();
        let job = Job::Correct(Box::new(Correct { by: by.clone(), reason: reason.to_owned(), what, done }));
        let stopping = || CoreError::Unknown { what: "daemon that runs for", id: "this home; it is stopping".to_owned() };
        self.raised.send(job).await.map_err(|_| stopping())?;
        wait.await.map_err(|_| stopping())?
    }

    /// In the pipeline.
    pub(super) async fn hear_correction(&self, correct: Correct) {
        let Correct { by, reason, what, done } = correct;
        let why = Correction { by, reason };
        self.settled().await;
        let corrected = match what {
            What::Join(session, other) => self.join(&why, session, other).await,
            What::Split(session, at) => self.split(&why, session, at).await,
        };
        if corrected.is_ok() {
            self.synced().await;
            self.settled().await;
        }
        let _ = done.send(corrected);
    }

    async fn join(&self, why: &Correction, session: SessionId, other: SessionId) -> Result<SessionId, CoreError> {
        let (into, from) = (self.shown(session).await?, self.shown(other).await?);
        if into.id == from.id {
            // Said already; unless it is the same session twice.
            return if session == other { Err(uncorrectable(session, "it cannot be joined to itself")) } else { Ok(into.id) };
        }
        if into.principal.is_none() || into.principal != from.principal {
            return Err(uncorrectable(other, "a session has one principal, and these two have not the same, or it was erased"));
        }
        let mut related = self.projection.recorded_as(into.id).await?;
        let theirs = self.projection.recorded_as(from.id).await?;
        let (mine, its) = (self.open_in(into.id, None).await?, self.open_in(from.id, None).await?);
        self.note_correction(into.id, Event::SessionJoined { other: from.id }, why).await?;
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = mine.zip(its).and_then(|(mine, its)| graph.join(mine, its));
        related.extend(theirs);
        for id in mine.into_iter().chain(its) {
            graph.relate(id, &related);
        }
        drop(graph);
        if let Some((ended, reason)) = ended {
            self.note(Some(ended), Event::SessionEnded { why: reason.as_str().to_owned() }, None::<()>);
        }
        self.families.lock().unwrap_or_else(PoisonError::into_inner).join(mine.unwrap_or(into.id), its.unwrap_or(from.id));
        Ok(into.id)
    }

    async fn split(&self, why: &Correction, session: SessionId, at: LeafIndex) -> Result<SessionId, CoreError> {
        let row = self.shown(session).await?;
        let corrections = self.projection.corrections_of(row.id).await?;
        let is = |row: &CorrectionRow, kind: &str| row.kind == kind && row.undone.is_none();
        if let Some(join) = corrections.iter().find(|join| join.kind == "join" && join.leaf == at) {
            if join.undone.is_some() {
                return Ok(join.other);
            }
            return self.part(why, row.id, join).await;
        }
        if let Some(split) = corrections.iter().find(|split| is(split, "split") && split.session == row.id && split.from == Some(at)) {
            return Ok(split.other);
        }
        match self.projection.stands_in(row.id, at).await? {
            None => return Err(uncorrectable(row.id, &format!("entry {at} is not of it"))),
            Some(false) => return Err(uncorrectable(row.id, &format!("entry {at} is its first: nothing would be left of it"))),
            Some(true) => {}
        }
        let reader = self.ledger.reader();
        let first = tokio::task::spawn_blocking(move || reader.open_entry(at)).await;
        let since = first.map_err(|error| uncorrectable(row.id, &error.to_string()))??.entry.at;
        let other = SessionId(Uuid::now_v7());
        let recorded = self.projection.recorded_as(row.id).await?;
        let open = self.open_in(row.id, None).await?;
        self.note_correction(row.id, Event::SessionSplit { into: other, from: at }, why).await?;
        // What comes next may be recorded in it: whoever reads the ledger must know whose it is.
        if let (Some(principal), Some(assurance)) = (row.principal.clone(), row.assurance) {
            let identity = Identity { principal, assurance, role: row.role.clone(), task: row.task.clone() };
            let source = format!("split from {}", row.id);
            let detail = SessionDetail { identity, source, client_info: None, allowlist: row.allowlist.clone() };
            self.note(Some(other), Event::SessionStarted, Some(detail));
        }
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        let (goes_on, mut ended) = open.map_or((false, None), |open| graph.split(open, since, other));
        if goes_on {
            graph.relate(other, &recorded);
        }
        drop(graph);
        if open.is_none() && row.ended.is_some() {
            // Its end went to the other part.
            ended = Some((row.id, EndReason::Split));
        }
        if let Some((ended, reason)) = ended {
            self.note(Some(ended), Event::SessionEnded { why: reason.as_str().to_owned() }, None::<()>);
        }
        Ok(other)
    }

    /// Takes a join back.
    async fn part(&self, why: &Correction, session: SessionId, join: &CorrectionRow) -> Result<SessionId, CoreError> {
        let open = self.open_in(session, Some(join.other)).await?;
        self.note_correction(join.session, Event::SessionSplit { into: join.other, from: join.leaf }, why).await?;
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open {
            graph.part(open, join.other);
        }
        Ok(join.other)
    }

    /// Under which id what is shown as a session goes on, if it does: its own, or that of one that was joined to it.
    async fn open_in(&self, session: SessionId, but: Option<SessionId>) -> Result<Option<SessionId>, CoreError> {
        let recorded = self.projection.recorded_as(session).await?;
        for id in std::iter::once(session).chain(recorded) {
            let is_open = self.graph.lock().unwrap_or_else(PoisonError::into_inner).is_open(id);
            if is_open && Some(id) != but && self.projection.shown_as(id).await? == session {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    async fn shown(&self, session: SessionId) -> Result<SessionRow, CoreError> {
        let row = self.projection.session(session).await?;
        row.ok_or_else(|| CoreError::Unknown { what: "session", id: session.to_string() })
    }

    async fn note_correction(&self, session: SessionId, event: Event, why: &Correction) -> Result<(), CoreError> {
        let detail = serde_json::to_value(why).expect("a correction is plain data");
        let draft = Draft { at: self.now(), session: Some(session), event, detail: Some(detail), body: None };
        let ledger = self.ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.record(draft)).await {
            Ok(recorded) => recorded.map(|_| ()).map_err(CoreError::from),
            Err(error) => unreachable!("recording does not panic: {error}"),
        }
    }
}

fn uncorrectable(session: SessionId, why: &str) -> CoreError {
    CoreError::Uncorrectable { session, why: why.to_owned() }
}

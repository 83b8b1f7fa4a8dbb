//! What people say of findings and cases (T1, T6). In the pipeline's order, for it changes the same cases.

use super::{Core, CoreError, incident::Job};
use custody_engine::triage::{self, Progress};
use custody_model::*;
use custody_store::{
    ledger::Draft,
    projection::{CaseRow, FindingRow},
};
use serde_json::json;
use tokio::sync::oneshot;

/// A person's word that waits for its turn.
pub(super) struct Word {
    by: OperatorName,
    reason: String,
    what: What,
    done: oneshot::Sender<Result<(), CoreError>>,
}

enum What {
    Finding(FindingId, Verdict),
    Case(CaseId, Verdict),
    Close(CaseId),
}

impl Core {
    /// Says what a finding was.
    ///
    /// # Errors
    /// [`CoreError::Unknown`]; [`CoreError::Ledger`].
    pub async fn dispose_finding(&self, by: &OperatorName, id: FindingId, verdict: Verdict, reason: &str) -> Result<FindingRow, CoreError> {
        let unknown = || CoreError::Unknown { what: "finding", id: id.to_string() };
        self.settled().await;
        self.projection.finding(id).await?.ok_or_else(unknown)?;
        self.word(by, reason, What::Finding(id, verdict)).await?;
        self.projection.finding(id).await?.ok_or_else(unknown)
    }

    /// Says what a case was. One that is false or benign is closed by it.
    ///
    /// # Errors
    /// As [`Core::dispose_finding`].
    pub async fn dispose_case(&self, by: &OperatorName, id: CaseId, verdict: Verdict, reason: &str) -> Result<CaseRow, CoreError> {
        self.word(by, reason, What::Case(id, verdict)).await?;
        self.case_row(id).await
    }

    /// Closes a case. What is frozen stays frozen until it is undone.
    ///
    /// # Errors
    /// As [`Core::dispose_finding`].
    pub async fn close_case(&self, by: &OperatorName, id: CaseId, reason: &str) -> Result<CaseRow, CoreError> {
        self.word(by, reason, What::Close(id)).await?;
        self.case_row(id).await
    }

    async fn case_row(&self, id: CaseId) -> Result<CaseRow, CoreError> {
        self.settled().await;
        self.projection.case(id).await?.ok_or_else(|| CoreError::Unknown { what: "case", id: id.to_string() })
    }

    async fn word(&self, by: &OperatorName, reason: &str, what: What) -> Result<(), CoreError> {
        let (done, wait) = oneshot::channel();
        let job = Job::Word(Box::new(Word { by: by.clone(), reason: reason.to_owned(), what, done }));
        let stopping = || CoreError::Unknown { what: "daemon that runs for", id: "this home; it is stopping".to_owned() };
        self.raised.send(job).await.map_err(|_| stopping())?;
        let answer = wait.await.map_err(|_| stopping())?;
        self.settled().await;
        answer
    }

    /// In the pipeline.
    pub(super) async fn hear_word(&self, word: Word) {
        let Word { by, reason, what, done } = word;
        let heard = match what {
            What::Finding(id, verdict) => self.assess(&by, &reason, Some(id), None, verdict).await,
            What::Case(id, verdict) => match self.assess(&by, &reason, None, Some(id), verdict).await {
                Ok(()) if verdict != Verdict::True => self.shut(id).await,
                other => other,
            },
            What::Close(id) => match self.case_row(id).await {
                Ok(row) => {
                    let event = Event::OperatorActed { verb: "close_case".to_owned() };
                    self.note(row.case.sessions.first().copied(), event, Some(json!({"by": by, "case": id, "reason": reason})));
                    self.shut(id).await
                }
                Err(error) => Err(error),
            },
        };
        let _ = done.send(heard);
    }

    async fn assess(
        &self,
        by: &OperatorName,
        reason: &str,
        finding: Option<FindingId>,
        case: Option<CaseId>,
        verdict: Verdict,
    ) -> Result<(), CoreError> {
        self.settled().await;
        let session = match (finding, case) {
            (Some(id), _) => self.projection.finding(id).await?.and_then(|row| row.session),
            (None, Some(id)) => self.case_row(id).await?.case.sessions.first().copied(),
            (None, None) => None,
        };
        let assessment = Assessment { verdict, by: by.clone(), at: self.now(), reason: reason.to_owned() };
        let detail = serde_json::to_value(&assessment).expect("an assessment is plain data");
        let event = Event::Disposed { finding, case, verdict };
        let ledger = self.ledger.clone();
        let draft = Draft { at: assessment.at, session, event, detail: Some(detail), body: None };
        match tokio::task::spawn_blocking(move || ledger.record(draft)).await {
            Ok(recorded) => recorded.map(|_| ()).map_err(CoreError::from),
            Err(error) => unreachable!("recording does not panic: {error}"),
        }
    }

    async fn shut(&self, id: CaseId) -> Result<(), CoreError> {
        let mut case = self.case_row(id).await?.case;
        if case.state == CaseState::Closed {
            return Ok(());
        }
        case.state = CaseState::Closed;
        triage::advance(&mut case.clocks, Progress::Happened(Anchor::Closing), self.now());
        self.update_case(&case, None).await;
        Ok(())
    }
}

//! The incident pipeline: finding → triage → case → alert → source → snapshot → terminate, in the order of findings.
//!
//! The freeze of a P1 does not wait for any of this: it happened in the decision itself.

use super::{Core, contain::Frozen, reading};
use crate::alerts::{Alert, Taken};
use custody_engine::{
    contain::{PlanInput, automatic_steps},
    detect::FindingDraft,
    investigate,
    triage::{self, Goal, Progress},
};
use custody_model::*;
use custody_store::projection::FindingRow;
use jiff::Timestamp;
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Peer;

/// Work for the pipeline, one at a time.
pub(super) enum Job {
    /// A finding was raised and is in the ledger.
    /// `froze`: the decision that raised it froze its agent, who was free until then.
    Raised { finding: Box<Finding>, peer: Box<Peer>, session: SessionId, froze: bool },
    /// An alert of this case arrived: people know.
    Informed { case: CaseId, at: Timestamp },
    /// A person says what a finding or a case was.
    Word(Box<super::assess::Word>),
    /// A person corrects sessions.
    Correct(Box<super::correct::Correct>),
    /// Somebody waits until everything before is done.
    Barrier(oneshot::Sender<()>),
}

/// A finding that is in the ledger and not yet triaged.
pub(super) struct Raised {
    finding: Finding,
    peer: Peer,
    session: SessionId,
}

impl Core {
    /// Appends the findings of one decision. Called under the gate, so that no permitted call stands between the
    /// denied call and its finding.
    pub(super) fn record_findings(&self, peer: &Peer, session: SessionId, leaf: LeafIndex, drafts: &[FindingDraft]) -> Vec<Raised> {
        self.judge_soon(peer, session, drafts);
        drafts
            .iter()
            .map(|draft| {
                let mut finding = draft.clone().into_finding(FindingId(Uuid::now_v7()), self.decided_by());
                finding.leaf = Some(leaf);
                let event = Event::FindingRaised {
                    finding: finding.id,
                    rule: finding.rule.clone(),
                    priority: finding.priority,
                    requirement: finding.requirement.clone(),
                    leaf: Some(leaf),
                };
                self.metrics.found(&finding.rule, finding.priority);
                self.note(Some(session), event, Some(&finding));
                self.detector().recorded(&finding);
                Raised { finding, peer: peer.clone(), session }
            })
            .collect()
    }

    /// The versions that decide now.
    fn decided_by(&self) -> DecidedBy {
        DecidedBy { baseline: self.baseline.get().map(|(_, digest)| digest), ..self.decided_by.clone() }
    }

    /// Hands a finding to the pipeline. When its queue is full the finding stays in the ledger, untriaged, and is
    /// told in the log: nothing is forwarded on the strength of triage.
    pub(super) fn raise(&self, raised: Raised, froze: bool) {
        let Raised { finding, peer, session } = raised;
        let id = finding.id;
        if self.raised.try_send(Job::Raised { finding: Box::new(finding), peer: Box::new(peer), session, froze }).is_err() {
            tracing::error!(finding.id = %id, "the triage queue is full; this finding waits for a person");
        }
    }

    /// Waits until every finding raised so far is worked through.
    pub async fn quiet(&self) {
        let (done, wait) = oneshot::channel();
        if self.raised.send(Job::Barrier(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// The pipeline's task.
    pub(super) async fn work(self: Arc<Self>, mut jobs: mpsc::Receiver<Job>) {
        self.resume().await;
        loop {
            let job = tokio::select! {
                job = jobs.recv() => job,
                () = self.stop.cancelled() => jobs.try_recv().ok(),
            };
            match job {
                None => return,
                Some(Job::Barrier(done)) => {
                    let _ = done.send(());
                }
                Some(Job::Correct(correct)) => self.hear_correction(*correct).await,
                Some(Job::Word(word)) => self.hear_word(*word).await,
                Some(Job::Informed { case, at }) => self.informed(case, at).await,
                Some(Job::Raised { finding, peer, session, froze }) => self.respond(*finding, Some(&peer), session, froze).await,
            }
        }
    }

    /// Findings that a crash, or a full queue, left untriaged. Their connections are gone; their agents are not.
    async fn resume(self: &Arc<Self>) {
        let rows = self.projection.findings().await.unwrap_or_default();
        let mut sessions = HashSet::new();
        for row in rows.into_iter().filter(|row| row.triage.is_none() && row.case.is_none()) {
            if let (Some(finding), Some(session)) = (row.finding, row.session) {
                tracing::warn!(finding.id = %finding.id, "a finding of before the start is triaged now");
                // One alert and one snapshot for all that is left of a session.
                let first = sessions.insert(session);
                self.respond(finding, None, session, first).await;
            }
        }
    }

    async fn respond(self: &Arc<Self>, finding: Finding, peer: Option<&Peer>, session: SessionId, mut froze: bool) {
        self.settled().await;
        let decision = self.triage(&finding, session, peer.map_or(Assurance::ClientKey, |peer| peer.identity.assurance)).await;
        // A definition is nobody's doing among the agents: what is cut off is the tool or the server, and was in the decision.
        let is_integrity = finding.family == Family::Integrity;
        let scopes = match peer {
            _ if is_integrity => self.quarantined(&finding),
            Some(peer) => self.freeze_scopes(session, peer),
            None => [Some(Scope::Session(session)), finding.principal.clone().map(Scope::Principal)].into_iter().flatten().collect(),
        };
        // What cannot be ruled out reaches a person too: a case and an alert, and nothing is contained.
        let opens = matches!(decision.disposition, Disposition::Confirmed | Disposition::Suspicious | Disposition::Escalate);
        let case = match opens {
            true => Some(self.open_or_join(&finding, &decision, session, &scopes).await),
            false => None,
        };
        let event = Event::Triaged { finding: finding.id, disposition: decision.disposition, case: case.as_ref().map(|(case, _)| case.id) };
        self.note(Some(session), event, Some(&decision));
        let Some((mut case, news)) = case else { return };
        tracing::warn!(case.id = %case.id, finding.rule = %finding.rule, "incident");

        let reason = finding.why.clone();
        let input = PlanInput {
            disposition: decision.disposition,
            case: Some(case.id),
            session,
            scopes: &scopes,
            frozen: self.gate.look(&scopes).0.is_some(),
            automatic: self.automatic,
            reason: &reason,
        };
        let mut steps: Vec<Step> = automatic_steps(&input, || ActionId(Uuid::now_v7()));
        if is_integrity {
            steps.retain(|step| step.verb.as_str() == "snapshot_session");
        }
        let mut frozen: Option<Frozen> = None;
        if let Some(step) = steps.iter().find(|step| step.verb.as_str() == "freeze_scope") {
            frozen = Some(self.freeze(step.clone()).await.1);
            froze = true;
        } else if input.frozen {
            frozen = self.frozen(case.id, session, scopes.clone(), reason.clone());
        }
        // A case that was joined has been told, preserved and terminated already; but an agent that was let go and turned
        // again is news, and its session new. One freeze is news once: the finding before the one that froze may have told it.
        let by = self.gate.look(&scopes).0;
        let first = by.is_none_or(|action| self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(action));
        if !(news || froze && first) {
            return;
        }
        let told = self.join_earlier(&mut case, &finding, &decision, session).await;
        self.find_source(&mut case, &finding, session).await;
        if self.alert {
            let taken: Vec<Taken> = self.taken(case.id).await;
            self.outbox.send(Alert::of_case(&case, &told, &taken, self.now()));
        }
        let wants = |verb: &str| steps.iter().any(|step| step.verb.as_str() == verb);
        let Some(frozen) = frozen.filter(|_| wants("snapshot_session")) else { return };
        let (_, preserved) = self.snapshot(frozen, &case, None).await;
        let Ok(preserved) = preserved else { return };
        let at = self.now();
        if wants("terminate_session") {
            self.terminate(preserved).await;
        }
        self.contained(&case, Some(at)).await;
    }

    /// Findings of the session that were no incident alone join the case (T6); a person's "false" or "benign" stands. Gives all
    /// findings that an alert should name, the newest first.
    async fn join_earlier(&self, case: &mut Case, finding: &Finding, decision: &Triage, session: SessionId) -> Vec<Finding> {
        let mut told = vec![finding.clone()];
        if decision.disposition != Disposition::Confirmed {
            return told;
        }
        let rows = self.projection.findings_of_session(session).await.unwrap_or_default();
        let earlier = rows.into_iter().filter(|row| row.case.is_none() && row.triage.is_some() && row.id != finding.id && !dismissed(row));
        for row in earlier.collect::<Vec<_>>() {
            if !case.findings.contains(&row.id) {
                case.findings.push(row.id);
            }
            let mut triage = Triage { disposition: Disposition::Confirmed, path: row.triage.map(|triage| triage.path).unwrap_or_default() };
            triage.path.push(format!("joined case {} later: {} in the same session confirmed it", case.id, finding.rule));
            let event = Event::Triaged { finding: row.id, disposition: Disposition::Confirmed, case: Some(case.id) };
            self.note(Some(session), event, Some(&triage));
            told.extend(row.finding);
        }
        if told.len() > 1 {
            self.update_case(case, Some(session)).await;
        }
        told
    }

    async fn informed(&self, case: CaseId, at: Timestamp) {
        self.settled().await;
        let Ok(Some(mut row)) = self.projection.case(case).await else { return };
        if triage::advance(&mut row.case.clocks, Progress::Reached(Goal::TeamInformed), at) {
            self.update_case(&row.case, None).await;
        }
    }

    /// What was done so far, for the alert.
    async fn taken(&self, case: CaseId) -> Vec<Taken> {
        self.settled().await;
        let actions = self.projection.actions_of(case).await.unwrap_or_default();
        actions.into_iter().filter_map(|a| a.receipt.map(|receipt| Taken { verb: a.verb, at: receipt.at, ok: receipt.ok })).collect()
    }

    /// The triage tree on everything that is known of the session (T1).
    async fn triage(&self, finding: &Finding, session: SessionId, assurance: Assurance) -> Triage {
        let rows = self.projection.findings_of_session(session).await.unwrap_or_default();
        let others: Vec<Finding> =
            rows.into_iter().filter(|row| !dismissed(row)).filter_map(|row| row.finding).filter(|other| other.id != finding.id).collect();
        let record = finding
            .principal
            .as_ref()
            .and_then(|principal| self.clients.records().into_iter().find(|record| record.principal == *principal));
        let first_seen = match &finding.principal {
            Some(principal) => self.projection.principal_first_seen(principal).await.ok().flatten(),
            None => None,
        };
        let changes = finding.server.as_ref().map(|server| self.manifest_changes(server, finding.at)).unwrap_or_default();
        triage::decide(&triage::Input {
            finding,
            others: &others,
            assurance,
            identity_created: record.map(|record| record.created),
            first_seen,
            manifest_changes: Some(&changes),
        })
    }

    /// Related findings join one incident (T6): the open case of the same session or principal.
    async fn open_or_join(&self, finding: &Finding, decision: &Triage, session: SessionId, scopes: &[Scope]) -> (Case, bool) {
        let open = self.open_case(Some(session), scopes).await;
        let (severity, incident_type) = triage::classify(std::slice::from_ref(finding), triage::Effects::default());
        let now = self.now();
        let confirmed = decision.disposition == Disposition::Confirmed;
        let (mut case, news) = match open {
            // What was only suspected is confirmed now: as good as a new case to whoever must act.
            Some(mut case) if confirmed && case.triage.disposition != Disposition::Confirmed => {
                case.triage = decision.clone();
                triage::advance(&mut case.clocks, Progress::Happened(Anchor::Confirmation), now);
                (case, true)
            }
            Some(case) => (case, false),
            None => (
                Case {
                    id: CaseId(Uuid::now_v7()),
                    opened: now,
                    state: CaseState::Open,
                    severity,
                    incident_type,
                    triage: decision.clone(),
                    findings: Vec::new(),
                    sessions: Vec::new(),
                    scopes: Vec::new(),
                    clocks: triage::clocks(
                        anchors(finding.at, (decision.disposition == Disposition::Confirmed).then_some(now)),
                        finding.family == Family::Integrity,
                    ),
                    source: None,
                },
                true,
            ),
        };
        case.severity = case.severity.max(severity);
        case.findings.push(finding.id);
        if !case.sessions.contains(&session) {
            case.sessions.push(session);
        }
        for scope in scopes {
            if !case.scopes.contains(scope) {
                case.scopes.push(scope.clone());
            }
        }
        triage::advance(&mut case.clocks, Progress::Reached(Goal::Triage), now);
        self.update_case(&case, Some(session)).await;
        (case, news)
    }

    /// The case an operator's containment belongs to: the open one of the session, or a new one.
    pub(super) async fn case_for(&self, by: &OperatorName, session: Option<SessionId>, scopes: &[Scope], reason: &str) -> Case {
        if let Some(case) = self.open_case(session, scopes).await {
            return case;
        }
        let now = self.now();
        let mut case = Case {
            id: CaseId(Uuid::now_v7()),
            opened: now,
            state: CaseState::Open,
            severity: Severity::Moderate,
            incident_type: IncidentType::MaliciousAgentBehavior,
            triage: Triage { disposition: Disposition::Confirmed, path: vec![format!("{by} contained it: {reason}")] },
            findings: Vec::new(),
            sessions: session.into_iter().collect(),
            scopes: scopes.to_vec(),
            clocks: triage::clocks(anchors(now, Some(now)), false),
            source: None,
        };
        triage::advance(&mut case.clocks, Progress::Reached(Goal::Triage), now);
        self.update_case(&case, session).await;
        case
    }

    async fn open_case(&self, session: Option<SessionId>, scopes: &[Scope]) -> Option<Case> {
        let cases = self.projection.cases().await.unwrap_or_default();
        cases.into_iter().map(|row| row.case).rev().find(|case| {
            case.state != CaseState::Closed
                && (session.is_some_and(|s| case.sessions.contains(&s))
                    || case.scopes.iter().any(|scope| matches!(scope, Scope::Principal(_)) && scopes.contains(scope)))
        })
    }

    pub(super) async fn update_case(&self, case: &Case, session: Option<SessionId>) {
        let event = Event::CaseUpdated { case: case.id, severity: case.severity, state: case.state };
        self.note(session.or(case.sessions.first().copied()), event, Some(case));
        self.settled().await;
    }

    /// Containment is over: the clocks that it stops and those that it starts.
    ///
    /// The case is read anew: an alert or an operator may have changed it since. `preserved`: when its evidence was.
    pub(super) async fn contained(&self, case: &Case, preserved: Option<Timestamp>) {
        self.settled().await;
        let newest = self.projection.case(case.id).await.ok().flatten();
        let mut case = newest.map_or_else(|| case.clone(), |row| row.case);
        case.state = CaseState::Contained;
        if let Some(at) = preserved {
            for goal in [Goal::EvidenceHashed, Goal::EvidencePreserved] {
                triage::advance(&mut case.clocks, Progress::Reached(goal), at);
            }
        }
        for goal in [Goal::Containment, Goal::PathIsolated] {
            triage::advance(&mut case.clocks, Progress::Reached(goal), self.now());
        }
        self.update_case(&case, None).await;
    }

    /// Names the tool result that turned the agent (I2), from the record.
    async fn find_source(&self, case: &mut Case, finding: &Finding, session: SessionId) {
        let Some(trigger) = finding.leaf else { return };
        self.settled().await;
        let reader = self.ledger.reader();
        let leaves = self.projection.leaves_of(session).await.unwrap_or_default();
        let found = tokio::task::spawn_blocking(move || {
            // What the agent read after the call did not cause it.
            let before: Vec<LeafIndex> = leaves.into_iter().filter(|leaf| *leaf <= trigger).collect();
            let reading::Reading { mut entries, left_out } = reading::newest(&before, |leaf| reader.open_entry(leaf).ok());
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    "the session is too large to be read at once: its oldest entries were not looked at for the source"
                );
            }
            // What a person joined is one session here, too.
            entries.iter_mut().for_each(|open| open.entry.session = Some(session));
            investigate::source(&entries, trigger)
        });
        match found.await {
            Ok(Some(source)) => {
                // What a person sees without opening anything (R8); `leaf` and `span` name the words themselves.
                let redact = crate::redact::redact;
                let (excerpt, links) = (redact(&source.excerpt), source.links.iter().map(|link| redact(link)).collect());
                case.source = Some(InjectionSource { excerpt, links, ..source });
                // What was an odd call is now an injection that the agent followed.
                let effects = triage::Effects { injection_found: true, ..triage::Effects::default() };
                let (severity, incident_type) = triage::classify(std::slice::from_ref(finding), effects);
                case.severity = case.severity.max(severity);
                case.incident_type = incident_type;
                triage::advance(&mut case.clocks, Progress::Reached(Goal::InjectionSource), self.now());
                self.update_case(case, Some(session)).await;
            }
            Ok(None) => tracing::info!(case.id = %case.id, "the injection source is not in the record"),
            Err(error) => tracing::error!(%error, "looking for the injection source failed"),
        }
    }
}

/// Whether a person said that there was nothing to it.
fn dismissed(row: &FindingRow) -> bool {
    row.assessment.as_ref().is_some_and(|assessment| assessment.verdict != Verdict::True)
}

pub(super) fn anchors(detection: Timestamp, confirmation: Option<Timestamp>) -> triage::Anchors {
    triage::Anchors { detection, confirmation, containment: None, closing: None }
}

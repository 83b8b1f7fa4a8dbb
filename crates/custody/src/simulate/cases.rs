//! Findings to cases, as `core/incident.rs` does it, in memory: triage, open or join, freeze; and a person who looks later.

use super::{report::FalseCase, roles::Company, world::instant};
use custody_engine::{
    contain::{Automatic, Freeze, FreezeSet, PlanInput, automatic_steps},
    detect::{Facts, FindingDraft},
    triage::{self, ManifestChange},
};
use custody_model::*;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Everything that follows from findings.
pub struct Cases {
    by: DecidedBy,
    freezes: FreezeSet,
    findings: HashMap<SessionId, Vec<Finding>>,
    first_seen: HashMap<PrincipalName, Timestamp>,
    cases: Vec<Opened>,
    made: u128,
}

/// A case, and what is known of it in a simulation.
struct Opened {
    id: CaseId,
    at: Timestamp,
    open: bool,
    identity: Identity,
    sessions: Vec<SessionId>,
    scopes: Vec<Scope>,
    findings: Vec<Finding>,
    triage: Triage,
    attack: Option<usize>,
    freezes: Vec<ActionId>,
}

/// What one finding led to.
#[derive(Default)]
pub struct Answer {
    /// Its agent is cut off.
    pub froze: bool,
    /// A new case.
    pub opened: Option<CaseId>,
    /// What triage said, where there is a case.
    pub triage: Option<Triage>,
}

impl Cases {
    /// Nothing found yet.
    pub fn new(by: DecidedBy) -> Cases {
        Cases { by, freezes: FreezeSet::default(), findings: HashMap::new(), first_seen: HashMap::new(), cases: Vec::new(), made: 0 }
    }

    /// The baseline in force.
    pub fn learned(&mut self, baseline: Digest) {
        self.by.baseline = Some(baseline);
    }

    /// A principal sent something.
    pub fn seen(&mut self, principal: &PrincipalName, now: i64) {
        if !self.first_seen.contains_key(principal) {
            self.first_seen.insert(principal.clone(), instant(now));
        }
    }

    /// Whether a message of these scopes is stopped.
    pub fn is_frozen(&self, scopes: &[Scope]) -> bool {
        self.freezes.find(scopes).is_some()
    }

    /// Triage, and what follows.
    #[allow(clippy::too_many_arguments, reason = "everything that triage looks at")]
    pub fn respond(
        &mut self,
        draft: FindingDraft,
        facts: &Facts,
        created: Option<Timestamp>,
        changes: Vec<(Timestamp, Option<String>)>,
        scopes: Vec<Scope>,
        attack: Option<usize>,
        now: i64,
    ) -> Answer {
        let Some(session) = facts.session else { return Answer::default() };
        let finding = draft.into_finding(FindingId(self.fresh()), self.by.clone());
        let change = |(at, reference): (Timestamp, Option<String>)| ManifestChange {
            server: facts.server.clone(),
            at,
            recorded: reference.is_some(),
            reference,
        };
        let changes: Vec<ManifestChange> = changes.into_iter().map(change).collect();
        let others = self.findings.entry(session).or_default();
        let decision = triage::decide(&triage::Input {
            finding: &finding,
            others,
            assurance: facts.identity.assurance,
            identity_created: created,
            first_seen: self.first_seen.get(&facts.identity.principal).copied(),
            manifest_changes: Some(&changes),
        });
        others.push(finding.clone());
        if decision.disposition == Disposition::ProbableFalsePositive {
            return Answer::default();
        }
        let (place, fresh) = self.open_or_join(&finding, &decision, facts, session, &scopes, now);
        let id = self.cases[place].id;
        if self.cases[place].attack.is_none() {
            self.cases[place].attack = attack;
        }
        let input = PlanInput {
            disposition: decision.disposition,
            case: Some(id),
            session,
            scopes: &scopes,
            frozen: self.is_frozen(&scopes),
            automatic: Automatic { freeze: true, snapshot: true, terminate: true },
            reason: &finding.why,
        };
        let mut made = self.made;
        let steps = automatic_steps(&input, || {
            made += 1;
            ActionId(Uuid::from_u128(made))
        });
        self.made = made;
        for step in steps.into_iter().filter(|step| step.verb.as_str() == "freeze_scope") {
            self.freezes.freeze(Freeze { action: step.id, scopes: step.scopes });
            self.cases[place].freezes.push(step.id);
        }
        Answer { froze: self.is_frozen(&scopes), opened: fresh.then_some(id), triage: Some(decision) }
    }

    /// Related findings join one case (T6): the open one of the same session or principal.
    fn open_or_join(
        &mut self,
        finding: &Finding,
        decision: &Triage,
        facts: &Facts,
        session: SessionId,
        scopes: &[Scope],
        now: i64,
    ) -> (usize, bool) {
        let related = |case: &Opened| {
            case.open
                && (case.sessions.contains(&session)
                    || case.scopes.iter().any(|scope| matches!(scope, Scope::Principal(_)) && scopes.contains(scope)))
        };
        let (place, fresh) = match self.cases.iter().rposition(related) {
            Some(place) => (place, false),
            None => {
                let id = CaseId(self.fresh());
                // What the session showed before belongs to the story.
                let earlier = self.findings.get(&session).into_iter().flatten().filter(|earlier| earlier.id != finding.id).cloned();
                self.cases.push(Opened {
                    id,
                    at: instant(now),
                    open: true,
                    identity: facts.identity.clone(),
                    sessions: Vec::new(),
                    scopes: Vec::new(),
                    findings: earlier.collect(),
                    triage: decision.clone(),
                    attack: None,
                    freezes: Vec::new(),
                });
                (self.cases.len() - 1, true)
            }
        };
        let case = &mut self.cases[place];
        case.findings.push(finding.clone());
        if !case.sessions.contains(&session) {
            case.sessions.push(session);
        }
        for scope in scopes {
            if !case.scopes.contains(scope) {
                case.scopes.push(scope.clone());
            }
        }
        (place, fresh)
    }

    /// A person has looked: the case is closed, its freezes are undone. Gives whose findings are to be forgotten, and the
    /// servers whose definitions are put back.
    pub fn review(&mut self, id: CaseId) -> (Option<PrincipalName>, Vec<ServerName>) {
        let Some(case) = self.cases.iter_mut().find(|case| case.id == id) else { return (None, Vec::new()) };
        case.open = false;
        for freeze in std::mem::take(&mut case.freezes) {
            self.freezes.thaw(freeze);
        }
        let tampered = |scope: &Scope| if let Scope::Tool(server, _) = scope { Some(server.clone()) } else { None };
        (Some(case.identity.principal.clone()), case.scopes.iter().filter_map(tampered).collect())
    }

    /// Sessions of cases that are open, or in which a person found an attack.
    pub fn sessions_to_exclude(&self) -> HashSet<SessionId> {
        self.cases.iter().filter(|case| case.open || case.attack.is_some()).flat_map(|case| case.sessions.iter().copied()).collect()
    }

    /// Sessions without a finding since then are over.
    pub fn forget_before(&mut self, then: i64) {
        self.findings.retain(|_, findings| findings.last().is_some_and(|last| last.at >= instant(then)));
    }

    /// Cases without an attack in them.
    pub fn false_cases(&self, company: &Company) -> Vec<FalseCase> {
        let innocent = self.cases.iter().filter(|case| case.attack.is_none());
        innocent.map(|case| FalseCase::of(case.at, &case.identity, &case.triage, &case.findings, company)).collect()
    }

    fn fresh(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.made)
    }
}

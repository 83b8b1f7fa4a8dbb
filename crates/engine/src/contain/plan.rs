//! From a triage answer to steps, in the only order there is: freeze, snapshot, terminate.

use custody_model::{ActionId, ActionName, CaseId, Disposition, OperatorName, Scope, SessionId, Step};

/// What runs without a person (`[containment] automatic`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Automatic {
    /// Freeze on P1 and on a confirmed or suspicious session.
    pub freeze: bool,
    /// Snapshot once frozen.
    pub snapshot: bool,
    /// Terminate once preserved.
    pub terminate: bool,
}

/// What planning looks at.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    /// The triage answer.
    pub disposition: Disposition,
    /// The case, where one is open.
    pub case: Option<CaseId>,
    /// The session concerned.
    pub session: SessionId,
    /// Everything a freeze of it must name.
    pub scopes: &'a [Scope],
    /// Whether a freeze already holds all of them.
    pub frozen: bool,
    /// What may run without a person.
    pub automatic: Automatic,
    /// Why, in words.
    pub reason: &'a str,
}

/// A freeze of these scopes.
pub fn freeze_step(
    id: ActionId,
    case: Option<CaseId>,
    session: Option<SessionId>,
    scopes: Vec<Scope>,
    by: OperatorName,
    reason: String,
) -> Step {
    Step { id, case, verb: ActionName::from("freeze_scope"), scopes, session, by, reason, undoable: true, undoes: None }
}

/// The undo of a freeze.
pub fn thaw_step(id: ActionId, freeze: &Step, by: OperatorName, reason: String) -> Step {
    Step {
        id,
        case: freeze.case,
        verb: ActionName::from("unfreeze_scope"),
        scopes: freeze.scopes.clone(),
        session: freeze.session,
        by,
        reason,
        undoable: false,
        undoes: Some(freeze.id),
    }
}

/// The steps that follow from a triage answer by themselves (T5: nothing destructive on a mere suspicion).
pub fn automatic_steps(input: &PlanInput<'_>, mut fresh: impl FnMut() -> ActionId) -> Vec<Step> {
    let mut step = |verb: &str, undoable: bool| Step {
        id: fresh(),
        case: input.case,
        verb: ActionName::from(verb),
        scopes: input.scopes.to_vec(),
        session: Some(input.session),
        by: OperatorName::from("custody"),
        reason: input.reason.to_owned(),
        undoable,
        undoes: None,
    };
    let confirmed = input.disposition == Disposition::Confirmed;
    let suspended = confirmed || input.disposition == Disposition::Suspicious;
    let mut steps = Vec::new();
    if suspended && input.automatic.freeze && !input.frozen {
        steps.push(step("freeze_scope", true));
    }
    if confirmed && input.automatic.snapshot {
        steps.push(step("snapshot_session", false));
    }
    if confirmed && input.automatic.snapshot && input.automatic.terminate {
        steps.push(step("terminate_session", false));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn verbs(disposition: Disposition, frozen: bool, automatic: Automatic) -> Vec<String> {
        let input = PlanInput {
            disposition,
            case: None,
            session: SessionId(Uuid::nil()),
            scopes: &[Scope::Principal("a".into())],
            frozen,
            automatic,
            reason: "test",
        };
        automatic_steps(&input, || ActionId(Uuid::nil())).into_iter().map(|s| s.verb.0).collect()
    }

    const ALL: Automatic = Automatic { freeze: true, snapshot: true, terminate: true };

    #[test]
    fn freeze_comes_first_and_terminate_last() {
        assert_eq!(verbs(Disposition::Confirmed, false, ALL), ["freeze_scope", "snapshot_session", "terminate_session"]);
        assert_eq!(verbs(Disposition::Confirmed, true, ALL), ["snapshot_session", "terminate_session"]);
    }

    #[test]
    fn a_suspicion_suspends_and_destroys_nothing() {
        assert_eq!(verbs(Disposition::Suspicious, false, ALL), ["freeze_scope"]);
        assert!(verbs(Disposition::ProbableFalsePositive, false, ALL).is_empty());
        assert!(verbs(Disposition::Escalate, false, ALL).is_empty());
    }

    #[test]
    fn nothing_terminates_without_a_snapshot() {
        assert_eq!(verbs(Disposition::Confirmed, true, Automatic { snapshot: false, ..ALL }), Vec::<String>::new());
    }
}

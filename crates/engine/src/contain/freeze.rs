//! What is cut off right now: looked up in memory before any policy is asked.

use custody_model::{ActionId, DenyReason, Scope};
use std::collections::HashMap;

/// An active freeze: the action that set it, and what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// The `freeze_scope` action; undoing it lifts exactly this freeze.
    pub action: ActionId,
    /// Its scopes.
    pub scopes: Vec<Scope>,
}

/// All active freezes. One scope may be named by several; it is free again when the last of them is lifted.
#[derive(Debug, Clone, Default)]
pub struct FreezeSet {
    by_scope: HashMap<Scope, Vec<ActionId>>,
    epoch: u64,
}

impl FreezeSet {
    /// Restores the set after a restart.
    pub fn restore(freezes: impl IntoIterator<Item = Freeze>) -> Self {
        let mut set = FreezeSet::default();
        for freeze in freezes {
            set.freeze(freeze);
        }
        set
    }

    /// Cuts off. Idempotent for the same action.
    pub fn freeze(&mut self, freeze: Freeze) {
        self.epoch += 1;
        for scope in freeze.scopes {
            let actions = self.by_scope.entry(scope).or_default();
            if !actions.contains(&freeze.action) {
                actions.push(freeze.action);
            }
        }
    }

    /// Lifts one freeze. `false` when there is none of that action.
    pub fn thaw(&mut self, action: ActionId) -> bool {
        self.epoch += 1;
        let mut lifted = false;
        self.by_scope.retain(|_, actions| {
            let before = actions.len();
            actions.retain(|a| *a != action);
            lifted |= actions.len() != before;
            !actions.is_empty()
        });
        lifted
    }

    /// The freeze that cuts off a message of these scopes, if one does.
    pub fn find<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> Option<ActionId> {
        if self.by_scope.is_empty() {
            return None;
        }
        scopes.into_iter().find_map(|scope| self.by_scope.get(scope).and_then(|actions| actions.first()).copied())
    }

    /// Why a message of these scopes does not pass, if it does not.
    pub fn denies<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope> + Clone) -> Option<DenyReason> {
        self.find(scopes.clone())?;
        let of_agent = |scope: &&Scope| matches!(scope, Scope::Principal(_) | Scope::Process(_) | Scope::Connection(_) | Scope::Session(_));
        let agent = self.find(scopes.into_iter().filter(of_agent));
        Some(agent.map_or(DenyReason::Quarantined, |_| DenyReason::Frozen))
    }

    /// The freezes that name this scope.
    pub fn actions(&self, scope: &Scope) -> &[ActionId] {
        self.by_scope.get(scope).map_or(&[], Vec::as_slice)
    }

    /// Grows with every change: a permit of an older epoch must look again before it is used.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether nothing is frozen.
    pub fn is_empty(&self) -> bool {
        self.by_scope.is_empty()
    }

    /// Every frozen scope with its actions.
    pub fn scopes(&self) -> impl Iterator<Item = (&Scope, &[ActionId])> {
        self.by_scope.iter().map(|(scope, actions)| (scope, actions.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn action(n: u128) -> ActionId {
        ActionId(Uuid::from_u128(n))
    }

    #[test]
    fn a_scope_named_twice_is_free_after_the_last_undo() {
        let scope = Scope::Principal("a".into());
        let mut set = FreezeSet::default();
        set.freeze(Freeze { action: action(1), scopes: vec![scope.clone()] });
        set.freeze(Freeze { action: action(2), scopes: vec![scope.clone(), Scope::Server("s".into())] });
        assert!(set.thaw(action(1)));
        assert_eq!(set.find([&scope]), Some(action(2)));
        assert!(set.thaw(action(2)));
        assert!(!set.thaw(action(2)));
        assert_eq!(set.find([&scope]), None);
        assert!(set.is_empty());
    }

    #[test]
    fn an_agent_is_frozen_and_what_it_asks_for_is_quarantined() {
        let (agent, tool) = (Scope::Principal("a".into()), Scope::Tool("s".into(), custody_model::ToolName("t".into())));
        let mut set = FreezeSet::default();
        set.freeze(Freeze { action: action(1), scopes: vec![tool.clone()] });
        assert_eq!(set.denies([&agent, &tool]), Some(DenyReason::Quarantined));
        assert_eq!(set.denies([&agent]), None);
        set.freeze(Freeze { action: action(2), scopes: vec![agent.clone()] });
        assert_eq!(set.denies([&tool, &agent]), Some(DenyReason::Frozen));
    }

    proptest! {
        /// Freezing and lifting in any order leaves exactly the scopes whose freezes were not lifted.
        #[test]
        fn what_is_frozen_is_what_was_not_lifted(ops in proptest::collection::vec((any::<bool>(), 0u128..4, 0usize..4), 0..60)) {
            let names: Vec<Scope> = (0..4).map(|i| Scope::Server(custody_model::ServerName(i.to_string()))).collect();
            let mut set = FreezeSet::default();
            let mut slow: Vec<(ActionId, Scope)> = Vec::new();
            for (freeze, a, s) in ops {
                let before = set.epoch();
                if freeze {
                    set.freeze(Freeze { action: action(a), scopes: vec![names[s].clone()] });
                    slow.push((action(a), names[s].clone()));
                } else {
                    set.thaw(action(a));
                    slow.retain(|(x, _)| *x != action(a));
                }
                prop_assert!(set.epoch() > before);
            }
            for name in &names {
                prop_assert_eq!(set.find([name]).is_some(), slow.iter().any(|(_, s)| s == name));
            }
        }
    }
}

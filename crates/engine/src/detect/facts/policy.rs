//! `policy.outcome`, `policy.id`, `policy.why`: what the policies say, enforced or not.

use super::{Fact, PolicyOutcome};

pub(super) static FACTS: &[Fact] = &[
    Fact {
        name: "policy.outcome",
        value: |facts| {
            Some(
                match facts.policy {
                    PolicyOutcome::Allowed => "allowed",
                    PolicyOutcome::Denied { .. } => "denied",
                    PolicyOutcome::Error { .. } => "error",
                    PolicyOutcome::Undeclared => "undeclared",
                }
                .into(),
            )
        },
    },
    Fact {
        name: "policy.id",
        value: |facts| match &facts.policy {
            PolicyOutcome::Denied { policy, .. } | PolicyOutcome::Error { policy, .. } => Some(policy.as_str().into()),
            _ => None,
        },
    },
    Fact {
        name: "policy.why",
        value: |facts| match &facts.policy {
            PolicyOutcome::Denied { why, .. } | PolicyOutcome::Error { why, .. } => Some(why.as_str().into()),
            _ => None,
        },
    },
];

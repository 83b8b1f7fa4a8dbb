//! `outcome`, `reason`, `mode`: what became of it.

use super::Fact;
use custody_model::{DenyReason, Outcome};

pub(super) static FACTS: &[Fact] = &[
    Fact {
        name: "outcome",
        value: |facts| {
            Some(
                match facts.outcome {
                    Outcome::Allowed => "ALLOWED",
                    Outcome::Denied => "DENIED",
                    Outcome::Held => "HELD",
                }
                .into(),
            )
        },
    },
    Fact {
        name: "reason",
        value: |facts| {
            Some(
                match facts.reason.as_ref()? {
                    DenyReason::Policy(_) => "policy",
                    DenyReason::PolicyError(_) => "policy_error",
                    DenyReason::Frozen => "frozen",
                    DenyReason::Quarantined => "quarantined",
                    DenyReason::Ambiguous => "ambiguous",
                    DenyReason::Malformed => "malformed",
                    DenyReason::Deadline => "deadline",
                    DenyReason::Overtaken => "overtaken",
                    DenyReason::Manifest => "manifest",
                }
                .into(),
            )
        },
    },
    Fact { name: "mode", value: |facts| Some(if facts.enforced { "enforce" } else { "observe" }.into()) },
];

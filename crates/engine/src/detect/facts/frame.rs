//! `frame.ambiguous`, `frame.faults`, `frame.fault`: how the bytes read.

use super::{Fact, FactValue};
use custody_model::DenyReason;

pub(super) static FACTS: &[Fact] = &[
    // Malformed frames have faults too, but only one reading: none.
    Fact {
        name: "frame.ambiguous",
        value: |facts| {
            let malformed = matches!(facts.reason, Some(DenyReason::Malformed));
            Some(FactValue::Bool(matches!(facts.reason, Some(DenyReason::Ambiguous)) || (!facts.faults.is_empty() && !malformed)))
        },
    },
    Fact { name: "frame.faults", value: |facts| Some(FactValue::Number(facts.faults.len().try_into().unwrap_or(i64::MAX))) },
    Fact { name: "frame.fault", value: |facts| Some(facts.faults.first()?.as_str().into()) },
];

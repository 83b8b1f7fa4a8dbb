//! `drift.*`: how a listing differs from what is pinned (D2). Absent for everything else.

use super::{Fact, FactValue};
use std::borrow::Cow;

pub(super) static FACTS: &[Fact] = &[
    Fact { name: "drift.kind", value: |facts| Some(facts.drift.as_ref()?.kind.as_str().into()) },
    Fact { name: "drift.listing", value: |facts| Some(facts.drift.as_ref()?.listing.as_str().into()) },
    Fact { name: "drift.class", value: |facts| Some(facts.drift.as_ref()?.class?.as_str().into()) },
    Fact { name: "drift.what", value: |facts| Some(facts.drift.as_ref()?.what.as_str().into()) },
    Fact {
        name: "drift.words",
        value: |facts| {
            let words = &facts.drift.as_ref()?.words;
            Some(FactValue::Text(match words.is_empty() {
                true => Cow::Borrowed("none"),
                false => Cow::Owned(words.join(" | ")),
            }))
        },
    },
    Fact {
        name: "drift.definitions",
        value: |facts| Some(FactValue::Number(facts.drift.as_ref()?.definitions.try_into().unwrap_or(i64::MAX))),
    },
    Fact { name: "drift.approved", value: |facts| Some(FactValue::Bool(facts.drift.as_ref()?.change.is_some())) },
    Fact { name: "drift.change", value: |facts| Some(facts.drift.as_ref()?.change.as_deref()?.into()) },
];

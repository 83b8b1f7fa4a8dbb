//! `hijack.*`: what is thought of the session as a whole (D9). Absent for every message.

use super::{Fact, FactValue};

pub(super) static FACTS: &[Fact] = &[
    Fact { name: "hijack.followed", value: |facts| Some(FactValue::Bool(facts.hijack.as_ref()?.followed)) },
    Fact { name: "hijack.percent", value: |facts| Some(FactValue::Number(facts.hijack.as_ref()?.percent.into())) },
    Fact { name: "hijack.words", value: |facts| Some(facts.hijack.as_ref()?.words.as_str().into()) },
    Fact { name: "hijack.calls", value: |facts| Some(facts.hijack.as_ref()?.calls.as_str().into()) },
];

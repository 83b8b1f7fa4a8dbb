//! `tool`, `listed`: what was asked for, and whether the server has it.

use super::{EventKind, Fact, FactValue};

pub(super) static FACTS: &[Fact] = &[
    Fact { name: "tool", value: |facts| Some(facts.tool.as_deref()?.into()) },
    Fact { name: "listed", value: |facts| (facts.event == EventKind::ToolInvoked).then_some(FactValue::Bool(facts.listed)) },
];

//! `tool`, `listed`, `tool.writes`, `tool.destructive`, `tool.open_world`: what was asked for, and what the server says of it.

use super::{EventKind, Fact, FactValue};

pub(super) static FACTS: &[Fact] = &[
    Fact { name: "tool", value: |facts| Some(facts.tool.as_deref()?.into()) },
    Fact { name: "listed", value: |facts| (facts.event == EventKind::ToolInvoked).then_some(FactValue::Bool(facts.listed)) },
    Fact { name: "tool.writes", value: |facts| (facts.event == EventKind::ToolInvoked).then(|| FactValue::Bool(facts.hints.writes())) },
    Fact { name: "tool.destructive", value: |facts| Some(FactValue::Bool(facts.hints.destructive?)) },
    Fact { name: "tool.open_world", value: |facts| Some(FactValue::Bool(facts.hints.open_world?)) },
];

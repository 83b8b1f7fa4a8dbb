//! `user.*`: whether a user is there (D13). Absent unless a hook is installed for the client and the session began while it told.

use super::{Fact, FactValue};

pub(super) static FACTS: &[Fact] = &[
    Fact { name: "user.turns", value: |facts| Some(FactValue::Number(facts.user.as_ref()?.turns.into())) },
    Fact { name: "user.over", value: |facts| Some(facts.user.as_ref()?.over?.0.as_str().into()) },
    Fact { name: "user.over_seconds", value: |facts| Some(FactValue::Number(facts.user.as_ref()?.over?.1)) },
];

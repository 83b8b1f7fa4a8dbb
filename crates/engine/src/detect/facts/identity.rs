//! `principal`, `role`, `task`, `assurance`, `session`: who.

use super::{Fact, FactValue};
use custody_model::Assurance;
use std::borrow::Cow;

pub(super) static FACTS: &[Fact] = &[
    Fact { name: "principal", value: |facts| Some(facts.identity.principal.as_str().into()) },
    Fact { name: "role", value: |facts| Some(facts.identity.role.as_ref()?.as_str().into()) },
    Fact { name: "task", value: |facts| Some(facts.identity.task.as_ref()?.as_str().into()) },
    Fact {
        name: "assurance",
        value: |facts| {
            Some(
                match facts.identity.assurance {
                    Assurance::ClientKey => "client_key",
                    Assurance::Token => "token",
                    Assurance::OsProcess => "os_process",
                    Assurance::Unverified => "unverified",
                }
                .into(),
            )
        },
    },
    // A message without a session is counted with its principal's others.
    Fact {
        name: "session",
        value: |facts| {
            Some(match facts.session {
                Some(session) => FactValue::Text(Cow::Owned(session.to_string())),
                None => facts.identity.principal.as_str().into(),
            })
        },
    },
];

//! `event`, `direction`, `method`, `server`: which message.

use super::{EventKind, Fact};
use custody_model::Direction;

pub(super) static FACTS: &[Fact] = &[
    Fact {
        name: "event",
        value: |facts| {
            Some(
                match facts.event {
                    EventKind::ToolInvoked => "TOOL_INVOKED",
                    EventKind::ResourceRead => "RESOURCE_READ",
                    EventKind::PromptRequested => "PROMPT_REQUESTED",
                    EventKind::SessionJudged => "SESSION_JUDGED",
                    EventKind::Message => "MESSAGE",
                }
                .into(),
            )
        },
    },
    Fact {
        name: "direction",
        value: |facts| {
            Some(
                match facts.direction {
                    Direction::ToServer => "to_server",
                    Direction::ToAgent => "to_agent",
                }
                .into(),
            )
        },
    },
    Fact { name: "method", value: |facts| Some(facts.method.as_deref()?.into()) },
    Fact { name: "server", value: |facts| Some(facts.server.as_str().into()) },
];

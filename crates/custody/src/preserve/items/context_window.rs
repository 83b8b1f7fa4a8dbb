//! What the agent was given to read, in order: definitions, results, resources, prompts, server requests.
//!
//! This is the known view: what passed through Custody. What the host added by itself (system prompt, the user's words) is not in it.

use super::{BagError, BagWriter, End, Item, Lines, Seen};
use custody_model::{Direction, Event, EvidenceItem, Outcome, Presence, Shape, Splice};
use serde_json::json;

#[derive(Default)]
pub(super) struct ContextWindow {
    lines: Lines,
    order: u64,
}

impl Item for ContextWindow {
    fn item(&self) -> EvidenceItem {
        EvidenceItem::ContextWindow
    }

    fn see(&mut self, seen: &Seen<'_>, bag: &mut BagWriter) -> Result<(), BagError> {
        let Event::Message(message) = &seen.entry().event else { return Ok(()) };
        let delivered = message.direction == Direction::ToAgent
            && message.outcome == Outcome::Allowed
            && !message.spliced.contains(&Splice::Withheld)
            && seen.size().is_some();
        if !delivered {
            return Ok(());
        }
        let method = seen.request.and_then(|r| r.method.as_deref());
        let what = match (message.shape, method) {
            (Shape::Error, _) => "error",
            (Shape::Request, _) => "server_request",
            (Shape::Notification, _) => "notification",
            (_, Some("tools/list")) => "tool_definitions",
            (_, Some("tools/call")) => "tool_result",
            (_, Some("resources/read")) => "resource",
            (_, Some("resources/list" | "resources/templates/list")) => "resource_listing",
            (_, Some("prompts/get")) => "prompt",
            (_, Some("prompts/list")) => "prompt_listing",
            (_, Some("initialize" | "server/discover")) => "server_instructions",
            _ => "other",
        };
        let line = json!({
            "order": self.order,
            "leaf": seen.leaf(),
            "at": seen.entry().at,
            "session": seen.entry().session,
            "what": what,
            "server": message.server,
            "tool": seen.request.and_then(|r| r.tool.as_deref()),
            "size": seen.size(),
            "body": seen.body.map(|(path, _)| path),
            "sha256": seen.body.map(|(_, digest)| digest),
        });
        self.order += 1;
        self.lines.push("context_window.jsonl", &line, bag)
    }

    fn finish(self: Box<Self>, _end: &End<'_>, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
        self.lines.finish(bag)
    }
}

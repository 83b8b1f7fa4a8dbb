//! The answers of tools: where each raw body lies, and its digest.

use super::{BagError, BagWriter, End, Item, Lines, Seen};
use custody_model::{Direction, Event, EvidenceItem, Presence, Shape};
use serde_json::json;

#[derive(Default)]
pub(super) struct ToolResponses(Lines);

impl Item for ToolResponses {
    fn item(&self) -> EvidenceItem {
        EvidenceItem::ToolResponses
    }

    fn see(&mut self, seen: &Seen<'_>, bag: &mut BagWriter) -> Result<(), BagError> {
        let Event::Message(message) = &seen.entry().event else { return Ok(()) };
        let Some(request) = seen.request.filter(|r| r.method.as_deref() == Some("tools/call")) else { return Ok(()) };
        if message.direction != Direction::ToAgent || !matches!(message.shape, Shape::Result | Shape::Error) || seen.size().is_none() {
            return Ok(());
        }
        let line = json!({
            "leaf": seen.leaf(),
            "answers": message.answers,
            "at": seen.entry().at,
            "session": seen.entry().session,
            "server": message.server,
            "tool": request.tool,
            "outcome": message.outcome,
            "size": seen.size(),
            "body": seen.body.map(|(path, _)| path),
            "sha256": seen.body.map(|(_, digest)| digest),
        });
        self.0.push("tool_responses.jsonl", &line, bag)
    }

    fn finish(self: Box<Self>, _end: &End<'_>, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
        self.0.finish(bag)
    }
}

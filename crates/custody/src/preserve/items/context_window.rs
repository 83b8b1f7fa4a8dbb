//! What the agent was given to read, in order: definitions, results, resources, prompts, server requests.
//!
//! This is the known view, with the same words for each piece as `custody context`: what passed through Custody, and what the host told.

use super::{BagError, BagWriter, End, Item, Lines, Seen};
use custody_engine::{
    host,
    investigate::{origin_of, origin_of_turn},
};
use custody_model::{Direction, Event, EvidenceItem, HostSource, Presence};
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
        let message = match &seen.entry().event {
            Event::Message(message) => message,
            Event::HostTold { source, .. } => return self.told(seen, *source, bag),
            _ => return Ok(()),
        };
        // What the agent asked for is in the invocation log.
        if message.direction != Direction::ToAgent || seen.size().is_none() {
            return Ok(());
        }
        let method = seen.request.and_then(|r| r.method.as_deref()).or(message.method.as_deref());
        let Some(what) = origin_of(message, method) else { return Ok(()) };
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

impl ContextWindow {
    /// What the host told: the user's words, the agent's, built-in tools. The words stand in the line, for a host's message has several.
    fn told(&mut self, seen: &Seen<'_>, source: HostSource, bag: &mut BagWriter) -> Result<(), BagError> {
        let Some(detail) = host::told_in(seen.open) else { return Ok(()) };
        for turn in detail.turns {
            let Some(what) = origin_of_turn(&turn) else { continue };
            let line = json!({
                "order": self.order,
                "leaf": seen.leaf(),
                "at": seen.entry().at,
                "session": seen.entry().session,
                "what": what,
                "told_by": source,
                "transcript": turn.transcript,
                "tool": turn.tool,
                "size": turn.text.len() as u64 + turn.cut,
                "text": turn.text,
            });
            self.order += 1;
            self.lines.push("context_window.jsonl", &line, bag)?;
        }
        Ok(())
    }
}

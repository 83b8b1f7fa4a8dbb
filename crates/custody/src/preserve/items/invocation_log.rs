//! Every message of the case's sessions, in ledger order, with its outcome.

use super::{BagError, BagWriter, End, Item, Lines, Seen};
use custody_model::{Event, EvidenceItem, Presence};
use serde_json::json;

#[derive(Default)]
pub(super) struct InvocationLog(Lines);

impl Item for InvocationLog {
    fn item(&self) -> EvidenceItem {
        EvidenceItem::InvocationLog
    }

    fn see(&mut self, seen: &Seen<'_>, bag: &mut BagWriter) -> Result<(), BagError> {
        let Event::Message(message) = &seen.entry().event else { return Ok(()) };
        let line = json!({
            "leaf": seen.leaf(),
            "at": seen.entry().at,
            "session": seen.entry().session,
            "message": message,
            "detail": seen.open.detail,
            "answers_method": seen.request.and_then(|r| r.method.as_deref()),
            "answers_tool": seen.request.and_then(|r| r.tool.as_deref()),
            "size": seen.size(),
            "body": seen.body.map(|(path, _)| path),
            "sha256": seen.body.map(|(_, digest)| digest),
        });
        self.0.push("invocation_log.jsonl", &line, bag)
    }

    fn finish(self: Box<Self>, _end: &End<'_>, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
        self.0.finish(bag)
    }
}

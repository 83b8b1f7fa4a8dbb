//! Connections of the server processes that were named, at the instant of collection.

use super::{BagError, BagWriter, End, Item, Seen, document};
use custody_model::{EvidenceItem, Presence};
use serde_json::json;

pub(super) struct NetworkConnections;

impl Item for NetworkConnections {
    fn item(&self) -> EvidenceItem {
        EvidenceItem::NetworkConnections
    }

    fn see(&mut self, _seen: &Seen<'_>, _bag: &mut BagWriter) -> Result<(), BagError> {
        Ok(())
    }

    fn finish(self: Box<Self>, end: &End<'_>, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
        if end.processes.is_empty() {
            return Ok(None);
        }
        if let Some(gone) = end.processes.iter().all(|p| p.gone.is_some()).then(|| end.processes.first()).flatten() {
            let why = gone.gone.clone().unwrap_or_default();
            return Ok(Some(Presence::Missing { why: format!("process {}: {why}", gone.process.pid) }));
        }
        let lines: Vec<_> = end.processes.iter().map(|p| json!({"process": p.process, "gone": p.gone, "sockets": p.sockets})).collect();
        document("network_connections.json", &lines, bag)
    }
}

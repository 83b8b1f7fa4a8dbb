//! The evidence items (E1): one file each, one line in [`all`].

mod context_window;
mod injection_source;
mod invocation_log;
mod manifest_comparison;
mod network_connections;
mod tool_responses;

use super::{
    bag::{BagError, BagFile, BagWriter},
    process::ProcessEvidence,
};
use custody_model::{Case, Digest, Entry, EvidenceItem, LeafIndex, Message, OpenEntry, Presence};
use std::collections::BTreeMap;

/// What collects. Downstream logs, token history and memory store have no collector yet: the completeness report says why.
pub fn all() -> Vec<Box<dyn Item>> {
    vec![
        Box::new(invocation_log::InvocationLog::default()),
        Box::new(context_window::ContextWindow::default()),
        Box::new(tool_responses::ToolResponses::default()),
        Box::new(manifest_comparison::ManifestComparison::default()),
        Box::new(network_connections::NetworkConnections),
        Box::new(injection_source::Source),
    ]
}

/// Collects one item while the entries of the case pass by, in ledger order.
pub trait Item {
    /// Which of the nine.
    fn item(&self) -> EvidenceItem;
    /// Looks at one entry.
    fn see(&mut self, seen: &Seen<'_>, bag: &mut BagWriter) -> Result<(), BagError>;
    /// Ends the item. `None`: nothing was found.
    fn finish(self: Box<Self>, end: &End<'_>, bag: &mut BagWriter) -> Result<Option<Presence>, BagError>;
}

/// One entry of the case, with what was opened of it.
pub struct Seen<'a> {
    /// The entry.
    pub open: &'a OpenEntry,
    /// Path inside the bag and SHA-256 of its body, if it was opened.
    pub body: Option<(&'a str, Digest)>,
    /// For an answer: the request it answers.
    pub request: Option<&'a Request>,
}

impl Seen<'_> {
    /// Its position.
    pub fn leaf(&self) -> LeafIndex {
        self.open.leaf
    }
    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.open.entry
    }
    /// Size of the body.
    pub fn size(&self) -> Option<u64> {
        self.open.entry.body.as_ref().map(|body| body.size)
    }
}

/// What is known when all entries have passed.
pub struct End<'a> {
    /// The case.
    pub case: &'a Case,
    /// State of server processes, if any were named.
    pub processes: &'a [ProcessEvidence],
}

/// A request that waits for its answer.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Option<String>,
    /// Its tool.
    pub tool: Option<String>,
}

/// Requests that may be answered yet. Bounded: the oldest are forgotten first; then an answer lacks its method, no entry is lost.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<LeafIndex, Request>);

impl Pending {
    const MOST: usize = 65_536;

    /// The request that `message` answers; remembers it when it is a request itself.
    pub fn pass(&mut self, leaf: LeafIndex, message: &Message, detail: Option<&serde_json::Value>) -> Option<Request> {
        use custody_model::Shape;
        if message.shape == Shape::Request {
            if self.0.len() >= Self::MOST {
                self.0.pop_first();
            }
            let text = |name: &str| detail.and_then(|d| d.get(name)).and_then(|v| v.as_str()).map(str::to_owned);
            let request = Request {
                method: message.method.clone().or_else(|| text("method")),
                tool: text("tool").or_else(|| message.tool.as_ref().map(|tool| tool.0.clone())),
            };
            self.0.insert(leaf, request);
        }
        // Kept, for an answer can come in parts; the bound keeps the map small.
        message.answers.and_then(|request| self.0.get(&request).cloned())
    }
}

/// A file of JSON lines that exists only when it has one.
#[derive(Default)]
pub(super) struct Lines {
    file: Option<(&'static str, BagFile)>,
}

impl Lines {
    pub fn push(&mut self, name: &'static str, line: &impl serde::Serialize, bag: &BagWriter) -> Result<(), BagError> {
        let (_, file) = match &mut self.file {
            Some(file) => file,
            none => none.insert((name, bag.create(format!("data/{name}"))?)),
        };
        file.line(line)
    }

    pub fn finish(self, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
        let Some((name, file)) = self.file else { return Ok(None) };
        Ok(Some(Presence::Present { path: name.to_owned(), digest: bag.close(file)? }))
    }
}

pub(super) fn document(name: &str, value: &impl serde::Serialize, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
    let mut text = serde_json::to_vec_pretty(value).expect("evidence is made of strings, numbers and lists");
    text.push(b'\n');
    let digest = bag.write(format!("data/{name}"), &text)?;
    Ok(Some(Presence::Present { path: name.to_owned(), digest }))
}

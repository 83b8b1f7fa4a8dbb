//! Which model and which program an agent was seen with, and whether that changed (I11).

use super::told_in;
use custody_model::{Build, Direction, Event, LeafIndex, MessageDetail, OpenEntry};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most different ones that are told apart.
const MAX_SEEN: usize = 64;

/// One build, and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSeen {
    /// Which.
    pub build: Build,
    /// Who says so: `client_info`, `user_agent`, `hook`, `otlp`, `meta`. None of them is proof.
    pub by: String,
    /// The first entry that said so.
    pub first: LeafIndex,
    /// Its time.
    pub at: Timestamp,
    /// The last one.
    pub last: LeafIndex,
}

/// All builds, and what changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builds {
    /// In order of first appearance.
    pub seen: Vec<BuildSeen>,
    /// What the same source said differently, in words.
    pub changes: Vec<String>,
}

/// The builds that entries show.
pub fn builds(entries: &[OpenEntry]) -> Builds {
    let mut all = Builds::default();
    for open in entries {
        for (by, build) in shown(open) {
            all.add(open, by, build);
        }
    }
    all
}

impl Builds {
    fn add(&mut self, open: &OpenEntry, by: &str, build: Build) {
        if build.is_empty() {
            return;
        }
        // The newest that says all of this, and perhaps more: most events say less than the first one.
        let says = |seen: &BuildSeen| FIELDS.iter().all(|(_, of)| of(&build).is_none() || of(&build) == of(&seen.build));
        if let Some(known) = self.seen.iter_mut().rev().find(|seen| seen.by == by && says(seen)) {
            known.last = open.leaf;
            return;
        }
        if self.seen.len() >= MAX_SEEN {
            return;
        }
        // What a source does not say this time has not changed.
        for (what, of) in FIELDS {
            let Some(now) = of(&build) else { continue };
            let same_program = |seen: &&BuildSeen| seen.by == by && (what == "program" || program_of(&seen.build, &build));
            let before = self.seen.iter().rev().filter(same_program).find_map(|seen| of(&seen.build));
            if let Some(before) = before.filter(|before| *before != now) {
                self.changes.push(format!("{by} said {what} {before}, and from entry {} on {now}", open.leaf));
            }
        }
        self.seen.push(BuildSeen { build, by: by.to_owned(), first: open.leaf, at: open.entry.at, last: open.leaf });
    }
}

type Field = (&'static str, fn(&Build) -> Option<&str>);
const FIELDS: [Field; 4] = [
    ("program", |build| build.program.as_deref()),
    ("version", |build| build.version.as_deref()),
    ("model", |build| build.model.as_deref()),
    ("answering model", |build| build.answered.as_deref()),
];

fn program_of(a: &Build, b: &Build) -> bool {
    a.program == b.program || a.program.is_none() || b.program.is_none()
}

fn shown(open: &OpenEntry) -> Vec<(&'static str, Build)> {
    match &open.entry.event {
        Event::HostTold { source, .. } => {
            let by = match source {
                custody_model::HostSource::ClaudeCode => "hook",
                custody_model::HostSource::Otlp => "otlp",
                custody_model::HostSource::Meta => "meta",
            };
            told_in(open).map(|detail| (by, detail.build)).into_iter().collect()
        }
        Event::Message(message) if message.direction == Direction::ToServer => {
            let detail: Option<MessageDetail> = open.detail.as_ref().and_then(|detail| serde_json::from_value(detail.clone()).ok());
            let agent = detail.and_then(|detail| detail.headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("user-agent")));
            let mut builds: Vec<(&str, Build)> =
                agent.map(|(_, value)| ("user_agent", program(super::cut(&value, 200).0))).into_iter().collect();
            builds.extend(client_info(open).map(|build| ("client_info", build)));
            builds
        }
        _ => Vec::new(),
    }
}

fn program(name: String) -> Build {
    Build { program: Some(name), ..Build::default() }
}

/// `clientInfo` of `initialize`, or of `_meta` (2026-07-28).
fn client_info(open: &OpenEntry) -> Option<Build> {
    let body = open.body.as_deref()?;
    memchr::memmem::find(body, b"clientInfo")?;
    let value: Value = serde_json::from_slice(body).ok()?;
    let params = &value["params"];
    let info = [&params["clientInfo"], &params["_meta"]["io.modelcontextprotocol/clientInfo"]].into_iter().find(|info| info.is_object())?;
    let text = |value: &Value| value.as_str().map(|text| super::cut(text, 200).0);
    Some(Build { program: text(&info["name"]), version: text(&info["version"]), ..Build::default() })
}

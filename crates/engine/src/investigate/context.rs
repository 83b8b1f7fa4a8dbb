//! The model's view at one moment, as far as it is known (R3, E1): what stood before the agent, in order, where each piece came
//! from, and what cannot be seen from here.
//!
//! Pure: the same entries give the same view. Nothing is guessed: a piece that is erased is named with its size and no text, and
//! what a host does not tell is in [`Context::unseen`].

use super::decode;
use crate::host;
use custody_model::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most pieces; beyond, the oldest are left out and counted.
const MAX_PIECES: usize = 50_000;
/// Bytes of a token, roughly: what tokenisers of today make of English text and code.
const BYTES_OF_A_TOKEN: u64 = 4;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The user's words, told by a host.
    UserTurn,
    /// The system prompt, told by a host.
    SystemPrompt,
    /// What the agent said or thought, told by a host.
    Decision,
    /// What the agent asked a server for.
    Call,
    /// A call of one of the host's own tools.
    BuiltInCall,
    /// Its answer.
    BuiltInResult,
    /// Tools as a server describes them.
    ToolDefinitions,
    /// What a server says of itself.
    ServerInstructions,
    /// The answer of a tool.
    ToolResult,
    /// A resource that was read.
    Resource,
    /// A list of resources.
    ResourceListing,
    /// A prompt.
    Prompt,
    /// A list of prompts.
    PromptListing,
    /// A server asks for the model (`sampling/createMessage`).
    Sampling,
    /// A server asks the user (`elicitation/create`).
    Elicitation,
    /// Another request of a server's.
    ServerRequest,
    /// What the agent or its user answered to a server's request.
    ClientAnswer,
    /// A notification of a server's.
    Notification,
    /// An error.
    Error,
    /// The host wrote a summary in place of what stands before.
    Compaction,
    /// Anything else.
    Other,
}

/// What a message brings to the model; `None` where it does not reach it. `method` is that of the request it answers.
pub fn origin_of(message: &Message, method: Option<&str>) -> Option<Origin> {
    if message.direction == Direction::ToServer {
        return match message.shape {
            Shape::Result | Shape::Error => Some(Origin::ClientAnswer),
            // What became of a held call is no message of its own.
            Shape::Request | Shape::Batch if message.answers.is_none() => {
                let calls = ["tools/call", "resources/read", "prompts/get"];
                method.is_none_or(|method| calls.contains(&method)).then_some(Origin::Call)
            }
            _ => None,
        };
    }
    if message.outcome != Outcome::Allowed || message.spliced.contains(&Splice::Withheld) {
        return None;
    }
    Some(match (message.shape, method) {
        (Shape::Error, _) => Origin::Error,
        (Shape::Request, Some("sampling/createMessage")) => Origin::Sampling,
        (Shape::Request, Some("elicitation/create")) => Origin::Elicitation,
        (Shape::Request, _) => Origin::ServerRequest,
        (Shape::Notification, _) => Origin::Notification,
        (_, Some("tools/list")) => Origin::ToolDefinitions,
        (_, Some("tools/call")) => Origin::ToolResult,
        (_, Some("resources/read")) => Origin::Resource,
        (_, Some("resources/list" | "resources/templates/list")) => Origin::ResourceListing,
        (_, Some("prompts/get")) => Origin::Prompt,
        (_, Some("prompts/list")) => Origin::PromptListing,
        (_, Some("initialize" | "server/discover")) => Origin::ServerInstructions,
        _ => Origin::Other,
    })
}

/// What a turn of a host brings; `None` where the record has it as a message.
pub fn origin_of_turn(turn: &HostTurn) -> Option<Origin> {
    let passed_by = turn.tool.as_deref().is_some_and(host::is_mcp);
    Some(match turn.what {
        TurnKind::User => Origin::UserTurn,
        TurnKind::System => Origin::SystemPrompt,
        TurnKind::Assistant => Origin::Decision,
        TurnKind::ToolCall | TurnKind::ToolResult if passed_by => return None,
        TurnKind::ToolCall => Origin::BuiltInCall,
        TurnKind::ToolResult => Origin::BuiltInResult,
    })
}

/// One piece of the view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Its place, from 0.
    pub order: u64,
    /// The entry that shows it.
    pub leaf: LeafIndex,
    /// Its time.
    pub at: Timestamp,
    /// What it is.
    pub what: Origin,
    /// The server it came from or went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerName>,
    /// The tool, prompt or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Who says so: `wire`, or the host by `hook`, `transcript`, `otlp`, `meta`.
    pub by: String,
    /// Bytes as recorded; where they are erased, of what they were.
    pub bytes: u64,
    /// Tokens, roughly.
    pub tokens: u64,
    /// The text as an agent reads it, or the beginning of it, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The entry of a later listing that stands in place of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<LeafIndex>,
    /// What else is to be said: denied, erased, cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The model's view at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Whose.
    pub session: SessionId,
    /// The last entry that counts.
    pub at: LeafIndex,
    /// For a difference: what stood there already after this entry is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<LeafIndex>,
    /// In order.
    pub pieces: Vec<Piece>,
    /// Pieces that a later listing stands in place of since `from`: no longer in view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Piece>,
    /// Tokens of what is in view, roughly.
    pub tokens: u64,
    /// By origin: pieces and tokens in view.
    pub totals: BTreeMap<Origin, (u64, u64)>,
    /// What cannot be seen from here, in words.
    pub unseen: Vec<String>,
}

/// The view of a session's model after the entry `at`. `entries` are of one session, in leaf order.
pub fn context(session: SessionId, entries: &[OpenEntry], at: LeafIndex) -> Context {
    let mut view = View::default();
    for open in entries.iter().filter(|open| open.leaf <= at) {
        view.see(open);
    }
    view.finish(session, at)
}

/// What came into view between two moments, and what went out of it.
pub fn difference(session: SessionId, entries: &[OpenEntry], from: LeafIndex, to: LeafIndex) -> Context {
    let mut later = context(session, entries, to);
    let went = |piece: &Piece| piece.leaf <= from && piece.superseded.is_some_and(|by| by > from);
    later.gone = later.pieces.iter().filter(|piece| went(piece)).cloned().collect();
    later.pieces.retain(|piece| piece.leaf > from);
    later.from = Some(from);
    later.count();
    later
}

impl Context {
    /// Texts cut to their beginnings and put through `redact`: what may be seen without a reason (R8).
    pub fn previews(&mut self, characters: usize, redact: impl Fn(&str) -> String) {
        for piece in self.pieces.iter_mut().chain(&mut self.gone) {
            if let Some(text) = &piece.text {
                // Redacted as far as a secret may reach beyond the cut.
                let long: String = text.chars().take(characters * 4).collect();
                let short: String = redact(&long).chars().take(characters).collect();
                piece.text = Some(if short.len() < text.len() { format!("{short}…") } else { short });
            }
        }
    }

    fn count(&mut self) {
        self.totals.clear();
        self.tokens = 0;
        for piece in self.pieces.iter().filter(|piece| piece.superseded.is_none()) {
            let total = self.totals.entry(piece.what).or_default();
            total.0 += 1;
            total.1 += piece.tokens;
            self.tokens += piece.tokens;
        }
    }
}

#[derive(Default)]
struct View {
    pieces: Vec<Piece>,
    left_out: u64,
    requests: HashMap<LeafIndex, (Option<String>, Option<String>)>,
    listings: HashMap<(ServerName, Origin), usize>,
    turns: BTreeSet<(Origin, String)>,
    hook: bool,
    otlp: bool,
    cut: u64,
    erased: u64,
    compacted: Option<LeafIndex>,
}

impl View {
    fn see(&mut self, open: &OpenEntry) {
        match &open.entry.event {
            Event::Message(message) => self.message(open, message),
            Event::HostTold { source, .. } => self.told(open, *source),
            _ => {}
        }
    }

    fn message(&mut self, open: &OpenEntry, message: &Message) {
        let recorded = open.entry.body.as_ref().map(|body| body.size);
        let Some(size) = recorded.or_else(|| open.body.as_ref().map(|body| body.len() as u64)) else { return };
        let value: Option<Value> = open.body.as_ref().and_then(|body| serde_json::from_slice(body).ok());
        let detail: MessageDetail = open.detail.as_ref().and_then(|detail| serde_json::from_value(detail.clone()).ok()).unwrap_or_default();
        let named = |value: &Value| {
            let params = &value["params"];
            params["name"].as_str().or_else(|| params["uri"].as_str()).map(|text| host::cut(text, 400).0)
        };
        let method = message.method.clone().or(detail.method);
        let own_tool = message.tool.as_ref().map(|tool| tool.0.clone()).or_else(|| value.as_ref().and_then(named)).or(detail.tool);
        if message.shape == Shape::Request && message.direction == Direction::ToServer {
            self.requests.insert(open.leaf, (method.clone(), own_tool.clone()));
        }
        let (asked, tool) = match message.answers.and_then(|leaf| self.requests.get(&leaf).cloned()) {
            Some((asked, tool)) if message.direction == Direction::ToAgent => (asked.or(method), tool.or(own_tool)),
            _ => (method, own_tool),
        };
        let Some(what) = origin_of(message, asked.as_deref()) else { return };
        let text = value.as_ref().map(|value| match what {
            Origin::Call => match &value["params"]["arguments"] {
                Value::Null => value["params"].to_string(),
                arguments => arguments.to_string(),
            },
            _ => decode::text_of(value),
        });
        let note = match (&open.body, message.outcome) {
            (None, _) => {
                self.erased += 1;
                Some("erased, or sealed for other keys".to_owned())
            }
            (_, Outcome::Denied) => Some("denied: the agent read an incident id instead of an answer".to_owned()),
            (_, Outcome::Held) => Some("waited for a person".to_owned()),
            _ => message.spliced.contains(&Splice::Sanitised).then(|| "shown without definitions that nobody approved".to_owned()),
        };
        let bytes = text.as_ref().map_or(size, |text| text.len() as u64);
        let at = self.push(Piece { server: Some(message.server.clone()), tool, note, ..piece(open, what, "wire", bytes, text) });
        let replaces =
            matches!(what, Origin::ToolDefinitions | Origin::ResourceListing | Origin::PromptListing | Origin::ServerInstructions);
        // A further page stands beside the first one.
        let further = value.as_ref().is_some_and(|value| value["result"]["nextCursor"].is_string());
        if replaces
            && let Some(before) = self.listings.insert((message.server.clone(), what), at)
            && !further
            && let Some(earlier) = self.pieces.get_mut(before)
        {
            earlier.superseded = Some(open.leaf);
        }
    }

    fn told(&mut self, open: &OpenEntry, source: HostSource) {
        self.hook |= source == HostSource::ClaudeCode;
        self.otlp |= source == HostSource::Otlp;
        let Some(detail) = host::told_in(open) else {
            self.erased += 1;
            return;
        };
        self.cut += detail.cut;
        if detail.event == "PreCompact" {
            self.compacted = Some(open.leaf);
            self.push(piece(open, Origin::Compaction, "hook", 0, None));
        }
        for turn in detail.turns {
            let Some(what) = origin_of_turn(&turn) else { continue };
            self.cut += turn.cut;
            // A host tells the same words in several ways; calls may well be the same twice.
            if matches!(what, Origin::UserTurn | Origin::SystemPrompt | Origin::Decision) && !self.turns.insert((what, turn.text.clone())) {
                continue;
            }
            let by = match source {
                HostSource::ClaudeCode if turn.transcript => "transcript",
                HostSource::ClaudeCode => "hook",
                HostSource::Otlp => "otlp",
                HostSource::Meta => "meta",
            };
            let note = (turn.cut > 0).then(|| format!("{} bytes more were not kept", turn.cut));
            let bytes = turn.text.len() as u64 + turn.cut;
            self.push(Piece { tool: turn.tool, note, ..piece(open, what, by, bytes, Some(turn.text)) });
        }
    }

    fn push(&mut self, mut piece: Piece) -> usize {
        if self.pieces.len() >= MAX_PIECES {
            self.left_out += 1;
            return usize::MAX;
        }
        piece.order = self.pieces.len() as u64;
        self.pieces.push(piece);
        self.pieces.len() - 1
    }

    fn finish(self, session: SessionId, at: LeafIndex) -> Context {
        let has = |what: Origin| self.pieces.iter().any(|piece| piece.what == what);
        let mut unseen = Vec::new();
        let mut say = |unless: bool, what: &str| {
            if !unless {
                unseen.push(what.to_owned());
            }
        };
        let host = self.hook || self.otlp;
        say(
            has(Origin::UserTurn),
            match host {
                true => "the user's words: the host told none of them",
                false => "the user's words: no host tells them (`custody hook claude-code`, `_meta`, OTLP)",
            },
        );
        say(has(Origin::SystemPrompt), "the system prompt: hooks and transcripts do not have it, `gen_ai.system_instructions` does");
        say(self.hook || has(Origin::BuiltInCall), "the host's own tools (shell, files, web): no hook tells of them");
        say(has(Origin::Decision), "what the agent thought and said: no transcript was told");
        say(false, "what the host adds by itself (memory files, attachments), and servers that are not behind Custody");
        if let Some(leaf) = self.compacted {
            unseen.push(format!("the host's summary: it compacted at entry {leaf}, and what stands before reached the model only as that"));
        }
        if self.erased > 0 {
            unseen.push(format!("{} pieces that are erased or sealed for other keys", self.erased));
        }
        if self.cut > 0 {
            unseen.push(format!("{} bytes that the host's messages were too long for", self.cut));
        }
        if self.left_out > 0 {
            unseen.push(format!("{} pieces beyond the first {MAX_PIECES}", self.left_out));
        }
        let mut context =
            Context { session, at, from: None, pieces: self.pieces, gone: Vec::new(), tokens: 0, totals: BTreeMap::new(), unseen };
        context.count();
        context
    }
}

fn piece(open: &OpenEntry, what: Origin, by: &str, bytes: u64, text: Option<String>) -> Piece {
    Piece {
        order: 0,
        leaf: open.leaf,
        at: open.entry.at,
        what,
        server: None,
        tool: None,
        by: by.to_owned(),
        bytes,
        tokens: bytes.div_ceil(BYTES_OF_A_TOKEN),
        text,
        superseded: None,
        note: None,
    }
}

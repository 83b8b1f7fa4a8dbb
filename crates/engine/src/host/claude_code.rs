//! The hook of Claude Code: one JSON document for each event on the hook's standard input, and lines of the transcript.
//!
//! Format: the published hooks reference (`https://code.claude.com/docs/en/hooks`, looked up in November 2026). Fields that are not
//! known are passed over: the reference grows with each version of the program.

use super::{
    Fault, Told, is_mcp,
    told::{blocks, name, named, plain},
};
use custody_model::{HostWord, ProcessRef, TurnKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of [`Post`].
pub const VERSION: u64 = 1;
/// Most processes that a hook names.
const MAX_PROCESSES: usize = 8;
/// The program's name in [`custody_model::Build`].
const PROGRAM: &str = "claude-code";

/// What `custody hook run` sends for one event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Post {
    /// [`VERSION`].
    pub v: u64,
    /// The event as the host gave it, long texts cut.
    pub event: Value,
    /// Lines that were added to the transcript since the last event.
    #[serde(default)]
    pub transcript: Vec<Value>,
    /// Bytes of the event and the transcript that are not sent.
    #[serde(default)]
    pub cut: u64,
    /// Processes above the hook: one of them is the host.
    #[serde(default)]
    pub processes: Vec<ProcessRef>,
}

impl Post {
    /// Reads what a hook sent.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn read(bytes: &[u8]) -> Result<Post, Fault> {
        let mut post: Post = serde_json::from_slice(bytes).map_err(|error| Fault::Json(error.to_string()))?;
        if post.v != VERSION {
            return Err(Fault::Version(post.v));
        }
        post.processes.truncate(MAX_PROCESSES);
        Ok(post)
    }

    /// In Custody's words.
    ///
    /// # Errors
    /// [`Fault::Missing`].
    pub fn told(&self) -> Result<Told, Fault> {
        let event = &self.event;
        let named_event = event["hook_event_name"].as_str().ok_or(Fault::Missing("hook_event_name"))?;
        let session = named(&event["session_id"]).ok_or(Fault::Missing("session_id"))?;
        let mut told = Told::new(word(named_event), named_event);
        told.detail.host_session = Some(session);
        told.detail.cut = self.cut;
        told.detail.build.program = Some(PROGRAM.to_owned());
        told.detail.build.model = named(&event["model"]);
        for line in &self.transcript {
            told.read_line(line);
        }
        let tool = named(&event["tool_name"]);
        let told_of_tool = |told: &mut Told, what, value: &Value| {
            // The words of an MCP call are in the record as its message.
            let text = if tool.as_deref().is_some_and(is_mcp) { String::new() } else { blocks(value) };
            if let Some(turn) = told.say(what, &text) {
                turn.tool = tool.clone();
                turn.call = named(&event["tool_use_id"]);
            }
        };
        match told.word {
            HostWord::UserTurn => {
                told.say(TurnKind::User, &plain(&event["prompt"]));
            }
            HostWord::ToolCalled => told_of_tool(&mut told, TurnKind::ToolCall, &event["tool_input"]),
            HostWord::ToolReturned => {
                let answer = if event["tool_response"].is_null() { &event["error"] } else { &event["tool_response"] };
                told_of_tool(&mut told, TurnKind::ToolResult, answer);
            }
            HostWord::TurnEnded => {
                let last = plain(&event["last_assistant_message"]);
                if !last.is_empty() && !told.detail.turns.iter().any(|turn| turn.text == last) {
                    told.say(TurnKind::Assistant, &last);
                }
            }
            _ => {}
        }
        Ok(told)
    }
}

impl Told {
    /// One line of a transcript: what the agent said, which model it was, and what the user said.
    fn read_line(&mut self, line: &Value) {
        let message = &line["message"];
        if let Some(version) = named(&line["version"]) {
            self.detail.build.version = Some(version);
        }
        match line["type"].as_str() {
            Some("assistant") => {
                // Its own notices have no model of a service.
                let model = named(&message["model"]).filter(|model| !model.starts_with('<'));
                self.detail.build.answered = model.or(self.detail.build.answered.take());
                let parts = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
                let texts = parts.iter().filter_map(|part| part["text"].as_str().or_else(|| part["thinking"].as_str()));
                for text in texts.chain(message["content"].as_str()).filter(|text| !text.trim().is_empty()) {
                    if let Some(turn) = self.say(TurnKind::Assistant, text) {
                        turn.transcript = true;
                    }
                }
            }
            Some("user") if line["isMeta"].as_bool() != Some(true) => {
                // Blocks of a user line are answers of tools, which events tell.
                if let Some(text) = message["content"].as_str().filter(|text| !text.trim().is_empty())
                    && let Some(turn) = self.say(TurnKind::User, text)
                {
                    turn.transcript = true;
                }
            }
            _ => {}
        }
    }
}

fn word(event: &str) -> HostWord {
    match event {
        "SessionStart" => HostWord::SessionStarted,
        "UserPromptSubmit" => HostWord::UserTurn,
        "PreToolUse" => HostWord::ToolCalled,
        "PostToolUse" | "PostToolUseFailure" => HostWord::ToolReturned,
        "Stop" | "StopFailure" => HostWord::TurnEnded,
        "SessionEnd" => HostWord::SessionEnded,
        _ => HostWord::Other,
    }
}

/// The events for which the hook is installed.
pub const EVENTS: [&str; 8] =
    ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "PreCompact", "Stop", "SubagentStop", "SessionEnd"];

/// Whether an event's `matcher` chooses tools.
pub fn has_tools(event: &str) -> bool {
    matches!(event, "PreToolUse" | "PostToolUse")
}

/// The host's name for its session, as it stands in a link.
pub fn session_of(told: &Told) -> Option<String> {
    told.detail.host_session.as_deref().map(name)
}

//! What an agent's host tells beside the MCP traffic (R3): read, bounded, and put into a few words.
//!
//! Everything here is the host's word, under its client key. It adds context to a session and makes verdicts sighted. It lifts no
//! freeze, permits no call and names no principal.
//!
//! Deliberately absent: anything that a host could switch off by telling it. Rules that rest on silence (`user.*`) hold only for
//! clients in which a hook is installed.

mod builds;
pub mod claude_code;
pub mod gen_ai;
pub mod meta;
mod told;
mod watch;

#[cfg(test)]
mod tests;

pub use builds::{BuildSeen, Builds, builds};
pub use told::{Fault, Told};
pub use watch::{Over, UserFacts, Watch};

use custody_model::{Event, HostDetail, HostTurn, OpenEntry, TurnKind};

/// Longest text of one turn that is kept in the detail.
pub const MAX_TEXT: usize = 32 << 10;
/// Most turns of one message.
pub const MAX_TURNS: usize = 128;
/// Longest text of all turns of one message.
pub const MAX_ALL: usize = 256 << 10;
/// Longest task: what a user said in all turns.
const MAX_TASK: usize = 64 << 10;

/// What an entry tells, if it is one of a host and can be opened.
pub fn told_in(open: &OpenEntry) -> Option<HostDetail> {
    match open.entry.event {
        Event::HostTold { .. } => serde_json::from_value(open.detail.clone()?).ok(),
        _ => None,
    }
}

/// The user's words in a session, each once, in order; `None` where no host told any.
///
/// Of more than 64 KiB the newest turns are kept: the first ones of so long a conversation say least about what is done now.
pub fn task(entries: &[OpenEntry]) -> Option<String> {
    let mut turns: Vec<String> = Vec::new();
    for turn in entries.iter().filter_map(told_in).flat_map(|detail| detail.turns) {
        if is_users(&turn) && !turns.contains(&turn.text) {
            turns.push(turn.text);
        }
    }
    let mut room = MAX_TASK;
    let kept = turns.iter().rev().take_while(|turn| {
        let fits = turn.len() < room;
        room = room.saturating_sub(turn.len() + 1);
        fits
    });
    let mut kept: Vec<&str> = kept.map(String::as_str).collect();
    kept.reverse();
    (!kept.is_empty()).then(|| kept.join("\n"))
}

/// Whether it is what a user said.
pub fn is_users(turn: &HostTurn) -> bool {
    turn.what == TurnKind::User && !turn.text.trim().is_empty()
}

/// The tool of an MCP server, as Claude Code writes it: `mcp__server__tool`. Such calls are in the record as messages.
pub fn is_mcp(tool: &str) -> bool {
    tool.starts_with("mcp__")
}

/// At most so many bytes of a text, whole characters, and how many are left out.
pub fn cut(text: &str, limit: usize) -> (String, u64) {
    if text.len() <= limit {
        return (text.to_owned(), 0);
    }
    let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (text[..end].to_owned(), (text.len() - end) as u64)
}

//! Was the agent turned, by which words, and which calls follow them (D9, I2, I4).
//!
//! A payload can be worded in any way. What it cannot avoid is to speak to the agent, and, where it works, that the agent does what
//! nothing else in the session explains. Five small models, one on top of the other, weigh both; each is a forest of trees over
//! columns with names, so that every verdict can say what it rests on.
//!
//! Deliberately absent: lists of known injection phrases, and any call to a model service.

mod explain;
mod follow;
mod forest;
mod lexicon;
mod model;
mod passages;
mod row;
mod speech;
mod stages;
mod text;
mod units;
mod verdict;
mod view;

#[cfg(test)]
mod tests;

pub use follow::Followed;
pub use forest::{Forest, ForestError, Node, Tree};
pub use model::{Model, Models, near_a_voice};
pub use passages::Passage;
pub use row::Row;
pub use stages::{Heard, STAGES, UnitAt};
pub(crate) use text::stem;
pub use verdict::{Driven, Found, Moved, Source, Verdict, analyze, conclude, judge};
pub use view::View;

use serde_json::Value;

/// What is known of a session: what the agent was asked, what it could call, what it called and what it read.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// The user's words, where the host tells them.
    pub task: Option<String>,
    /// Names of the tools that were listed.
    pub tools: Vec<String>,
    /// In order.
    pub events: Vec<Event>,
}

/// One step of a session.
#[derive(Debug, Clone)]
pub enum Event {
    /// The agent called a tool.
    Call {
        /// Its name.
        tool: String,
        /// The arguments.
        arguments: Value,
    },
    /// The agent read an answer.
    Result {
        /// Position of the call that it answers.
        call: Option<usize>,
        /// Its text.
        content: String,
    },
}

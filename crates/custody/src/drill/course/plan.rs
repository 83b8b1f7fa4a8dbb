//! What a seed decides of a course: sessions over virtual days, and what must come of them.

use crate::drill::plan::{Call, Era, Setting};
use custody_model::{Family, Priority};
use serde_json::Value;

/// Sessions of several agents over virtual days: first those that Custody learns from, then the trial.
#[derive(Debug, Clone)]
pub struct Course {
    /// What must stand.
    pub setting: Setting,
    /// Honest sessions before the trial.
    pub lessons: Vec<Run>,
    /// Whether `custody learn --apply` runs between the two.
    pub learns: bool,
    /// What is judged.
    pub trial: Vec<Run>,
    /// What must come of it.
    pub expect: Expect,
}

/// One session of an agent, or what the world does meanwhile.
#[derive(Debug, Clone)]
pub struct Run {
    /// Which of the setting's clients; `None`: nobody's, but a server's or an operator's doing.
    pub client: Option<usize>,
    /// Milliseconds after the clock's start.
    pub at_ms: u64,
    /// The lifecycle of its connections.
    pub era: Era,
    /// Whether these calls are the attack's.
    pub hostile: bool,
    /// What it does, in order.
    pub moves: Vec<Move>,
}

/// One thing, after a pause.
#[derive(Debug, Clone)]
pub struct Move {
    /// The pause, in milliseconds.
    pub after_ms: u64,
    /// What.
    pub act: Act,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Act {
    /// A call at a server, by its place in the setting.
    Call(usize, Call),
    /// Several at once, each on a connection of its own.
    Together(usize, Vec<Call>),
    /// The agent lists the tools, reads what they say of themselves, and follows it.
    List(usize),
    /// The agent hangs up, and connects anew with its next call.
    HangUp,
    /// The server's definitions change.
    Change(usize, Value),
    /// An operator approves a change ahead: the tool of a server and the change's reference.
    Announce(usize, String, String),
}

/// What must come of a course.
#[derive(Debug, Clone)]
pub enum Expect {
    /// Nothing found, nothing stopped, every call arrives.
    Silence,
    /// A definition is kept from the agents, and nobody's identity is touched.
    Withheld(Withheld),
    /// A session is found by what it does, and its agent frozen.
    Caught(Caught),
    /// A session is found by what it read and then did, every call of it allowed: a person is told, and nothing is cut off.
    Told(Told),
}

/// An agent that follows words which it read, inside its allowlist.
#[derive(Debug, Clone)]
pub struct Told {
    /// The agent, by its place in the setting.
    pub client: usize,
    /// Words of the payload that the finding must show.
    pub words: String,
    /// The tool that they made the agent call.
    pub tool: &'static str,
}

/// A definition that must not be followed.
#[derive(Debug, Clone)]
pub struct Withheld {
    /// The server, by its place in the setting.
    pub server: usize,
    /// The tool; `None`: the server's instructions.
    pub tool: Option<String>,
    /// How grave.
    pub priority: Priority,
    /// The file that the words ask for.
    pub secret: String,
    /// Words of that file, which must arrive nowhere.
    pub content: String,
}

/// An agent that goes beyond what its role ever did.
#[derive(Debug, Clone)]
pub struct Caught {
    /// The agent, by its place in the setting.
    pub client: usize,
    /// The tool whose calls are counted as loot.
    pub loot: &'static str,
    /// Calls of it that may have run before the freeze.
    pub at_most: usize,
    /// Families of which findings of the agent's session must be, one of each line at least.
    pub signals: Vec<&'static [Family]>,
    /// Beginnings of rules that must not fire.
    pub not: &'static [&'static str],
}

impl Course {
    /// Sessions that are learned from.
    pub fn learned_sessions(&self) -> usize {
        self.lessons.iter().filter(|run| run.client.is_some()).count()
    }
}

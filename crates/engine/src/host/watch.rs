//! Whether a user is there (D13): what hooks told of each session, so that a call can be asked whether anybody wanted it.

use custody_model::{HostWord, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// Sessions that are followed at once; beyond, the oldest are forgotten.
const SESSIONS: usize = 10_000;

/// What is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The agent had answered and waited for its user.
    Turn,
    /// The host's session had ended.
    Session,
}

impl Over {
    /// As in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Over::Turn => "turn",
            Over::Session => "session",
        }
    }
}

/// Whether a user is there, for a call of a client in which a hook is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserFacts {
    /// The user's turns in the session so far.
    pub turns: u32,
    /// What was over when the call came, and for how many seconds.
    pub over: Option<(Over, i64)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Whether the hook told anything, and whether it told how the host's session began.
    told: bool,
    whole: bool,
    turns: u32,
    over: Option<(Over, Timestamp)>,
}

/// What hooks told, for each session that began while this was watching: of the others nobody knows what was told before.
///
/// A conversation may have begun before that: until `patience` has passed a session without any word proves nothing, and one whose
/// beginning was not told never proves that it has no turns.
#[derive(Debug)]
pub struct Watch {
    since: Timestamp,
    patience: SignedDuration,
    sessions: HashMap<SessionId, (State, u64)>,
    order: BTreeMap<u64, SessionId>,
    next: u64,
}

impl Watch {
    /// Nothing is known from before `since`.
    pub fn since(since: Timestamp, patience: SignedDuration) -> Watch {
        Watch { since, patience, sessions: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// A session began.
    pub fn began(&mut self, session: SessionId) {
        while self.sessions.len() >= SESSIONS
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.sessions.remove(&oldest);
        }
        let number = self.next;
        self.next += 1;
        self.order.insert(number, session);
        if let Some((_, before)) = self.sessions.insert(session, (State::default(), number)) {
            self.order.remove(&before);
        }
    }

    /// A session ended.
    pub fn ended(&mut self, session: SessionId) {
        if let Some((_, number)) = self.sessions.remove(&session) {
            self.order.remove(&number);
        }
    }

    /// The hook told something.
    pub fn told(&mut self, session: SessionId, word: HostWord, now: Timestamp) {
        let Some((state, _)) = self.sessions.get_mut(&session) else { return };
        state.told = true;
        state.whole |= word == HostWord::SessionStarted;
        match word {
            HostWord::UserTurn => {
                state.turns = state.turns.saturating_add(1);
                state.over = None;
            }
            // The host itself goes on.
            HostWord::SessionStarted | HostWord::ToolCalled => state.over = None,
            HostWord::TurnEnded => state.over = Some((Over::Turn, now)),
            HostWord::SessionEnded => state.over = Some((Over::Session, now)),
            HostWord::ToolReturned | HostWord::ModelAsked | HostWord::Other => {}
        }
    }

    /// What a call of the session is to be asked; `None` where nobody knows.
    pub fn user(&self, session: SessionId, now: Timestamp) -> Option<UserFacts> {
        let (state, _) = self.sessions.get(&session)?;
        let sure = state.turns > 0 || state.over.is_some() || state.whole;
        if !sure && (state.told || now.duration_since(self.since) < self.patience) {
            return None;
        }
        let over = state.over.map(|(what, since)| (what, now.duration_since(since).as_secs().max(0)));
        Some(UserFacts { turns: state.turns, over })
    }
}

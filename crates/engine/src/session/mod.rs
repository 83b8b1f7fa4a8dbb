//! Sessions (R9): which messages belong to one agent run, over any number of servers and connections.
//!
//! A session is for analysis. What a freeze cuts off are scopes, and [`SessionGraph::scopes`] names all that a session has: so a
//! wrong split here can never let an agent out, and a wrong join can never be more than a wrong page in a report.
//!
//! A person may correct it: [`SessionGraph::join`], [`SessionGraph::split`], [`SessionGraph::part`]. A session that was corrected
//! keeps the freezes of the others: it is related to them, and their ids stay among its scopes.
//!
//! Invariants: a session has one principal, for ever; equal calls in equal order give equal answers; memory is bounded.
//!
//! Deliberately absent: time, randomness and storage. `now` and new ids are inputs; what must outlive a restart is in the ledger
//! and comes back through [`SessionGraph::restore`].

mod correct;
#[cfg(test)]
mod tests;

use custody_model::{Assurance, Identity, Link, LinkKind, PrincipalName, ProcessRef, Scope, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

/// Host sessions that one run may have open at once.
const MAX_HOOKS: usize = 16;

/// When sessions end by themselves, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// After this long without a message, being the same principal no longer makes it the same session, and a session that nothing
    /// stronger holds open ends.
    pub idle: SignedDuration,
    /// After this long without a message a session ends, whatever holds it open.
    pub keep: SignedDuration,
    /// Most open sessions. Beyond, the one that was silent longest ends.
    pub sessions: usize,
    /// Most links of one session. Beyond, the oldest that can be missed is forgotten; never a process.
    pub links: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits { idle: SignedDuration::from_mins(30), keep: SignedDuration::from_hours(24), sessions: 10_000, links: 256 }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Silent too long.
    Idle,
    /// Too many sessions; this one was silent longest.
    Evicted,
    /// The client ended it.
    Client,
    /// Containment ended it.
    Terminated,
    /// The daemon stops.
    Shutdown,
    /// A person joined it to another.
    Joined,
    /// A person split it, and the other part goes on.
    Split,
}

impl EndReason {
    /// As [`custody_model::Event::SessionEnded`] writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Idle => "idle",
            EndReason::Evicted => "evicted",
            EndReason::Client => "client",
            EndReason::Terminated => "terminated",
            EndReason::Shutdown => "shutdown",
            EndReason::Joined => "joined",
            EndReason::Split => "split",
        }
    }
}

/// To which session a message belongs, and what that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// The session.
    pub session: SessionId,
    /// Whether it began with this message.
    pub started: bool,
    /// The kind of link that showed it; `None` for a new session.
    pub by: Option<LinkKind>,
    /// Links that it did not have before, strongest first.
    pub added: Vec<Link>,
    /// Sessions that ended meanwhile. Their entries come before those of this message.
    pub ended: Vec<(SessionId, EndReason)>,
}

/// All open sessions and what ties messages to them.
#[derive(Debug)]
pub struct SessionGraph {
    limits: SessionLimits,
    runs: HashMap<SessionId, Run>,
    /// A link leads to the session that showed it last. Links of different principals never meet.
    owners: HashMap<(PrincipalName, Link), SessionId>,
    /// Open sessions by their last message, oldest first.
    silent: BTreeSet<(Timestamp, SessionId)>,
}

/// One open session.
#[derive(Debug)]
struct Run {
    identity: Identity,
    /// In order of appearance.
    links: VecDeque<Tie>,
    /// Connections, processes and protocol sessions that nobody closed.
    open: Vec<Link>,
    /// Its last message.
    last: Timestamp,
    /// The hint it carries, once it has one; several after a join.
    hints: Vec<String>,
    /// The host's sessions that its hook told of and that are not over.
    hooks: Vec<String>,
    /// Sessions that it was joined with or split from: their freezes hold for it.
    related: BTreeSet<SessionId>,
    /// What a freeze of it names, until links or relations change: asked for with every message.
    scopes: Option<Arc<[Scope]>>,
}

/// A link of a session.
#[derive(Debug)]
struct Tie {
    link: Link,
    /// When it was shown last.
    last: Timestamp,
    /// The session that it was first shown in; another one after a join.
    from: SessionId,
}

impl SessionGraph {
    /// No sessions.
    pub fn new(limits: SessionLimits) -> SessionGraph {
        SessionGraph { limits, runs: HashMap::new(), owners: HashMap::new(), silent: BTreeSet::new() }
    }

    /// Finds or starts the session of a message.
    ///
    /// The strongest link that leads to a session wins: protocol session, process, connection, `requestState`, task, hint, trace,
    /// and last the principal, within the idle gap. Three exceptions. A hint speaks for itself: a session that carries another hint
    /// is not joined, and a hint seen for the first time joins a session without one over a strong link only, else it starts a new
    /// session. Who is unverified joins nobody merely by name, or by a value that can be guessed, for many strangers may share the
    /// name. And a `requestState` or a task id counts only when a server handed it out ([`Self::show`]): whoever makes one up, or
    /// shows another principal's, shows nothing.
    pub fn observe(&mut self, now: Timestamp, identity: &Identity, links: &[Link], fresh: impl FnOnce() -> SessionId) -> Attribution {
        let mut ended = self.sweep(now);
        let mut shown: Vec<Link> = links.iter().filter(|link| !matches!(link, Link::Principal(_))).cloned().collect();
        shown.push(Link::Principal(identity.principal.clone()));
        shown.sort_by_key(rank);
        shown.dedup();

        let found = self.find(now, identity, &shown);
        let (session, by) = match found {
            Some((session, by)) => (session, Some(by)),
            None => {
                ended.extend(self.make_room());
                let session = fresh();
                self.start(now, session, identity);
                (session, None)
            }
        };
        shown.retain(|link| !is_handed_out(link));
        let added = self.tie(now, session, &shown);
        Attribution { session, started: by.is_none(), by, added, ended }
    }

    /// A server's answer in this session handed out a link, such as the id of a task. Gives those that are new to the session;
    /// none when it is not open.
    ///
    /// What two sessions were handed leads to neither, until it is handed out again.
    pub fn show(&mut self, now: Timestamp, session: SessionId, links: &[Link]) -> Vec<Link> {
        let Some(run) = self.runs.get(&session) else { return Vec::new() };
        let principal = run.identity.principal.clone();
        let added = self.tie(now, session, links);
        // Of many at once some are forgotten again already.
        let kept = self.links(session);
        for link in links.iter().filter(|link| is_handed_out(link) && kept.contains(link)) {
            let key = (principal.clone(), link.clone());
            match self.owners.get(&key) {
                Some(other) if *other != session => drop(self.owners.remove(&key)),
                _ => drop(self.owners.insert(key, session)),
            }
        }
        added
    }

    /// The session of what a host tells beside its messages (R3). `hook` is the host's own id of its session; `near` are processes that
    /// the host says are its own, which find a session that the operating system tied to one of them, and tie nothing.
    ///
    /// A host's session that was not told of before belongs to the process, else to the principal's latest session unless that one
    /// is another host session's that goes on. Else a session begins.
    pub fn observe_host(
        &mut self,
        now: Timestamp,
        identity: &Identity,
        links: &[Link],
        near: &[ProcessRef],
        fresh: impl FnOnce() -> SessionId,
    ) -> Attribution {
        let owner = |link: &Link| self.owners.get(&(identity.principal.clone(), link.clone())).copied();
        let known = links.iter().any(|link| owner(link).is_some());
        let process = near.iter().find_map(|process| owner(&Link::Process(*process))).filter(|_| !known);
        match process {
            None => self.observe(now, identity, links, fresh),
            Some(session) => {
                let mut shown = links.to_vec();
                shown.push(Link::Principal(identity.principal.clone()));
                let added = self.tie(now, session, &shown);
                Attribution { session, started: false, by: Some(LinkKind::Process), added, ended: Vec::new() }
            }
        }
    }

    /// Ends sessions that were silent too long. The gateway calls it now and then; [`Self::observe`] does so too.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<(SessionId, EndReason)> {
        let mut over = Vec::new();
        for (last, session) in &self.silent {
            let gap = now.duration_since(*last);
            if gap < self.limits.idle {
                break;
            }
            if gap >= self.limits.keep || !self.runs[session].is_held() {
                over.push(*session);
            }
        }
        over.into_iter().filter_map(|session| self.end(session, EndReason::Idle)).collect()
    }

    /// A connection closed, a process ended or a protocol session was deleted: it holds its session open no longer.
    /// The link stays among those of the session, for reports and freezes.
    pub fn closed(&mut self, principal: &PrincipalName, link: &Link) {
        self.owners.remove(&(principal.clone(), link.clone()));
        for run in self.runs.values_mut().filter(|run| run.identity.principal == *principal) {
            run.open.retain(|open| open != link);
            if let Link::Hook(over) = link {
                run.hooks.retain(|hook| hook != over);
            }
        }
    }

    /// Ends a session. A later message of its agent starts another one.
    pub fn end(&mut self, session: SessionId, why: EndReason) -> Option<(SessionId, EndReason)> {
        let run = self.runs.remove(&session)?;
        self.silent.remove(&(run.last, session));
        for tie in run.links {
            let key = (run.identity.principal.clone(), tie.link);
            if self.owners.get(&key) == Some(&session) {
                self.owners.remove(&key);
            }
        }
        Some((session, why))
    }

    /// Ends all, oldest first.
    pub fn end_all(&mut self, why: EndReason) -> Vec<(SessionId, EndReason)> {
        let sessions: Vec<SessionId> = self.silent.iter().map(|(_, session)| *session).collect();
        sessions.into_iter().filter_map(|session| self.end(session, why)).collect()
    }

    /// Brings back a session from the ledger after a restart. Connections of before are gone: give only links that outlive them.
    pub fn restore(&mut self, last: Timestamp, session: SessionId, identity: &Identity, links: &[Link]) {
        self.end(session, EndReason::Shutdown);
        self.start(last, session, identity);
        self.tie(last, session, links);
    }

    /// Everything that a freeze of the session must name: its principal, processes and connections, and itself.
    /// Empty when there is no such open session.
    pub fn scopes(&self, session: SessionId) -> Vec<Scope> {
        self.runs.get(&session).map(|run| run.scopes(session)).unwrap_or_default()
    }

    /// As [`Self::scopes`], made anew only when they changed.
    pub fn shared_scopes(&mut self, session: SessionId) -> Arc<[Scope]> {
        match self.runs.get_mut(&session) {
            Some(run) if run.scopes.is_some() => run.scopes.clone().unwrap_or_default(),
            Some(run) => {
                let scopes: Arc<[Scope]> = run.scopes(session).into();
                run.scopes.insert(scopes).clone()
            }
            None => Arc::default(),
        }
    }

    /// The links of an open session, in order of appearance.
    pub fn links(&self, session: SessionId) -> Vec<Link> {
        self.runs.get(&session).map(|run| run.links.iter().map(|tie| tie.link.clone()).collect()).unwrap_or_default()
    }

    /// Who an open session belongs to.
    pub fn identity(&self, session: SessionId) -> Option<&Identity> {
        self.runs.get(&session).map(|run| &run.identity)
    }

    /// The open sessions of a principal, the latest first.
    pub fn sessions_of(&self, principal: &PrincipalName) -> Vec<SessionId> {
        let theirs = |session: &SessionId| self.runs[session].identity.principal == *principal;
        self.silent.iter().rev().map(|(_, session)| *session).filter(theirs).collect()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn find(&self, now: Timestamp, identity: &Identity, shown: &[Link]) -> Option<(SessionId, LinkKind)> {
        let hint = shown.iter().find_map(|link| if let Link::Hint(hint) = link { Some(hint) } else { None });
        let hook = shown.iter().find_map(|link| if let Link::Hook(hook) = link { Some(hook) } else { None });
        shown.iter().find_map(|link| {
            let session = *self.owners.get(&(identity.principal.clone(), link.clone()))?;
            let run = &self.runs[&session];
            let (kind, strength) = link.kind();
            let joins = match hint {
                None => true,
                Some(_) if run.hints.is_empty() => strength == custody_model::Strength::Strong,
                Some(hint) => run.hints.contains(hint),
            };
            let believed = match link {
                Link::Principal(_) => {
                    let same_host = hook.is_none_or(|hook| run.hooks.is_empty() || run.hooks.contains(hook));
                    same_host && identity.assurance != Assurance::Unverified && now.duration_since(run.last) < self.limits.idle
                }
                Link::RequestState(..) | Link::Task(..) => identity.assurance != Assurance::Unverified,
                _ => true,
            };
            (joins && believed).then_some((session, kind))
        })
    }

    /// Adds the links to the session and makes it the one they lead to. Gives those that are new to it.
    fn tie(&mut self, now: Timestamp, session: SessionId, shown: &[Link]) -> Vec<Link> {
        let run = self.runs.get_mut(&session).expect("a session that was found or made");
        self.silent.remove(&(run.last, session));
        // A clock that steps back must not make a session older.
        run.last = run.last.max(now);
        self.silent.insert((run.last, session));
        let mut added = Vec::new();
        for link in shown {
            if !is_handed_out(link) {
                self.owners.insert((run.identity.principal.clone(), link.clone()), session);
            }
            if let Link::Hint(hint) = link
                && run.hints.is_empty()
            {
                run.hints.push(hint.clone());
            }
            if let Link::Hook(hook) = link
                && !run.hooks.contains(hook)
            {
                if run.hooks.len() >= MAX_HOOKS {
                    run.hooks.remove(0);
                }
                run.hooks.push(hook.clone());
            }
            if is_carrier(link) && !run.open.contains(link) {
                run.open.push(link.clone());
            }
            match run.links.iter_mut().find(|tie| tie.link == *link) {
                Some(tie) => tie.last = tie.last.max(now),
                None => {
                    run.links.push_back(Tie { link: link.clone(), last: now, from: session });
                    added.push(link.clone());
                }
            }
        }
        if !added.is_empty() {
            run.scopes = None;
            self.forget(session);
        }
        added
    }

    /// Forgets the oldest links that can be missed, when a session has too many.
    fn forget(&mut self, session: SessionId) {
        let Some(run) = self.runs.get_mut(&session) else { return };
        run.scopes = None;
        let place = |links: &VecDeque<Tie>, of: fn(&Link) -> bool| links.iter().position(|tie| of(&tie.link));
        while run.links.len() > self.limits.links
            && let Some(at) = place(&run.links, is_passing).or_else(|| place(&run.links, can_be_missed))
        {
            let Tie { link, .. } = run.links.remove(at).expect("a position in the list");
            run.open.retain(|open| *open != link);
            let key = (run.identity.principal.clone(), link);
            if self.owners.get(&key) == Some(&session) {
                self.owners.remove(&key);
            }
        }
    }

    fn start(&mut self, now: Timestamp, session: SessionId, identity: &Identity) {
        let run = Run {
            identity: identity.clone(),
            links: VecDeque::new(),
            open: Vec::new(),
            last: now,
            hints: Vec::new(),
            hooks: Vec::new(),
            related: BTreeSet::new(),
            scopes: None,
        };
        self.runs.insert(session, run);
        self.silent.insert((now, session));
    }

    fn make_room(&mut self) -> Option<(SessionId, EndReason)> {
        if self.runs.len() < self.limits.sessions.max(1) {
            return None;
        }
        let (_, oldest) = *self.silent.first()?;
        self.end(oldest, EndReason::Evicted)
    }
}

impl Run {
    fn scopes(&self, session: SessionId) -> Vec<Scope> {
        let mut scopes = vec![Scope::Session(session), Scope::Principal(self.identity.principal.clone())];
        scopes.extend(self.links.iter().filter_map(|tie| match &tie.link {
            Link::Process(process) => Some(Scope::Process(*process)),
            Link::Connection(connection) => Some(Scope::Connection(*connection)),
            _ => None,
        }));
        scopes.extend(self.related.iter().copied().map(Scope::Session));
        scopes
    }

    /// Whether something stronger than the principal's name may bring it another message.
    fn is_held(&self) -> bool {
        !self.open.is_empty()
    }
}

/// Strongest first.
fn rank(link: &Link) -> u8 {
    match link {
        Link::McpSession(..) => 0,
        Link::Process(_) => 1,
        Link::Connection(_) => 2,
        Link::RequestState(..) => 3,
        Link::Task(..) => 4,
        Link::Hint(_) => 5,
        Link::Hook(_) => 6,
        Link::Trace(_) => 7,
        Link::Principal(_) => 8,
    }
}

/// Links that are open until somebody closes them.
fn is_carrier(link: &Link) -> bool {
    matches!(link, Link::McpSession(..) | Link::Process(_) | Link::Connection(_))
}

/// Links that only a server can make: shown by a client they prove something only if they were handed to it.
fn is_handed_out(link: &Link) -> bool {
    matches!(link, Link::RequestState(..) | Link::Task(..))
}

/// Links of which one run may show any number, each for a short time.
fn is_passing(link: &Link) -> bool {
    matches!(link, Link::Trace(_) | Link::Hook(_) | Link::RequestState(..) | Link::Task(..))
}

/// A freeze of a session names its processes; connections of a principal are cut off by the principal's name.
fn can_be_missed(link: &Link) -> bool {
    is_passing(link) || matches!(link, Link::Connection(_) | Link::McpSession(..))
}

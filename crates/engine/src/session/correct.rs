//! What a person corrects: two sessions are one, or one is two. Only open sessions are here; what is shown of closed ones is
//! corrected where it is shown.

use super::{EndReason, Run, SessionGraph, Tie};
use custody_model::{Link, SessionId};
use jiff::Timestamp;
use std::collections::VecDeque;

impl SessionGraph {
    /// Joins `other` to `session`: its links lead there, and it ends. `None`, and nothing is changed, unless both are open and
    /// of one principal.
    pub fn join(&mut self, session: SessionId, other: SessionId) -> Option<(SessionId, EndReason)> {
        let (into, from) = (self.runs.get(&session)?, self.runs.get(&other)?);
        if session == other || into.identity.principal != from.identity.principal {
            return None;
        }
        let from = self.runs.remove(&other)?;
        self.silent.remove(&(from.last, other));
        let into = self.runs.get_mut(&session)?;
        self.silent.remove(&(into.last, session));
        into.last = into.last.max(from.last);
        self.silent.insert((into.last, session));
        into.related.extend(from.related.into_iter().chain([other]).filter(|id| *id != session));
        into.hints.extend(from.hints);
        into.hooks.extend(from.hooks);
        into.open.extend(from.open);
        for tie in from.links {
            let key = (into.identity.principal.clone(), tie.link.clone());
            if self.owners.get(&key) == Some(&other) {
                self.owners.insert(key, session);
            }
            match into.links.iter_mut().find(|own| own.link == tie.link) {
                Some(own) => own.last = own.last.max(tie.last),
                None => into.links.push_back(tie),
            }
        }
        self.forget(session);
        Some((other, EndReason::Joined))
    }

    /// Takes a join back: what was first shown in `other` belongs to it again. Whether anything did, so that it is open again.
    pub fn part(&mut self, session: SessionId, other: SessionId) -> bool {
        let keep = |tie: &Tie| tie.from != other;
        !self.runs.contains_key(&other) && self.divide(session, other, keep)
    }

    /// Splits an open session: links that were shown since `at` belong to `other` from here on. Whether any were. The session
    /// itself ends when no link is left of it.
    pub fn split(&mut self, session: SessionId, at: Timestamp, other: SessionId) -> (bool, Option<(SessionId, EndReason)>) {
        if self.runs.contains_key(&other) || !self.divide(session, other, |tie| tie.last < at) {
            return (false, None);
        }
        let empty = self.runs.get(&session).is_some_and(|run| run.links.is_empty());
        (true, if empty { self.end(session, EndReason::Split) } else { None })
    }

    /// Freezes of these sessions hold for an open one as well.
    pub fn relate(&mut self, session: SessionId, others: &[SessionId]) {
        if let Some(run) = self.runs.get_mut(&session) {
            run.related.extend(others.iter().copied().filter(|other| *other != session));
            run.scopes = None;
        }
    }

    /// Whether a session is open.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.runs.contains_key(&session)
    }

    /// Moves links out of a session into another one, which is made for them and inherits its freezes.
    fn divide(&mut self, session: SessionId, other: SessionId, keep: impl Fn(&Tie) -> bool) -> bool {
        let Some(run) = self.runs.get_mut(&session) else { return false };
        let (kept, mut moved): (VecDeque<Tie>, VecDeque<Tie>) = std::mem::take(&mut run.links).into_iter().partition(keep);
        run.links = kept;
        if moved.is_empty() {
            return false;
        }
        moved.iter_mut().for_each(|tie| tie.from = other);
        let goes = |link: &Link| moved.iter().any(|tie| tie.link == *link);
        let hinted = |hint: &String| goes(&Link::Hint(hint.clone()));
        let hooked = |hook: &String| goes(&Link::Hook(hook.clone()));
        let part = Run {
            identity: run.identity.clone(),
            open: run.open.extract_if(.., |link| goes(link)).collect(),
            last: moved.iter().map(|tie| tie.last).max().unwrap_or(run.last),
            hints: run.hints.extract_if(.., |hint| hinted(hint)).collect(),
            hooks: run.hooks.extract_if(.., |hook| hooked(hook)).collect(),
            related: run.related.iter().copied().chain([session]).filter(|id| *id != other).collect(),
            links: moved,
            scopes: None,
        };
        run.related.insert(other);
        run.scopes = None;
        let last = run.links.iter().map(|tie| tie.last).max().unwrap_or(run.last);
        self.silent.remove(&(run.last, session));
        run.last = last;
        self.silent.insert((last, session));
        for tie in &part.links {
            let key = (part.identity.principal.clone(), tie.link.clone());
            if self.owners.get(&key) == Some(&session) {
                self.owners.insert(key, other);
            }
        }
        self.silent.insert((part.last, other));
        self.runs.insert(other, part);
        true
    }
}

//! The live verdict (D7, D9): is the agent of a session turned? Asked beside the traffic, never in its way.
//!
//! A call costs a look at a map. When a session is due, one task reads it from the record and judges it, one session after the
//! other, and rests three times as long as that took: at most a quarter of one core goes into it. Sessions that are not judged in
//! time are judged later; when too many wait, those that were quiet the longest go unjudged, which is counted in the log.
//!
//! What is due is in memory only. Custody that is killed judges a session again with its next answers.

use super::{Core, Peer};
use custody_engine::{
    detect::{EventKind, Facts, FindingDraft, HijackFacts, RuleMode},
    investigate::{self, Judged},
};
use custody_model::*;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The rule that tells a verdict. With its mode `off` nothing is judged.
const RULE: &str = "mcp-040-hijacked-agent";
/// Between two looks for sessions that are due.
const LOOK: Duration = Duration::from_millis(500);
/// A session that was quiet for so long is judged with what there is.
const QUIET: SignedDuration = SignedDuration::from_secs(15);
/// New answers that make a session due, at least; and a half of those before, so that all verdicts on a long session cost a few times
/// what the last one costs.
const ANSWERS: u32 = 8;
/// Sessions that are followed at once.
const SESSIONS: usize = 10_000;
/// Entries of a session that are looked at, the newest.
const ENTRIES: usize = 6_000;
/// A quarter of one core.
const REST: u32 = 3;
/// How long the end waits for sessions that are still due.
const AT_LAST: Duration = Duration::from_secs(8);
/// Longest excerpt and longest list of calls in a finding, in characters.
const SHOWN: usize = 600;

/// Sessions with answers that were not judged.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    live: HashMap<SessionId, Live>,
    /// Forgotten unjudged.
    dropped: u64,
}

#[derive(Debug)]
struct Live {
    peer: Peer,
    /// Answers since the last verdict, and before it.
    new: u32,
    seen: u32,
    last: Timestamp,
    /// Something else was found in it.
    soon: bool,
    /// What the record says: source and calls of the last verdict of a turned agent.
    told: Option<Print>,
}

/// What makes a verdict another one.
type Print = (bool, Option<LeafIndex>, Vec<LeafIndex>);

fn print(judged: &Judged) -> Print {
    let shown = judged.hijacked;
    let calls = judged.calls.iter().filter(|_| shown).map(|call| call.leaf).collect();
    (shown, judged.source.as_ref().filter(|_| shown).map(|source| source.leaf), calls)
}

impl Live {
    fn is_due(&self, now: Timestamp) -> bool {
        let enough = self.new >= ANSWERS.max(self.seen / 2);
        self.soon || self.new > 0 && (enough || now.duration_since(self.last) >= QUIET)
    }
}

/// A session to be judged now.
struct Due {
    session: SessionId,
    peer: Peer,
    /// Whether the verdict is recorded whatever it is.
    asked: bool,
    told: Option<Print>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent was answered.
    pub fn answered(&self, peer: &Peer, session: SessionId, now: Timestamp) {
        let mut sessions = self.lock();
        if !sessions.live.contains_key(&session) {
            sessions.make_room();
        }
        let live = sessions.live.entry(session).or_insert_with(|| Live::of(peer, now));
        if live.peer.connection != peer.connection {
            live.peer = peer.clone();
        }
        live.new = live.new.saturating_add(1);
        live.last = live.last.max(now);
    }

    /// Something was found in the session: it is judged next, and the verdict kept.
    pub fn found(&self, peer: &Peer, session: SessionId, now: Timestamp) {
        let mut sessions = self.lock();
        if !sessions.live.contains_key(&session) {
            sessions.make_room();
        }
        sessions.live.entry(session).or_insert_with(|| Live::of(peer, now)).soon = true;
    }

    /// What is due, that in which something was found first, then what waits the longest. With `all`, everything unjudged.
    fn due(&self, now: Timestamp, all: bool) -> Vec<SessionId> {
        let sessions = self.lock();
        let due = sessions.live.iter().filter(|(_, live)| live.is_due(now) || all && live.new > 0);
        let mut due: Vec<_> = due.map(|(session, live)| (!live.soon, live.last, *session)).collect();
        due.sort();
        due.into_iter().map(|(_, _, session)| session).collect()
    }

    fn take(&self, session: SessionId) -> Option<Due> {
        let mut sessions = self.lock();
        let live = sessions.live.get_mut(&session).filter(|live| live.new > 0 || live.soon)?;
        live.seen = live.seen.saturating_add(live.new);
        live.new = 0;
        Some(Due { session, peer: live.peer.clone(), asked: std::mem::take(&mut live.soon), told: live.told.clone() })
    }

    fn told(&self, session: SessionId, print: Print) {
        if let Some(live) = self.lock().live.get_mut(&session) {
            live.told = Some(print);
        }
    }

    /// How many were forgotten unjudged since the last time this was asked.
    fn dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }
}

impl Live {
    fn of(peer: &Peer, now: Timestamp) -> Live {
        Live { peer: peer.clone(), new: 0, seen: 0, last: now, soon: false, told: None }
    }
}

impl Sessions {
    /// Those that are judged go first, then the half that was quiet the longest.
    fn make_room(&mut self) {
        if self.live.len() < SESSIONS {
            return;
        }
        self.live.retain(|_, live| live.new > 0 || live.soon);
        if self.live.len() < SESSIONS {
            return;
        }
        let mut last: Vec<Timestamp> = self.live.values().map(|live| live.last).collect();
        let middle = last.len() / 2;
        let cut = *last.select_nth_unstable(middle).1;
        let before = self.live.len();
        self.live.retain(|_, live| live.last > cut);
        self.dropped += (before - self.live.len()) as u64;
    }
}

impl Core {
    /// Judges what is due, one session after the other. Runs until the daemon stops.
    pub(super) async fn judge_sessions(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return,
            }
            for session in self.verdicts.due(self.now(), false) {
                let began = Instant::now();
                self.judge_session(session).await;
                tokio::select! {
                    () = tokio::time::sleep(began.elapsed() * REST) => {}
                    () = self.stop.cancelled() => return,
                }
            }
            match self.verdicts.dropped() {
                0 => {}
                sessions => tracing::warn!(sessions, "more sessions than can be followed: the quietest are not judged"),
            }
        }
    }

    /// Judges what is left before the daemon stops, for some seconds.
    pub(super) async fn judge_at_last(self: &Arc<Self>) {
        let began = Instant::now();
        let left = self.verdicts.due(self.now(), true);
        for (nth, session) in left.iter().enumerate() {
            if began.elapsed() > AT_LAST {
                tracing::warn!(sessions = left.len() - nth, "sessions that ended with the daemon are not judged");
                return;
            }
            self.judge_session(*session).await;
        }
    }

    async fn judge_session(self: &Arc<Self>, session: SessionId) {
        let Some(due) = self.verdicts.take(session).filter(|_| self.judges()) else { return };
        self.settled().await;
        let mut leaves = self.projection.leaves_of(session).await.unwrap_or_default();
        leaves.drain(..leaves.len().saturating_sub(ENTRIES));
        let known = crate::api::known(&self.projection).await.unwrap_or_default();
        let reader = self.ledger.reader();
        let identity = due.peer.identity.clone();
        let judged = tokio::task::spawn_blocking(move || {
            let mut entries: Vec<OpenEntry> = leaves.into_iter().filter_map(|leaf| reader.open_entry(leaf).ok()).collect();
            // What a person joined is one session here, too.
            entries.iter_mut().for_each(|open| open.entry.session = Some(session));
            let judged = investigate::judged(session, &entries, &known);
            let (facts, call) = facts_of(&judged, &entries, &identity, session);
            (judged, facts, call)
        });
        match judged.await {
            Ok((judged, facts, call)) => self.tell_verdict(due, &judged, &facts, call),
            Err(error) => tracing::error!(%error, %session, "a session could not be judged"),
        }
    }

    /// Records what is news, and lets the rules decide what it means.
    fn tell_verdict(self: &Arc<Self>, due: Due, judged: &Judged, facts: &Facts, call: Option<LeafIndex>) {
        let Due { session, peer, asked, told } = due;
        let print = print(judged);
        let news = told.as_ref().map_or(judged.hijacked, |told| *told != print);
        if !news && !asked {
            return;
        }
        let Some(upto) = judged.upto else { return };
        let event = Event::SessionJudged { hijacked: judged.hijacked, upto };
        if self.note(Some(session), event, Some(judged)).is_none() {
            return;
        }
        self.verdicts.told(session, print);
        let now = self.now();
        let findings: Vec<FindingDraft> = self.detector().observe(facts, now);
        // With a signal of behaviour, the next call of either kind is frozen in its own decision; what is here already, triage confirms.
        self.families.lock().unwrap_or_else(PoisonError::into_inner).second(session, &findings);
        let leaf = call.unwrap_or(upto);
        for finding in self.record_findings(&peer, session, leaf, &findings) {
            self.raise(finding, false);
        }
    }

    /// Whether anybody wants to know.
    fn judges(&self) -> bool {
        let detector = self.detector();
        detector.rules().metas().iter().any(|meta| meta.rule.as_str() == RULE && meta.mode != RuleMode::Off)
    }

    /// An answer that can turn an agent reached it.
    pub(super) fn was_answered(&self, peer: &Peer, session: SessionId, now: Timestamp) {
        self.verdicts.answered(peer, session, now);
    }

    /// What else is found makes the verdict urgent; what the verdict itself led to does not.
    pub(super) fn judge_soon(&self, peer: &Peer, session: SessionId, findings: &[FindingDraft]) {
        if findings.iter().any(|finding| !matches!(finding.family, Family::Hijack | Family::Integrity)) {
            self.verdicts.found(peer, session, self.now());
        }
    }
}

/// The server whose answer brought the words.
fn server_of(entries: &[OpenEntry], judged: &Judged) -> Option<ServerName> {
    let source = judged.source.as_ref()?.leaf;
    match &entries.iter().find(|open| open.leaf == source)?.entry.event {
        Event::Message(message) => Some(message.server.clone()),
        _ => None,
    }
}

/// A verdict as rules read it, and the call that a finding is about: the likeliest to follow the words.
pub fn facts_of(judged: &Judged, entries: &[OpenEntry], identity: &Identity, session: SessionId) -> (Facts, Option<LeafIndex>) {
    let call = judged.calls.iter().filter(|_| judged.hijacked).max_by(|a, b| a.likely.total_cmp(&b.likely));
    let server = server_of(entries, judged).unwrap_or_else(|| ServerName("unknown".to_owned()));
    let facts = Facts {
        session: Some(session),
        tool: call.map(|call| call.tool.clone()),
        hijack: Some(in_words(judged)),
        ..Facts::new(EventKind::SessionJudged, Direction::ToAgent, server, identity.clone())
    };
    (facts, call.map(|call| call.leaf))
}

fn in_words(judged: &Judged) -> HijackFacts {
    let cut = |text: &str| text.chars().take(SHOWN).collect::<String>();
    let calls: Vec<String> = judged
        .calls
        .iter()
        .map(|call| match call.reasons.as_slice() {
            [] => call.tool.clone(),
            reasons => format!("{} ({})", call.tool, reasons.join("; ")),
        })
        .collect();
    HijackFacts {
        followed: judged.hijacked,
        // A share of one: it fits.
        percent: (judged.likely.clamp(0.0, 1.0) * 100.0).round() as u8,
        words: judged.source.as_ref().map(|source| cut(source.words.trim())).unwrap_or_default(),
        calls: cut(&calls.join(", ")),
    }
}

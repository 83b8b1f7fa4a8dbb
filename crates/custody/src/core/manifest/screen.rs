//! Every answer that lists something is judged before an agent sees it (D2).
//!
//! One lock holds the pins from the judgement until what follows is recorded, so that two listings at once are judged
//! one after the other. What is quarantined is frozen before anything is written.

use super::super::{Call, Core, Peer, incident::Raised};
use super::{Ruled, by_custody, ruled_definition};
use custody_engine::contain::Freeze;
use custody_engine::detect::{DriftFacts, DriftKind, EventKind, Facts, FindingDraft};
use custody_engine::manifest::{Diff, Item, Judgement, Listing, Page, Pins, Sight, Unreadable, Verdict, cut, listed, read};
use custody_engine::wire::{Frame, Span, splice::splice};
use custody_model::*;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Listings of several pages under way at once; the oldest is forgotten, and then tells of no removals.
const WALKS: usize = 1_024;
/// Names of one of them.
const WALK_NAMES: usize = 20_000;
/// Between two findings about one listing that cannot be read.
const UNREADABLE_AGAIN: SignedDuration = SignedDuration::from_mins(10);
/// Definitions that a finding names.
const NAMED: usize = 5;

/// Listings of several pages, and listings that could not be read.
#[derive(Default)]
pub struct Walks {
    names: HashMap<(SessionId, Listing), BTreeSet<String>>,
    order: VecDeque<(SessionId, Listing)>,
    unreadable: HashMap<(ServerName, Listing), (Timestamp, bool)>,
}

impl Walks {
    /// Takes a page; gives every name of the listing when it is the last one of a walk that was seen from its beginning.
    fn step(&mut self, session: SessionId, listing: Listing, first: bool, page: &Page) -> Option<BTreeSet<String>> {
        let key = (session, listing);
        let mut names = match (first, self.names.remove(&key)) {
            (true, _) => BTreeSet::new(),
            (false, Some(names)) => names,
            (false, None) => return None,
        };
        self.order.retain(|other| *other != key);
        names.extend(page.items.iter().map(|item| item.name.clone()));
        if !page.more {
            return Some(names);
        }
        if names.len() <= WALK_NAMES {
            if self.order.len() >= WALKS
                && let Some(oldest) = self.order.pop_front()
            {
                self.names.remove(&oldest);
            }
            self.order.push_back(key);
            self.names.insert(key, names);
        }
        None
    }
}

/// What was judged, and what follows once the answer is recorded. Holds the pins.
pub struct Screen<'a> {
    core: &'a Core,
    peer: &'a Peer,
    session: SessionId,
    pins: Option<MutexGuard<'a, Pins>>,
    seen: Vec<(Listing, Page)>,
    findings: Vec<FindingDraft>,
    rulings: Vec<(Listing, Ruling, RulingDetail)>,
    freezes: Vec<(Step, Duration, Timestamp)>,
    releases: Vec<(ActionId, Option<Scope>, String)>,
    /// The whole answer must not be seen.
    pub withheld: bool,
    /// What the agent reads instead, without the definitions that nobody approved.
    pub sanitised: Option<Vec<u8>>,
}

/// Definitions that one finding is about.
#[derive(Default)]
struct Group<'p> {
    members: Vec<(&'p Item, Diff)>,
}

impl Core {
    /// Judges an answer. `told` is what would go to the agent; `frame` is of the same bytes.
    pub(in crate::core) fn screen<'a>(
        &'a self,
        peer: &'a Peer,
        session: SessionId,
        call: Option<&Call>,
        answered: Option<&Call>,
        (told, frame): (&[u8], &Frame),
        now: Timestamp,
    ) -> Screen<'a> {
        let mut screen = Screen {
            core: self,
            peer,
            session,
            pins: None,
            seen: Vec::new(),
            findings: Vec::new(),
            rulings: Vec::new(),
            freezes: Vec::new(),
            releases: Vec::new(),
            withheld: false,
            sanitised: None,
        };
        let found = match listings_in(call, answered, told, frame) {
            Ok(found) if found.is_empty() => return screen,
            found => found,
        };
        screen.pins = Some(self.pins());
        let read = found.and_then(|found| {
            let fault = frame.faults.first().map(ToString::to_string);
            let listing = found.first().map_or(Listing::Tools, |(listing, _)| *listing);
            match fault {
                Some(fault) => Err((listing, fault)),
                None => found
                    .into_iter()
                    .map(|(listing, span)| Ok((listing, read(listing, told, span).map_err(|why: Unreadable| (listing, why.to_string()))?)))
                    .collect::<Result<Vec<_>, _>>(),
            }
        });
        match read {
            Err((listing, why)) => screen.unreadable(listing, why, now),
            Ok(pages) => {
                let mut edits = Vec::new();
                for (listing, page) in &pages {
                    let first = answered.is_none_or(|call| !call.cursor);
                    let unwanted = screen.judge(*listing, page, answered.map(|_| first), now);
                    if *listing == Listing::Server {
                        screen.withheld |= !unwanted.is_empty();
                    } else {
                        edits.extend(cut(page, |item| unwanted.contains(item.name.as_str())));
                    }
                }
                if !edits.is_empty() && !screen.withheld {
                    screen.sanitised = Some(splice(told, edits, false).bytes);
                }
                screen.seen = pages;
            }
        }
        screen.quarantine(now);
        screen
    }
}

/// What a message to an agent lists, and where. `Err`: nobody can say what an agent would read in it.
fn listings_in(
    call: Option<&Call>,
    answered: Option<&Call>,
    told: &[u8],
    frame: &Frame,
) -> Result<Vec<(Listing, Span)>, (Listing, String)> {
    let asked = |call: &Call| call.method.as_deref().and_then(Listing::of_method);
    let wanted = call.and_then(asked);
    match frame.shape {
        Shape::Unreadable => match wanted {
            Some(listing) => Err((listing, frame.faults.first().map_or("it is no JSON-RPC message".to_owned(), ToString::to_string))),
            None => Ok(Vec::new()),
        },
        Shape::Result => {
            let Some(span) = frame.result else { return Ok(Vec::new()) };
            match answered {
                Some(call) if call.method.is_some() => Ok(asked(call).map(|listing| (listing, span)).into_iter().collect()),
                // Nobody knows what it answers, but a client that does could take it for a listing.
                _ => unasked(told, span, frame),
            }
        }
        Shape::Batch => {
            let mut found = Vec::new();
            for item in frame.items.iter().filter(|item| item.shape == Shape::Result) {
                let Some(span) = item.result else { continue };
                let id = item.id.map(|id| id.of(told));
                match call.filter(|call| call.method.is_some() && call.id.as_deref() == id).map(asked) {
                    Some(listing) => found.extend(listing.map(|listing| (listing, span))),
                    None => found.extend(unasked(told, span, frame)?),
                }
            }
            Ok(found)
        }
        Shape::Request | Shape::Notification | Shape::Error => Ok(Vec::new()),
    }
}

fn unasked(told: &[u8], span: Span, frame: &Frame) -> Result<Vec<(Listing, Span)>, (Listing, String)> {
    match listed(told, span) {
        Ok(found) => Ok(found.into_iter().map(|listing| (listing, span)).collect()),
        Err(why) if !frame.faults.is_empty() => Err((Listing::Tools, why.to_string())),
        Err(_) => Ok(Vec::new()),
    }
}

impl Screen<'_> {
    /// Judges one page; gives the names that agents must not see. `first`: whether it is the first page, where it is known.
    fn judge(&mut self, listing: Listing, page: &Page, first: Option<bool>, now: Timestamp) -> BTreeSet<String> {
        let principal = self.core.view_of(self.peer);
        let whole = match (listing, first) {
            (Listing::Server, _) => Some(BTreeSet::from(["instructions".to_owned(), "serverInfo".to_owned()])),
            (_, Some(first)) => self.core.walks().step(self.session, listing, first, page),
            (_, None) => None,
        };
        let sight = Sight {
            server: &self.peer.server,
            listing,
            principal: principal.as_ref(),
            items: &page.items,
            whole: whole.as_ref(),
            first_use: self.core.first_use(&self.peer.server),
            now,
        };
        let pins = self.pins.as_ref().expect("locked before anything is judged");
        let Judgement { verdicts, removed, relisted, completes } = pins.judge(&sight);
        let mut unwanted = BTreeSet::new();
        let mut groups: HashMap<DriftKind, Group<'_>> = HashMap::new();
        let mut announced: HashMap<String, Group<'_>> = HashMap::new();
        let mut pinned = Vec::new();
        let mut returned = Vec::new();
        let mut review = Group::default();
        let mut back = Vec::new();
        let scope = |name: &str| Core::quarantine_scope(&self.peer.server, listing, principal.as_ref(), name);
        for (item, verdict) in page.items.iter().zip(verdicts) {
            match verdict {
                Verdict::Same => {}
                Verdict::Back => back.push((item.name.clone(), true)),
                Verdict::Waiting => {
                    unwanted.insert(item.name.clone());
                    back.push((item.name.clone(), false));
                }
                Verdict::Excess => {
                    unwanted.insert(item.name.clone());
                }
                Verdict::Pin { kind, class, words } => {
                    if kind == DriftKind::Added || class.is_some() {
                        let diff = Diff { class, words, ..Diff::default() };
                        groups.entry(kind).or_default().members.push((item, diff));
                    } else {
                        pinned.push(ruled_definition(item));
                    }
                }
                Verdict::Unapproved { diff, ruled: false, .. } => review.members.push((item, diff)),
                Verdict::Unapproved { kind, diff, .. } => groups.entry(kind).or_default().members.push((item, diff)),
                Verdict::Announced { change, action, diff } => {
                    if let Some(action) = action {
                        self.releases.push((action, scope(&item.name), format!("announced by {change}")));
                    }
                    announced.entry(change).or_default().members.push((item, diff));
                }
                Verdict::Returned { action } => {
                    if let Some(action) = action {
                        self.releases.push((action, scope(&item.name), "the server lists the pinned definition again".to_owned()));
                    }
                    returned.push(ruled_definition(item));
                }
            }
        }
        let bare = |names: Vec<String>| {
            names
                .into_iter()
                .map(|name| RuledDefinition { name, digest: Digest([0; 32]), text: None, class: None, words: vec![], action: None })
                .collect::<Vec<_>>()
        };
        let mut plain = vec![
            (Ruling::Pinned, pinned),
            (Ruling::Returned, returned),
            (Ruling::Relisted, bare(relisted)),
            (Ruling::Removed, bare(removed)),
        ];
        for (change, group) in announced {
            self.tell(listing, DriftKind::Changed, &group, Some(change.clone()), now);
            let definitions = group.members.iter().map(|(item, _)| ruled_definition(item)).collect();
            let detail = RulingDetail { change: Some(change), ..by_custody(principal.clone(), definitions) };
            self.rulings.push((listing, Ruling::Changed, detail));
        }
        let pins = self.pins.as_mut().expect("locked before anything is judged");
        for (name, is_back) in back {
            pins.mark_back(&self.peer.server, listing, principal.as_ref(), &name, is_back);
        }
        let mut withheld = Vec::new();
        for kind in [DriftKind::Changed, DriftKind::Renamed, DriftKind::Added, DriftKind::First] {
            let Some(group) = groups.remove(&kind) else { continue };
            let enforced = self.tell(listing, kind, &group, None, now);
            let new = matches!(kind, DriftKind::Added | DriftKind::First);
            let wants = |class: Option<DangerClass>| !new || (enforced && self.waits(class));
            let (stopped, passed): (Vec<_>, Vec<_>) = group.members.into_iter().partition(|(_, diff)| enforced && wants(diff.class));
            withheld.extend(stopped);
            let passed = passed.into_iter().map(|(item, _)| ruled_definition(item)).collect();
            plain.push((if new { Ruling::Pinned } else { Ruling::Observed }, passed));
        }
        withheld.extend(review.members);
        unwanted.extend(withheld.iter().map(|(item, _)| item.name.clone()));
        let definitions = withheld.into_iter().map(|(item, diff)| self.stop(listing, principal.as_ref(), item, diff, now)).collect();
        plain.push((Ruling::Withheld, definitions));
        for (ruling, definitions) in plain.into_iter().filter(|(_, definitions)| !definitions.is_empty()) {
            self.rulings.push((listing, ruling, by_custody(principal.clone(), definitions)));
        }
        if completes {
            self.rulings.push((listing, Ruling::Completed, by_custody(principal, Vec::new())));
        }
        unwanted
    }

    /// Whether a new definition of that class waits for a person, where a rule in force found it.
    fn waits(&self, class: Option<DangerClass>) -> bool {
        use custody_engine::manifest::FirstUse;
        class >= Some(DangerClass::Shadowing) && self.core.first_use(&self.peer.server) != FirstUse::Pin
    }

    /// Asks the rules about a group; whether one in force found something.
    fn tell(&mut self, listing: Listing, kind: DriftKind, group: &Group<'_>, change: Option<String>, now: Timestamp) -> bool {
        let worst = group.members.iter().max_by_key(|(_, diff)| diff.class).map(|(item, _)| item.name.clone());
        let mut words: Vec<String> = group.members.iter().flat_map(|(_, diff)| diff.words.iter().cloned()).collect();
        words.dedup();
        words.truncate(16);
        let told = group.members.iter().take(NAMED).map(|(item, diff)| match diff.summary().as_str() {
            "" => format!("{} {}", listing.noun(), item.name),
            summary => format!("{} {}: {summary}", listing.noun(), item.name),
        });
        let mut what = told.collect::<Vec<_>>().join("; ");
        if group.members.len() > NAMED {
            what.push_str(&format!("; and {} more", group.members.len() - NAMED));
        }
        let class = group.members.iter().filter_map(|(_, diff)| diff.class).max();
        let drift = DriftFacts { kind, listing: listing.as_str().to_owned(), class, what, words, definitions: group.members.len(), change };
        self.observe(worst, drift, now)
    }

    fn unreadable(&mut self, listing: Listing, why: String, now: Timestamp) {
        let key = (self.peer.server.clone(), listing);
        let before = self.core.walks().unreadable.get(&key).copied();
        if let Some((at, enforced)) = before
            && now.duration_since(at) < UNREADABLE_AGAIN
        {
            self.withheld = enforced;
            return;
        }
        let listing_word = listing.as_str().to_owned();
        let drift = DriftFacts {
            kind: DriftKind::Unreadable,
            listing: listing_word,
            class: None,
            what: why,
            words: vec![],
            definitions: 0,
            change: None,
        };
        self.withheld = self.observe(None, drift, now);
        self.core.walks().unreadable.insert(key, (now, self.withheld));
    }

    fn observe(&mut self, tool: Option<String>, drift: DriftFacts, now: Timestamp) -> bool {
        let facts = Facts {
            enforced: self.core.enforces(&self.peer.server),
            tool,
            method: Some(drift.listing.clone()),
            session: Some(self.session),
            drift: Some(drift),
            ..Facts::new(EventKind::Message, Direction::ToAgent, self.peer.server.clone(), self.peer.identity.clone())
        };
        let findings = self.core.detector().observe(&facts, now);
        let enforced = findings.iter().any(|finding| finding.enforce && finding.family == Family::Integrity);
        self.findings.extend(findings.into_iter().filter(|finding| finding.repeats == 0));
        enforced
    }

    /// Prepares the quarantine of one definition.
    fn stop(&mut self, listing: Listing, principal: Option<&PrincipalName>, item: &Item, diff: Diff, now: Timestamp) -> RuledDefinition {
        let server = &self.peer.server;
        let pins = self.pins.as_ref().expect("locked before anything is judged");
        let standing = pins.pending_action(server, listing, principal, &item.name).filter(|action| {
            let freezes = self.core.gate.lock();
            freezes.scopes().any(|(_, actions)| actions.contains(action))
        });
        let mut action = standing;
        if standing.is_none()
            && self.core.automatic.freeze
            && let Some(scope) = Core::quarantine_scope(server, listing, principal, &item.name)
        {
            let reason = format!("{} {}/{}: a definition that nobody approved", listing.noun(), server, item.name);
            let step = self.core.quarantine_step(scope, self.session, &OperatorName::from("custody"), reason);
            action = Some(step.id);
            self.freezes.push((step, Duration::ZERO, now));
        }
        RuledDefinition { class: diff.class, words: diff.words, action, ..ruled_definition(item) }
    }

    /// Puts the quarantines in force, before anything is recorded.
    fn quarantine(&mut self, now: Timestamp) {
        let started = Instant::now();
        let mut freezes = self.core.gate.lock();
        for (step, took, at) in &mut self.freezes {
            freezes.freeze(Freeze { action: step.id, scopes: step.scopes.clone() });
            (*took, *at) = (started.elapsed(), now);
        }
    }

    /// Whether something was quarantined.
    pub fn froze(&self) -> bool {
        !self.freezes.is_empty()
    }

    /// The answer is recorded: now what was judged. Gives the findings, to be raised.
    pub(in crate::core) fn commit(mut self, leaf: LeafIndex) -> Vec<Raised> {
        let Some(mut pins) = self.pins.take() else { return Vec::new() };
        for (listing, page) in self.seen.iter().filter(|(listing, _)| *listing != Listing::Server) {
            self.core.see_manifest(self.peer, self.session, *listing, &page.items);
        }
        let raised = self.core.record_findings(self.peer, self.session, leaf, &self.findings);
        for (listing, ruling, detail) in self.rulings.drain(..) {
            let ruled = Ruled { server: &self.peer.server, listing: Some(listing), ruling, session: Some(self.session), detail };
            self.core.rule(&mut pins, ruled);
        }
        for (step, took, at) in &self.freezes {
            self.core.record_freeze(step, *took, *at);
        }
        for (action, scope, reason) in self.releases.drain(..) {
            self.core.release(action, scope, &OperatorName::from("custody"), &reason);
        }
        raised
    }

    /// The answer could not be recorded, so nothing of this happened.
    pub fn abandon(self) {
        let mut freezes = self.core.gate.lock();
        for (step, ..) in &self.freezes {
            freezes.thaw(step.id);
        }
    }
}

impl Core {
    fn walks(&self) -> MutexGuard<'_, Walks> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

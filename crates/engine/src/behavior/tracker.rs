//! Watching: every live session beside what is usual for its role.

use super::{
    ArgumentKind, Baseline, EVERYBODY, Enumeration, NewThing, Profile, Signals, Token, Track, Vocabulary, answered,
    arguments::{self, Asked, fingerprint},
    asked_for, changes, goes_on,
    learn::{hour, three, two},
    profile_names,
    surprise::{Walk, Ways},
};
use crate::detect::Facts;
use custody_model::{Direction, Identity, PrincipalName, SessionId};
use jiff::Timestamp;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Sessions behind a profile below which it is not asked.
const ENOUGH: u64 = 20;
/// A session without a message for so long is forgotten when room is needed, and after a day in any case.
const IDLE_MS: i64 = 24 * 3_600_000;
/// Sessions followed at once.
const SESSIONS: usize = 200_000;
/// New things counted per session and kind.
const NEWS: usize = 64;
/// Calls remembered per principal within the hour; beyond, the count stands still.
const HOUR_CALLS: usize = 1_000;
const HOUR_MS: i64 = 3_600_000;
/// Principals followed at once.
const PRINCIPALS: usize = 20_000;

/// Follows live sessions. Everything is in memory, bounded, and takes `now`.
#[derive(Default)]
pub struct Tracker {
    /// With the name that findings give it.
    baseline: Option<(Arc<Baseline>, String)>,
    /// The middle of learning: what appeared in the second half, and was not used, is unknown and not unusual.
    learned: Option<Timestamp>,
    /// Steps away from each tool, by profile.
    ways: HashMap<String, Ways>,
    sessions: HashMap<SessionId, Live>,
    principals: HashMap<PrincipalName, VecDeque<i64>>,
}

#[derive(Default)]
struct Live {
    track: Track,
    /// Who, and the profiles that fit, the closest first.
    identity: Option<(Identity, Vec<String>)>,
    /// New orders, destinations, other words, tools, servers: fingerprints of what was counted.
    news: [Vec<u64>; 5],
    /// Bytes of answers of tools that the profile knows.
    familiar_bytes: u64,
    /// Calls to tools that no known session used.
    unfamiliar: u32,
    /// What the steps say against it.
    walk: Walk,
}

impl Tracker {
    /// Follows sessions beside a baseline, or without one.
    pub fn new(baseline: Option<Arc<Baseline>>) -> Tracker {
        let mut tracker = Tracker::default();
        tracker.set_baseline(baseline);
        tracker
    }

    /// Another baseline from here on. What sessions did so far stays known.
    pub fn set_baseline(&mut self, baseline: Option<Arc<Baseline>>) {
        let profiles = baseline.iter().flat_map(|baseline| &baseline.profiles);
        self.ways = profiles.map(|(name, profile)| (name.clone(), Ways::of(&profile.order))).collect();
        self.learned = baseline.as_ref().map(|baseline| {
            let from = baseline.window.map_or(baseline.learned, |(from, _)| from);
            baseline.learned - baseline.learned.duration_since(from) / 2
        });
        self.baseline = baseline.map(|baseline| {
            let name = baseline.name();
            (baseline, name)
        });
    }

    /// The baseline in force, with its name.
    pub fn baseline(&self) -> Option<(&Arc<Baseline>, &str)> {
        self.baseline.as_ref().map(|(baseline, name)| (baseline, name.as_str()))
    }

    /// Sessions followed.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Takes one message, in leaf order, and says what is unusual about it.
    pub fn observe(&mut self, facts: &Facts, now: Timestamp) -> Signals {
        let Some(session) = facts.session else { return Signals::default() };
        let answer = facts.direction == Direction::ToAgent;
        let name = asked_for(facts);
        if name.is_none() && !(answer && facts.returned.is_some()) {
            return Signals::default();
        }
        self.make_room(session, now.as_millisecond());
        let live = self.sessions.entry(session).or_default();
        if live.identity.as_ref().is_none_or(|(known, _)| *known != facts.identity) {
            live.identity = Some((facts.identity.clone(), profile_names(&facts.identity)));
        }
        let baseline = self.baseline.as_ref().map(|(baseline, _)| &**baseline);
        let profile = live.identity.as_ref().and_then(|(_, names)| closest(baseline?, names));
        let mut signals = Signals { profile: profile.map(|(name, profile)| (name.to_owned(), profile.sessions)), ..Signals::default() };
        let ways = profile.and_then(|(name, _)| self.ways.get(name));
        let profile = profile.map(|(_, profile)| profile);
        let everybody = baseline.and_then(|baseline| baseline.profiles.get(EVERYBODY));
        match name {
            Some(name) => {
                let known =
                    profile.zip(ways).zip(self.learned).map(|((profile, ways), learned)| Habits { profile, ways, everybody, learned });
                live.call(&name, facts, known.as_ref(), now, &mut signals);
                signals.calls_hour = calls_hour(&mut self.principals, &facts.identity.principal, now.as_millisecond());
            }
            None => live.answer(facts, profile, everybody, now, &mut signals),
        }
        signals
    }

    /// Forgets a session that ended.
    pub fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    fn make_room(&mut self, session: SessionId, now_ms: i64) {
        if self.sessions.len() < SESSIONS || self.sessions.contains_key(&session) {
            return;
        }
        self.sessions.retain(|_, live| now_ms - live.track.last_ms < IDLE_MS);
        if self.sessions.len() >= SESSIONS {
            // The half that was quiet the longest.
            let mut last: Vec<i64> = self.sessions.values().map(|live| live.track.last_ms).collect();
            let middle = last.len() / 2;
            let (_, cut, _) = last.select_nth_unstable(middle);
            let cut = *cut;
            self.sessions.retain(|_, live| live.track.last_ms > cut);
        }
    }
}

/// The closest profile that enough sessions stand behind.
fn closest<'a>(baseline: &'a Baseline, names: &[String]) -> Option<(&'a str, &'a Profile)> {
    // A task that came up after the baseline, beside others that it knows, has no habits yet.
    if let [task, role] = names
        && !baseline.profiles.contains_key(task)
        && baseline.profiles.range(format!("{role}/")..).next().is_some_and(|(other, _)| other.starts_with(&format!("{role}/")))
    {
        return None;
    }
    let known = names.iter().filter_map(|name| baseline.profiles.get_key_value(name));
    let mut enough = known.filter(|(_, profile)| profile.sessions >= ENOUGH);
    enough.next().map(|(name, profile)| (name.as_str(), profile))
}

/// What a session is held against.
struct Habits<'a> {
    profile: &'a Profile,
    ways: &'a Ways,
    everybody: Option<&'a Profile>,
    /// What is listed since then has no habits yet.
    learned: Timestamp,
}

/// Calls of a principal within the last hour, this one included, exact up to [`HOUR_CALLS`].
fn calls_hour(principals: &mut HashMap<PrincipalName, VecDeque<i64>>, principal: &PrincipalName, now_ms: i64) -> u32 {
    if principals.len() >= PRINCIPALS && !principals.contains_key(principal) {
        principals.retain(|_, calls| calls.back().is_some_and(|at| now_ms - at < HOUR_MS));
        if principals.len() >= PRINCIPALS {
            principals.clear();
        }
    }
    let calls = principals.entry(principal.clone()).or_default();
    while calls.front().is_some_and(|at| *at <= now_ms - HOUR_MS) || calls.len() >= HOUR_CALLS {
        calls.pop_front();
    }
    calls.push_back(now_ms);
    u32::try_from(calls.len()).unwrap_or(u32::MAX)
}

const ORDERS: usize = 0;
const DESTINATIONS: usize = 1;
const VALUES: usize = 2;
const TOOLS: usize = 3;
const SERVERS: usize = 4;

impl Live {
    fn answer(&mut self, facts: &Facts, profile: Option<&Profile>, everybody: Option<&Profile>, now: Timestamp, signals: &mut Signals) {
        let returned = facts.returned.unwrap_or(0);
        self.track.bytes = self.track.bytes.saturating_add(returned);
        self.track.last_ms = self.track.last_ms.max(now.as_millisecond());
        let Some(profile) = profile else { return };
        if answered(facts).is_none_or(|name| profile.tools_used.known.contains_key(&name)) {
            self.familiar_bytes = self.familiar_bytes.saturating_add(returned);
        }
        signals.volume = profile.bytes.measure(self.familiar_bytes as f64);
        signals.volume_of_all = everybody.and_then(|everybody| everybody.bytes.measure(self.track.bytes as f64));
    }

    fn call(&mut self, name: &str, facts: &Facts, known: Option<&Habits<'_>>, now: Timestamp, signals: &mut Signals) {
        let profile = known.map(|known| known.profile);
        let learned = known.map(|known| known.learned);
        let everybody = known.and_then(|known| known.everybody);
        let key = fingerprint(name);
        let in_window = self.track.call(key, now);
        if let Some(profile) = profile {
            signals.rate = profile.peak.measure(f64::from(in_window));
            signals.usage = profile.calls.measure(f64::from(self.track.calls));
            signals.duration = profile.seconds.measure(self.track.seconds(now));
            let of_tool = self.track.tools.get(&key).map_or(1, |used| used.calls);
            signals.tool_usage = profile.tools.get(name).and_then(|tool| tool.calls.measure(f64::from(of_tool)));
            signals.streak = profile.tools.get(name).and_then(|tool| tool.streak.measure(f64::from(self.track.streak)));
            signals.hour = share_of_hour(profile, hour(now));
        }
        if !goes_on(facts) {
            return;
        }
        // What came after the baseline was learned, with an approved change, has no habits yet.
        let newer_than_baseline = facts.listed_since.zip(learned).is_some_and(|(listed, learned)| listed > learned)
            && profile.is_some_and(|profile| !profile.tools_used.known.contains_key(name));
        if let Some(Habits { profile, ways, .. }) = known.filter(|_| !newer_than_baseline) {
            self.first_use(name, profile, signals);
            self.order(name, profile, signals);
            if let Some([_, from]) = self.track.step(name) {
                let says = self.walk.step(ways, profile, from, name);
                signals.surprise = profile.surprise.measure(says);
            }
        }
        self.track.stepped(name);
        if changes(facts) {
            self.track.changes = self.track.changes.saturating_add(1);
            signals.changes = profile.and_then(|profile| profile.changes.measure(f64::from(self.track.changes)));
        }
        let asked = arguments::read(&facts.arguments);
        let moved: Vec<(String, usize)> = self.track.follow(key, &asked, now).into_iter().map(|(path, at)| (path.to_owned(), at)).collect();
        signals.secret_file = asked.secret_file.clone();
        signals.secret_files_known = profile.map(|profile| (profile.secrets, profile.sessions));
        signals.enumeration = self.enumeration(name, profile, &moved);
        if let Some(profile) = profile {
            self.words(name, &asked, profile, everybody, signals);
            signals.magnitude = magnitude(name, &asked, profile);
        }
    }

    fn first_use(&mut self, name: &str, profile: &Profile, signals: &mut Signals) {
        if profile.tools_used.is_new(name) {
            self.unfamiliar = self.unfamiliar.saturating_add(1);
            signals.unfamiliar = profile.unfamiliar.measure(f64::from(self.unfamiliar));
            let count = self.count(TOOLS, fingerprint(name));
            signals.new_servers = self.new_server(name, profile);
            signals.first_use =
                Some(NewThing { what: name.to_owned(), chance: profile.tools_used.chance(), count, samples: profile.tools_used.sessions });
        }
    }

    fn new_server(&mut self, name: &str, profile: &Profile) -> u32 {
        match name.split_once('/') {
            Some((server, _)) if !profile.knows_server(server) => self.count(SERVERS, fingerprint(server)),
            _ => self.counted(SERVERS),
        }
    }

    /// A tool that is new to the role is [`Signals::first_use`], and no order: one fact is one signal.
    fn order(&mut self, name: &str, profile: &Profile, signals: &mut Signals) {
        let Some([older, newer]) = self.track.step(name) else { return };
        let known = |tool: Option<&str>| tool.is_none_or(|tool| profile.tools_used.known.contains_key(tool));
        // Two unknown tools in a row are more than one new tool: nobody's workflow has them.
        if known(Some(name)) != known(newer) {
            return;
        }
        let pair = two(newer, name);
        let (what, words) = if profile.order.is_new(&pair) {
            (pair, &profile.order)
        } else {
            let before_is_known = newer.is_none_or(|newer| !profile.order.is_new(&two(older, newer)));
            let triple = three(older, newer, name);
            if newer.is_none() || !known(older) || !before_is_known || !profile.order_of_three.is_new(&triple) {
                return;
            }
            (triple, &profile.order_of_three)
        };
        let (chance, samples) = (words.chance(), words.sessions);
        let count = self.count(ORDERS, fingerprint(&what));
        signals.sequence = Some(NewThing { what, chance, count, samples });
    }

    fn words(&mut self, name: &str, asked: &Asked, profile: &Profile, everybody: Option<&Profile>, signals: &mut Signals) {
        let tool = profile.tools.get(name);
        let mut new: Vec<(ArgumentKind, String, f64, u64)> = Vec::new();
        let names = tool.map(|tool| &tool.names);
        for path in asked.paths.iter().filter(|path| names.is_some_and(|names| names.is_new(path))) {
            new.push((
                ArgumentKind::Name,
                format!("argument `{path}` of {name}"),
                profile.chances.value,
                tool.map_or(0, |t| t.names.sessions),
            ));
        }
        for token in &asked.tokens {
            let destination = token.kind == ArgumentKind::Destination;
            let argument = tool.and_then(|tool| tool.arguments.get(&token.path));
            let (words, chance) = match argument.and_then(|argument| argument.words.get(&token.kind)) {
                Some(words) if destination => (words, profile.chances.destination),
                Some(words) => (words, profile.chances.value),
                // A tool or argument that nobody of the role used: then what counts is what others name there, or else where the
                // role sends things at all.
                None if destination => match of_others(everybody, name, token) {
                    Some(words) => (words, words.chance()),
                    None => (&profile.destinations, profile.destinations.chance()),
                },
                None => continue,
            };
            if words.is_new(&token.word) {
                let what = format!("{} `{}` in `{}` of {name}", token.kind.as_str(), token.word, token.path);
                new.push((token.kind, what, chance, words.sessions));
            }
        }
        for (kind, what, chance, samples) in new {
            let destination = kind == ArgumentKind::Destination;
            let count = self.count(if destination { DESTINATIONS } else { VALUES }, fingerprint(&what));
            let slot = if destination { &mut signals.destination } else { &mut signals.argument };
            // The first of a call speaks for the others; the count has them all.
            match slot {
                Some(thing) => thing.count = count,
                None => *slot = Some(NewThing { what, chance, count, samples }),
            }
        }
    }

    fn enumeration(&self, name: &str, profile: Option<&Profile>, moved: &[(String, usize)]) -> Option<Enumeration> {
        let habit = |path: &str| profile?.tools.get(name)?.arguments.get(path);
        let most = moved.iter().map(|(path, at)| (path, self.track.slot_at(*at))).max_by_key(|(_, slot)| slot.run.max(slot.distinct()))?;
        let (path, slot) = most;
        if slot.distinct() < 2 {
            return None;
        }
        let habit = habit(path);
        Some(Enumeration {
            what: format!("`{path}` of {name}"),
            run: slot.run,
            gap_ms: slot.gap_ms(),
            distinct: slot.distinct(),
            usual: habit.and_then(|habit| habit.distinct.measure(f64::from(slot.distinct()))),
            longest: habit.filter(|habit| habit.run.samples > 0).map(|habit| habit.run.most),
        })
    }

    /// How many different new things of a kind there were, this one included.
    fn count(&mut self, kind: usize, thing: u64) -> u32 {
        let news = &mut self.news[kind];
        if news.len() < NEWS && !news.contains(&thing) {
            news.push(thing);
        }
        self.counted(kind)
    }

    fn counted(&self, kind: usize) -> u32 {
        u32::try_from(self.news[kind].len()).unwrap_or(u32::MAX)
    }
}

/// The words that anybody gave for this argument.
fn of_others<'a>(everybody: Option<&'a Profile>, tool: &str, token: &Token) -> Option<&'a Vocabulary> {
    everybody?.tools.get(tool)?.arguments.get(&token.path)?.words.get(&token.kind)
}

/// The number that is furthest beyond the most that was seen.
fn magnitude(name: &str, asked: &Asked, profile: &Profile) -> Option<(String, super::Measure)> {
    let tool = profile.tools.get(name)?;
    let measured = asked.numbers.iter().filter_map(|(path, number)| {
        let measure = tool.arguments.get(path)?.number.measure(number.abs())?;
        Some((format!("`{path}` of {name}"), measure))
    });
    measured.max_by(|(_, a), (_, b)| a.excess.total_cmp(&b.excess))
}

/// Share of known sessions that were active within an hour of this one, in percent.
fn share_of_hour(profile: &Profile, hour: usize) -> Option<(f64, u64)> {
    if profile.hours.len() != 48 {
        return None;
    }
    let (day, of_day) = (hour / 24 * 24, hour % 24);
    let near = [(of_day + 23) % 24, of_day, (of_day + 1) % 24];
    let most = near.iter().map(|of_day| profile.hours[day + of_day]).max().unwrap_or(0);
    Some(((most + 1) as f64 * 100.0 / (profile.sessions + 1) as f64, profile.sessions))
}

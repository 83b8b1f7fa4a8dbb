//! Learning: the accounts of known-good sessions become habits (D17).

use super::{
    ArgumentHabit, ArgumentKind, BASELINE_VERSION, Baseline, EVERYBODY, Profile, ToolHabit, Track, Vocabulary, Workflow,
    arguments::{self, fingerprint},
    asked_for,
    baseline::Chances,
    changes, goes_on, profile_names,
    surprise::{self, Ways},
    track::slot_key,
};
use crate::detect::Facts;
use custody_model::{Direction, SessionId};
use jiff::{Timestamp, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnOptions {
    /// After so many days a session weighs half; after six times that it is forgotten.
    pub half_life_days: f64,
}

impl Default for LearnOptions {
    fn default() -> Self {
        LearnOptions { half_life_days: 14.0 }
    }
}

/// Sessions learned from at most; further ones are passed over, and the file says how many it has.
const SESSIONS: usize = 500_000;
/// Words kept of one session's argument.
const WORDS_OF_ONE: usize = 64;
/// Workflows kept for people.
const WORKFLOWS: usize = 20;
/// Steps of a workflow that are shown.
const STEPS: usize = 12;
/// Steps remembered of one session.
const WALK: usize = 400;
/// Different names of tools remembered; what comes later is in no walk.
const NAMES: usize = 50_000;
/// The place of what has none.
const OTHER: u32 = u32::MAX;
/// An argument is watched from so many sessions on.
const WATCHED_FROM: u64 = 30;
/// All watched arguments of a profile together may call new what is nothing in one of so many known sessions.
const BUDGET: usize = 100;

/// What one session taught.
#[derive(Default)]
struct Lesson {
    profiles: Vec<String>,
    track: Track,
    last: Option<Timestamp>,
    tools: BTreeMap<String, ToolLesson>,
    order: BTreeSet<String>,
    order_of_three: BTreeSet<String>,
    steps: Vec<String>,
    /// Every step, as places in the learner's names.
    walk: Vec<u32>,
    hours: u64,
}

#[derive(Default)]
struct ToolLesson {
    calls: u32,
    names: BTreeSet<String>,
    words: BTreeMap<(String, ArgumentKind), BTreeSet<String>>,
    numbers: BTreeMap<String, f64>,
}

/// Takes the messages of many sessions, in leaf order, and says what is usual.
#[derive(Default)]
pub struct Learner {
    options: LearnOptions,
    lessons: HashMap<SessionId, Lesson>,
    excluded: HashSet<SessionId>,
    window: Option<(Timestamp, Timestamp)>,
    names: Vec<String>,
    places: HashMap<String, u32>,
}

impl Learner {
    /// Knows nothing yet.
    pub fn new(options: LearnOptions) -> Learner {
        Learner { options, ..Learner::default() }
    }

    /// Leaves these sessions out, and no others: they belong to incidents. What was false is no incident any more.
    pub fn leave_out(&mut self, sessions: HashSet<SessionId>) {
        self.excluded = sessions;
    }

    /// Takes one message.
    pub fn observe(&mut self, facts: &Facts, now: Timestamp) {
        let Some(session) = facts.session else { return };
        if self.lessons.len() >= SESSIONS && !self.lessons.contains_key(&session) {
            return;
        }
        let lesson = self.lessons.entry(session).or_default();
        if lesson.profiles.is_empty() {
            lesson.profiles = profile_names(&facts.identity);
            lesson.profiles.push(EVERYBODY.to_owned());
        }
        if facts.direction == Direction::ToAgent {
            lesson.track.bytes = lesson.track.bytes.saturating_add(facts.returned.unwrap_or(0));
            return;
        }
        let Some(name) = asked_for(facts) else { return };
        self.window = Some(self.window.map_or((now, now), |(from, to)| (from.min(now), to.max(now))));
        let place = match self.places.get(&name) {
            Some(place) => *place,
            None if self.names.len() >= NAMES => OTHER,
            None => {
                let place = u32::try_from(self.names.len()).unwrap_or(OTHER);
                self.names.push(name.clone());
                self.places.insert(name.clone(), place);
                place
            }
        };
        lesson.call(&name, place, facts, now);
    }

    /// The habits, seen from `now`: older sessions weigh less.
    pub fn finish(&self, now: Timestamp) -> Baseline {
        let half_life = self.options.half_life_days.max(0.01);
        let mut groups: BTreeMap<String, Vec<(&Lesson, f64)>> = BTreeMap::new();
        let (mut sessions, mut excluded) = (0, 0);
        for (session, lesson) in &self.lessons {
            let Some(last) = lesson.last else { continue };
            if self.excluded.contains(session) {
                excluded += 1;
                continue;
            }
            let age_days = now.duration_since(last).as_secs_f64().max(0.0) / 86_400.0;
            if age_days > half_life * 6.0 {
                continue;
            }
            sessions += 1;
            let weight = 0.5f64.powf(age_days / half_life);
            for profile in &lesson.profiles {
                groups.entry(profile.clone()).or_default().push((lesson, weight));
            }
        }
        let profiles = groups.into_iter().map(|(name, mut lessons)| {
            // Sums of floats depend on their order: by time, then by what was done.
            lessons.sort_by(|(a, _), (b, _)| (a.last, a.track.first_ms, &a.steps).cmp(&(b.last, b.track.first_ms, &b.steps)));
            (name, profile(&lessons, &self.names))
        });
        Baseline {
            v: BASELINE_VERSION,
            learned: now,
            window: self.window,
            half_life_days: half_life,
            sessions,
            excluded,
            profiles: profiles.collect(),
        }
    }
}

impl Lesson {
    fn asked_for_secrets(&self) -> bool {
        let mut words = self.tools.values().flat_map(|tool| tool.words.values()).flatten();
        words.any(|word| word.starts_with(arguments::SECRETS))
    }

    fn call(&mut self, name: &str, place: u32, facts: &Facts, now: Timestamp) {
        let key = fingerprint(name);
        self.track.call(key, now);
        self.last = Some(now);
        if !goes_on(facts) {
            return;
        }
        self.hours |= 1 << hour(now);
        self.track.changes = self.track.changes.saturating_add(u32::from(changes(facts)));
        if let Some([older, newer]) = self.track.step(name) {
            self.order.insert(two(newer, name));
            if newer.is_some() {
                self.order_of_three.insert(three(older, newer, name));
            }
            if self.steps.len() < STEPS {
                self.steps.push(name.to_owned());
            }
            if self.walk.len() < WALK && place != OTHER {
                self.walk.push(place);
            }
        }
        self.track.stepped(name);
        let asked = arguments::read(&facts.arguments);
        self.track.follow(key, &asked, now);
        let tool = self.tools.entry(name.to_owned()).or_default();
        tool.calls += 1;
        for token in asked.tokens {
            let words = tool.words.entry((token.path, token.kind)).or_default();
            if words.len() < WORDS_OF_ONE {
                words.insert(token.word);
            }
        }
        for (path, number) in asked.numbers {
            let most = tool.numbers.entry(path).or_insert(number.abs());
            *most = most.max(number.abs());
        }
        tool.names.extend(asked.paths);
    }
}

/// Hour of the week's kind of day: 0–23 on working days, 24–47 at weekends, UTC.
pub(super) fn hour(now: Timestamp) -> usize {
    let civil = now.to_zoned(TimeZone::UTC);
    let weekend = civil.weekday().to_monday_zero_offset() >= 5;
    usize::try_from(civil.hour()).unwrap_or(0) + if weekend { 24 } else { 0 }
}

/// Two tools in a row, as a word.
pub(super) fn two(before: Option<&str>, name: &str) -> String {
    format!("{} → {name}", before.unwrap_or("start"))
}

/// Three tools in a row, as a word.
pub(super) fn three(older: Option<&str>, before: Option<&str>, name: &str) -> String {
    format!("{} → {} → {name}", older.unwrap_or("start"), before.unwrap_or("start"))
}

/// What all sessions of a profile have in common.
fn profile(lessons: &[(&Lesson, f64)], names: &[String]) -> Profile {
    let mut profile = Profile { sessions: lessons.len() as u64, hours: vec![0; 48], ..Profile::default() };
    for (lesson, weight) in lessons {
        profile.peak.add(f64::from(lesson.track.peak), *weight);
        profile.calls.add(f64::from(lesson.track.calls), *weight);
        profile.seconds.add(lesson.last.map_or(0.0, |last| lesson.track.seconds(last)), *weight);
        profile.bytes.add(lesson.track.bytes as f64, *weight);
        profile.changes.add(f64::from(lesson.track.changes), *weight);
        (0..48).filter(|hour| lesson.hours >> hour & 1 == 1).for_each(|hour| profile.hours[hour] += 1);
    }
    profile.tools_used = vocabulary(lessons.iter().map(|(lesson, _)| lesson.tools.keys().map(String::as_str))).0;
    profile.order = vocabulary(lessons.iter().map(|(lesson, _)| lesson.order.iter().map(String::as_str))).0;
    profile.order_of_three = vocabulary(lessons.iter().map(|(lesson, _)| lesson.order_of_three.iter().map(String::as_str))).0;
    profile.secrets = lessons.iter().filter(|(lesson, _)| lesson.asked_for_secrets()).count() as u64;
    let destinations = |lesson: &Lesson| -> BTreeSet<String> {
        let words = lesson.tools.values().flat_map(|tool| &tool.words);
        words.filter(|((_, kind), _)| *kind == ArgumentKind::Destination).flat_map(|(_, words)| words.clone()).collect()
    };
    let sets: Vec<BTreeSet<String>> = lessons.iter().map(|(lesson, _)| destinations(lesson)).collect();
    profile.destinations = vocabulary(sets.iter().map(|words| words.iter().map(String::as_str))).0;
    for vocabulary in [&mut profile.tools_used, &mut profile.order, &mut profile.order_of_three, &mut profile.destinations] {
        vocabulary.watched = !vocabulary.overflows();
    }
    apart(&mut profile, lessons, names);
    let names: BTreeSet<&String> = lessons.iter().flat_map(|(lesson, _)| lesson.tools.keys()).collect();
    let mut slots = Vec::new();
    for name in names {
        let users: Vec<(usize, &ToolLesson, &Track, f64)> = lessons
            .iter()
            .enumerate()
            .filter_map(|(nth, (lesson, weight))| Some((nth, lesson.tools.get(name)?, &lesson.track, *weight)))
            .collect();
        profile.tools.insert(name.clone(), tool_habit(name, &users, &mut slots));
    }
    profile.chances = watch(&mut profile.tools, slots, lessons.len());
    let mut workflows: BTreeMap<&[String], u64> = BTreeMap::new();
    for (lesson, _) in lessons {
        *workflows.entry(&lesson.steps).or_default() += 1;
    }
    profile.workflows = workflows.into_iter().map(|(steps, sessions)| Workflow { sessions, steps: steps.to_vec() }).collect();
    profile.workflows.sort_by(|a, b| b.sessions.cmp(&a.sessions).then_with(|| a.steps.cmp(&b.steps)));
    profile.workflows.truncate(WORKFLOWS);
    profile
}

/// How far each session is from all others.
fn apart(profile: &mut Profile, lessons: &[(&Lesson, f64)], names: &[String]) {
    let ways = Ways::of(&profile.order);
    let mut apart = Vec::new();
    for (lesson, weight) in lessons {
        let only_here = |tool: &str| profile.tools_used.known.get(tool).is_none_or(|sessions| *sessions <= 1);
        let unfamiliar: u32 = lesson.tools.iter().filter(|(tool, _)| only_here(tool)).map(|(_, tool)| tool.calls).sum();
        let walk: Vec<&str> = lesson.walk.iter().filter_map(|place| names.get(*place as usize).map(String::as_str)).collect();
        let surprise = surprise::most(&walk, &ways, profile, &only_here);
        apart.push((f64::from(unfamiliar), surprise, *weight));
    }
    for (unfamiliar, surprise, weight) in apart {
        profile.unfamiliar.add(unfamiliar, weight);
        // An order with more pairs than can be kept is no order.
        if profile.order.watched {
            profile.surprise.add(surprise, weight);
        }
    }
}

/// A vocabulary that could be watched, and the sessions (by place) that showed what no other did.
struct SlotOf {
    tool: String,
    /// `None`: the names of the tool's arguments.
    argument: Option<(String, ArgumentKind)>,
    alone: Vec<usize>,
}

fn tool_habit(name: &str, users: &[(usize, &ToolLesson, &Track, f64)], slots: &mut Vec<SlotOf>) -> ToolHabit {
    let mut habit = ToolHabit::default();
    let key = fingerprint(name);
    let places = |alone: Vec<usize>| alone.into_iter().map(|nth| users[nth].0).collect::<Vec<_>>();
    for (_, tool, track, weight) in users {
        habit.calls.add(f64::from(tool.calls), *weight);
        if let Some(used) = track.tools.get(&key) {
            habit.streak.add(f64::from(used.streak), *weight);
        }
    }
    let (names, alone) = vocabulary(users.iter().map(|(_, tool, ..)| tool.names.iter().map(String::as_str)));
    slots.push(SlotOf { tool: name.to_owned(), argument: None, alone: places(alone) });
    for path in names.known.keys() {
        let mut argument = ArgumentHabit::default();
        let given: Vec<&(usize, &ToolLesson, &Track, f64)> = users.iter().filter(|(_, tool, ..)| tool.names.contains(path)).collect();
        for (_, tool, track, weight) in &given {
            if let Some(number) = tool.numbers.get(path) {
                argument.number.add(*number, *weight);
            }
            if let Some(slot) = track.slots().find(|slot| slot.key == slot_key(key, path)) {
                argument.distinct.add(f64::from(slot.distinct()), *weight);
                argument.run.add(f64::from(slot.longest), *weight);
            }
        }
        for kind in [ArgumentKind::Destination, ArgumentKind::Place, ArgumentKind::Word] {
            let slot = (path.clone(), kind);
            let showing = given.iter().filter(|(_, tool, ..)| tool.words.contains_key(&slot)).count();
            // Where most sessions have no such word, one that has is no surprise; but a host where none was is.
            if kind != ArgumentKind::Destination && showing * 2 < given.len() {
                continue;
            }
            let words_of = |tool: &ToolLesson| tool.words.get(&slot).cloned().unwrap_or_default();
            let sets: Vec<BTreeSet<String>> = given.iter().map(|(_, tool, ..)| words_of(tool)).collect();
            let (words, alone) = vocabulary(sets.iter().map(|words| words.iter().map(String::as_str)));
            let alone = alone.into_iter().map(|nth| given[nth].0).collect();
            slots.push(SlotOf { tool: name.to_owned(), argument: Some((path.clone(), kind)), alone });
            argument.words.insert(kind, words);
        }
        habit.arguments.insert(path.clone(), argument);
    }
    habit.names = names;
    habit
}

/// Words with their sessions, and the sessions (by place) that had a word of their own.
fn vocabulary<'a, S: IntoIterator<Item = &'a str>>(sessions: impl Iterator<Item = S> + Clone) -> (Vocabulary, Vec<usize>) {
    let mut words = Vocabulary::default();
    for session in sessions.clone() {
        words.add(session);
    }
    let own = |session: S| session.into_iter().any(|word| words.known.get(word).is_none_or(|sessions| *sessions == 1));
    let alone: Vec<usize> = sessions.enumerate().filter_map(|(nth, session)| own(session).then_some(nth)).collect();
    words.alone = alone.len() as u64;
    (words, alone)
}

/// Decides which vocabularies of arguments are watched: the most predictable first, while together they would call
/// something new in at most one of [`BUDGET`] known sessions.
fn watch(tools: &mut BTreeMap<String, ToolHabit>, mut slots: Vec<SlotOf>, sessions: usize) -> Chances {
    slots.sort_by(|a, b| a.alone.len().cmp(&b.alone.len()).then_with(|| (&a.tool, &a.argument).cmp(&(&b.tool, &b.argument))));
    let mut odd: [HashSet<usize>; 2] = Default::default();
    for slot in slots {
        let Some(tool) = tools.get_mut(&slot.tool) else { continue };
        let words = match &slot.argument {
            None => Some(&mut tool.names),
            Some((path, kind)) => tool.arguments.get_mut(path).and_then(|argument| argument.words.get_mut(kind)),
        };
        let Some(words) = words.filter(|words| words.sessions >= WATCHED_FROM && !words.overflows()) else { continue };
        let destination = matches!(slot.argument, Some((_, ArgumentKind::Destination)));
        let odd = &mut odd[usize::from(!destination)];
        let more = slot.alone.iter().filter(|nth| !odd.contains(nth)).count();
        if (odd.len() + more) * BUDGET <= sessions {
            odd.extend(slot.alone);
            words.watched = true;
        }
    }
    let percent = |odd: &HashSet<usize>| (odd.len() + 1) as f64 * 100.0 / (sessions + 1) as f64;
    Chances { destination: percent(&odd[0]), value: percent(&odd[1]) }
}

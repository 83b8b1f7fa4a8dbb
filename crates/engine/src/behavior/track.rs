//! The account of one session: what learning and watching both need, streaming and bounded.

use super::arguments::Asked;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet, VecDeque};

/// The rolling window of D3.
pub(super) const WINDOW_MS: i64 = 60_000;
/// Calls remembered within the window; beyond, the count stands still.
const WINDOW_CALLS: usize = 4_096;
/// Arguments followed at once: as many as one call can have, so that none of a call drives out another of it.
const SLOTS: usize = super::arguments::VALUES;
/// Different values counted of one argument.
const DISTINCT: usize = 2_048;
/// Different tools counted by themselves.
const TOOLS: usize = 256;

/// What one session did so far.
#[derive(Debug, Clone, Default)]
pub struct Track {
    /// Milliseconds of its first call.
    pub(super) first_ms: Option<i64>,
    /// Milliseconds of its newest message.
    pub(super) last_ms: i64,
    /// Calls.
    pub(super) calls: u32,
    /// The most calls in any minute.
    pub(super) peak: u32,
    /// Bytes of answers.
    pub(super) bytes: u64,
    /// Calls that may change something.
    pub(super) changes: u32,
    /// Calls of the newest tool without another between them.
    pub(super) streak: u32,
    last_tool: u64,
    /// Calls by tool, and the longest streak of each.
    pub(super) tools: HashMap<u64, Used>,
    /// The last two different tools that went on, the newest last.
    pub(super) before: [Option<Box<str>>; 2],
    recent: VecDeque<i64>,
    slots: Vec<Slot>,
}

/// Calls of one tool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) calls: u32,
    pub(super) streak: u32,
}

/// One argument of one tool.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) key: u64,
    /// The call that gave it last.
    given_in: u32,
    last: Option<(u64, i64)>,
    step: i64,
    started_ms: i64,
    newest_ms: i64,
    pub(super) run: u32,
    pub(super) longest: u32,
    distinct: HashSet<u64>,
}

impl Slot {
    pub(super) fn distinct(&self) -> u32 {
        u32::try_from(self.distinct.len()).unwrap_or(u32::MAX)
    }

    /// Mean milliseconds between the calls of the running sequence.
    pub(super) fn gap_ms(&self) -> u64 {
        let calls = u64::from(self.run.max(2) - 1);
        u64::try_from(self.newest_ms - self.started_ms).unwrap_or(0) / calls
    }
}

impl Track {
    /// Counts a call of a tool (by fingerprint); returns the calls within the last minute, this one included.
    pub(super) fn call(&mut self, tool: u64, now: Timestamp) -> u32 {
        let now_ms = now.as_millisecond();
        self.first_ms.get_or_insert(now_ms);
        self.last_ms = self.last_ms.max(now_ms);
        self.calls = self.calls.saturating_add(1);
        while self.recent.front().is_some_and(|at| *at <= now_ms - WINDOW_MS) || self.recent.len() >= WINDOW_CALLS {
            self.recent.pop_front();
        }
        self.recent.push_back(now_ms);
        let in_window = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        self.peak = self.peak.max(in_window);
        self.streak = if self.last_tool == tool { self.streak.saturating_add(1) } else { 1 };
        self.last_tool = tool;
        if self.tools.len() < TOOLS || self.tools.contains_key(&tool) {
            let used = self.tools.entry(tool).or_default();
            used.calls += 1;
            used.streak = used.streak.max(self.streak);
        }
        in_window
    }

    /// The two different tools before this one, the newer last; `None` when it only repeats the last.
    pub(super) fn step(&self, name: &str) -> Option<[Option<&str>; 2]> {
        let [older, newer] = &self.before;
        (newer.as_deref() != Some(name)).then_some([older.as_deref(), newer.as_deref()])
    }

    /// Takes the step.
    pub(super) fn stepped(&mut self, name: &str) {
        if self.before[1].as_deref() != Some(name) {
            self.before.swap(0, 1);
            self.before[1] = Some(name.into());
        }
    }

    /// Follows the arguments of a call; returns the slots that it moved, with their paths' places in `asked`.
    pub(super) fn follow<'a>(&mut self, tool: u64, asked: &'a Asked, now: Timestamp) -> Vec<(&'a str, usize)> {
        let now_ms = now.as_millisecond();
        // What is followed already first, so that new junk never drives out what this very call goes on with.
        let followed = |slots: &[Slot], path: &str| slots.iter().any(|slot| slot.key == slot_key(tool, path));
        let (known, new): (Vec<_>, Vec<_>) = asked.values.iter().partition(|(path, _)| followed(&self.slots, path));
        for (path, value) in known.into_iter().chain(new) {
            let at = self.slot(slot_key(tool, path));
            let slot = &mut self.slots[at];
            slot.given_in = self.calls;
            if slot.distinct.len() < DISTINCT {
                slot.distinct.insert(*value);
            }
        }
        let mut moved: Vec<(&str, usize)> = Vec::new();
        for (path, _) in &asked.values {
            if let Some(at) = self.slots.iter().position(|slot| slot.key == slot_key(tool, path))
                && !moved.iter().any(|(_, known)| *known == at)
            {
                moved.push((path, at));
            }
        }
        for (path, before, id) in &asked.ids {
            let key = slot_key(tool, path);
            let Some(slot) = self.slots.iter_mut().find(|slot| slot.key == key) else { continue };
            let step = slot.last.filter(|(known, _)| known == before).and_then(|(_, last)| id.checked_sub(last));
            slot.last = Some((*before, *id));
            match step {
                // The same again is a retry.
                Some(0) => {}
                Some(step) if step.abs() <= 16 && (slot.run >= 2 && step == slot.step) => slot.run = slot.run.saturating_add(1),
                Some(step) if step.abs() <= 16 => {
                    slot.run = 2;
                    slot.started_ms = slot.newest_ms;
                }
                _ => {
                    slot.run = 1;
                    slot.started_ms = now_ms;
                }
            }
            if let Some(step) = step.filter(|step| *step != 0) {
                slot.step = step;
            }
            slot.newest_ms = now_ms;
            slot.longest = slot.longest.max(slot.run);
        }
        moved
    }

    pub(super) fn slot_at(&self, at: usize) -> &Slot {
        &self.slots[at]
    }

    /// Every argument followed: its key, different values, longest run.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// The slot of a key. When all are taken, of those that this call does not give the one with the fewest values gives
    /// way: junk cannot hide an enumeration.
    fn slot(&mut self, key: u64) -> usize {
        if let Some(at) = self.slots.iter().position(|slot| slot.key == key) {
            return at;
        }
        let slot = Slot {
            key,
            given_in: self.calls,
            last: None,
            step: 0,
            started_ms: 0,
            newest_ms: 0,
            run: 0,
            longest: 0,
            distinct: HashSet::new(),
        };
        if self.slots.len() < SLOTS {
            self.slots.push(slot);
            return self.slots.len() - 1;
        }
        let least = self.slots.iter().enumerate().min_by_key(|(_, slot)| (slot.given_in == self.calls, slot.distinct.len()));
        let least = least.map_or(0, |(at, _)| at);
        self.slots[least] = slot;
        least
    }

    /// Seconds from its first call to this instant.
    pub(super) fn seconds(&self, now: Timestamp) -> f64 {
        self.first_ms.map_or(0.0, |first| (now.as_millisecond() - first).max(0) as f64 / 1_000.0)
    }
}

pub(super) fn slot_key(tool: u64, path: &str) -> u64 {
    super::arguments::fingerprint(path) ^ tool.rotate_left(23)
}

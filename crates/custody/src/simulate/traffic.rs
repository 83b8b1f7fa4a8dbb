//! Ordinary work: when sessions begin, and what is called in them.
//!
//! Ordinary is not tidy. Sessions have long tails, people take lunch in the middle, calls fail and are tried again, agents get
//! stuck in a loop for a moment, and once in some hundred sessions somebody does what nobody does.

use super::{
    archetypes::{Pace, Step},
    chance::Chance,
    roles::{Company, Role, Task},
    vocabulary::Focus,
    world::{DAY, HOUR, MINUTE, ToolId, instant},
};
use serde_json::Value;

/// Most calls of one session.
const CALLS: usize = 800;

/// One session that is going to happen.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub principal: usize,
    /// Place of the task among those of the role.
    pub task: usize,
    /// Its connection's number: no two sessions have the same.
    pub number: u64,
    /// Its calls, in order.
    pub calls: Vec<Call>,
    /// Place of the attack that it carries.
    pub attack: Option<usize>,
}

/// One call of a session.
#[derive(Debug, Clone)]
pub struct Call {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What.
    pub tool: ToolId,
    /// With what.
    pub arguments: Value,
    /// Milliseconds until the answer.
    pub took: i64,
    /// Bytes of the answer.
    pub returned: u64,
    /// Whether the attacker wants it.
    pub hostile: bool,
}

/// A session that begins.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who.
    pub principal: usize,
    /// Which task.
    pub task: usize,
    /// Its number.
    pub number: u64,
}

/// The sessions that begin on a day (days since 1970), in order of time.
pub fn starts(company: &Company, seed: u64, day: i64) -> Vec<Start> {
    let mut starts = Vec::new();
    for (place, principal) in company.principals.iter().enumerate() {
        let role = &company.roles[principal.role];
        let mut chance = Chance::new(seed, "day", &[place as u64, day as u64]);
        let times = match role.kind.pace {
            Pace::Scheduled => scheduled(role, seed, place, day, &mut chance),
            _ => {
                let count = chance.poisson(role.kind.sessions * principal.diligence * load(company, role, day));
                (0..count).map(|_| (day * DAY + time_of_day(role, &mut chance), None)).collect()
            }
        };
        for (nth, (at, task)) in times.into_iter().enumerate() {
            if at < principal.joined {
                continue;
            }
            let task = task.unwrap_or_else(|| choose_task(role, at, &mut chance));
            starts.push(Start { at, principal: place, task, number: number(place, day, nth) });
        }
    }
    starts.sort_by_key(|start| (start.at, start.number));
    starts
}

/// No two sessions have the same.
pub fn number(principal: usize, day: i64, nth: usize) -> u64 {
    ((principal as u64) << 40) | ((day as u64 & 0xff_ffff) << 16) | (nth as u64 & 0xffff)
}

/// How much there is to do on a day, compared with an ordinary working day.
fn load(company: &Company, role: &Role, day: i64) -> f64 {
    let date = instant(day * DAY).to_zoned(jiff::tz::TimeZone::UTC).date();
    let weekend = matches!(date.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
    let free = weekend || company.holidays.contains(&day);
    let week = match role.kind.pace {
        Pace::Shifts => 1.0,
        Pace::Unattended if free => 0.25,
        _ if free => 0.06,
        _ => 1.0,
    };
    let month_end = date.days_in_month() - date.day() <= 1 || date.day() == 1;
    week * if month_end { role.kind.month_end } else { 1.0 }
}

/// Milliseconds after midnight UTC.
fn time_of_day(role: &Role, chance: &mut Chance) -> i64 {
    let local = match role.kind.pace {
        Pace::Shifts => chance.within(0.0, 24.0),
        Pace::Unattended => 12.5 + 3.2 * chance.normal(),
        _ => match chance.weighted([45.0, 45.0, 8.0, 2.0].into_iter()) {
            0 => 10.0 + 1.2 * chance.normal(),
            1 => 14.6 + 1.5 * chance.normal(),
            2 => 18.5 + 1.4 * chance.normal(),
            _ => chance.within(5.0, 24.0),
        },
    };
    ((local * HOUR as f64) as i64 - role.zone_minutes * MINUTE).rem_euclid(DAY)
}

/// A scheduled agent's jobs: the same every day, but for a failed night that is repeated in the morning.
fn scheduled(role: &Role, seed: u64, principal: usize, day: i64, chance: &mut Chance) -> Vec<(i64, Option<usize>)> {
    let mut table = Chance::new(seed, "timetable", &[principal as u64]);
    let jobs = table.between(2, 5);
    let mut times = Vec::new();
    for _ in 0..jobs {
        let minute = (table.within(19.0, 30.0) * 60.0) as i64 % 1_440;
        let task = choose_task(role, i64::MIN, &mut table);
        let at = day * DAY + minute * MINUTE + (chance.log_normal(8_000.0, 1.0) as i64).min(20 * MINUTE);
        times.push((at, Some(task)));
        if chance.hits(0.01) {
            times.push((day * DAY + 8 * HOUR + chance.between(0, 120) as i64 * MINUTE, Some(task)));
        }
    }
    times
}

/// The task of a session.
pub fn choose_task(role: &Role, now: i64, chance: &mut Chance) -> usize {
    chance.weighted(role.tasks.iter().map(|task| if task.from <= now { task.spec.weight } else { 0.0 }))
}

/// Everything that is called in a session.
pub fn compose(company: &Company, seed: u64, start: Start) -> Session {
    let chance = Chance::new(seed, "session", &[start.number]);
    let principal = &company.principals[start.principal];
    let role = &company.roles[principal.role];
    let mut work = Work { company, role, task: &role.tasks[start.task], speed: principal.speed, chance, now: start.at, calls: Vec::new() };
    work.session(start.task);
    Session { principal: start.principal, task: start.task, number: start.number, calls: work.calls, attack: None }
}

/// Somebody at work.
pub struct Work<'a> {
    /// Where.
    pub company: &'a Company,
    /// As what.
    pub role: &'a Role,
    /// On what.
    pub task: &'a Task,
    /// How slow, compared with others.
    pub speed: f64,
    /// What is drawn.
    pub chance: Chance,
    /// The time that it is, in milliseconds since 1970.
    pub now: i64,
    /// What was called.
    pub calls: Vec<Call>,
}

impl Work<'_> {
    fn session(&mut self, task: usize) {
        let (median, sigma) = self.task.spec.pieces;
        let mut pieces = self.chance.log_normal(median, sigma).round().clamp(1.0, 60.0) as usize;
        // A quarter's end, a backlog after holidays.
        if self.chance.hits(0.002) {
            pieces *= self.chance.between(3, 7);
        }
        let odd = if self.chance.hits(0.005) { Some(self.chance.between(0, pieces - 1)) } else { None };
        let other = if self.chance.hits(0.008) { Some(self.chance.between(0, pieces - 1)) } else { None };
        let lunch = if self.chance.hits(0.006) { Some(self.chance.between(0, pieces - 1)) } else { None };
        for piece in 0..pieces {
            if piece > 0 {
                self.pause();
            }
            if lunch == Some(piece) {
                self.now += (self.chance.within(25.0, 110.0) * MINUTE as f64) as i64;
            }
            let focus = self.focus();
            self.steps(self.task.spec.script, &focus, 0);
            if odd == Some(piece) {
                self.odd_job();
            }
            if other == Some(piece) {
                self.another_task(task);
            }
        }
    }

    fn focus(&mut self) -> Focus {
        self.role.words.focus(&mut self.chance, self.now)
    }

    fn steps(&mut self, script: &[Step], focus: &Focus, depth: usize) {
        for (place, step) in script.iter().enumerate() {
            match step {
                Step::Call(tool) => {
                    let tool = self.company.world.named(tool).expect("tested: every tool of an archetype exists");
                    self.call(tool, focus);
                    let extras = self.task.extras.iter().filter(|extra| extra.after == tool && extra.from <= self.now);
                    for extra in extras.copied().collect::<Vec<_>>() {
                        if self.chance.hits(f64::from(extra.percent) / 100.0) {
                            self.call(extra.tool, focus);
                        }
                    }
                }
                Step::Maybe(percent, steps) => {
                    if self.chance.hits(self.role.habit(*percent, place + 3 * depth)) {
                        self.steps(steps, focus, depth + 1);
                    }
                }
                Step::Repeat(median, sigma, steps) => {
                    for nth in 0..self.times(*median, *sigma) {
                        // Often the same thing again, often the next.
                        let another = if nth > 0 && self.chance.hits(0.6) { Some(self.focus()) } else { None };
                        self.steps(steps, another.as_ref().unwrap_or(focus), depth + 1);
                    }
                }
                Step::Through(median, sigma, steps) => {
                    let mut focus = focus.clone();
                    for _ in 0..self.times(*median, *sigma) {
                        self.steps(steps, &focus, depth + 1);
                        focus = focus.following(&mut self.chance);
                    }
                }
                Step::Either(ways) => {
                    let way = self.chance.weighted(ways.iter().map(|(weight, _)| f64::from(*weight)));
                    self.steps(ways[way].1, focus, depth + 1);
                }
            }
        }
    }

    fn times(&mut self, median: f64, sigma: f64) -> usize {
        self.chance.log_normal(median, sigma).round().clamp(1.0, 400.0) as usize
    }

    /// What no script has: tools that are there for the odd case.
    fn odd_job(&mut self) {
        let job = self.chance.pick(&self.role.odd_jobs).clone();
        let focus = self.focus();
        self.pause();
        for tool in job {
            // A declared task has an allowlist of its own.
            if !self.role.kind.declares || self.task.tools.contains(&tool) || self.role.spare.contains(&tool) {
                self.call(tool, &focus);
            }
        }
    }

    /// In between, something else.
    fn another_task(&mut self, own: usize) {
        if self.role.kind.declares {
            return;
        }
        let other = choose_task(self.role, self.now, &mut self.chance);
        if other != own {
            let focus = self.focus();
            self.steps(self.role.tasks[other].spec.script, &focus, 0);
        }
    }

    /// One call, and what becomes of it.
    fn call(&mut self, tool: ToolId, focus: &Focus) {
        let arguments = self.role.words.arguments(self.company.world.tool(tool), focus, &mut self.chance, self.now);
        self.put(tool, arguments.clone(), false);
        // It failed, and is tried again; now and then by an agent that does not know when to stop.
        if self.chance.hits(0.015) {
            let again = if self.chance.hits(0.04) { self.chance.between(5, 14) } else { self.chance.between(1, 2) };
            for _ in 0..again {
                if let Some(failed) = self.calls.last_mut() {
                    failed.returned = 90 + failed.returned % 60;
                }
                self.now += self.chance.between(600, 2_500) as i64;
                self.put(tool, arguments.clone(), false);
            }
        }
    }

    /// Puts a call behind the ones so far, after the time that it takes to come to it.
    pub fn put(&mut self, tool: ToolId, arguments: Value, hostile: bool) {
        if self.calls.len() >= CALLS {
            return;
        }
        let bytes = self.company.world.tool(tool).spec.bytes;
        // Agents send some calls side by side.
        let side_by_side = !self.calls.is_empty() && self.role.kind.pace != Pace::Scheduled && self.chance.hits(0.07);
        self.now += if side_by_side { self.chance.between(3, 60) as i64 } else { self.think() };
        let took = self.chance.log_normal(320.0, 0.8).min(30_000.0) as i64;
        let returned = self.chance.log_normal(bytes, 0.7).min(50e6) as u64;
        self.calls.push(Call { at: self.now, tool, arguments, took, returned, hostile });
    }

    fn think(&mut self) -> i64 {
        let base = self.chance.log_normal(self.role.think_ms * self.speed, 0.75) as i64 + 200;
        // A person reads what came, or is asked something.
        let person = matches!(self.role.kind.pace, Pace::Assisted | Pace::Shifts) && self.chance.hits(0.10);
        base + if person { self.chance.log_normal(35_000.0, 1.0) as i64 } else { 0 }
    }

    /// Between two pieces of work.
    fn pause(&mut self) {
        self.now += match self.role.kind.pace {
            Pace::Assisted | Pace::Shifts => self.chance.log_normal(75_000.0, 1.1).min(5.4e6) as i64,
            Pace::Unattended => self.chance.log_normal(12_000.0, 0.8) as i64,
            Pace::Scheduled => 500,
        };
    }
}

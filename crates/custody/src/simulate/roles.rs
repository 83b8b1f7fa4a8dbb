//! The roles of a company, their principals and allowlists, drawn by a seed.

use super::{
    archetypes::{self, ARCHETYPES, Archetype, Pace, Step, TaskSpec},
    chance::Chance,
    vocabulary::{Growing, Vocabulary},
    world::{DAY, ToolId, World},
};
use custody_engine::policy;
use custody_model::{PrincipalName, RoleName, TaskName};
use std::collections::BTreeMap;

/// How a client shows which messages belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// A process of its own for each conversation.
    Process,
    /// One process that serves the whole day.
    LongProcess,
    /// A new connection for each conversation, and a hint from its host.
    Hint,
    /// Connections, and nothing else.
    Connection,
}

/// One role.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name, such as `support-2`.
    pub name: RoleName,
    /// Its kind.
    pub kind: &'static Archetype,
    /// Its tasks; the last ones may be introduced only later.
    pub tasks: Vec<Task>,
    /// Tools of the allowlist that no script names.
    pub spare: Vec<ToolId>,
    /// Work that comes up once in hundreds of sessions: the tools it takes, in order.
    pub odd_jobs: Vec<Vec<ToolId>>,
    /// What its calls are asked with.
    pub words: Vocabulary,
    /// How much its habits differ from its kind's: optional steps are this much more or less frequent, by place in the script.
    pub habits: [f64; 8],
    /// Minutes that its people's clocks are ahead of UTC.
    pub zone_minutes: i64,
    /// Median milliseconds between an answer and the next call.
    pub think_ms: f64,
    /// How its clients connect.
    pub client: Client,
}

/// One task of a role.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub name: TaskName,
    /// What it is.
    pub spec: TaskSpec,
    /// Milliseconds since 1970 from which it is done.
    pub from: i64,
    /// Its tools, also those that a release adds to it.
    pub tools: Vec<ToolId>,
    /// Tools that a release added: after which one, which, how often, and from when.
    pub extras: Vec<Extra>,
}

/// A tool that joined a script.
#[derive(Debug, Clone, Copy)]
pub struct Extra {
    /// After this one.
    pub after: ToolId,
    /// The new one.
    pub tool: ToolId,
    /// In so many of a hundred cases.
    pub percent: u8,
    /// Milliseconds since 1970 from which it is used.
    pub from: i64,
}

/// One adopted client.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its name.
    pub name: PrincipalName,
    /// Place of its role.
    pub role: usize,
    /// Milliseconds since 1970 at which it was adopted.
    pub joined: i64,
    /// Compared with the role: how fast, and how much it works.
    pub speed: f64,
    /// How much it works, compared with the role.
    pub diligence: f64,
}

/// Everybody.
#[derive(Debug, Clone)]
pub struct Company {
    /// Its servers.
    pub world: World,
    /// Roles in order of their names' numbers.
    pub roles: Vec<Role>,
    /// Their clients.
    pub principals: Vec<Principal>,
    /// Days since 1970 on which nearly nobody works.
    pub holidays: Vec<i64>,
}

impl Company {
    /// `count` roles at `origin` (milliseconds since 1970, a Monday's midnight).
    pub fn draw(seed: u64, count: usize, origin: i64) -> Company {
        let world = World::new();
        let mut chance = Chance::new(seed, "company", &[]);
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut company = Company { world, roles: Vec::new(), principals: Vec::new(), holidays: Vec::new() };
        for place in 0..count {
            // Each kind once, then by share.
            let kind = match ARCHETYPES.get(place) {
                Some(kind) => kind,
                None => &ARCHETYPES[chance.weighted(ARCHETYPES.iter().map(|kind| kind.share))],
            };
            let number = numbers.entry(kind.name).or_default();
            *number += 1;
            let role = Role::draw(&company.world, kind, format!("{}-{number}", kind.name), seed, place, origin);
            let people = chance.between(1, kind.people);
            for nth in 1..=people {
                company.principals.push(principal(&mut chance, &role, place, nth, origin - (30 * DAY + (chance_days(nth) * DAY))));
            }
            company.roles.push(role);
        }
        company.holidays = (0..60).filter(|_| chance.hits(1.0 / 45.0)).map(|day| origin / DAY + day).collect();
        company
    }

    /// A new colleague of a role.
    pub fn join(&mut self, role: usize, joined: i64, chance: &mut Chance) {
        let nth = self.principals.iter().filter(|principal| principal.role == role).count() + 1;
        let newcomer = principal(chance, &self.roles[role], role, nth, joined);
        self.principals.push(newcomer);
    }

    /// The allowlists: what the policies are compiled from.
    pub fn policies(&self, now: i64) -> policy::PolicySource {
        let names = |tools: &mut dyn Iterator<Item = ToolId>| {
            let mut names: Vec<String> = tools.map(|tool| self.world.tool(tool).full.clone()).collect();
            names.sort();
            names.dedup();
            names
        };
        let mut source = policy::PolicySource::default();
        for role in &self.roles {
            let tasks = || role.tasks.iter().filter(|task| task.from <= now);
            let mut written = policy::Role {
                allow: names(&mut tasks().flat_map(|task| task.tools.iter().copied()).chain(role.spare.iter().copied())),
                ..policy::Role::default()
            };
            if role.kind.declares {
                for task in tasks() {
                    let allow = names(&mut task.tools.iter().copied().chain(role.spare.iter().copied()));
                    written.tasks.insert(task.name.to_string(), policy::Task { allow });
                }
            }
            source.roles.insert(role.name.to_string(), written);
        }
        source
    }
}

/// What an attack file may name.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Described {
    /// Roles.
    pub roles: Vec<DescribedRole>,
    /// Servers.
    pub servers: Vec<DescribedServer>,
}

/// One role.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DescribedRole {
    /// Its name.
    pub name: String,
    /// Its kind of work.
    pub kind: String,
    /// Its tasks.
    pub tasks: Vec<String>,
    /// Its clients.
    pub principals: Vec<String>,
    /// What it may call.
    pub allow: Vec<String>,
}

/// One server.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DescribedServer {
    /// Its name.
    pub name: String,
    /// Its tools.
    pub tools: Vec<String>,
}

impl Company {
    /// Everything by name.
    pub fn described(&self) -> Described {
        let mut allow = self.policies(i64::MAX).roles;
        let roles = self.roles.iter().enumerate().map(|(place, role)| DescribedRole {
            name: role.name.to_string(),
            kind: role.kind.name.to_owned(),
            tasks: role.tasks.iter().map(|task| task.name.to_string()).collect(),
            principals: self.principals.iter().filter(|known| known.role == place).map(|known| known.name.to_string()).collect(),
            allow: allow.remove(role.name.as_str()).map(|role| role.allow).unwrap_or_default(),
        });
        let tools =
            |server: &str| self.world.tools.iter().filter(|tool| tool.server.as_str() == server).map(|tool| tool.full.clone()).collect();
        let servers = self.world.servers().into_iter().map(|name| DescribedServer { name: name.to_owned(), tools: tools(name) });
        Described { roles: roles.collect(), servers: servers.collect() }
    }
}

/// One to three of them, of one to four calls, most with tools that nothing else needs.
fn odd_jobs(tasks: &[Task], spare: &[ToolId], chance: &mut Chance) -> Vec<Vec<ToolId>> {
    let usual = &tasks[0].tools;
    let tool = |chance: &mut Chance| if spare.is_empty() || chance.hits(0.25) { *chance.pick(usual) } else { *chance.pick(spare) };
    let job = |chance: &mut Chance| (0..chance.between(1, 4)).map(|_| tool(chance)).collect();
    (0..chance.between(1, 3)).map(|_| job(chance)).collect()
}

/// Long-serving ones and less long-serving ones.
fn chance_days(nth: usize) -> i64 {
    (nth as i64 * 37) % 400
}

fn principal(chance: &mut Chance, role: &Role, place: usize, nth: usize, joined: i64) -> Principal {
    Principal {
        name: PrincipalName(format!("{}-agent{nth}", role.name)),
        role: place,
        joined,
        speed: chance.log_normal(1.0, 0.3),
        diligence: chance.log_normal(1.0, 0.35),
    }
}

impl Role {
    fn draw(world: &World, kind: &'static Archetype, name: String, seed: u64, place: usize, origin: i64) -> Role {
        let mut chance = Chance::new(seed, "role", &[place as u64]);
        let id = |tool: &&str| world.named(tool).expect("tested: every tool of an archetype exists");
        // A role does not do everything that its kind does.
        let mut specs: Vec<TaskSpec> =
            kind.tasks.iter().enumerate().filter(|(nth, _)| *nth == 0 || chance.hits(0.85)).map(|(_, spec)| *spec).collect();
        for spec in &mut specs {
            spec.weight *= chance.log_normal(1.0, 0.4);
            spec.pieces.0 *= chance.log_normal(1.0, 0.25);
        }
        let tasks: Vec<Task> = specs.into_iter().map(|spec| Task::new(world, spec, i64::MIN)).collect();
        let spare: Vec<ToolId> = kind.spare.iter().filter(|_| chance.hits(0.75)).map(id).collect();
        let grows = |chance: &mut Chance, of: Growing| Growing {
            first: (of.first as f64 * chance.log_normal(1.0, 0.3)).max(1.0) as usize,
            daily: of.daily * chance.log_normal(1.0, 0.4),
        };
        let words = Vocabulary {
            key: chance.next() >> 24,
            role: name.clone(),
            origin,
            numbers: (chance.between(1_000, 60_000) as u64, chance.log_normal(2_500.0, 0.6) as usize),
            folders: grows(&mut chance, Growing { first: 8, daily: 0.12 }),
            colleagues: grows(&mut chance, Growing { first: 30, daily: 0.5 }),
            partners: grows(&mut chance, kind.partners),
            sites: grows(&mut chance, kind.sites),
            hosts: grows(&mut chance, Growing { first: 18, daily: 0.2 }),
            tables: grows(&mut chance, Growing { first: 14, daily: 0.15 }),
            amounts: (kind.amounts.0 * chance.log_normal(1.0, 0.3), kind.amounts.1),
            languages: chance.between(1, 4),
            settings: matches!(kind.name, "developer" | "sre" | "on-call"),
        };
        let habits = std::array::from_fn(|_| chance.within(0.4, 1.5));
        // Four of five roles sit in Europe.
        let zone_minutes = *chance.pick(&[60, 60, 60, 120, 0, 60, -300, 330]);
        let think_ms = match kind.pace {
            Pace::Assisted | Pace::Shifts => chance.log_normal(5_000.0, 0.4),
            Pace::Unattended => chance.log_normal(1_800.0, 0.3),
            Pace::Scheduled => chance.log_normal(220.0, 0.4),
        };
        let client = match kind.pace {
            _ if kind.declares => Client::Hint,
            Pace::Scheduled | Pace::Unattended => *chance.pick(&[Client::Process, Client::Hint]),
            _ => *chance.pick(&[Client::Process, Client::Process, Client::Hint, Client::Hint, Client::Connection, Client::LongProcess]),
        };
        let odd_jobs = odd_jobs(&tasks, &spare, &mut chance);
        Role { name: RoleName(name), kind, tasks, spare, odd_jobs, words, habits, zone_minutes, think_ms, client }
    }

    /// Everything its agents may call at this time, doing this task.
    pub fn allowed(&self, task: usize, now: i64) -> Vec<ToolId> {
        let tasks = self.tasks.iter().enumerate().filter(|(nth, t)| t.from <= now && (!self.kind.declares || *nth == task));
        let mut tools: Vec<ToolId> = tasks.flat_map(|(_, task)| task.tools.iter().copied()).chain(self.spare.iter().copied()).collect();
        tools.sort();
        tools.dedup();
        tools
    }

    /// How often an optional step at this place of the script is taken.
    pub fn habit(&self, percent: u8, place: usize) -> f64 {
        (f64::from(percent) / 100.0 * self.habits[place % self.habits.len()]).min(0.97)
    }
}

impl Task {
    /// A task that is done from then on.
    pub fn new(world: &World, spec: TaskSpec, from: i64) -> Task {
        let mut named = Vec::new();
        archetypes::tools_of(spec.script, &mut named);
        let tools = named.iter().map(|tool| world.named(tool).expect("tested: every tool of an archetype exists")).collect();
        Task { name: TaskName::from(spec.name), spec, from, tools, extras: Vec::new() }
    }

    /// Its script.
    pub fn script(&self) -> &'static [Step] {
        self.spec.script
    }
}

//! From an attack to calls: each kind, inside of an ordinary session of its victim.

use super::{
    archetypes::Pace,
    attacks::{Attack, Kind, minute_of_day},
    chance::Chance,
    roles::Company,
    traffic::{self, Session, Start, Work},
    vocabulary::{self, Focus},
    world::{About, DAY, Effect, MINUTE, ToolId},
};
use custody_model::ServerName;
use serde_json::{Value, json};

/// An attack with a victim and a time.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What, as written.
    pub attack: Attack,
    /// Whose session.
    pub principal: usize,
    /// Which task.
    pub task: usize,
    /// When its session begins, in milliseconds since 1970.
    pub at: i64,
    /// For drift and poisoning: the tool whose definition changes.
    pub tool: Option<ToolId>,
    /// Where things are sent.
    pub destination: String,
    /// What is drawn for it.
    pub chance: Chance,
}

/// Gives each attack what the file left open.
pub fn place(company: &Company, seed: u64, attacks: &[Attack], from: i64, days: u32) -> Vec<Placed> {
    attacks.iter().enumerate().map(|(nth, attack)| one(company, seed, nth, attack, from, days)).collect()
}

fn one(company: &Company, seed: u64, nth: usize, attack: &Attack, from: i64, days: u32) -> Placed {
    let mut chance = Chance::new(seed, "attack", &[nth as u64]);
    let fits = |place: usize| {
        let principal = &company.principals[place];
        let role = &company.roles[principal.role];
        attack.role.as_ref().is_none_or(|name| role.name.as_str() == name || role.kind.name == name)
            && attack.principal.as_ref().is_none_or(|name| principal.name.as_str() == name)
            && attack.task.as_ref().is_none_or(|name| role.tasks.iter().any(|task| task.name.as_str() == name))
    };
    let named: Vec<usize> = (0..company.principals.len()).filter(|place| fits(*place)).collect();
    // Attackers choose victims with which their plan works.
    let able: Vec<usize> = named.iter().copied().filter(|place| suits(company, *place, attack, from)).collect();
    let principal = *chance.pick(if able.is_empty() { &named } else { &able });
    let role = &company.roles[company.principals[principal].role];
    let task = match &attack.task {
        Some(name) => role.tasks.iter().position(|task| task.name.as_str() == name).unwrap_or(0),
        None => traffic::choose_task(role, from, &mut chance),
    };
    let day = attack.day.map_or_else(|| working_day(company, &mut chance, from, days), |day| i64::from(day) - 1);
    let midnight = from + day * DAY;
    let at = match attack.at.as_deref().and_then(minute_of_day) {
        Some(minute) => midnight + minute * MINUTE,
        None if chance.hits(0.15) => midnight + chance.between(0, 1_439) as i64 * MINUTE,
        None => {
            let usual = traffic::starts(company, seed, midnight / DAY).into_iter().filter(|start| start.principal == principal);
            let times: Vec<i64> = usual.map(|start| start.at).collect();
            if times.is_empty() { midnight + chance.between(480, 1_000) as i64 * MINUTE } else { *chance.pick(&times) }
        }
    };
    let at = at.clamp(from, from + i64::from(days) * DAY - 1);
    let tool = matches!(attack.kind, Kind::ManifestDrift | Kind::ToolPoisoning).then(|| {
        let given = attack.tools.iter().flatten().find_map(|tool| company.world.named(tool));
        given.unwrap_or_else(|| *chance.pick(&role.tasks[task].tools))
    });
    let destination = attack.destination.clone().unwrap_or_else(|| {
        let key = chance.next();
        format!("{}.{}", vocabulary::name(key, 1, 3), chance.pick(&["com", "net", "io", "top", "example"]))
    });
    Placed { attack: attack.clone(), principal, task, at, tool, destination, chance }
}

/// Attackers too prefer days on which somebody works, but do not insist.
fn working_day(company: &Company, chance: &mut Chance, from: i64, days: u32) -> i64 {
    let draw = |chance: &mut Chance| chance.between(0, days.max(1) as usize - 1) as i64;
    let day = draw(chance);
    // Monday is the fourth day of the count since 1970.
    let number = from / DAY + day;
    let free = (number + 3).rem_euclid(7) >= 5 || company.holidays.contains(&number);
    if free && chance.hits(0.7) { draw(chance) } else { day }
}

fn suits(company: &Company, principal: usize, attack: &Attack, now: i64) -> bool {
    let role = &company.roles[company.principals[principal].role];
    let tools: Vec<ToolId> = (0..role.tasks.len()).flat_map(|task| role.allowed(task, now)).collect();
    let any = |test: &dyn Fn(&super::world::Tool) -> bool| tools.iter().any(|tool| test(company.world.tool(*tool)));
    match attack.kind {
        Kind::BurstEnumeration | Kind::SlowDrip => any(&|tool| tool.counts_through() && tool.spec.effect == Effect::Reads),
        Kind::DataModification => any(&|tool| matches!(tool.spec.effect, Effect::Writes | Effect::Destroys)),
        Kind::CredentialExfiltration | Kind::ToolPoisoning => any(&holds_secrets) && any(&sends),
        Kind::SequenceAbuse | Kind::LateralToolAbuse => tools.len() >= 5,
        Kind::Steps => {
            let named = |name: &String| tools.iter().any(|tool| company.world.tool(*tool).full == *name);
            attack.steps.iter().flatten().all(|step| named(&step.tool))
        }
        Kind::UnauthorizedTool | Kind::ManifestDrift => true,
    }
}

/// Whether secrets can be read with it.
fn holds_secrets(tool: &super::world::Tool) -> bool {
    matches!(
        tool.full.as_str(),
        "vault/get_secret" | "files/read_file" | "repo/read_source" | "mail/search_mail" | "monitor/read_logs" | "chat/search_messages"
    )
}

/// Whether something can leave with it.
fn sends(tool: &super::world::Tool) -> bool {
    let outward = |about: About| matches!(about, About::Partner | About::Site | About::Colleague);
    tool.spec.arguments.iter().any(|(_, about)| outward(*about)) && tool.spec.name != "find_slot"
}

/// The session that carries the attack: ordinary work, the attacker's calls, and what was left of the work.
pub fn session(company: &Company, seed: u64, nth: usize, placed: &Placed) -> Session {
    let mut chance = placed.chance.clone();
    let number = traffic::number(placed.principal, placed.at / DAY, 0xf000 + nth % 0xfff);
    let start = Start { at: placed.at, principal: placed.principal, task: placed.task, number };
    let ordinary = traffic::compose(company, seed, start);
    let before = placed.attack.after_calls.map_or_else(|| chance.between(1, 9), |calls| calls as usize);
    let mut calls = ordinary.calls;
    let mut rest = calls.split_off(before.min(calls.len()));
    let began = calls.last().map_or(placed.at, |call| call.at + call.took);

    let principal = &company.principals[placed.principal];
    let role = &company.roles[principal.role];
    let task = &role.tasks[placed.task];
    let mut work = Work { company, role, task, speed: principal.speed, chance, now: began, calls };
    Plot { placed, allowed: role.allowed(placed.task, placed.at) }.play(&mut work);
    let (now, mut calls) = (work.now, work.calls);
    let gap = rest.first().map_or(0, |next| now - next.at + 4_000);
    rest.iter_mut().for_each(|call| call.at += gap.max(0));
    calls.append(&mut rest);
    Session { principal: placed.principal, task: placed.task, number, calls, attack: Some(nth) }
}

/// An attack at work.
struct Plot<'a> {
    placed: &'a Placed,
    allowed: Vec<ToolId>,
}

impl Plot<'_> {
    fn play(&self, work: &mut Work<'_>) {
        match self.placed.attack.kind {
            Kind::UnauthorizedTool => self.unauthorized(work),
            Kind::ManifestDrift => self.drift(work),
            Kind::BurstEnumeration => self.enumerate(work, (40.0, 260.0), (60.0, 900.0), true),
            Kind::SlowDrip => {
                let in_order = work.chance.hits(0.5);
                self.enumerate(work, (70.0, 240.0), (12_000.0, 55_000.0), in_order);
            }
            Kind::SequenceAbuse => self.disorder(work),
            Kind::ToolPoisoning | Kind::CredentialExfiltration => self.exfiltrate(work),
            Kind::DataModification => self.modify(work),
            Kind::LateralToolAbuse => self.roam(work),
            Kind::Steps => self.steps(work),
        }
    }

    /// How many, by file or chance.
    fn count(&self, work: &mut Work<'_>, low: f64, high: f64) -> usize {
        let drawn = work.chance.within(low, high);
        let count = self.placed.attack.count.map_or(drawn, f64::from) * self.placed.attack.intensity.unwrap_or(1.0);
        (count.round() as usize).clamp(1, 20_000)
    }

    /// The attacker's next call, `pace` milliseconds (in the middle) after the one before.
    fn call(&self, work: &mut Work<'_>, tool: ToolId, arguments: Value, pace: Option<f64>) {
        let before = work.now;
        work.put(tool, arguments, true);
        let given = self.placed.attack.pace_ms.map(|pace| pace as f64).or(pace);
        if let (Some(pace), Some(call)) = (given, work.calls.last_mut()) {
            work.now = before + work.chance.log_normal(pace.max(1.0), 0.35) as i64;
            call.at = work.now;
            // Who is in a hurry does not wait for answers that are slow.
            call.took = call.took.min(pace as i64 + 200);
        }
    }

    fn focus(&self, work: &mut Work<'_>) -> Focus {
        work.role.words.focus(&mut work.chance, work.now)
    }

    fn ordinary(&self, work: &mut Work<'_>, tool: ToolId) -> Value {
        let focus = self.focus(work);
        work.role.words.arguments(work.company.world.tool(tool), &focus, &mut work.chance, work.now)
    }

    /// Tools that the file names, or these.
    fn tools(&self, work: &Work<'_>, otherwise: impl Fn(&super::world::Tool) -> bool) -> Vec<ToolId> {
        match &self.placed.attack.tools {
            Some(names) if !names.is_empty() => names.iter().filter_map(|name| work.company.world.named(name)).collect(),
            _ => self.allowed.iter().copied().filter(|tool| otherwise(work.company.world.tool(*tool))).collect(),
        }
    }

    fn unauthorized(&self, work: &mut Work<'_>) {
        let others: Vec<ToolId> = (0..work.company.world.coming).map(ToolId).filter(|tool| !self.allowed.contains(tool)).collect();
        let given = self.tools(work, |_| false);
        let from = if given.is_empty() { others } else { given };
        for _ in 0..self.count(work, 1.0, 3.4) {
            let tool = *work.chance.pick(&from);
            let arguments = self.ordinary(work, tool);
            self.call(work, tool, arguments, None);
        }
    }

    /// The change itself is the server's; the agent goes on and uses the tool.
    fn drift(&self, work: &mut Work<'_>) {
        if let Some(tool) = self.placed.tool {
            for _ in 0..self.count(work, 1.0, 3.4) {
                let arguments = self.ordinary(work, tool);
                self.call(work, tool, arguments, None);
            }
        }
    }

    fn enumerate(&self, work: &mut Work<'_>, counts: (f64, f64), pace: (f64, f64), in_order: bool) {
        let mut tools = self.tools(work, |tool| tool.counts_through() && tool.spec.effect == Effect::Reads);
        if tools.is_empty() {
            tools = self.tools(work, |tool| !tool.hints().writes());
        }
        if tools.is_empty() {
            tools.clone_from(&self.allowed);
        }
        let tool = *work.chance.pick(&tools);
        let pace = work.chance.within(pace.0.ln(), pace.1.ln()).exp();
        let mut focus = self.focus(work);
        for _ in 0..self.count(work, counts.0, counts.1) {
            let number = if in_order { focus.number() + 1 } else { focus.number() + work.chance.between(1, 4_000) as u64 };
            focus = focus.numbered(number);
            // What has no number has at least another file, page or word.
            let varied = if work.company.world.tool(tool).counts_through() { focus.clone() } else { self.focus(work) };
            let arguments = work.role.words.arguments(work.company.world.tool(tool), &varied, &mut work.chance, work.now);
            self.call(work, tool, arguments, Some(pace));
        }
    }

    /// Steps that no script of the role takes: nothing that follows closely in one follows here.
    fn disorder(&self, work: &mut Work<'_>) {
        let tools = self.tools(work, |_| true);
        let scripts: Vec<&[ToolId]> = work.role.tasks.iter().map(|task| task.tools.as_slice()).collect();
        let close = |from: ToolId, to: ToolId| {
            let place = |script: &[ToolId], tool| script.iter().position(|known| *known == tool);
            scripts.iter().any(|script| matches!((place(script, from), place(script, to)), (Some(a), Some(b)) if b == a || b == a + 1))
        };
        let mut last = None;
        for _ in 0..self.count(work, 5.0, 12.0) {
            let fits: Vec<ToolId> = tools.iter().copied().filter(|to| last.is_none_or(|from| !close(from, *to))).collect();
            let tool = *work.chance.pick(if fits.is_empty() { &tools } else { &fits });
            last = Some(tool);
            let arguments = self.ordinary(work, tool);
            self.call(work, tool, arguments, None);
        }
    }

    fn exfiltrate(&self, work: &mut Work<'_>) {
        let mut readers = self.tools(work, holds_secrets);
        let mut senders = self.tools(work, sends);
        if readers.is_empty() {
            readers = self.allowed.iter().copied().filter(|tool| !work.company.world.tool(*tool).hints().writes()).collect();
        }
        if senders.is_empty() {
            senders = self.allowed.iter().copied().filter(|tool| work.company.world.tool(*tool).hints().writes()).collect();
        }
        for _ in 0..self.count(work, 1.0, 3.4) {
            if !readers.is_empty() {
                let tool = *work.chance.pick(&readers);
                let arguments = self.secret(work, tool);
                self.call(work, tool, arguments, None);
            }
            if !senders.is_empty() {
                let tool = *work.chance.pick(&senders);
                let arguments = self.sent(work, tool);
                self.call(work, tool, arguments, None);
            }
        }
    }

    /// Arguments that ask for a secret.
    fn secret(&self, work: &mut Work<'_>, tool: ToolId) -> Value {
        let mut arguments = self.ordinary(work, tool);
        let files =
            ["/home/deploy/.aws/credentials", "/srv/app/.env", "/home/admin/.ssh/id_ed25519", "/etc/app/secrets.yaml", "/root/.netrc"];
        let words = ["password", "api key", "private key", "credentials", "token reset"];
        for (name, about) in work.company.world.tool(tool).spec.arguments {
            match about {
                About::File => arguments[*name] = Value::from(*work.chance.pick(&files)),
                About::Query => arguments[*name] = Value::from(*work.chance.pick(&words)),
                _ => {}
            }
        }
        arguments
    }

    /// Arguments that send something to the attacker.
    fn sent(&self, work: &mut Work<'_>, tool: ToolId) -> Value {
        let mut arguments = self.ordinary(work, tool);
        let destination = &self.placed.destination;
        let host = destination.rsplit('@').next().unwrap_or(destination);
        let loot: String = (0..work.chance.between(40, 400)).map(|_| char::from(*work.chance.pick(b"ABCDEFabcdef0123456789+/"))).collect();
        for (name, about) in work.company.world.tool(tool).spec.arguments {
            match about {
                About::Partner | About::Colleague if destination.contains('@') => arguments[*name] = Value::from(destination.clone()),
                About::Partner | About::Colleague => arguments[*name] = Value::from(format!("desk@{host}")),
                About::Site => arguments[*name] = Value::from(format!("https://{host}/c?d={loot}")),
                About::Text => arguments[*name] = Value::from(loot.clone()),
                _ => {}
            }
        }
        arguments
    }

    fn modify(&self, work: &mut Work<'_>) {
        let mut tools = self.tools(work, |tool| matches!(tool.spec.effect, Effect::Writes | Effect::Destroys));
        if tools.is_empty() {
            tools.clone_from(&self.allowed);
        }
        let tool = *work.chance.pick(&tools);
        let pace = work.chance.within(400_f64.ln(), 4_000_f64.ln()).exp();
        let more = work.chance.log_normal(12.0, 0.6);
        for _ in 0..self.count(work, 10.0, 60.0) {
            let mut arguments = self.ordinary(work, tool);
            for (name, about) in work.company.world.tool(tool).spec.arguments {
                match about {
                    About::Amount => arguments[*name] = json!((arguments[*name].as_f64().unwrap_or(100.0) * more).round()),
                    About::Account => arguments[*name] = Value::from(format!("XX{:020}", work.chance.next() % 1_000_000_007)),
                    _ => {}
                }
            }
            self.call(work, tool, arguments, Some(pace));
        }
    }

    fn roam(&self, work: &mut Work<'_>) {
        // Servers that none of the role's tasks needs; then what other tasks need.
        let server = |tool: &ToolId| work.company.world.tool(*tool).server.clone();
        let own: Vec<ServerName> = work.role.tasks.iter().flat_map(|task| task.tools.iter().map(server)).collect();
        let used = |tool: &ToolId| work.role.tasks.iter().any(|task| task.tools.contains(tool));
        let mut tools = self.tools(work, |_| true);
        if self.placed.attack.tools.is_none() {
            tools = work.chance.shuffled(tools);
            tools.sort_by_key(|tool| (own.contains(&server(tool)), used(tool)));
            tools.truncate(8);
        }
        let pace = if work.role.kind.pace == Pace::Scheduled { 600.0 } else { work.chance.within(900.0, 7_000.0) };
        for nth in 0..self.count(work, 5.0, 15.0) {
            let tool = if nth < tools.len() { tools[nth] } else { *work.chance.pick(&tools) };
            let arguments = self.ordinary(work, tool);
            self.call(work, tool, arguments, Some(pace));
        }
    }

    fn steps(&self, work: &mut Work<'_>) {
        for step in self.placed.attack.steps.iter().flatten() {
            let Some(tool) = work.company.world.named(&step.tool) else { continue };
            let arguments = step.arguments.clone().unwrap_or_else(|| self.ordinary(work, tool));
            self.call(work, tool, arguments, None);
        }
    }
}

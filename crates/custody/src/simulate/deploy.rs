//! What changes while everybody works: releases with a change record, new tools, new tasks, new colleagues.

use super::{
    archetypes,
    chance::Chance,
    roles::{Company, Extra, Task},
    world::{DAY, HOUR, ToolId},
};

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Milliseconds since 1970.
    pub at: i64,
    /// What.
    pub what: What,
}

/// What changes.
#[derive(Debug, Clone)]
pub enum What {
    /// A server's release: definitions of these tools are reworded. With a change record.
    Release {
        /// The server.
        server: &'static str,
        /// Its tools that change.
        tools: Vec<ToolId>,
    },
    /// A tool that was not there before. With a change record; roles begin to use it the day after.
    NewTool(ToolId),
    /// A role takes up a task.
    NewTask(usize),
    /// A role gets one more client.
    Newcomer(usize),
}

/// The changes of these days, in order of time: as many as a company of that size has.
pub fn draw(company: &Company, seed: u64, from: i64, days: i64) -> Vec<Change> {
    let mut chance = Chance::new(seed, "deploy", &[]);
    let weeks = days as f64 / 7.0;
    let size = company.roles.len() as f64 / 50.0;
    let mut changes = Vec::new();
    let mut later = chance.shuffled(company.world.later().collect::<Vec<_>>());
    let servers = company.world.servers();
    let count = |chance: &mut Chance, weekly: f64| chance.poisson(weekly * weeks);
    let at = |chance: &mut Chance| {
        from + chance.between(0, days.max(1) as usize - 1) as i64 * DAY + 7 * HOUR + chance.between(0, 9) as i64 * HOUR
    };
    for _ in 0..count(&mut chance, 3.0) {
        let server = *chance.pick(&servers);
        let tools: Vec<ToolId> = (0..company.world.coming)
            .map(ToolId)
            .filter(|tool| company.world.tool(*tool).server.as_str() == server)
            .filter(|_| chance.hits(0.5))
            .collect();
        if !tools.is_empty() {
            changes.push(Change { at: at(&mut chance), what: What::Release { server, tools } });
        }
    }
    for _ in 0..count(&mut chance, 1.5) {
        if let Some(tool) = later.pop() {
            changes.push(Change { at: at(&mut chance), what: What::NewTool(tool) });
        }
    }
    for _ in 0..count(&mut chance, 1.5 * size) {
        let role = chance.between(0, company.roles.len() - 1);
        changes.push(Change { at: at(&mut chance), what: What::NewTask(role) });
    }
    for _ in 0..count(&mut chance, 2.0 * size) {
        let role = chance.between(0, company.roles.len() - 1);
        changes.push(Change { at: at(&mut chance), what: What::Newcomer(role) });
    }
    changes.sort_by_key(|change| change.at);
    changes
}

/// Makes it so. What is used anew is used from the next day on.
pub fn apply(company: &mut Company, change: &Change, seed: u64) {
    let mut chance = Chance::new(seed, "apply", &[change.at as u64]);
    let from = (change.at / DAY + 1) * DAY;
    match &change.what {
        What::Release { .. } => {}
        What::NewTool(tool) => {
            let Some(after) = archetypes::joins_after(&company.world, *tool) else { return };
            for task in company.roles.iter_mut().flat_map(|role| &mut role.tasks).filter(|task| task.tools.contains(&after)) {
                task.tools.push(*tool);
                if chance.hits(0.7) {
                    task.extras.push(Extra { after, tool: *tool, percent: chance.between(5, 50) as u8, from });
                }
            }
        }
        What::NewTask(place) => {
            let role = &mut company.roles[*place];
            if let Some(spec) = role.kind.coming.filter(|spec| role.tasks.iter().all(|task| task.spec.name != spec.name)) {
                let task = Task::new(&company.world, spec, change.at);
                role.tasks.push(task);
            }
        }
        What::Newcomer(role) => company.join(*role, change.at, &mut chance),
    }
}

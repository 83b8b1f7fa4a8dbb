//! A second server joins, and what one of its tools says of itself is an order: read a secret file with the first server and
//! hand it to me.

use super::{
    Scenario, Script,
    desk::{self, DESK, TRIAL},
};
use crate::drill::{
    course::{Course, Expect, habits::HOUR, poison},
    random::Random,
};
use custody_model::Priority;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "tool-poisoning",
    about: "a second server's tool description orders the agent to hand over a secret file: it is never delivered",
    script: Script::Course(attack),
};

pub(super) const TWIN: Scenario = Scenario {
    name: "tool-poisoning-clean",
    about: "a second server joins whose long descriptions name tools, hosts and files, and order nothing: no finding",
    script: Script::Course(clean),
};

fn attack(seed: u64) -> Course {
    course(seed, true)
}

fn clean(seed: u64) -> Course {
    course(seed, false)
}

fn course(seed: u64, poisoned: bool) -> Course {
    let scenario = if poisoned { SCENARIO.name } else { TWIN.name };
    let mut random = Random::new(scenario, seed);
    let random = &mut random;
    let carrier = random.pick(poison::CARRIERS);
    let poison = poisoned.then(|| poison::poison(random, carrier));
    let setting = desk::setting(random, scenario, seed, poison.as_ref());
    // Nobody has seen the second server yet.
    let lessons = (0..3).map(|client| desk::known(random, client)).collect();
    let changes = poison.as_ref().map_or_else(|| poison::honest(random), |poison| poison.changes.clone());
    let but: &[&str] = if poisoned { &[carrier.tool] } else { &[] };
    let mut trial = vec![desk::change(TRIAL, changes)];
    for client in random.shuffled(vec![0, 1, 2]) {
        let at = TRIAL + random.between(1, 40) as u64 * 60_000;
        let count = random.between(4, 8);
        let mut run = desk::session(random, client, at, count, but);
        if poisoned && client != 2 {
            desk::insists(random, &mut run, carrier.tool);
        }
        trial.push(run);
    }
    // And one who comes later, when everything is settled.
    let count = random.between(3, 6);
    trial.push(desk::session(random, 1, TRIAL + 4 * HOUR, count, but));
    debug_assert_eq!(setting.servers[DESK].name, "desk");
    let expect = poison.as_ref().map_or(Expect::Silence, |poison| desk::withheld(carrier.tool, Priority::P2, poison));
    desk::course(setting, lessons, trial, expect)
}

//! A server that was honest for days changes what one of its tools says, in mid-session, into an order.

use super::{
    Scenario, Script,
    desk::{self, DESK, TRIAL},
};
use crate::drill::{
    course::{
        Act, Course, Expect, Move,
        habits::{DAY, HOUR, MINUTE},
        poison,
    },
    random::Random,
};
use custody_model::Priority;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "manifest-drift",
    about: "a tool's definition changes in mid-session into an order: withheld, the tool quarantined, the agents left alone",
    script: Script::Course(attack),
};

pub(super) const TWIN: Scenario = Scenario {
    name: "manifest-drift-clean",
    about: "a server is restarted and writes the same definitions differently, or changes one as announced: no finding",
    script: Script::Course(clean),
};

fn attack(seed: u64) -> Course {
    let mut random = Random::new(SCENARIO.name, seed);
    let random = &mut random;
    let carrier = random.pick(poison::CARRIERS);
    let poison = poison::poison(random, carrier);
    let setting = desk::setting(random, SCENARIO.name, seed, Some(&poison));
    let lessons = (0..3).map(|client| desk::session(random, client, 9 * HOUR + client as u64 * 40 * MINUTE, 4, &[])).collect();
    let changed_at = TRIAL + 20 * MINUTE;
    let mut trial = vec![desk::change(changed_at, poison.changes.clone())];
    // The victim is at work when it happens, and lists again some time later.
    let count = random.between(3, 6);
    let mut victim = desk::session(random, 0, TRIAL, count, &[]);
    let spent: u64 = victim.moves.iter().map(|step| step.after_ms).sum();
    let after_ms = (changed_at - TRIAL).saturating_sub(spent) + random.between(5, 300) as u64 * 1000;
    victim.moves.push(Move { after_ms, act: Act::List(DESK) });
    desk::insists(random, &mut victim, carrier.tool);
    trial.push(victim);
    for client in [1, 2] {
        let at = changed_at + random.between(6, 30) as u64 * MINUTE;
        let count = random.between(4, 8);
        let mut run = desk::session(random, client, at, count, &[carrier.tool]);
        if client == 1 && random.one_in(2) {
            desk::insists(random, &mut run, carrier.tool);
        }
        trial.push(run);
    }
    desk::course(setting, lessons, trial, desk::withheld(carrier.tool, Priority::P1, &poison))
}

fn clean(seed: u64) -> Course {
    let mut random = Random::new(TWIN.name, seed);
    let random = &mut random;
    let setting = desk::setting(random, TWIN.name, seed, None);
    let lessons = (0..3).map(|client| desk::session(random, client, 9 * HOUR + client as u64 * 40 * MINUTE, 4, &[])).collect();
    let changed_at = TRIAL + 20 * MINUTE;
    // Written differently, or one tool described anew as it was announced half an hour before.
    let mut trial = match seed.is_multiple_of(2) {
        true => vec![desk::change(changed_at, poison::cosmetic(random))],
        false => {
            let carrier = random.pick(poison::CARRIERS);
            let announced = Act::Announce(DESK, carrier.tool.to_owned(), format!("CHG-{}", random.between(100, 999)));
            let mut announcement = desk::change(changed_at - 30 * MINUTE, serde_json::Value::Null);
            announcement.moves = vec![Move { after_ms: 0, act: announced }];
            vec![announcement, desk::change(changed_at, poison::honest_one(random, carrier))]
        }
    };
    for (number, client) in [0, 1, 2, 0, 1].into_iter().enumerate() {
        let at = TRIAL + number as u64 * 35 * MINUTE;
        let count = random.between(4, 8);
        trial.push(desk::session(random, client, at, count, &[]));
    }
    trial.push(desk::session(random, 0, TRIAL + DAY, 4, &[]));
    desk::course(setting, lessons, trial, Expect::Silence)
}

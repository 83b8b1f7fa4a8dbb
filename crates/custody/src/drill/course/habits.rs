//! Working days: when sessions begin, how people think between two calls, and what they work on.

use super::plan::{Act, Move, Run};
use crate::drill::{
    plan::{Call, Era},
    random::Random,
};
use serde_json::{Value, json};

/// A day in milliseconds.
pub const DAY: u64 = 24 * HOUR;
/// An hour.
pub const HOUR: u64 = 60 * MINUTE;
/// A minute.
pub const MINUTE: u64 = 60 * SECOND;
/// A second.
pub const SECOND: u64 = 1000;

/// Milliseconds of thought: log-normal about a median, `spread` being the factor of one standard deviation.
pub fn pause(random: &mut Random, median_ms: u64, spread: f64) -> u64 {
    // Twelve uniform numbers make a good normal one (Irwin and Hall).
    let normal = (0..12).map(|_| random.between(0, 1_000_000) as f64 / 1e6).sum::<f64>() - 6.0;
    (median_ms as f64 * spread.powf(normal)).round().clamp(20.0, 4.0 * HOUR as f64) as u64
}

/// Starts of `count` sessions on working days of nine hours, shared by `clients` people: their places, and when.
///
/// Two sessions of one client are at least two hours apart.
pub fn starts(random: &mut Random, clients: &[usize], count: usize) -> Vec<(usize, u64)> {
    // Four a day: at about eight, half past ten, one, and half past three.
    let slots = [8 * HOUR, 10 * HOUR + 30 * MINUTE, 13 * HOUR, 15 * HOUR + 30 * MINUTE];
    let mut starts = Vec::new();
    let mut day = 0;
    while starts.len() < count {
        // No work at the weekend.
        if day % 7 < 5 {
            for slot in slots {
                starts.extend(clients.iter().map(|client| (*client, day * DAY + slot + random.between(0, 25 * 60) as u64 * SECOND)));
            }
        }
        day += 1;
    }
    starts.truncate(count);
    starts
}

/// Most calls of a session within a minute.
pub fn busiest(moves: &[Move]) -> usize {
    let mut at = 0;
    let times: Vec<u64> = moves
        .iter()
        .map(|step| {
            at += step.after_ms;
            at
        })
        .collect();
    times.iter().enumerate().map(|(first, from)| times[first..].iter().take_while(|at| **at < from + MINUTE).count()).max().unwrap_or(0)
}

/// The Monday after these sessions, at nine: milliseconds after the start.
pub fn after(runs: &[Run]) -> u64 {
    let last = runs.iter().map(|run| run.at_ms).max().unwrap_or_default();
    (last / (7 * DAY) + 1) * 7 * DAY + 9 * HOUR
}

/// An honest session.
pub fn session(random: &mut Random, client: usize, at_ms: u64, moves: Vec<Move>) -> Run {
    // Most are of the newest revision; some speak the older ones.
    let era = if random.one_in(6) { *random.pick(&Era::ALL) } else { Era::Stateless };
    session_of(random, era, client, at_ms, moves)
}

/// An honest session of this lifecycle.
fn session_of(random: &mut Random, era: Era, client: usize, at_ms: u64, moves: Vec<Move>) -> Run {
    // Who shakes hands lists the tools, and now and then the others do.
    let mut moves = moves;
    if era != Era::Stateless || random.one_in(8) {
        let servers: std::collections::BTreeSet<usize> =
            moves.iter().filter_map(|step| if let Act::Call(server, _) = &step.act { Some(*server) } else { None }).collect();
        moves.splice(0..0, servers.into_iter().map(|server| Move { after_ms: 0, act: Act::List(server) }));
    }
    Run { client: Some(client), at_ms, era, hostile: false, moves }
}

/// Sessions that show every server in every lifecycle: what is listed for the first time is no novelty of the trial.
pub fn introductions(random: &mut Random, client: usize, servers: usize) -> Vec<Run> {
    let one = |(number, era): (usize, &Era)| {
        let moves = (0..servers).map(|server| Move { after_ms: 0, act: Act::List(server) }).collect();
        session_of(random, *era, client, (number as u64 + 1) * HOUR, moves)
    };
    Era::ALL.iter().enumerate().map(one).collect()
}

/// A call after a pause.
pub fn call(after_ms: u64, server: usize, call: Call) -> Move {
    Move { after_ms, act: Act::Call(server, call) }
}

const FIRST: &[&str] = &["Northwind", "Halden", "Otway", "Lindgren", "Castell", "Brunner", "Arden", "Vasquez", "Kivi", "Moreau"];
const TRADE: &[&str] =
    &["Bakery", "Instruments", "Shipping", "Optics", "Timber", "Foods", "Motors", "Textiles", "Printing", "Glass", "Energy", "Tools"];
const TOWN: &[&str] = &["Bremen", "Halden", "Cork", "Graz", "Lyon", "Turku", "Porto", "Leuven"];

/// How many customers there are; their numbers begin at 1001.
pub const CUSTOMERS: u64 = 120;

/// The database of customers and their orders.
pub fn database(random: &mut Random) -> Value {
    let customers: Vec<Value> = (0..CUSTOMERS)
        .map(|n| {
            let name = format!("{} {}", FIRST[(n % 10) as usize], TRADE[(n / 10) as usize]);
            let mail = format!("office@{}-{}.example", FIRST[(n % 10) as usize].to_lowercase(), TRADE[(n / 10) as usize].to_lowercase());
            json!({"id": 1001 + n, "name": name, "city": random.pick(TOWN), "mail": mail, "limit": random.between(5, 90) * 1000})
        })
        .collect();
    let orders: Vec<Value> = (0..CUSTOMERS)
        .map(|n| json!({"id": 50_000 + n * 7, "customer": 1001 + (n * 13) % CUSTOMERS, "amount": random.between(10, 900) * 10}))
        .collect();
    let contacts =
        json!([{"name": "Ada Brunner", "mail": "ada@our-company.example"}, {"name": "Jon Kivi", "mail": "jon@our-company.example"}]);
    json!({"customers": customers, "orders": orders, "contacts": contacts})
}

/// A customer by chance: the number, and a part of the name.
pub fn customer(random: &mut Random) -> (u64, String) {
    let n = random.between(0, CUSTOMERS as usize - 1) as u64;
    (1001 + n, format!("{} {}", FIRST[(n % 10) as usize], &TRADE[(n / 10) as usize][..3]))
}

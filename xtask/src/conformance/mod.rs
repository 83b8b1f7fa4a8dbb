//! `cargo xtask conformance`: the official suite against the fixture server, without Custody and through it.
//!
//! What passes without must pass with. A check that the transport of the upstream makes impossible is in [`excused`], with its reason.

mod client;
mod excused;
mod hop;
mod show;
pub mod stage;
mod suite;

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::peers;
use crate::step::{self, Failure};
use hop::Hop;
use stage::{Custody, Fixture};
use suite::{Suite, Verdicts};

/// The requirement sets of the suite, one for each era of the protocol.
const REQUIREMENTS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// What `--json` prints.
#[derive(Serialize)]
pub struct Report {
    /// Whether nothing differs but what is excused.
    pub equal: bool,
    /// One for each requirement set and transport of the upstream.
    pub runs: Vec<Run>,
}

/// One comparison.
#[derive(Serialize)]
pub struct Run {
    /// Revision.
    pub requirements: &'static str,
    /// `http` or `stdio`: how the fixture is reached. `suite`: the suite is the server, and the official Python client is tested.
    pub upstream: &'static str,
    /// Checks passed without Custody.
    pub direct: usize,
    /// Checks passed through it.
    pub through: usize,
    /// Passed without Custody and not through it, or the other way round; `scenario:check`.
    pub missing: Vec<String>,
    /// Differences that the upstream's transport makes.
    pub excused: Vec<Excuse>,
}

/// A difference with its reason.
#[derive(Serialize)]
pub struct Excuse {
    /// `scenario:check`.
    pub id: String,
    /// Why it cannot be otherwise.
    pub why: &'static str,
}

/// Runs the suite's server scenarios, or with `client` its client scenarios, and compares.
///
/// # Errors
/// When something cannot be built or started, or when the sets differ.
pub fn run(client: bool, json: bool) -> Result<(), Failure> {
    let peers = peers::install()?;
    let mut build = step::cargo();
    // Both at once: alone, the fixture's dependencies would be built again with fewer features.
    step::run("build", build.args(["build", "--locked", "--package", "custody", "--package", "custody-fixture", "--bins"]))?;
    let results = step::root().join("target/conformance");
    let suite = Suite::new(&peers, &results);
    let runs = if client { client::runs(&suite, &peers)? } else { servers(&suite, &results)? };
    let report = Report { equal: runs.iter().all(|run| run.missing.is_empty()), runs };
    match json {
        true => println!("{}", serde_json::to_string(&report).expect("a report is plain data")),
        false => show::table(&report, &results),
    }
    if report.equal { Ok(()) } else { Err(Failure::Command { code: 1 }) }
}

/// The fixture, direct and behind Custody.
fn servers(suite: &Suite, results: &Path) -> Result<Vec<Run>, Failure> {
    let fixture = Fixture::start()?;
    let direct = Hop::start(fixture.address, None).map_err(stage::failed("the direct hop"))?;
    let custody = Custody::start(&fixture, results)?;
    let key = format!("Authorization: Bearer {}", custody.key);
    let through = Hop::start(custody.agents, Some(key)).map_err(stage::failed("the hop to Custody"))?;

    let mut runs = Vec::new();
    for requirements in REQUIREMENTS {
        let run = |name: &str, url: String| -> Result<Verdicts, Failure> {
            eprintln!("── {requirements} {name}");
            suite.server(requirements, name, &url).map_err(stage::failed("the suite"))
        };
        let without = run("direct", direct.url("/mcp"))?;
        for upstream in ["http", "stdio"] {
            let with = run(upstream, through.url(&format!("/mcp/fixture-{upstream}")))?;
            runs.push(compare(requirements, upstream, &without, &with));
        }
    }
    Ok(runs)
}

fn compare(requirements: &'static str, upstream: &'static str, without: &Verdicts, with: &Verdicts) -> Run {
    let (direct, through) = (without.passed(), with.passed());
    let mut run = Run { requirements, upstream, direct: direct.len(), through: through.len(), missing: Vec::new(), excused: Vec::new() };
    for id in direct.symmetric_difference(&through) {
        match excused::why(requirements, upstream, id) {
            Some(why) => run.excused.push(Excuse { id: id.clone(), why }),
            None => run.missing.push(id.clone()),
        }
    }
    run
}

/// A program of the workspace, built before.
fn built(name: &str) -> Command {
    Command::new(step::root().join("target/debug").join(name))
}

//! The suite's client scenarios: the suite is the server, and starts the client, without Custody and with one in between.
//!
//! Out of scope: the scenarios of authorization. They need the suite's addresses unchanged in what servers say of themselves.

use std::path::Path;
use std::thread;

use super::suite::{Suite, Verdicts};
use super::{Run, built, compare, stage};
use crate::step::{self, Failure};

/// All scenarios of a revision that are not of authorization. Each is run at its revision.
const SCENARIOS: [(&str, &[&str]); 2] = [
    ("2025-11-25", &["initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry", "json-schema-2020-12-preservation"]),
    (
        "2026-07-28",
        &[
            "tools_call",
            "request-metadata",
            "sep-2322-client-request-state",
            "http-standard-headers",
            "http-custom-headers",
            "http-invalid-tool-headers",
            "json-schema-ref-no-deref",
            "json-schema-2020-12-preservation",
        ],
    ),
];

/// Both revisions, compared.
///
/// # Errors
/// When the suite does not run.
pub fn runs(suite: &Suite, peers: &Path) -> Result<Vec<Run>, Failure> {
    let script = step::root().join("xtask/src/conformance/client.py");
    let direct = format!("{} {}", peers.join("venv/bin/python").display(), script.display());
    let through = format!("{direct} --custody {}", Path::new(built("custody").get_program()).display());
    let mut runs = Vec::new();
    for (revision, scenarios) in SCENARIOS {
        let run = |name: &str, command: &str| -> Result<Verdicts, Failure> {
            eprintln!("── {revision} client {name}");
            client(suite, revision, scenarios, name, command).map_err(stage::failed("the suite"))
        };
        runs.push(compare(revision, "suite", &run("direct", &direct)?, &run("through", &through)?));
    }
    Ok(runs)
}

/// The scenarios side by side: most of the time each waits.
fn client(suite: &Suite, revision: &str, scenarios: &[&str], name: &str, command: &str) -> std::io::Result<Verdicts> {
    let folder = suite.folder(&format!("{revision}-client-{name}"))?;
    thread::scope(|scope| {
        let run = |scenario: &str| {
            let args = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision];
            suite.run(&folder, &args)
        };
        let running: Vec<_> = scenarios.iter().map(|&scenario| scope.spawn(move || run(scenario))).collect();
        running.into_iter().try_for_each(|one| one.join().expect("a scenario does not panic"))
    })?;
    Verdicts::read(&folder, "")
}

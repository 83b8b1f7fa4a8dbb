//! The suite's client scenarios: the suite is the server, and starts the client, without Custody and with one in between.
//! In the scenarios of authorization the server is transparent to Custody: what it says of itself comes back with Custody's address.

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

/// Scenarios of authorization, each at its revision. Not those that the client itself cannot do (DPoP, identity assertion, workload identity).
const AUTHORIZATION: [(&str, &[&str]); 3] = [
    ("2025-03-26", &["auth/2025-03-26-oauth-metadata-backcompat", "auth/2025-03-26-oauth-endpoint-fallback"]),
    (
        "2025-11-25",
        &[
            "auth/metadata-default",
            "auth/metadata-var1",
            "auth/metadata-var2",
            "auth/metadata-var3",
            "auth/basic-cimd",
            "auth/scope-from-www-authenticate",
            "auth/scope-from-scopes-supported",
            "auth/scope-omitted-when-undefined",
            "auth/scope-step-up",
            "auth/scope-retry-limit",
            "auth/token-endpoint-auth-basic",
            "auth/token-endpoint-auth-post",
            "auth/token-endpoint-auth-none",
            "auth/pre-registration",
            "auth/client-credentials-jwt",
            "auth/client-credentials-basic",
        ],
    ),
    (
        "2026-07-28",
        &[
            "auth/metadata-default",
            "auth/scope-step-up",
            "auth/pre-registration",
            "auth/resource-mismatch",
            "auth/offline-access-scope",
            "auth/offline-access-not-supported",
            "auth/authorization-server-migration",
            "auth/iss-supported",
            "auth/iss-not-advertised",
            "auth/iss-supported-missing",
            "auth/iss-wrong-issuer",
            "auth/iss-unexpected",
            "auth/iss-normalized",
            "auth/metadata-issuer-mismatch",
        ],
    ),
];

/// Scenarios at once: each has a client, and a Custody of its own.
const AT_ONCE: usize = 4;

/// Both revisions, compared.
///
/// # Errors
/// When the suite does not run.
pub fn runs(suite: &Suite, peers: &Path) -> Result<Vec<Run>, Failure> {
    let script = step::root().join("xtask/src/conformance/client.py");
    let direct = format!("{} {}", peers.join("venv/bin/python").display(), script.display());
    let through = format!("{direct} --custody {}", Path::new(built("custody").get_program()).display());
    let mut runs = Vec::new();
    let groups = SCENARIOS.map(|group| ("suite", group)).into_iter().chain(AUTHORIZATION.map(|group| ("suite-auth", group)));
    for (kind, (revision, scenarios)) in groups {
        let run = |name: &str, command: &str| -> Result<Verdicts, Failure> {
            eprintln!("── {revision} client {name} ({kind})");
            client(suite, revision, scenarios, &format!("{kind}-{name}"), command).map_err(stage::failed("the suite"))
        };
        runs.push(compare(revision, kind, &run("direct", &direct)?, &run("through", &through)?));
    }
    Ok(runs)
}

/// Some scenarios side by side: most of the time each waits.
fn client(suite: &Suite, revision: &str, scenarios: &[&str], name: &str, command: &str) -> std::io::Result<Verdicts> {
    let folder = suite.folder(&format!("{revision}-client-{name}"))?;
    for some in scenarios.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let run = |scenario: &str| {
                let args = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision];
                suite.run(&folder, &args)
            };
            let running: Vec<_> = some.iter().map(|&scenario| scope.spawn(move || run(scenario))).collect();
            running.into_iter().try_for_each(|one| one.join().expect("a scenario does not panic"))
        })?;
    }
    Verdicts::read(&folder, "")
}

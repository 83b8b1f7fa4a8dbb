//! `cargo xtask test`.

use crate::step::{self, Failure};
use crate::{peers, tools};

/// Installs the peers, runs the doc tests, then everything else. The runner's closing lines are the last ones.
///
/// `runner` goes to the test runner; with it, the doc tests are left out.
///
/// # Errors
/// When peers cannot be installed or a test fails.
pub fn run(runner: &[String]) -> Result<(), Failure> {
    let folder = peers::install()?;
    let nextest = tools::NEXTEST.ensure();
    if runner.is_empty() {
        step::run("doc tests", step::cargo().args(["test", "--quiet", "--doc", "--workspace", "--locked"]).env("CUSTODY_PEERS", &folder))?;
    }
    let mut tests = step::cargo();
    if nextest {
        tests.args(["nextest", "run", "--locked"]);
    } else {
        eprintln!("cargo-nextest could not be installed: using `cargo test`, which runs the same tests, more slowly.");
        tests.args(["test", "--locked", "--no-fail-fast"]);
    }
    if !runner.iter().any(|argument| argument == "-p" || argument.starts_with("--package")) {
        tests.arg("--workspace");
    }
    eprintln!("\n── tests");
    step::quietly(tests.args(runner).env("CUSTODY_PEERS", &folder))
}

//! The checks that `cargo xtask ci` makes before the tests.

use std::process::Command;

use crate::step::{self, Failure};
use crate::tools;

/// fmt, clippy, deny and docs, in this order.
///
/// # Errors
/// On the first that fails.
pub fn run() -> Result<(), Failure> {
    step::run("fmt", step::cargo().args(["fmt", "--all", "--check"]))?;
    step::run("clippy", step::cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    if !tools::DENY.ensure() {
        return Err(miette::miette!("cargo-deny is needed for this check: cargo install --locked cargo-deny").into());
    }
    step::run("deny: bans, licences, sources", deny().args(["check", "bans", "licenses", "sources"]))?;
    advisories()?;
    let mut docs = step::cargo();
    docs.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    step::run("docs", &mut docs)
}

fn deny() -> Command {
    let mut command = step::cargo();
    command.args(["deny", "--log-level", "warn", "--locked"]);
    command
}

/// Known vulnerabilities. The database is fetched: when it cannot be, that is said and the check is left out.
fn advisories() -> Result<(), Failure> {
    eprintln!("\n── deny: advisories");
    let output = deny().args(["check", "advisories"]).output().map_err(|error| miette::miette!("cannot start cargo deny: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        eprintln!("   advisories ok");
    } else if text.contains("failed to fetch advisory database") {
        eprintln!("   NOT CHECKED: the advisory database cannot be fetched from here.");
    } else {
        eprint!("{}{text}", String::from_utf8_lossy(&output.stdout));
        return Err(Failure::Command { code: 1 });
    }
    Ok(())
}

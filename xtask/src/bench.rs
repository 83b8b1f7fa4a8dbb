//! `cargo xtask bench`.

use miette::{IntoDiagnostic as _, miette};

use crate::step::{self, Failure};

/// Runs the bench targets with these names, or all, with these arguments.
///
/// # Errors
/// When a name is unknown or a benchmark fails.
pub fn run(names: &[String], arguments: &[String]) -> Result<(), Failure> {
    let targets = targets()?;
    for name in names {
        if !targets.iter().any(|(_, bench)| bench == name) {
            let known: Vec<_> = targets.iter().map(|(_, bench)| bench.as_str()).collect();
            return Err(miette!("no benchmark is named {name}; there are: {}", known.join(", ")).into());
        }
    }
    for (package, bench) in targets.iter().filter(|(_, bench)| names.is_empty() || names.contains(bench)) {
        step::run(
            &format!("bench {bench}"),
            step::cargo().args(["bench", "--locked", "--package", package, "--bench", bench, "--"]).args(arguments),
        )?;
    }
    Ok(())
}

/// Every bench target of the workspace, with its package.
fn targets() -> Result<Vec<(String, String)>, Failure> {
    let output = step::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output().into_diagnostic()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).into_diagnostic()?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            if target["kind"][0] == "bench"
                && let (Some(package), Some(bench)) = (package["name"].as_str(), target["name"].as_str())
            {
                found.push((package.to_owned(), bench.to_owned()));
            }
        }
    }
    found.sort();
    Ok(found)
}

//! `custody simulate`, as a user runs it.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_custody")).arg("simulate").args(arguments).output().unwrap()
}

#[test]
fn a_small_company_is_simulated_and_told_with_stable_keys() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("attacks.toml");
    std::fs::write(&file, "[[attack]]\nkind = \"unauthorized-tool\"\nday = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let small = ["--roles", "8", "--days", "2", "--learn-days", "2", "--seed", "3", "--attacks", file];
    let output = simulate(&[&small[..], &["--json", "--require-found", "1"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    let attack = &report["attacks"][0];
    for key in
        ["number", "kind", "role", "task", "principal", "result", "began", "calls_ran", "first_finding", "case", "disposition", "rules"]
    {
        assert!(attack.get(key).is_some(), "{key}: {attack:#}");
    }
    assert_eq!((&attack["kind"], &attack["result"]), (&Value::from("unauthorized-tool"), &Value::from("found")));
    for key in ["seed", "began", "false_cases", "benign_findings", "totals", "run"] {
        assert!(report.get(key).is_some(), "{key}: {report:#}");
    }
    // More than there can be: the check fails, the report is there all the same.
    let output = simulate(&[&small[..], &["--require-found", "2"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("found 1 of 1 attacks"));
}

#[test]
fn an_attack_file_that_cannot_be_used_is_shown_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("attacks.toml");
    std::fs::write(&file, "[[attack]]\nkind = \"slow-drip\"\nrole = \"finanze\"\n").unwrap();
    let output = simulate(&["--roles", "8", "--attacks", file.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("attacks.toml:3") && told.contains("did you mean `finance`?"), "{told}");
}

#[test]
fn what_a_file_may_name_can_be_listed() {
    let company: Value = serde_json::from_slice(&simulate(&["--roles", "4", "--show-company", "--json"]).stdout).unwrap();
    assert_eq!(company["roles"][0]["name"], "support-1");
    assert!(company["servers"].as_array().unwrap().len() > 10);
    let example = simulate(&["--example-attacks"]);
    assert!(String::from_utf8_lossy(&example.stdout).contains("[[attack]]"));
}

//! `custody replay` and `custody rules backtest|export`, as a user runs them, on homes that drills left behind.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn custody(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_custody")).arg("--home").arg(home).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn after(scenario: &str, seed: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let drilled = custody(&home, &["drill", "--scenario", scenario, "--seed", seed, "--json"]);
    assert!(drilled.status.success(), "{}{}", String::from_utf8_lossy(&drilled.stdout), String::from_utf8_lossy(&drilled.stderr));
    (dir, home)
}

/// With the versions of the record the findings of the record, each of them and no other.
#[test]
fn what_was_found_is_found_again() {
    for (scenario, seed) in [("document-injection", "3"), ("followed-document", "2"), ("burst-enumeration", "1")] {
        let (_dir, home) = after(scenario, seed);
        let output = custody(&home, &["replay", "--json"]);
        let replayed = json(&output);
        assert!(output.status.success(), "{scenario}: {replayed:#}");
        let count = |name: &str| replayed[name]["count"].as_u64().unwrap();
        assert!(
            replayed["recorded"].as_u64().unwrap() > 0
                && replayed["same"].as_u64().unwrap() + replayed["beside"].as_u64().unwrap() == replayed["recorded"].as_u64().unwrap(),
            "{scenario}: {replayed:#}"
        );
        assert_eq!((count("different"), count("missing"), count("new")), (0, 0, 0), "{scenario}: {replayed:#}");
        let text = custody(&home, &["replay"]);
        assert!(String::from_utf8_lossy(&text.stdout).starts_with("OK:"), "{}", String::from_utf8_lossy(&text.stdout));
    }
}

#[test]
fn other_rules_and_policies_find_other_things() {
    let (dir, home) = after("document-injection", "3");
    // A rule that everybody's reading breaks.
    let rules = dir.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    let rule = "title: Reads\nid: 00000000-0000-0000-0000-0000000000aa\nname: own-reads\nstatus: test\nlogsource:\n  product: mcp\n  service: custody\n\
                detection:\n  s:\n    tool: read_file\n  condition: s\nlevel: low\n";
    std::fs::write(rules.join("own.yml"), rule).unwrap();
    let replayed = json(&custody(&home, &["replay", "--rules", rules.to_str().unwrap(), "--json"]));
    let new = replayed["new"]["first"].as_array().unwrap();
    assert!(!new.is_empty() && new.iter().all(|finding| finding["rule"] == "own-reads"), "{replayed:#}");
    assert_eq!(replayed["missing"]["count"], 0, "{replayed:#}");

    let tested = json(&custody(&home, &["rules", "backtest", rules.to_str().unwrap(), "--rule", "own-", "--json"]));
    let own = &tested["rules"]["own-reads"];
    assert_eq!(own["findings"].as_u64().unwrap(), replayed["new"]["count"].as_u64().unwrap(), "{tested:#}");
    let days: u64 = own["days"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(Some(days), own["findings"].as_u64(), "{tested:#}");
    assert_eq!(tested["rules"].as_object().unwrap().len(), 1, "{tested:#}");

    // Policies under which nobody may do anything.
    let policy = dir.path().join("custody.toml");
    std::fs::write(
        &policy,
        "version = 1\n[agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n[roles.nobody]\nallow = []\n",
    )
    .unwrap();
    let replayed = json(&custody(&home, &["replay", "--policy", policy.to_str().unwrap(), "--json"]));
    assert!(replayed["policy"]["would_deny"].as_u64().unwrap() > 0 && replayed["policy"]["would_permit"] == 0, "{replayed:#}");

    let refused = custody(&home, &["rules", "backtest", "--rule", "nope"]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn rules_leave_as_sigma_and_as_searches() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("spl");
    // Without a home: then the shipped rules.
    let custody = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_custody"))
            .args(arguments)
            .env("HOME", dir.path())
            .env_remove("CUSTODY_HOME")
            .current_dir(dir.path())
            .output()
            .unwrap()
    };
    let exported = json(&custody(&["rules", "export", "mcp-00", "--format", "spl", "--out", out.to_str().unwrap(), "--json"]));
    assert!(exported["left_out"]["mcp-007-denied-iteration"].is_string(), "{exported:#}");
    let search = std::fs::read_to_string(out.join("mcp-001-unauthorized-tool.spl")).unwrap();
    assert!(search.starts_with("event=\"TOOL_INVOKED\" policy.outcome IN"), "{search}");
    let sigma = custody(&["rules", "export", "mcp-002"]);
    let text = String::from_utf8(sigma.stdout).unwrap();
    assert_eq!(text.trim_end(), include_str!("../../../rules/mcp-002-burst.yml").trim_end());
}

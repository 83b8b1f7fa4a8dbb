//! One drill, as a user runs it.

use serde_json::Value;
use std::process::Command;

/// Its figures, once what every drill must hold was checked: the drill's own verdict, the ledger, nothing unrecorded, nobody else hurt.
pub fn drill(scenario: &str, seed: u64) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_custody"))
        .arg("--home")
        .arg(dir.path().join("home"))
        .args(["drill", "--scenario", scenario, "--seed", &seed.to_string(), "--json"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{scenario} {seed}: {error}\n{told}"));
    assert!(output.status.success(), "{scenario} {seed}: {:#}\n{told}", figures["failed"]);
    assert_eq!((&figures["scenario"], &figures["seed"]), (&Value::from(scenario), &Value::from(seed)));
    assert_eq!(figures["ledger"]["verified"], true);
    assert_eq!((&figures["calls_unrecorded"], &figures["innocent"]["hurt"]), (&Value::from(0), &Value::from(0)));
    println!("{scenario} {seed}: {} ms", figures["took_ms"]);
    figures
}

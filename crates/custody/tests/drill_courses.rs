//! Drills over virtual days: each attack and its clean twin, twenty seeds each, as a user runs them.
#![allow(clippy::unwrap_used)]

mod drills;

use serde_json::Value;
use std::process::Command;

fn drill(scenario: &str, seed: u64) -> Value {
    let figures = drills::drill(scenario, seed);
    assert!(figures["course"]["virtual_days"].as_f64().unwrap() > 2.0, "{figures:#}");
    println!("{scenario} {seed}: {}", figures["course"]);
    figures
}

/// Nothing found, nothing opened, nobody stopped.
fn silent(scenario: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let figures = drill(scenario, seed);
        for empty in ["findings", "containment", "alerts"] {
            assert_eq!(figures[empty], Value::Array(Vec::new()), "{scenario} {seed}: {figures:#}");
        }
        assert_eq!((&figures["case"], &figures["evidence"]), (&Value::Null, &Value::Null), "{scenario} {seed}: {figures:#}");
    }
}

/// Found by what it does, frozen in the call that confirmed it, handled like every incident; nobody else hurt.
fn caught(scenario: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let figures = drill(scenario, seed);
        let context = format!("{scenario} {seed}: {figures:#}");
        let course = &figures["course"];
        // Before the finding; between it and the freeze; after the freeze.
        assert_eq!((&course["loot"][1], &course["loot"][2]), (&Value::from(0), &Value::from(0)), "{context}");
        assert!(course["families"].as_array().unwrap().len() > 1, "{context}");
        assert!(course["learned"]["in_force"] == true && course["lessons"][0].as_u64().unwrap() >= 60, "{context}");
        assert_eq!((&figures["triage"], &figures["calls_forwarded_after_p1"]), (&Value::from("CONFIRMED"), &Value::from(0)), "{context}");
        assert_eq!(
            (&figures["evidence"]["verified"], &figures["alerts"][0]["received"]),
            (&Value::from(true), &Value::from(true)),
            "{context}"
        );
    }
}

/// An order in a definition: never delivered, the tool quarantined, nobody else touched.
fn withheld(scenario: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let figures = drill(scenario, seed);
        let context = format!("{scenario} {seed}: {figures:#}");
        let course = &figures["course"];
        assert_eq!((&course["secrets_arrived"], &course["quarantined_calls"][1]), (&Value::from(0), &Value::from(0)), "{context}");
        assert_eq!((&course["turned"], course["quarantined"].as_array().unwrap().len()), (&Value::Array(Vec::new()), 1), "{context}");
    }
}

macro_rules! courses {
    ($($name:ident $check:ident $scenario:literal $from:literal $to:literal;)*) => {$(
        #[test]
        fn $name() {
            $check($scenario, $from..$to);
        }
    )*};
}

courses! {
    manifest_drift_0_to_9 withheld "manifest-drift" 0 10;
    manifest_drift_10_to_19 withheld "manifest-drift" 10 20;
    tool_poisoning_0_to_9 withheld "tool-poisoning" 0 10;
    tool_poisoning_10_to_19 withheld "tool-poisoning" 10 20;
    burst_enumeration_0_to_4 caught "burst-enumeration" 0 5;
    burst_enumeration_5_to_9 caught "burst-enumeration" 5 10;
    burst_enumeration_10_to_14 caught "burst-enumeration" 10 15;
    burst_enumeration_15_to_19 caught "burst-enumeration" 15 20;
    the_busiest_known_session_0_to_4 silent "burst-enumeration-clean" 0 5;
    the_busiest_known_session_5_to_9 silent "burst-enumeration-clean" 5 10;
    the_busiest_known_session_10_to_14 silent "burst-enumeration-clean" 10 15;
    the_busiest_known_session_15_to_19 silent "burst-enumeration-clean" 15 20;
    sequence_abuse_0_to_4 caught "sequence-abuse" 0 5;
    sequence_abuse_5_to_9 caught "sequence-abuse" 5 10;
    sequence_abuse_10_to_14 caught "sequence-abuse" 10 15;
    sequence_abuse_15_to_19 caught "sequence-abuse" 15 20;
    a_rare_and_known_workflow_0_to_4 silent "sequence-abuse-clean" 0 5;
    a_rare_and_known_workflow_5_to_9 silent "sequence-abuse-clean" 5 10;
    a_rare_and_known_workflow_10_to_14 silent "sequence-abuse-clean" 10 15;
    a_rare_and_known_workflow_15_to_19 silent "sequence-abuse-clean" 15 20;
    slow_drip_0_to_4 caught "slow-drip" 0 5;
    slow_drip_5_to_9 caught "slow-drip" 5 10;
    slow_drip_10_to_14 caught "slow-drip" 10 15;
    slow_drip_15_to_19 caught "slow-drip" 15 20;
    a_long_known_session_0_to_4 silent "slow-drip-clean" 0 5;
    a_long_known_session_5_to_9 silent "slow-drip-clean" 5 10;
    a_long_known_session_10_to_14 silent "slow-drip-clean" 10 15;
    a_long_known_session_15_to_19 silent "slow-drip-clean" 15 20;
    honest_definitions_of_a_second_server_0_to_9 silent "tool-poisoning-clean" 0 10;
    honest_definitions_of_a_second_server_10_to_19 silent "tool-poisoning-clean" 10 20;
    the_same_definitions_written_differently_0_to_9 silent "manifest-drift-clean" 0 10;
    the_same_definitions_written_differently_10_to_19 silent "manifest-drift-clean" 10 20;
}

#[test]
fn every_scenario_is_listed_and_has_its_clean_twin() {
    let output = Command::new(env!("CARGO_BIN_EXE_custody")).args(["drill", "--list", "--json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|scenario| scenario["name"].as_str().unwrap()).collect();
    for attack in ["manifest-drift", "burst-enumeration", "sequence-abuse", "slow-drip", "tool-poisoning"] {
        assert!(names.contains(&attack) && names.contains(&format!("{attack}-clean").as_str()), "{attack}: {names:?}");
    }
    assert!(names.contains(&"document-injection") && names.contains(&"clean"), "{names:?}");
    let output = Command::new(env!("CARGO_BIN_EXE_custody")).args(["drill", "--list"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), names.len());
}

#[test]
fn the_report_says_what_is_virtual() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_custody"))
        .arg("--home")
        .arg(dir.path().join("home"))
        .args(["drill", "--scenario", "tool-poisoning-clean", "--seed", "3"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("are virtual") && text.contains("The drill held.") && !text.contains('\u{1b}'), "{text}");
}

/// An agent that follows a document inside its allowlist: a person is told, with the words and the calls, and nothing is cut off.
#[test]
fn a_followed_document_is_told() {
    for seed in 0..6 {
        let figures = drills::drill("followed-document", seed);
        assert_eq!(figures["findings"][0]["rule"], "mcp-040-hijacked-agent", "seed {seed}: {figures:#}");
        assert_eq!(figures["findings"].as_array().unwrap().len(), 1, "seed {seed}: {figures:#}");
        assert_eq!(figures["containment"], Value::Array(Vec::new()), "seed {seed}: {figures:#}");
    }
}

#[test]
fn the_same_calls_on_the_users_account_are_silent() {
    for seed in 0..6 {
        let figures = drills::drill("followed-document-clean", seed);
        assert_eq!(figures["findings"], Value::Array(Vec::new()), "seed {seed}: {figures:#}");
    }
}

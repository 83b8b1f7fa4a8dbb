//! `custody drill`, forty seeds of each scenario, as a user runs it. Five seeds a test, so that the tests share the cores.
#![allow(clippy::unwrap_used)]

mod drills;

use drills::drill;
use serde_json::Value;
use std::process::Command;

/// An incident: contained, alerted, explained, proven.
fn injections(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let figures = drill("document-injection", seed);
        let context = format!("seed {seed}: {figures:#}");
        assert_eq!(figures["calls_forwarded_after_p1"], 0, "{context}");
        assert_eq!(figures["findings"][0]["priority"], "P1", "{context}");
        assert_eq!(figures["findings"][0]["requirement"], "D1", "{context}");
        assert_eq!(figures["triage"], "CONFIRMED", "{context}");
        assert_eq!(figures["source"]["correct"], true, "{context}");
        assert_eq!(figures["evidence"]["verified"], true, "{context}");
        assert_eq!(figures["attempts"]["made"], 14, "{context}");
        assert_eq!(figures["attempts"]["answered"], 0, "{context}");
        assert_eq!(figures["carried_out"], false, "{context}");
        assert_eq!(figures["alerts"][0]["received"], true, "{context}");
        let verbs: Vec<&str> = figures["containment"].as_array().unwrap().iter().map(|action| action["action"].as_str().unwrap()).collect();
        let place = |verb| verbs.iter().position(|found| *found == verb).unwrap_or_else(|| panic!("no {verb}: {context}"));
        assert!(place("freeze_scope") < place("snapshot_session") && place("snapshot_session") < place("terminate_session"), "{context}");
    }
}

/// A long honest day: nothing found, nothing opened, nobody stopped.
fn clean(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let figures = drill("clean", seed);
        let context = format!("seed {seed}: {figures:#}");
        for empty in ["findings", "containment", "alerts"] {
            assert_eq!(figures[empty], Value::Array(Vec::new()), "{context}");
        }
        for none in ["case", "triage", "evidence", "source"] {
            assert_eq!(figures[none], Value::Null, "{context}");
        }
        assert!(figures["calls_arrived"].as_u64().unwrap() >= 24, "{context}");
    }
}

macro_rules! seeds {
    ($($injection:ident $clean:ident $from:literal;)*) => {$(
        #[test]
        fn $injection() {
            injections($from..$from + 5);
        }

        #[test]
        fn $clean() {
            clean($from..$from + 5);
        }
    )*};
}

seeds! {
    injection_seeds_0_to_4 clean_seeds_0_to_4 0;
    injection_seeds_5_to_9 clean_seeds_5_to_9 5;
    injection_seeds_10_to_14 clean_seeds_10_to_14 10;
    injection_seeds_15_to_19 clean_seeds_15_to_19 15;
    injection_seeds_20_to_24 clean_seeds_20_to_24 20;
    injection_seeds_25_to_29 clean_seeds_25_to_29 25;
    injection_seeds_30_to_34 clean_seeds_30_to_34 30;
    injection_seeds_35_to_39 clean_seeds_35_to_39 35;
}

#[test]
fn the_report_for_people_tells_the_timeline_and_has_no_colours_in_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let output = Command::new(env!("CARGO_BIN_EXE_custody")).arg("--home").arg(&home).arg("drill").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    for words in [
        "T0 ",
        "begins a session",
        "reads a poisoned document",
        "DENIED, P1",
        "frozen",
        "14 further attempts",
        "evidence snapshotted",
        "session terminated",
        "alert delivered",
        "source named",
        "The drill held.",
        "incident show inc_",
    ] {
        assert!(text.contains(words), "`{words}` is missing:\n{text}");
    }
    // The home is left behind and whole.
    assert!(home.join("ledger/checkpoint").is_file() && home.join("drill/calls.jsonl").is_file());
}

#[test]
fn an_unknown_scenario_is_named_with_the_known_ones() {
    let output = Command::new(env!("CARGO_BIN_EXE_custody")).args(["drill", "--scenario", "nope"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("document-injection") && told.contains("clean"), "{told}");
}

#[test]
fn unguarded_the_same_attack_succeeds_and_the_drill_says_so() {
    for seed in [3, 4] {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_custody"))
            .arg("--home")
            .arg(dir.path().join("home"))
            .args(["drill", "--unguarded", "--seed", &seed.to_string(), "--json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(figures["carried_out"], true, "{figures:#}");
        // Found and recorded all the same, and counted by the practice server's own log.
        assert_eq!(figures["findings"][0]["priority"], "P1", "{figures:#}");
        assert!(figures["calls_forwarded_after_p1"].as_u64().unwrap() > 5, "{figures:#}");
        assert_eq!((&figures["calls_unrecorded"], &figures["ledger"]["verified"]), (&Value::from(0), &Value::from(true)), "{figures:#}");
    }
}

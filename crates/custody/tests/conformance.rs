//! The official conformance suite against the fixture server: what passes without Custody passes through it (issue 4, item 3).
//!
//! The upstream over HTTP, both eras. `cargo xtask conformance` also has it over stdio.

#![allow(clippy::unwrap_used)]

#[path = "daemon/mod.rs"]
mod daemon;
#[path = "../../../xtask/src/conformance/hop.rs"]
mod hop;
#[path = "../../../xtask/src/conformance/suite.rs"]
mod suite;

use hop::Hop;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use suite::Suite;

/// What a home does by default: it would freeze the suite, which sends on purpose what only an attacker sends.
const FREEZES: &str = r#"automatic = ["freeze", "snapshot", "alert"]"#;

#[test]
fn the_same_checks_pass_through_custody() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // One for each way: what one run triggers, the other must not hear.
    let [direct, behind] = [(); 2].map(|()| runtime.block_on(custody_fixture::listen("127.0.0.1:0".parse().unwrap())).unwrap());

    let home = daemon::initialised();
    let config = std::fs::read_to_string(home.config()).unwrap();
    assert!(config.contains(FREEZES), "the suite would be frozen");
    std::fs::write(home.config(), config.replace(FREEZES, r#"automatic = ["alert"]"#)).unwrap();
    let client = home.temp.path().join(".mcp.json");
    std::fs::write(&client, json!({"mcpServers": {"fixture": {"type": "http", "url": behind.url()}}}).to_string()).unwrap();
    let adopted = home.run(&["adopt", client.to_str().unwrap(), "--client", "conformance-suite"]);
    assert!(adopted.status.success(), "{}", daemon::text(&adopted.stderr));
    let entry: Value = serde_json::from_slice(&std::fs::read(&client).unwrap()).unwrap();
    let key = entry["mcpServers"]["fixture"]["headers"]["Authorization"].as_str().unwrap();
    let custody = home.up();

    let through = Hop::start(custody.ready["agents"].as_str().unwrap().parse().unwrap(), Some(format!("Authorization: {key}"))).unwrap();
    let without = Hop::start(direct.address, None).unwrap();
    let suite = Suite::new(&peers(), home.temp.path());
    // Most of the time the suite waits.
    std::thread::scope(|scope| {
        for revision in ["2025-11-25", "2026-07-28"] {
            let direct = scope.spawn(|| suite.server(revision, "direct", &without.url("/mcp")).unwrap().passed());
            let through = scope.spawn(|| suite.server(revision, "through", &through.url("/mcp/fixture")).unwrap().passed());
            let (direct, through) = (direct.join().unwrap(), through.join().unwrap());
            assert!(direct.len() > 80, "the fixture offers what the suite asks for: {}", direct.len());
            let differs: Vec<_> = direct.symmetric_difference(&through).collect();
            assert!(differs.is_empty(), "{revision}: {differs:#?}");
        }
    });
}

/// The folder that `cargo xtask peers` fills.
fn peers() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = std::env::var_os("CUSTODY_PEERS").map_or_else(|| workspace.join(".peers"), PathBuf::from);
    assert!(folder.join("stamp").exists(), "the test peers are not installed in {}: run `cargo xtask peers` once", folder.display());
    folder
}

//! The command line, as the real program.
#![allow(clippy::unwrap_used)]

mod daemon;

use daemon::{initialised, program, text};
use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, process::Stdio};

const SERVER: &str = "[servers.practice]\nurl = \"http://127.0.0.1:9/mcp\"\n[servers.other]\nurl = \"http://127.0.0.1:9/mcp\"\n";

#[test]
fn a_home_is_made_once() {
    let home = initialised();
    let key = fs::read(home.root.join("operator.key")).unwrap();
    let (code, error) = home.fails(&["init"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("occupied")));
    assert_eq!(fs::read(home.root.join("operator.key")).unwrap(), key);
    assert_eq!(fs::metadata(&home.root).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn init_names_the_keys_and_never_prints_them() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("home");
    let output = program().arg("--home").arg(&root).arg("init").output().unwrap();
    let shown = text(&output.stdout) + &text(&output.stderr);
    let key = fs::read_to_string(root.join("operator.key")).unwrap();
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    assert!(!shown.contains(key["token"].as_str().unwrap()) && !shown.contains("AGE-SECRET") && !shown.contains("PRIVATE+KEY"));
    assert!(shown.contains("operator.key") && shown.contains("observe grade"), "{shown}");
}

#[test]
fn without_a_home_every_command_says_so() {
    let temp = tempfile::tempdir().unwrap();
    for command in ["status", "sessions", "incidents", "up", "adopt"] {
        let output = program().arg("--home").arg(temp.path().join("none")).args([command, "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["code"], "no_home");
        assert!(error["error"]["help"].as_str().unwrap().contains("init"), "{error}");
    }
}

#[test]
fn usage_mistakes_are_named_and_have_code_2() {
    let home = initialised();
    for args in [&["sesions"][..], &["contain", "server", "x"], &["contain", "tool", "x", "--reason", "r"], &["session", "show", "zz"]] {
        let output = home.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", text(&output.stderr));
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(home.run(&["--version"]).status.code(), Some(0));
    assert_eq!(home.run(&["help", "contain"]).status.code(), Some(0));
}

#[test]
fn a_typo_in_the_configuration_is_shown_where_it_is() {
    let home = initialised();
    home.add_to_config("[limits]\nframe_byte = 1\n");
    let text_before = fs::read_to_string(home.config()).unwrap();
    // `[limits]` is in the template already: make it one table with a typo.
    fs::write(home.config(), text_before.replacen("[limits]\n", "", 1)).unwrap();
    let output = home.run(&["status"]);
    assert_eq!(output.status.code(), Some(4));
    let shown = text(&output.stderr);
    assert!(shown.contains("frame_byte") && shown.contains("frame_bytes") && shown.contains("custody.toml"), "{shown}");
    assert_eq!(home.run(&["up"]).status.code(), Some(4));
}

#[test]
fn a_forged_operator_key_changes_nothing() {
    let home = initialised();
    home.add_to_config(SERVER);
    let forged = home.temp.path().join("forged.key");
    let mut key: serde_json::Value = serde_json::from_slice(&fs::read(home.root.join("operator.key")).unwrap()).unwrap();
    key["token"] = "cok_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
    fs::write(&forged, key.to_string()).unwrap();
    fs::set_permissions(&forged, fs::Permissions::from_mode(0o600)).unwrap();
    let forged = forged.to_str().unwrap();
    let act: [&[&str]; 4] = [
        &["contain", "server", "practice", "--reason", "r"],
        &["undo", "act_00", "--reason", "r"],
        &["evidence", "export", "inc_00"],
        &["adopt", "nothing.json"],
    ];
    let ledger = home.ledger();
    for args in act {
        let (code, error) = home.fails(&[&["--operator-key", forged], args].concat());
        assert_eq!((code, error["code"].as_str()), (3, Some("unauthorized")), "{args:?}");
    }
    assert_eq!(home.ledger(), ledger);

    let daemon = home.up();
    for args in act {
        let (code, error) = home.fails(&[&["--operator-key", forged], args].concat());
        assert_eq!((code, error["code"].as_str()), (3, Some("unauthorized")), "{args:?}");
    }
    assert_eq!(home.fails(&["--operator-key", forged, "status"]).0, 3);
    assert_eq!(home.json(&["status"])["frozen"], serde_json::json!([]));
    fs::set_permissions(home.root.join("operator.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, error) = home.fails(&["contain", "server", "practice", "--reason", "r"]);
    assert_eq!(code, 3);
    assert!(error["message"].as_str().unwrap().contains("can be read by others"), "{error}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_freeze_by_an_operator_survives_the_daemon_and_is_undone_by_prefix() {
    let home = initialised();
    home.add_to_config(SERVER);
    let daemon = home.up();
    let status = home.json(&["status"]);
    assert_eq!(status["daemon"]["pid"], daemon.pid());
    let receipts = home.json(&["contain", "server", "practice", "--reason", "it lies"]);
    assert_eq!(receipts[0]["ok"], true);
    let action = receipts[0]["action"].as_str().unwrap().to_owned();
    assert_eq!(home.json(&["status"])["frozen"][0][0], serde_json::json!({"scope": "server", "of": "practice"}));
    let incidents = home.json(&["incidents"]);
    let incident = incidents[0]["case"]["id"].as_str().unwrap();
    let shown = text(&home.run(&["incident", "show", &incident[..20]]).stdout);
    assert!(shown.contains("freeze_scope") && shown.contains(&action), "{shown}");
    assert_eq!(home.fails(&["contain", "server", "nobody", "--reason", "r"]).0, 1);
    assert_eq!(daemon.stop(), 0);
    assert!(!home.root.join("run/daemon.json").exists());

    // Nobody runs: the freeze is still there, and can be undone.
    let status = home.json(&["status"]);
    assert_eq!(status["daemon"], serde_json::Value::Null);
    assert_eq!(status["frozen"][0][1], action.as_str());
    let receipt = home.json(&["undo", &action[..30], "--reason", "it does not"]);
    assert_eq!(receipt["ok"], true);
    assert_eq!(home.fails(&["undo", &action, "--reason", "again"]).0, 1);
    assert_eq!(home.json(&["contain", "tool", "other/x", "--reason", "offline"])[0]["ok"], true);
    let daemon = home.up();
    assert_eq!(home.json(&["status"])["frozen"][0][0], serde_json::json!({"scope": "tool", "of": ["other", "x"]}));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn one_daemon_a_home() {
    let home = initialised();
    let daemon = home.up();
    let (code, error) = home.fails(&["up"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("running")));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_address_in_use_is_said_before_anything_is_recorded() {
    let home = initialised();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ledger = home.ledger();
    let (code, error) = home.fails(&["up", "--agents", &taken.local_addr().unwrap().to_string()]);
    assert_eq!((code, error["code"].as_str()), (5, Some("listen")));
    assert_eq!(home.ledger(), ledger);
    let (code, error) = home.fails(&["up", "--agents", "0.0.0.0:0"]);
    assert_eq!(code, 4, "{error}");
}

#[test]
fn servers_of_the_working_directory_are_taken_over() {
    let home = initialised();
    let desk = home.temp.path().join("desk");
    fs::create_dir(&desk).unwrap();
    let original = r#"{"mcpServers":{"practice":{"command":"custody-none","args":["x"]},"odd":{"type":"sse","url":"http://x"}}}"#;
    fs::write(desk.join(".mcp.json"), original).unwrap();
    let daemon = home.up_in(&desk);
    assert_eq!(fs::read_to_string(desk.join(".mcp.json")).unwrap(), original);
    let client = fs::read_to_string(daemon.ready["client_config"].as_str().unwrap()).unwrap();
    let client: serde_json::Value = serde_json::from_str(&client).unwrap();
    for server in ["practice", "odd"] {
        let url = client["mcpServers"][server]["url"].as_str().unwrap();
        assert!(url.ends_with(&format!("/mcp/{server}")), "{url}");
        assert!(daemon.ready["servers"].as_array().unwrap().iter().any(|ready| ready["url"] == url), "{}", daemon.ready);
    }
    assert!(client["mcpServers"]["practice"]["headers"]["Authorization"].as_str().unwrap().starts_with("Bearer cck_"));
    assert_eq!(home.json(&["status"])["clients"], serde_json::json!(["desk"]));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn adopt_and_release_by_the_program() {
    let home = initialised();
    let file = home.temp.path().join("client.json");
    let original = "{\n\t\"mcpServers\": {\n\t\t\"files\": { \"command\": \"npx\", \"env\": { \"T\": \"s3cret\" } }\n\t}\n}";
    fs::write(&file, original).unwrap();
    let done = home.json(&["adopt", "client.json", "--client", "desk"]);
    assert_eq!(done["changed"], true);
    let adopted = fs::read_to_string(&file).unwrap();
    assert!(adopted.contains("CUSTODY_KEY") && !adopted.contains("s3cret"));
    assert_eq!(home.json(&["adopt", "client.json"])["changed"], false);
    assert_eq!(home.json(&["release", "client.json"])["exact"], true);
    assert_eq!(fs::read_to_string(&file).unwrap(), original);
    assert_eq!(home.fails(&["release", "client.json"]).0, 1);
    assert!(home.ledger().contains("adopt_client") && home.ledger().contains("release_client"), "Custody's own acts are recorded");
}

#[test]
fn verify_passes_an_honest_home_and_names_the_place_of_a_flipped_byte() {
    let home = initialised();
    home.add_to_config(SERVER);
    home.json(&["contain", "server", "practice", "--reason", "to have entries"]);
    let report = home.json(&["verify"]);
    assert_eq!((report["kind"].as_str(), report["ok"].as_bool()), (Some("ledger"), Some(true)));
    let vkey = report["vkey"].as_str().unwrap().to_owned();
    assert_eq!(home.json(&["verify", "--vkey", &vkey])["vkey_trusted"], true);
    let checkpoint = home.root.join("ledger/checkpoint");
    let copy = home.temp.path().join("checkpoint.copy");
    fs::copy(&checkpoint, &copy).unwrap();
    assert_eq!(home.json(&["verify", "--checkpoint", copy.to_str().unwrap()])["ok"], true);

    let stranger = "custody.local/other+deadbeef+AQfcbRwbwrJAhQq1OQbAwF6RGVU09xx+20shSbL7gnv4";
    assert_eq!(home.run(&["verify", "--vkey", stranger]).status.code(), Some(1));

    let segment = fs::read_dir(home.root.join("ledger/segments")).unwrap().next().unwrap().unwrap().path();
    let honest = fs::read(&segment).unwrap();
    let mut bytes = honest.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let output = home.run(&["verify"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.starts_with("FAILED") && shown.contains("segments/"), "{shown}");
    fs::write(&segment, &honest).unwrap();
    assert_eq!(home.run(&["verify"]).status.code(), Some(0));

    let (code, error) = home.fails(&["verify", home.temp.path().to_str().unwrap()]);
    assert_eq!((code, error["code"].as_str()), (2, Some("unknown_content")));
    assert_eq!(home.run(&["verify", "--checkpoint", "not-there"]).status.code(), Some(5));
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let home = initialised();
    for args in [&["completions", "bash"][..], &["status"], &["verify"]] {
        let mut child = home.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_second_process_waits_for_nobody_and_says_why() {
    let home = initialised();
    home.add_to_config(SERVER);
    let daemon = home.up();
    // The daemon's own word is gone, as after a crash of something else: the lock still holds.
    fs::remove_file(home.root.join("run/daemon.json")).unwrap();
    let (code, error) = home.fails(&["contain", "server", "practice", "--reason", "r"]);
    assert_eq!(code, 5);
    assert!(error["help"].as_str().unwrap().contains("another custody process"), "{error}");
    // Reading goes on, beside whoever writes.
    home.json(&["incidents"]);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_incident_is_shown_exported_and_the_bundle_verifies_or_names_what_was_changed() {
    let temp = tempfile::tempdir().unwrap();
    let home = daemon::Home { root: temp.path().join("home"), temp };
    let drill = home.run(&["drill", "--seed", "3", "--json"]);
    assert!(drill.status.success(), "{}{}", text(&drill.stdout), text(&drill.stderr));
    let incidents = home.json(&["incidents"]);
    let incident = incidents[0]["case"]["id"].as_str().unwrap();
    let view = home.json(&["incident", "show", incident]);
    assert!(view["timeline"].as_array().unwrap().iter().any(|moment| moment["mark"] == "exposure"), "{view}");
    let verdict = &view["verdicts"][0];
    assert_eq!(verdict["source"]["leaf"], view["incident"]["case"]["source"]["leaf"], "{verdict}");
    assert!(verdict["calls"].as_array().is_some_and(|calls| !calls.is_empty()), "{verdict}");
    let shown = text(&home.run(&["incident", "show", incident]).stdout);
    assert!(shown.contains("sure of a hijack"), "{shown}");
    let document = view["incident"]["case"]["source"]["document"].as_str().unwrap();
    assert!(shown.contains(document) && shown.contains("snapshot_session") && shown.contains("exposure"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no colours in a pipe");

    let bag = home.temp.path().join("bag");
    let exported = home.json(&["evidence", "export", &incident[..30], "-o", bag.to_str().unwrap()]);
    assert_eq!(exported["items"].as_array().unwrap().len(), 9);
    assert!(home.ledger().contains("evidence_exported"));
    let bag_path = bag.to_str().unwrap();
    let report = home.json(&["verify", bag_path]);
    assert_eq!((report["kind"].as_str(), report["ok"].as_bool()), (Some("bundle"), Some(true)));
    let vkey = report["vkey"].as_str().unwrap();
    assert_eq!(home.json(&["verify", bag_path, "--vkey", vkey])["trusted"], true);
    assert_eq!(home.run(&["evidence", "export", incident, "-o", bag_path]).status.code(), Some(5), "nothing is overwritten");

    let item = bag.join("data/invocation_log.jsonl");
    let mut bytes = fs::read(&item).unwrap();
    bytes[10] ^= 1;
    fs::set_permissions(&item, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&item, bytes).unwrap();
    let output = home.run(&["verify", bag_path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("invocation_log.jsonl"), "{}", text(&output.stdout));
    assert_eq!(home.run(&["verify", bag_path, "--checkpoint", bag.join("bagit.txt").to_str().unwrap()]).status.code(), Some(2));
}

/// A client that was adopted reaches its server through the shim, is denied what its role does not allow, and is let go again.
#[test]
fn an_adopted_client_works_through_the_shim() {
    use std::io::{BufRead as _, Write as _};
    let home = initialised();
    home.add_to_config("[roles.reader]\nallow = [\"practice/read_file\"]\n");
    let file = home.temp.path().join("desk.json");
    let data = home.temp.path().join("data");
    let server = serde_json::json!({ "command": env!("CARGO_BIN_EXE_custody"), "args": ["practice-server", "--data", data] });
    fs::write(&file, serde_json::json!({ "mcpServers": { "practice": server } }).to_string()).unwrap();
    home.json(&["adopt", "desk.json", "--role", "reader"]);
    let daemon = home.up();

    let entry: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let entry = &entry["mcpServers"]["practice"];
    let args = entry["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
    let mut shim = std::process::Command::new(entry["command"].as_str().unwrap())
        .args(args)
        .env("CUSTODY_KEY", entry["env"]["CUSTODY_KEY"].as_str().unwrap())
        .current_dir(home.temp.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shim.stdin.take().unwrap();
    let mut answers = std::io::BufReader::new(shim.stdout.take().unwrap());
    let mut ask = |message: serde_json::Value| {
        writeln!(input, "{message}").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|_| panic!("{message}: {line:?}"))
    };
    let hello = ask(serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}));
    assert!(hello["result"]["serverInfo"].is_object(), "{hello}");
    let call = |id: u32, tool: &str, arguments: serde_json::Value| serde_json::json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    let read = ask(call(2, "read_file", serde_json::json!({"path": "none.txt"})));
    assert_eq!(read["id"], 2, "{read}");
    assert_ne!(read["error"]["code"], 4030, "{read}");
    home.json(&["contain", "principal", "desk", "--reason", "test"]);
    let denied = ask(call(3, "read_file", serde_json::json!({"path": "none.txt"})));
    assert_eq!((denied["id"].as_u64(), denied["error"]["code"].as_i64()), (Some(3), Some(4030)), "{denied}");
    let sessions = home.json(&["sessions"]);
    assert_eq!(sessions[0]["principal"], "desk");
    drop(input);
    assert!(shim.wait().unwrap().code().is_some());
    assert_eq!(daemon.stop(), 0);
    assert_eq!(home.json(&["release", "desk.json"])["exact"], true);
}

#[test]
fn many_readers_at_once_see_the_same() {
    let home = initialised();
    home.add_to_config(SERVER);
    home.json(&["contain", "server", "practice", "--reason", "r"]);
    // The projection is rebuilt from the ledger, by whoever comes first.
    for name in ["custody.db", "custody.db-wal", "custody.db-shm"] {
        let _ = fs::remove_file(home.root.join(name));
    }
    let seen = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..6).map(|_| scope.spawn(|| home.json(&["incidents"]))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(seen[0].as_array().unwrap().len(), 1);
    assert!(seen.iter().all(|one| *one == seen[0]));
    assert_eq!(fs::metadata(home.root.join("custody.db")).unwrap().permissions().mode() & 0o777, 0o600);
}

//! The ledger as a log that others follow: tiles, proofs, witnesses, and the second verifier (R7, promise 2).
#![allow(clippy::unwrap_used)]

mod daemon;

use custody::trust::Home as Trusted;
use custody_model::Event;
use custody_store::ledger::{Draft, Ledger, LedgerKeys, LedgerOptions};
use daemon::{Home, exchange, initialised, program, text};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The second verifier, in the Python that runs the test peers.
fn verifier(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let peers = std::env::var_os("CUSTODY_PEERS").map_or_else(|| root.join("target/peers"), PathBuf::from);
    let python = peers.join("venv/bin/python");
    let python = if python.exists() { python } else { "python3".into() };
    Command::new(python).arg(root.join("docs/verify/verify.py")).args(args).output().unwrap()
}

fn holds(args: &[&str]) -> String {
    let output = verifier(args);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

fn fails(args: &[&str]) -> String {
    let output = verifier(args);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said} {}", text(&output.stderr));
    assert!(said.starts_with("FAULT"), "{said}");
    said
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn vkey(home: &Home) -> String {
    let head: Value = serde_json::from_slice(&fs::read(home.root.join("ledger/ledger.json")).unwrap()).unwrap();
    head["vkey"].as_str().unwrap().to_owned()
}

/// Appends so many entries while no daemon runs.
fn append(home: &Home, count: u64, verb: &str) {
    let trusted = Trusted::open(&home.root).unwrap();
    let keys = LedgerKeys::parse(
        trusted.read_ledger_key().unwrap().expose(),
        &trusted.read_operators().unwrap().recipients(),
        Some(trusted.read_daemon_key().unwrap().expose()),
    );
    let (ledger, _) = Ledger::open(&home.root.join("ledger"), keys.unwrap(), LedgerOptions::default()).unwrap();
    for n in 0..count {
        let event = Event::OperatorActed { verb: format!("{verb} {n}") };
        ledger.record(Draft::new(jiff::Timestamp::now(), None, event)).unwrap();
    }
    ledger.close().unwrap();
}

/// Waits until something holds, for as long as a busy machine may take.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "not within two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program that says when it is ready.
struct Running {
    child: Child,
    ready: Value,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Running { ready: serde_json::from_str(&line).unwrap_or_else(|_| panic!("{command:?} did not start: {line}")), child }
    }

    fn says(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn witness(dir: &Path, listen: &str, log: &str) -> Running {
    let mut command = program();
    command.arg("--home").arg(dir).args(["witness", "--json", "--name", "w.example/one", "--listen", listen, "--log", log]);
    Running::start(command)
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        match item.file_type().unwrap() {
            kind if kind.is_dir() => copy_dir(&item.path(), &to.join(item.file_name())),
            kind if kind.is_file() => drop(fs::copy(item.path(), to.join(item.file_name())).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn another_program_follows_the_log_and_checks_every_proof() {
    let home = initialised();
    append(&home, 600, "first");
    let (key, temp) = (vkey(&home), home.temp.path());
    let (state, old) = (temp.join("state"), temp.join("old"));
    fs::copy(home.root.join("ledger/checkpoint"), &old).unwrap();

    // Files: hashes only, as nobody asked for more.
    let site = temp.join("site");
    let written = home.json(&["log", "export", path(&site)]);
    assert_eq!((written["size"].as_u64(), written["entries"].as_bool()), (Some(601), Some(false)));
    assert!(!site.join("tile/entries").exists());
    let said = holds(&["tiles", path(&site), "--vkey", &key, "--state", path(&state)]);
    assert!(said.contains("ok 601 entries; 0 of them readable"), "{said}");

    // Over HTTP, beside a daemon that writes.
    append(&home, 500, "second");
    home.add_to_config("[ledger.tiles]\nlisten = \"127.0.0.1:0\"\nentries = true\n");
    let daemon = home.up();
    let served = format!("http://{}", daemon.ready["tiles"].as_str().unwrap());
    let said = holds(&["tiles", &served, "--vkey", &key, "--state", path(&state)]);
    assert!(said.contains("continuing the 601 seen before") && !said.contains("0 of them readable"), "{said}");
    let address = daemon.ready["tiles"].as_str().unwrap();
    for (request, status) in [
        ("GET /tile/entries/000.p/9 HTTP/1.1", 200),
        ("GET /tile/0/004 HTTP/1.1", 404),
        ("GET /ledger.json HTTP/1.1", 404),
        ("GET /packs/00000000.pack HTTP/1.1", 404),
        ("GET /tile/0/..%2f..%2fkeys HTTP/1.1", 404),
        ("POST /checkpoint HTTP/1.1", 405),
    ] {
        let answer =
            exchange(address, format!("{request}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes());
        assert_eq!(answer.0, status, "{request}");
    }
    // The command serves the same, and no entries unless told.
    let mut serve = home.command(&["log", "serve", "--json", "--listen", "127.0.0.1:0"]);
    serve.current_dir(temp);
    let second = Running::start(serve);
    let said = holds(&["tiles", &format!("http://{}", second.says("listen")), "--vkey", &key]);
    assert!(said.contains("; 0 of them readable"), "{said}");
    drop(second);
    assert_eq!(daemon.stop(), 0);

    for entry in ["0", "599", "600", "601", "1100"] {
        let line = temp.join("line");
        let proof = home.run(&["log", "prove", entry, "--line", path(&line)]);
        fs::write(temp.join("proof"), &proof.stdout).unwrap();
        let args = ["proof", path(&temp.join("proof")), path(&line), "--vkey", &key].map(str::to_owned);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert!(holds(&args).contains(&format!("entry {entry} stands in the log")));
        let mut changed = fs::read(&line).unwrap();
        changed[5] ^= 1;
        fs::write(&line, changed).unwrap();
        fails(&args);
    }
    let proof = temp.join("consistency");
    fs::write(&proof, home.run(&["log", "consistency", path(&old)]).stdout).unwrap();
    assert!(holds(&["consistency", path(&old), path(&proof), "--vkey", &key]).contains("begins with the 601 that were known"));
    let (code, error) = home.fails(&["log", "prove", "999999"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("unsigned")));
    assert_eq!(home.fails(&["log", "consistency", "7", "8"]).1["code"], "unsigned");

    // What was published before is held against what is published now.
    let other = initialised();
    assert_eq!(other.fails(&["log", "export", path(&site)]).1["code"], "export");
    let tile = site.join("tile/0/001");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[77] ^= 1;
    fs::write(&tile, bytes).unwrap();
    fails(&["tiles", path(&site), "--vkey", &key]);
    fails(&["tiles", path(&site), "--vkey", &vkey(&other)]);
}

#[test]
fn the_second_verifier_agrees_on_the_ledger_of_a_drill() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("drill");
    let drill = program().arg("--home").arg(&root).args(["drill", "--json"]).output().unwrap();
    assert!(drill.status.success(), "{}", text(&drill.stderr));
    let ledger = root.join("ledger");
    let said = holds(&["ledger", path(&ledger)]);
    assert!(said.contains("ok ") && said.contains(" entries"), "{said}");
    // Each kind of file changed by one byte.
    for file in ["segments/00000000000000000000.jsonl", "packs/00000000.pack", "hashes", "checkpoints", "checkpoint", "ledger.json"] {
        let place = ledger.join(file);
        let good = fs::read(&place).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&place, bad).unwrap();
        fails(&["ledger", path(&ledger)]);
        fs::write(&place, good).unwrap();
    }
    holds(&["ledger", path(&ledger)]);
}

#[test]
fn a_witness_on_another_machine_notices_a_rollback_and_a_second_history() {
    let home = initialised();
    let key = vkey(&home);
    let state = home.temp.path().join("witness");
    let running = witness(&state, "127.0.0.1:0", &key);
    let (address, wkey) = (running.says("listen"), running.says("vkey"));
    home.add_to_config(&format!("[[ledger.witnesses]]\nurl = \"http://{address}\"\nvkey = \"{wkey}\"\n"));
    let seen = || home.json(&["log", "status"])["witnesses"][0]["size"].as_u64();

    let daemon = home.up();
    until("a cosignature", seen);
    assert_eq!(daemon.stop(), 0);
    // Everything is witnessed at an orderly end, the last entry included.
    let report = home.json(&["verify"]);
    assert_eq!(report["first_uncovered"], Value::Null, "{report:#}");
    assert_eq!(report["proven"][0]["strength"], "witnessed", "{report:#}");
    let cosigned = home.root.join("cosigned");
    let said = holds(&["ledger", path(&home.root.join("ledger")), "--vkey", &key, "--witness", &wkey, "--copy", path(&cosigned)]);
    assert!(said.contains("witness w.example/one cosigned"), "{said}");
    holds(&["note", path(&cosigned), "--vkey", &key, "--witness", &wkey]);
    // A key that nobody trusts counts for nothing.
    let stranger = custody_tlog::Cosigner::from_seed("w.example/one", [3; 32]).unwrap();
    let report = home.json(&["verify", "--witness", stranger.public().vkey()]);
    assert_eq!(report["first_uncovered"], 0, "{report:#}");

    let backup = home.temp.path().join("backup");
    copy_dir(&home.root, &backup);
    append(&home, 40, "what somebody wants gone");
    let daemon = home.up();
    let before = report["entries"].as_u64().unwrap();
    let known = until("more cosigned", || seen().filter(|size| *size > before + 40));
    assert_eq!(daemon.stop(), 0);
    let kept = home.temp.path().join("kept");
    fs::copy(&cosigned, &kept).unwrap();

    // The witness dies and comes back: it has not forgotten.
    drop(running);
    let running = witness(&state, "127.0.0.1:0", &key);
    assert!(running.ready["logs"][0]["size"].as_u64() >= Some(known), "{}", running.ready);
    let moved = |config: &Path| {
        let text = fs::read_to_string(config).unwrap();
        fs::write(config, text.replace(&address, &running.says("listen"))).unwrap();
    };
    moved(&backup.join("custody.toml"));

    // The whole home, its own copies and cosignatures included, is set back to what it was.
    fs::remove_dir_all(&home.root).unwrap();
    copy_dir(&backup, &home.root);
    assert_eq!(home.json(&["verify"])["ok"], true, "alone, this machine cannot tell");
    let output = home.run(&["verify", "--json", "--checkpoint", path(&kept), "--witness", &wkey]);
    assert_eq!(output.status.code(), Some(1), "with what was kept elsewhere it can");
    let daemon = home.up();
    let said = |word: &str| home.ledger().contains(&format!("\"word\":\"{word}\""));
    until("the witness says that it knows more", || said("ahead").then_some(()));
    let rules =
        || home.json(&["findings"]).as_array().unwrap().iter().filter(|row| row.to_string().contains("custody-ledger-witness")).count();
    until("a finding", || (rules() > 0).then_some(()));
    until("an incident", || (!home.json(&["incidents"]).as_array().unwrap().is_empty()).then_some(()));
    assert_eq!(daemon.stop(), 0);

    // It grows beyond what the witness knows, with other entries: a second history under the same key.
    append(&home, known, "another history");
    let daemon = home.up();
    until("the witness refuses the other history", || said("other_history").then_some(()));
    assert_eq!(daemon.stop(), 0);
    let convicting: Vec<_> = fs::read_dir(state.join("two-histories")).unwrap().collect();
    assert!(!convicting.is_empty());
    assert_eq!(running.ready["vkey"], wkey.as_str());
}

#[test]
fn a_witness_answers_as_the_specification_says() {
    let temp = tempfile::tempdir().unwrap();
    let log = custody_tlog::Signer::from_seed("log.example", [1; 32]).unwrap();
    let running = witness(&temp.path().join("w"), "127.0.0.1:0", log.vkey());
    let address = running.says("listen");
    let note = |signer: &custody_tlog::Signer, size, root| {
        let origin = signer.name().to_owned();
        signer.sign(&custody_tlog::Checkpoint { origin, size, root: custody_tlog::Hash([root; 32]) }).unwrap().note().to_owned()
    };
    let post = |body: &str| {
        let head = format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        exchange(&address, (head + body).as_bytes()).0
    };
    let unknown = custody_tlog::Signer::from_seed("other.example", [1; 32]).unwrap();
    let thief = custody_tlog::Signer::from_seed("log.example", [2; 32]).unwrap();
    assert_eq!(post("old 0\n"), 400);
    assert_eq!(post(&format!("old 0\n\n{}", note(&unknown, 5, 1))), 404);
    assert_eq!(post(&format!("old 0\n\n{}", note(&thief, 5, 1))), 403);
    assert_eq!(post(&format!("old 6\n\n{}", note(&log, 5, 1))), 400);
    assert_eq!(post(&format!("old 4\n\n{}", note(&log, 5, 1))), 409);
    assert_eq!(post(&format!("old 0\n\n{}", note(&log, 5, 1))), 200);
    assert_eq!(post(&format!("old 5\n\n{}", note(&log, 5, 1))), 200);
    assert_eq!(post(&format!("old 5\n\n{}", note(&log, 5, 2))), 409);
    assert_eq!(post(&format!("old 0\n\n{}", note(&log, 6, 2))), 409);
    assert_eq!(post(&format!("old 5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n{}", note(&log, 6, 2))), 422);
    assert_eq!(post(&"x".repeat(200_000)), 413);
    // Its state is not shared, and it does not stand beside a ledger.
    let again = program().arg("--home").arg(temp.path().join("w")).args(["witness", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(again.status.code(), Some(4), "{}", text(&again.stderr));
    let home = initialised();
    let beside = home.run(&["witness", "--listen", "127.0.0.1:0", "--log", log.vkey()]);
    assert_eq!(beside.status.code(), Some(2), "{}", text(&beside.stderr));
}

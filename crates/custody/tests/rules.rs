//! Rules of a real daemon: reloaded whole or not at all, tested offline, silenced by persons.
#![allow(clippy::unwrap_used)]

mod daemon;

use daemon::{Daemon, Home, exchange, initialised, text};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

const PROBE: &str = "title: Probe\nid: probe\nname: probe\nlogsource: {product: mcp}\ndetection:\n  s: {method: ping}\n  condition: s\n\
custody: {suppress: 10m}\n\
rsigma.exemplars:\n  - {name: a ping, expect: match, event: {method: ping}}\n  - {name: a call, expect: no-match, event: {method: tools/call}}\n";

/// A daemon with a server, an agent and a directory of rules.
fn guarded() -> (Home, PathBuf) {
    let home = initialised();
    let rules = home.root.join("rules.d");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(rules.join("probe.yml"), PROBE).unwrap();
    let text = std::fs::read_to_string(home.config()).unwrap().replace("[rules]\n", "[rules]\ndir = \"rules.d\"\n");
    std::fs::write(home.config(), text).unwrap();
    home.add_to_config(&format!(
        "[servers.practice]\ncommand = {:?}\nargs = [\"practice-server\", \"--stdio\"]\n",
        env!("CARGO_BIN_EXE_custody")
    ));
    (home, rules)
}

/// What is in force, as `rules list` has it.
fn view(home: &Home) -> Value {
    home.json(&["rules", "list"])
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn names(view: &Value) -> Vec<String> {
    view["rules"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect()
}

fn has_probe(view: &Value) -> bool {
    names(view).iter().any(|name| name == "probe")
}

#[test]
fn a_changed_directory_is_taken_whole_or_not_at_all() {
    let (home, rules) = guarded();
    let daemon = home.up();
    let first = view(&home);
    assert!(has_probe(&first));
    assert_eq!(first["fault"], Value::Null);

    std::fs::write(rules.join("second.yml"), PROBE.replace("probe", "second").replace("Probe", "Second")).unwrap();
    let second = until("the second rule", || Some(view(&home)).filter(|view| names(view).iter().any(|name| name == "second")));
    assert_ne!(second["digest"], first["digest"]);

    // Broken: nothing of it is taken, not even what is right.
    std::fs::remove_file(rules.join("second.yml")).unwrap();
    std::fs::write(rules.join("broken.yml"), PROBE.replace("method", "methd").replace("probe", "broken")).unwrap();
    let refused = until("the refusal", || Some(view(&home)).filter(|view| view["fault"] != Value::Null));
    assert_eq!(refused["digest"], second["digest"], "the rules before stay in force");
    assert!(refused["fault"]["faults"].as_str().unwrap().contains("broken.yml:6: no fact is called `methd`"), "{refused}");
    let status = home.json(&["status"]);
    assert_eq!(status["rules"]["fault"], refused["fault"]);
    assert!(text(&home.run(&["status"]).stdout).contains("broken.yml:6: no fact is called"));

    std::fs::remove_file(rules.join("broken.yml")).unwrap();
    let healed = until("the recovery", || Some(view(&home)).filter(|view| view["fault"] == Value::Null));
    assert_eq!(healed["digest"], first["digest"]);
    assert_eq!(daemon.stop(), 0);
    let ledger = home.ledger();
    let loaded = ledger.lines().filter(|line| line.contains("\"config_loaded\"") && line.contains("\"rules\"")).count();
    assert_eq!(loaded, 3, "at the start, with the second rule, without it");
    assert_eq!(ledger.matches("\"rules_refused\"").count(), 1, "a refusal is told once");
}

#[test]
fn an_operator_reloads_by_command_and_by_signal() {
    let (home, _) = guarded();
    let daemon = home.up();
    assert_eq!(home.json(&["rules", "reload"])["changed"], false);
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), format!("{text}\n[rules.modes]\nprobe = \"off\"\n\"mcp-001-unauthorized-tool\" = \"observe\"\n"))
        .unwrap();
    assert_eq!(home.json(&["rules", "reload"])["changed"], true);
    let mode = |rule: &str| {
        let view = view(&home);
        view["rules"].as_array().unwrap().iter().find(|row| row["rule"] == rule).unwrap()["mode"].clone()
    };
    assert_eq!((mode("probe"), mode("mcp-001-unauthorized-tool")), (json!("off"), json!("observe")));

    std::fs::write(home.config(), format!("{text}\n[rules.modes]\nprobbe = \"off\"\n")).unwrap();
    let (code, error) = home.fails(&["rules", "reload"]);
    assert_eq!(code, 1);
    assert!(error["message"].as_str().unwrap().contains("[rules.modes] names `probbe`, and there is no such rule"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("custody.toml:"), "{error}");
    assert_eq!(mode("probe"), json!("off"), "the modes before hold");
    std::fs::write(home.config(), format!("{text}\n[rules.modes]\nprobe = \"of\"\n")).unwrap();
    let (_, error) = home.fails(&["rules", "reload"]);
    assert!(error["message"].as_str().unwrap().contains("custody.toml"), "{error}");

    std::fs::write(home.config(), &text).unwrap();
    let process = rustix::process::Pid::from_raw(daemon.pid().cast_signed()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    until("the reload by SIGHUP", || (mode("probe") == "observe").then_some(()));
    assert_eq!(daemon.stop(), 0, "SIGHUP does not stop it");
    let (code, error) = home.fails(&["rules", "reload"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("no_daemon")));
}

/// Sends one message as an agent.
fn say(home: &Home, daemon: &Daemon, key: &str, method: &str, id: u64) {
    let _ = home;
    let agents = daemon.ready["agents"].as_str().unwrap();
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}).to_string();
    let head = format!(
        "POST /mcp/practice HTTP/1.1\r\nHost: {agents}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(agents).unwrap();
    std::io::Write::write_all(&mut stream, format!("{head}{body}").as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
}

fn adopted(home: &Home) -> String {
    let file = home.temp.path().join(".mcp.json");
    let definition = json!({"mcpServers": {"practice": {"type": "http", "url": "http://127.0.0.1:9/mcp"}}});
    std::fs::write(&file, definition.to_string()).unwrap();
    let adopted = home.run(&["adopt", "--client", "analyst"]);
    assert!(adopted.status.success(), "{}", text(&adopted.stderr));
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let header = written["mcpServers"]["practice"]["headers"]["Authorization"].as_str().unwrap();
    header.strip_prefix("Bearer ").unwrap().to_owned()
}

fn raised(home: &Home) -> usize {
    home.ledger().matches("\"finding_raised\"").count()
}

#[test]
fn findings_name_the_rules_that_made_them_and_suppression_survives_a_reload_and_a_restart() {
    let home = initialised();
    let rules = home.root.join("rules.d");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(rules.join("probe.yml"), PROBE).unwrap();
    let config = std::fs::read_to_string(home.config()).unwrap().replace("[rules]\n", "[rules]\ndir = \"rules.d\"\n");
    std::fs::write(home.config(), config).unwrap();
    let key = adopted(&home);
    let daemon = home.up();
    for id in 0..12 {
        say(&home, &daemon, &key, "ping", id);
    }
    assert_eq!(raised(&home), 1, "twelve pings are one finding");
    // Another rule comes; the window of the first goes on.
    std::fs::write(rules.join("second.yml"), PROBE.replace("probe", "second").replace("Probe", "Second")).unwrap();
    home.json(&["rules", "reload"]);
    say(&home, &daemon, &key, "ping", 100);
    assert_eq!(raised(&home), 2, "only the new rule raised one");
    until("the count of repeats", || home.ledger().contains("\"finding_repeated\"").then_some(()));

    // Silenced by a person.
    let (code, _) = home.fails(&["rules", "suppress", "nothing", "--for", "1h", "--reason", "x"]);
    assert_eq!(code, 1);
    let (code, error) = home.fails(&["rules", "suppress", "mcp-001-unauthorized-tool", "--for", "1h", "--reason", "x"]);
    assert_eq!((code, error["message"].as_str().unwrap().contains("--also-p1")), (1, true));
    home.json(&["rules", "suppress", "mcp-001-unauthorized-tool", "--for", "1h", "--reason", "x", "--also-p1", "--tool", "send_data"]);
    std::fs::write(rules.join("third.yml"), PROBE.replace("probe", "third").replace("Probe", "Third")).unwrap();
    home.json(&["rules", "reload"]);
    let suppressed = home.json(&["rules", "suppress", "third", "--principal", "analyst", "--for", "1h", "--reason", "known"]);
    say(&home, &daemon, &key, "ping", 101);
    assert_eq!(raised(&home), 2);
    let silenced = |hidden: u64| {
        let view = view(&home);
        let all = view["silenced"].as_array().unwrap();
        assert_eq!(all.len(), 2, "{view}");
        assert_eq!(all[1]["hidden"], hidden);
        assert_eq!(all[1]["suppression"]["id"], suppressed["id"]);
        assert_eq!(all[1]["suppression"]["reason"], "known");
    };
    silenced(1);
    assert_eq!(daemon.stop(), 0);
    silenced(0);

    let daemon = home.up();
    say(&home, &daemon, &key, "ping", 102);
    silenced(1);
    let before = raised(&home);
    assert_eq!(home.json(&["rules", "unsuppress", "third", "--reason", "done"])[0]["hidden"], 1);
    let (code, _) = home.fails(&["rules", "unsuppress", "third", "--reason", "done"]);
    assert_eq!(code, 1);
    say(&home, &daemon, &key, "ping", 103);
    assert_eq!(raised(&home), before + 1);

    // People look at findings, with a daemon and without one.
    let open = home.json(&["findings", "--open"]);
    assert_eq!(open.as_array().unwrap().len(), before + 1);
    let oldest = open.as_array().unwrap().last().unwrap();
    assert_eq!((oldest["rule"].as_str(), oldest["repeats"].as_u64().unwrap() >= 10), (Some("probe"), true), "{oldest}");
    assert_ne!(oldest["finding"]["by"]["rules"], open[0]["finding"]["by"]["rules"], "each names the rules that made it");
    let id = oldest["id"].as_str().unwrap();
    let shown = text(&home.run(&["finding", "show", id]).stdout);
    assert!(
        shown.contains("custody rules suppress probe --principal analyst --for 24h") && shown.contains("times more within its window"),
        "{shown}"
    );
    let disposed = home.json(&["finding", "dispose", id, "benign", "--reason", "a health check"]);
    assert_eq!(disposed["assessment"]["verdict"], "benign");
    assert_eq!(home.json(&["findings", "--open"]).as_array().unwrap().len(), before);
    assert_eq!(home.run(&["finding", "dispose", id, "maybe", "--reason", "x"]).status.code(), Some(2));
    let (code, _) = home.fails(&["incident", "close", "inc_00000000000000000000000000000000", "--reason", "x"]);
    assert_eq!(code, 1);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(home.json(&["finding", "show", id])["assessment"]["reason"], "a health check");
    assert!(home.ledger().contains("\"rule_heard\""));
}

#[test]
fn rules_are_tested_without_a_daemon() {
    let (home, rules) = guarded();
    let tested = home.json(&["rules", "test"]);
    assert_eq!(tested["failed"], json!([]));
    assert!(tested["cases"].as_u64().unwrap() > 20);
    assert_eq!(tested["without_cases"], json!([]));

    let wrong = rules.join("wrong.yml");
    std::fs::write(
        &wrong,
        PROBE.replace("probe", "wrong").replace("Probe", "Wrong").replace("event: {method: ping}", "event: {method: pong}"),
    )
    .unwrap();
    let failed = home.run(&["rules", "test", rules.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(1));
    let said = text(&failed.stdout);
    assert!(said.contains("FAILED wrong.yml:1: wrong: “a ping” should match, and does not"), "{said}");

    std::fs::write(&wrong, PROBE.replace("probe", "wrong").replace("condition: s", "condition: t")).unwrap();
    let (code, error) = home.fails(&["rules", "test"]);
    assert_eq!(code, 4);
    assert!(error["message"].as_str().unwrap().contains("wrong.yml:7: condition references 't'"), "{error}");

    let elsewhere = home.temp.path().join("nowhere");
    let (code, _) = home.fails(&["rules", "test", elsewhere.to_str().unwrap()]);
    assert_eq!(code, 5);
    std::fs::remove_file(&wrong).unwrap();
    std::fs::write(rules.join("bytes.yml"), b"title: x\nid: \xff\n").unwrap();
    let (_, error) = home.fails(&["rules", "test"]);
    assert!(error["message"].as_str().unwrap().contains("bytes.yml:2: not UTF-8"), "{error}");
}

#[test]
fn strangers_change_no_rules() {
    let (home, _) = guarded();
    let daemon = home.up();
    let at = daemon.operators();
    for path in ["rules/reload", "rules/suppress", "rules/unsuppress"] {
        let request = format!("POST /api/v1/{path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
        assert_eq!(exchange(&at, request.as_bytes()).0, 401, "{path}");
    }
    for body in ["{}", "[]", "{\"rule\":\"probe\",\"for_s\":0,\"reason\":\"x\"}", "{\"rule\":\"probe\",\"for_s\":60,\"reason\":\" \"}"] {
        let head = format!(
            "POST /api/v1/rules/suppress HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n",
            home.token()
        );
        let (status, _) = exchange(&at, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        assert!(matches!(status, 400 | 422), "{body}: {status}");
    }
    assert_eq!(view(&home)["silenced"], json!([]));
    assert_eq!(daemon.stop(), 0);
}

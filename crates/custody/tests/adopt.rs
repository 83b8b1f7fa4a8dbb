//! Adopting a client and releasing it: exact to the byte, twice is once, and what the user changed stays.
#![allow(clippy::unwrap_used)]

use custody::{
    adopt::{AdoptError, AdoptOptions, Adoption, adopt, release},
    config::Config,
    trust::{Clients, Home, InitOptions},
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf};

struct Place {
    temp: tempfile::TempDir,
    home: Home,
    file: PathBuf,
}

fn place(text: &str) -> Place {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::init(&temp.path().join("home"), &InitOptions::default()).unwrap().home;
    let file = temp.path().join("desk").join(".mcp.json");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    Place { temp, home, file }
}

impl Place {
    fn adopt(&self) -> Result<Adoption, AdoptError> {
        self.adopt_as(None, None)
    }
    fn adopt_as(&self, client: Option<&str>, role: Option<&str>) -> Result<Adoption, AdoptError> {
        let options = AdoptOptions {
            path: self.file.clone(),
            client: client.map(str::to_owned),
            role: role.map(str::to_owned),
            task: None,
            program: "custody".into(),
            dry_run: false,
        };
        adopt(&self.home, &options, Timestamp::UNIX_EPOCH)
    }
    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }
    fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
    fn config_text(&self) -> String {
        fs::read_to_string(self.home.config()).unwrap()
    }
    fn principal(&self, key: &str) -> Option<String> {
        Clients::open(&self.home.clients()).unwrap().authenticate(key).map(|name| name.0)
    }
}

const PLAIN: &str = r#"{
    "theme" : "dark",
    "mcpServers": {
        "files": { "command": "npx", "args": ["-y", "server-filesystem", "/tmp"], "env": {"TOKEN": "s3cret"}, "timeout": 1.50 },
        "remote": {
            "type": "http",
            "url": "https://mcp.example/x",
            "headers": {"X-Api-Key": "hunter2"},
            "note": "h\u00e9"
        },
        "old": { "type": "sse", "url": "https://old.example/sse" },
        "odd": { "type": "ws", "url": "https://odd.example/ws" }
    },
    "n": [1,  2]
}
"#;

#[test]
fn servers_move_behind_custody_and_come_back_exactly() {
    let place = place(PLAIN);
    let config_before = place.config_text();
    let done = place.adopt().unwrap();
    assert_eq!(done.client, "desk");
    let names: Vec<_> = done.servers.iter().map(|(_, server)| server.as_str()).collect();
    assert_eq!(names, ["files", "remote", "old"]);
    assert!(done.left[0].1.contains("`ws` is unknown"), "{:?}", done.left);

    let now = place.json();
    let files = &now["mcpServers"]["files"];
    assert_eq!(files["command"], "custody");
    assert_eq!(files["args"], json!(["--home", place.home.root(), "stdio", "files"]));
    assert_eq!(place.principal(files["env"]["CUSTODY_KEY"].as_str().unwrap()).as_deref(), Some("desk"));
    let remote = &now["mcpServers"]["remote"];
    assert_eq!(remote["url"], "http://127.0.0.1:4180/mcp/remote");
    let bearer = remote["headers"]["Authorization"].as_str().unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(place.principal(bearer).as_deref(), Some("desk"));
    let text = place.text();
    assert!(!text.contains("s3cret") && !text.contains("hunter2"), "secrets are only where they are needed");
    for kept in [
        "\"theme\" : \"dark\"",
        "\"timeout\": 1.50",
        r#""note": "h\u00e9""#,
        "\"n\": [1,  2]",
        "https://odd.example/ws",
        "\"type\": \"sse\"",
    ] {
        assert!(text.contains(kept), "{kept} in {text}");
    }

    let config = Config::read(&place.home.config()).unwrap();
    assert_eq!(config.servers.keys().collect::<Vec<_>>(), ["files", "old", "remote"]);
    assert!(place.config_text().contains("s3cret") && place.config_text().contains("hunter2"));
    assert!(place.config_text().starts_with(&config_before), "what was there stays");

    let done = release(&place.home, &place.file).unwrap();
    assert!(done.exact && done.keys_removed == 1, "{done:?}");
    assert_eq!(place.text(), PLAIN);
    assert_eq!(place.config_text(), config_before);
    assert_eq!(place.principal(bearer), None);
    assert!(matches!(release(&place.home, &place.file), Err(AdoptError::NotAdopted { .. })));
}

#[test]
fn twice_is_once_and_a_new_server_joins_with_the_same_key() {
    let place = place(PLAIN);
    place.adopt_as(None, None).unwrap();
    let (file, config) = (place.text(), place.config_text());
    let clients = fs::read(place.home.clients()).unwrap();
    let again = place.adopt().unwrap();
    assert!(!again.changed);
    assert_eq!((place.text(), place.config_text()), (file.clone(), config));
    assert_eq!(fs::read(place.home.clients()).unwrap(), clients);

    fs::write(&place.file, file.replace(r#""old": {"#, r#""more": { "command": "more" }, "old": {"#)).unwrap();
    let more = place.adopt().unwrap();
    assert!(more.changed && more.servers.len() == 4);
    assert_eq!(fs::read(place.home.clients()).unwrap(), clients, "one client, one key");
    let done = release(&place.home, &place.file).unwrap();
    assert_eq!(place.text(), PLAIN.replace(r#""old": {"#, r#""more": { "command": "more" }, "old": {"#), "{done:?}");
}

#[test]
fn what_the_user_changed_in_between_stays() {
    let place = place(PLAIN);
    place.adopt().unwrap();
    let mut now = place.json();
    let servers = now["mcpServers"].as_object_mut().unwrap();
    servers["files"]["disabled"] = json!(true);
    servers["files"]["env"]["LANG"] = json!("C");
    servers["remote"]["url"] = json!("https://elsewhere.example");
    servers.insert("new".into(), json!({"command": "new"}));
    fs::write(&place.file, serde_json::to_string(&now).unwrap()).unwrap();

    let done = release(&place.home, &place.file).unwrap();
    assert!(!done.exact);
    assert_eq!(done.restored, ["files", "old"]);
    assert_eq!(done.kept, ["remote"]);
    let now = place.json();
    assert_eq!(now["mcpServers"]["files"]["command"], "npx");
    assert_eq!(now["mcpServers"]["files"]["env"], json!({"TOKEN": "s3cret", "LANG": "C"}));
    assert_eq!(now["mcpServers"]["files"]["disabled"], true);
    assert_eq!(now["mcpServers"]["remote"]["url"], "https://elsewhere.example");
    assert_eq!(now["mcpServers"]["new"]["command"], "new");
}

#[test]
fn a_file_that_became_unreadable_is_refused_and_left_alone() {
    let place = place(PLAIN);
    place.adopt().unwrap();
    for broken in ["", "{", "// a comment\n{}", r#"{"mcpServers": {"files": {}, "files": {}}}"#] {
        fs::write(&place.file, broken).unwrap();
        assert!(matches!(release(&place.home, &place.file), Err(AdoptError::Document { .. })), "{broken}");
        assert!(matches!(place.adopt(), Err(AdoptError::Document { .. })), "{broken}");
        assert_eq!(place.text(), broken);
    }
    fs::remove_file(&place.file).unwrap();
    let done = release(&place.home, &place.file).unwrap();
    assert!(!done.present && done.keys_removed == 1);
    assert!(!place.file.exists());
}

#[test]
fn nothing_is_written_when_nothing_can_be_adopted() {
    for text in [
        r#"{"mcpServers":{}}"#,
        r#"{"mcpServers":{"a":{"command":"x","args":["${HOME}/x"]}}}"#,
        r#"{"mcpServers":{"a":7}}"#,
        r#"{"mcpServers":{"a":{"command":""}}}"#,
    ] {
        let place = place(text);
        let before = place.config_text();
        assert!(matches!(place.adopt(), Err(AdoptError::Nothing { .. })));
        assert_eq!((place.text().as_str(), place.config_text()), (text, before));
    }
}

#[test]
fn roles_names_and_comments() {
    let place = place(r#"{"mcpServers":{"My Files":{"command":"a"},"files":{"command":"b","env":{"A":"${B}","C":"d"}}}}"#);
    let commented =
        format!("{}\n# mine\n[servers.files]\ncommand = \"other\" # keep\n[roles.analyst]\nallow = [\"*/*\"]\n", place.config_text());
    fs::write(place.home.config(), &commented).unwrap();
    let done = place.adopt_as(Some("ci bot"), Some("analyst")).unwrap();
    assert_eq!(done.client, "ci-bot");
    assert_eq!(done.servers, [("My Files".into(), "My-Files".into()), ("files".into(), "files-2".into())]);
    assert!(place.config_text().contains("# mine\n[servers.files]\ncommand = \"other\" # keep"));
    let config = Config::read(&place.home.config()).unwrap();
    assert_eq!(config.clients["ci-bot"].role.as_deref(), Some("analyst"));
    // What the client fills in stays with the client.
    assert_eq!(place.json()["mcpServers"]["files"]["env"]["A"], "${B}");
    assert_eq!(place.json()["mcpServers"]["files"]["env"].get("C"), None);
    release(&place.home, &place.file).unwrap();
    assert_eq!(place.config_text(), commented);
    drop(place.temp);
}

#[test]
fn in_the_enforcing_grade_the_client_brings_the_command_along() {
    let place = place(r#"{"mcpServers":{"files":{"command":"npx","args":["-y","x"],"env":{"A":"b"}}}}"#);
    let config = place.config_text().replacen("grade = \"observe\"", "grade = \"enforcing\"", 1);
    fs::write(place.home.config(), config).unwrap();
    place.adopt().unwrap();
    let files = place.json()["mcpServers"]["files"].clone();
    assert_eq!(files["args"], json!(["--home", place.home.root(), "stdio", "files", "--", "npx", "-y", "x"]));
    assert_eq!(files["env"]["A"], "b", "the client's account cannot read custody.toml");
    assert!(release(&place.home, &place.file).unwrap().exact);
}

#[derive(Debug, Clone, Copy)]
struct Style {
    indent: usize,
    tabs: bool,
    crlf: bool,
    colon: &'static str,
    bom: bool,
}

fn style() -> impl Strategy<Value = Style> {
    (0usize..5, any::<bool>(), any::<bool>(), prop::sample::select(vec![":", ": ", " : "]), any::<bool>())
        .prop_map(|(indent, tabs, crlf, colon, bom)| Style { indent, tabs, crlf, colon, bom })
}

fn write(value: &Value, style: Style, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        if style.indent > 0 {
            out.push_str(if style.crlf { "\r\n" } else { "\n" });
            out.push_str(&if style.tabs { "\t".repeat(depth) } else { " ".repeat(style.indent * depth) });
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(depth + 1, out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(style.colon);
                write(value, style, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn server() -> impl Strategy<Value = Value> {
    let text = "[ -~é\u{1F600}]{1,12}".prop_filter("no variables", |text| !text.contains("${") && !text.trim().is_empty());
    let extra = prop::collection::vec(("[a-z\"\\\\]{1,6}", prop_oneof![Just(json!(1.5)), Just(json!([{}])), Just(json!("}"))]), 0..3);
    let stdio =
        (text.clone(), prop::collection::vec(text.clone(), 0..3), prop::option::of(text.clone())).prop_map(|(command, args, env)| {
            let mut entry = json!({ "command": command, "args": args });
            if let Some(env) = env {
                entry["env"] = json!({ "E": env });
            }
            entry
        });
    let http = text.prop_map(|header| json!({ "url": "https://x.example/mcp", "headers": { "A": header } }));
    (prop_oneof![stdio, http], extra).prop_map(|(mut entry, extra)| {
        for (name, value) in extra {
            if !["command", "args", "env", "url", "headers", "cwd", "type", "transport"].contains(&name.as_str()) {
                entry[format!("x{name}")] = value;
            }
        }
        entry
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_formatting_comes_back_byte_for_byte(
        servers in prop::collection::vec(("[a-zA-Z \"é/]{1,8}", server()), 1..5),
        style in style(),
    ) {
        let servers: Map<String, Value> = servers.into_iter().collect();
        let mut text = String::from(if style.bom { "\u{feff}" } else { "" });
        write(&json!({ "before": {"a": 1}, "mcpServers": servers.clone(), "after": null }), style, 0, &mut text);
        let place = place(&text);
        let config = place.config_text();
        let done = place.adopt().unwrap();
        prop_assert_eq!(done.servers.len(), servers.len());
        let adopted = place.text();
        let read: Value = serde_json::from_str(adopted.trim_start_matches('\u{feff}')).unwrap();
        prop_assert_eq!(read["mcpServers"].as_object().unwrap().keys().collect::<Vec<_>>(), servers.keys().collect::<Vec<_>>());
        let config_now = Config::read(&place.home.config()).unwrap();
        prop_assert_eq!(config_now.servers.len(), done.servers.iter().map(|(_, name)| name).collect::<std::collections::BTreeSet<_>>().len());
        prop_assert!(!place.adopt().unwrap().changed);
        prop_assert_eq!(&place.text(), &adopted);
        prop_assert!(release(&place.home, &place.file).unwrap().exact);
        prop_assert_eq!(place.text(), text);
        prop_assert_eq!(place.config_text(), config);
    }
}

#[test]
fn names_that_read_the_same_are_kept_apart() {
    let place = place(r#"{"mcpServers": {"w": {"command": "a"}, "W": {"command": "b"}}}"#);
    let done = place.adopt().unwrap();
    let names: Vec<_> = done.servers.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!((names, done.left.len()), (vec!["w", "W-2"], 0));
    assert_eq!(Config::read(&place.home.config()).unwrap().servers.len(), 2);
}

#[test]
fn clients_are_pointed_to_where_the_listener_is_known() {
    let tls = "tls = { cert = \"c.pem\", key = \"k.pem\" }";
    for (agents, origin) in [
        (String::new(), "http://127.0.0.1:4180"),
        ("listen = \"127.0.0.1:9\"".to_owned(), "http://127.0.0.1:9"),
        (tls.to_owned(), "https://127.0.0.1:4180"),
        (format!("{tls}\nlisten = \"0.0.0.0:4443\""), "https://127.0.0.1:4443"),
        (format!("{tls}\nlisten = \"[::]:4443\""), "https://[::1]:4443"),
        (format!("{tls}\npublic_url = \"https://Custody.internal/\""), "https://custody.internal"),
        ("public_url = \"https://custody.internal:8443\"".to_owned(), "https://custody.internal:8443"),
    ] {
        let place = place(PLAIN);
        fs::write(place.home.config(), format!("version = 1\n[agents]\n{agents}\n")).unwrap();
        place.adopt().unwrap();
        assert_eq!(place.json()["mcpServers"]["remote"]["url"], format!("{origin}/mcp/remote"), "{agents}");
    }
}

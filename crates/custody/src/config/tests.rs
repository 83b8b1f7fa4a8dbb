use super::*;
use miette::{GraphicalReportHandler, GraphicalTheme};

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "custody.toml", Path::new("/home/custody"), &|name| (name == "TOKEN").then(|| "t0ps3cret".to_owned()))
}

fn report(error: &ConfigError) -> String {
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(120).without_syntax_highlighting();
    handler.render_report(&mut out, error).unwrap();
    out
}

fn fails(text: &str) -> String {
    report(&parse(text).expect_err("must be refused"))
}

#[test]
fn an_empty_file_observes_on_loopback() {
    let config = parse("").unwrap();
    assert_eq!(Config { text: Secret::default(), ..config.clone() }, Config::default());
    assert_eq!(config.grade, Grade::Observe);
    assert!(config.agents.listen.ip().is_loopback() && config.operators.listen.ip().is_loopback());
    assert_eq!(config.containment.automatic, [Automatic::Freeze, Automatic::Snapshot, Automatic::Alert]);
}

#[test]
fn the_template_says_the_same_as_an_empty_file() {
    let config = parse(Config::template()).unwrap();
    assert_eq!(Config { text: Secret::default(), ..config }, Config::default());
}

#[test]
fn every_commented_line_of_the_template_is_valid_when_uncommented() {
    let text: String = Config::template()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if code.starts_with('[') || code.split_once(" = ").is_some_and(|(k, _)| !k.contains(' ')) => format!("{code}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let env = |name: &str| Some(if name.ends_with("URL") { "https://chat.example/x".into() } else { "x".to_owned() });
    let config = Config::parse(&text, "t", Path::new("/h"), &env).unwrap_or_else(|e| panic!("{}\n{text}", report(&e)));
    assert_eq!(config.servers.len(), 2);
    assert_eq!(config.alerts.len(), 3);
    assert_eq!((config.ledger.copies.len(), config.ledger.witnesses.len(), config.ledger.witness_quorum), (2, 1, 1));
    assert!(config.ledger.tiles.is_some());
    assert_eq!(config.roles["analyst"].arguments.len(), 1);
}

#[test]
fn a_whole_file_is_typed() {
    let config = parse(include_str!("tests/whole.toml")).unwrap();
    insta::assert_debug_snapshot!(Config { text: Secret::default(), ..config });
}

#[test]
fn a_typo_names_line_key_and_the_nearest_key() {
    insta::assert_snapshot!(fails("version = 1\n\n[limits]\nframe_byte = 10\n"));
    insta::assert_snapshot!(fails("[servers.files]\ncommand = \"x\"\nmodes = \"observe\"\n"));
    insta::assert_snapshot!(fails("[agent]\nlisten = \"127.0.0.1:1\"\n"));
}

#[test]
fn a_wrong_type_or_word_names_its_place() {
    insta::assert_snapshot!(fails("grade = \"enforce\"\n"));
    insta::assert_snapshot!(fails("[ledger]\nsync_ms = \"100\"\n"));
    insta::assert_snapshot!(fails("[ledger\nsync_ms = 100\n"));
}

#[test]
fn every_fault_is_told_at_once() {
    insta::assert_snapshot!(fails(include_str!("tests/faults.toml")));
}

#[test]
fn names_that_read_the_same_are_refused() {
    insta::assert_snapshot!(fails("[servers.Files]\ncommand = \"a\"\n[servers.files]\ncommand = \"b\"\n[roles.\"an alyst\"]\n"));
}

#[test]
fn alerts_know_their_keys() {
    insta::assert_snapshot!(fails(include_str!("tests/alerts.toml")));
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let error = Config::read(Path::new("/nonexistent/custody.toml")).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @"/nonexistent/custody.toml cannot be read");
}

#[test]
fn without_miette_the_line_is_still_told() {
    let error = parse("[limits]\nframe_byte = 10\n").unwrap_err();
    insta::assert_snapshot!(error.to_string(), @"custody.toml is not usable: line 2: unknown key `frame_byte`");
}

#[test]
fn secrets_are_in_no_debug_output() {
    let text = "[servers.a]\nurl = \"http://127.0.0.1:1/mcp\"\nheaders = { Authorization = \"Bearer ${TOKEN}\" }\n";
    let config = parse(text).unwrap();
    let Upstream::Http { headers, .. } = &config.servers["a"].upstream else { panic!() };
    assert_eq!(headers["Authorization"].expose(), "Bearer t0ps3cret");
    assert!(!format!("{config:?}").contains("t0ps3cret"));
}

#[test]
fn mcp_json_gives_servers() {
    let text = r#"{"mcpServers": {
        "files": {"command": "npx", "args": ["-y", "x"], "env": {"KEY": "s3"}, "cwd": "w", "disabled": false},
        "web": {"type": "http", "url": "https://x.example/mcp", "headers": {"Authorization": "${TOKEN:-none}"}}
    }, "other": 1}"#;
    let config = mcp_json::parse(text, ".mcp.json", Path::new("/repo"), &no_env).unwrap();
    insta::assert_debug_snapshot!(config.servers);
}

#[test]
fn mcp_json_faults_have_places() {
    let parse = |text: &str| report(&mcp_json::parse(text, ".mcp.json", Path::new("/repo"), &no_env).unwrap_err());
    insta::assert_snapshot!(parse(
        "{\"mcpServers\": {\n  \"a\": {\"type\": \"ws\", \"url\": \"http://x.example\"},\n  \"b\": {},\n  \"c\": {\"command\": \"x\"},\n  \"c\": {\"command\": \"y\"}\n}}"
    ));
    insta::assert_snapshot!(parse("{\"mcpServers\": {\n  \"a\": {\"command\": 7}\n}}"));
    insta::assert_snapshot!(parse("{\"mcpServers\": {"));
}

#[test]
fn secrets_are_in_no_report() {
    let toml = [
        "[servers.a]\nheaders = { Authorization = \"Bearer hunter2\" }\n",
        "[servers.a]\nurl = \"ftp://u:hunter2@x.example\"\n",
        "[servers.a]\ncommand = \"x\"\nenv = \"hunter2\"\n",
        "[servers.a.env]\nK = \"hunter2\"\nL = [\"hunter2\"]\n",
        "[servers.a]\ncommand = \"x\"\n[servers.a.env]\nKEY = \"hunter2\n",
        "[alerts.a]\nkind = \"smtp\"\nurl = \"https://x.example/hunter2\"\n",
    ];
    for text in toml {
        let report = fails(text);
        assert!(!report.contains("hunter2"), "{report}");
    }
    let json = [
        r#"{"mcpServers": {"a": {"env": {"K": "hunter2", "J": 1}}}}"#,
        r#"{"mcpServers": {"a": {"env": "hunter2"}}}"#,
        r#"{"mcpServers": {"a": {"env": {"K": "hunter2"}}}}"#,
        r#"{"mcpServers": {"a": {"env": {"K": "hunter2"#,
    ];
    for text in json {
        let error = mcp_json::parse(text, ".mcp.json", Path::new("/repo"), &no_env).unwrap_err();
        let report = format!("{}{error:?}", report(&error));
        assert!(!report.contains("hunter2"), "{report}");
    }
}

proptest::proptest! {
    #[test]
    fn hostile_text_gives_an_error_and_no_panic(text in "\\PC{0,200}") {
        let _ = parse(&text).map_err(|e| report(&e));
        let _ = mcp_json::parse(&text, "x", Path::new("/"), &no_env).map_err(|e| report(&e));
        let _ = mcp_json::parse(&format!("{{\"mcpServers\":{{\"é\":\"{text}"), "x", Path::new("/"), &no_env).map_err(|e| report(&e));
    }
}

#[test]
fn the_short_form_reaches_the_engine() {
    let text = include_str!("tests/whole.toml")
        .replace("[rules]", "[[roles.analyst.arguments]]\ntool = \"practice/read_file\"\nargument = \"path\"\nmax_length = 9\n[rules]");
    let config = parse(&text).unwrap();
    let source = config.policy_source(vec![]);
    insta::assert_debug_snapshot!(source);
    assert!(custody_engine::policy::Policies::compile(&source).is_ok(), "every id is unique");
}

#[test]
fn files_that_are_no_configuration_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("custody.toml");
    for (bytes, word) in [(vec![0xff, 0xfe], "UTF-8"), (vec![b'#'; (4 << 20) + 1], "larger than")] {
        std::fs::write(&path, bytes).unwrap();
        let error = Config::read(&path).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains(word), "{error:?}");
    }
    assert!(Config::read(dir.path()).is_err(), "a directory");
}

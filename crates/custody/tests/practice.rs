//! The practice server, driven by the `rmcp` client.

#![allow(clippy::unwrap_used)]

use custody::practice::{self, LoggedCall, read_log};
use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, ClientConfig, ProtocolVersion},
    service::{ClientLifecycleMode, ClientServiceExt, RunningService},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

type Client = RunningService<RoleClient, ClientConfig>;

/// A directory with a practice server in it.
struct Practice {
    dir: tempfile::TempDir,
    url: String,
    _listening: practice::Listening,
}

impl Practice {
    async fn start() -> Practice {
        Practice::with(practice::Args::default()).await
    }

    async fn with(args: practice::Args) -> Practice {
        let dir = tempfile::tempdir().unwrap();
        let args = practice::Args {
            data: dir.path().join("data"),
            log: Some(dir.path().join("calls.jsonl")),
            changes: Some(dir.path().join("changes.json")),
            ..args
        };
        let server = practice::open(&args).unwrap();
        let listening = practice::listen(server, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        Practice { dir, url: listening.url(), _listening: listening }
    }

    async fn client(&self, mode: ClientLifecycleMode) -> Client {
        let transport = StreamableHttpClientTransport::from_config(StreamableHttpClientTransportConfig::with_uri(self.url.as_str()));
        ClientConfig::default().serve_with_lifecycle(transport, mode).await.unwrap()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn calls(&self) -> Vec<LoggedCall> {
        read_log(&self.dir.path().join("calls.jsonl")).unwrap()
    }
}

/// The text of a tool's result, and whether it is an error.
async fn call(client: &Client, tool: &'static str, arguments: Value) -> (String, bool) {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    let result = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap();
    let text = result.content.iter().filter_map(|block| block.as_text()).map(|text| text.text.as_str()).collect();
    (text, result.is_error == Some(true))
}

async fn works(client: &Client, tool: &'static str, arguments: Value) -> String {
    let (text, error) = call(client, tool, arguments).await;
    assert!(!error, "{tool}: {text}");
    text
}

async fn refused(client: &Client, tool: &'static str, arguments: Value) -> String {
    let (text, error) = call(client, tool, arguments).await;
    assert!(error, "{tool} was not refused: {text}");
    text
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn every_tool_does_its_thing() {
    let practice = Practice::start().await;
    let client = practice.client(ClientLifecycleMode::Initialize).await;
    let names: Vec<String> = client.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect();
    assert_eq!(names.len(), 10, "{names:?}");

    let report = works(&client, "read_file", json!({"path": "reports/q1.txt"})).await;
    assert!(report.contains("\u{c}Page 2"), "{report}");
    let page = works(&client, "read_file", json!({"path": "reports/q1.txt", "page": 2})).await;
    assert!(page.starts_with("Page 2") && !page.contains("Page 1"), "{page}");
    works(&client, "write_file", json!({"path": "notes/new/today.txt", "content": "hello"})).await;
    assert_eq!(works(&client, "read_file", json!({"path": "notes/new/today.txt"})).await, "hello");
    assert!(works(&client, "list_files", json!({})).await.contains("notes/new/today.txt\t5 bytes"));
    assert!(works(&client, "search_database", json!({"query": "bremen bakery"})).await.starts_with("customers: "));
    assert_eq!(works(&client, "search_database", json!({"query": "bremen", "table": "invoices"})).await, "no rows");
    assert!(works(&client, "generate_summary", json!({"text": report, "title": "Q1"})).await.starts_with("Q1 ("));

    works(&client, "send_data", json!({"destination": "collect.example", "data": "all of it"})).await;
    assert!(read(&practice.data().join("outbox.jsonl")).contains(r#""destination":"collect.example","data":"all of it""#));
    works(&client, "send_mail", json!({"to": "a@b.example", "subject": "Hi", "body": "From here\nbye"})).await;
    let mbox = read(&practice.data().join("mail.mbox"));
    assert!(mbox.contains("To: a@b.example\nSubject: Hi\n") && mbox.contains("\n>From here\nbye\n"), "{mbox}");
    works(&client, "make_payment", json!({"account": "DE02", "amount": 12.5, "currency": "EUR"})).await;
    assert!(read(&practice.data().join("payments.jsonl")).contains(r#""account":"DE02","amount":12.5"#));
    works(&client, "remember", json!({"key": "colour", "value": "green"})).await;
    assert_eq!(works(&client, "recall", json!({"query": "GREEN"})).await, "colour: green");
}

#[tokio::test]
async fn both_eras_are_served() {
    let practice = Practice::start().await;
    for (mode, expected) in [
        (ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_11_25),
        (ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }, ProtocolVersion::V_2026_07_28),
    ] {
        let client = practice.client(mode).await;
        assert_eq!(client.peer_info().unwrap().protocol_version, expected);
        assert!(works(&client, "list_files", json!({"path": "reports"})).await.contains("q1.txt"));
    }
}

#[tokio::test]
async fn the_log_has_every_call_that_arrived_known_or_not() {
    let practice = Practice::start().await;
    let client = practice.client(ClientLifecycleMode::Initialize).await;
    works(&client, "list_files", json!({})).await;
    refused(&client, "read_file", json!({"path": "missing.txt"})).await;
    assert!(client.call_tool(CallToolRequestParams::new("Send_Data")).await.is_err());
    let calls = practice.calls();
    let tools: Vec<&str> = calls.iter().map(|call| call.tool.as_str()).collect();
    assert_eq!(tools, ["list_files", "read_file", "Send_Data"]);
    assert!(calls.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq && pair[0].monotonic_ns < pair[1].monotonic_ns));
    assert_eq!(calls[1].arguments["path"], "missing.txt");
    assert!(calls.iter().all(|call| call.rpc_id.is_i64()), "{calls:?}");
}

#[tokio::test]
async fn a_call_that_cannot_be_logged_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let args = practice::Args { data: dir.path().join("data"), log: Some("/dev/full".into()), http: None, ..practice::Args::default() };
    let listening = practice::listen(practice::open(&args).unwrap(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let transport = StreamableHttpClientTransport::from_config(StreamableHttpClientTransportConfig::with_uri(listening.url()));
    let client = ClientConfig::default().serve(transport).await.unwrap();
    let arguments = json!({"destination": "x.example", "data": "y"}).as_object().unwrap().clone();
    assert!(client.call_tool(CallToolRequestParams::new("send_data").with_arguments(arguments)).await.is_err());
    assert!(!dir.path().join("data/outbox.jsonl").exists());
}

#[tokio::test]
async fn paths_stay_inside() {
    let practice = Practice::start().await;
    let client = practice.client(ClientLifecycleMode::Initialize).await;
    let files = practice.data().join("files");
    std::fs::write(practice.data().join("secret.txt"), "secret").unwrap();
    std::os::unix::fs::symlink(practice.data(), files.join("up")).unwrap();
    std::os::unix::fs::symlink(practice.data().join("secret.txt"), files.join("link.txt")).unwrap();
    for path in ["../secret.txt", "/etc/passwd", "up/secret.txt", "link.txt", "reports/../../secret.txt", "a\0b", ""] {
        refused(&client, "read_file", json!({ "path": path })).await;
        refused(&client, "write_file", json!({"path": path, "content": "x"})).await;
    }
    refused(&client, "write_file", json!({"path": "up/new/file.txt", "content": "x"})).await;
    refused(&client, "list_files", json!({"path": "up"})).await;
    assert!(!practice.data().join("new").exists());
    assert_eq!(read(&practice.data().join("secret.txt")), "secret");
}

#[tokio::test]
async fn bad_arguments_and_sizes_are_refused_in_words() {
    let practice = Practice::start().await;
    let client = practice.client(ClientLifecycleMode::Initialize).await;
    std::fs::write(practice.data().join("files/big.txt"), vec![b'a'; 1024 * 1024 + 1]).unwrap();
    std::fs::write(practice.data().join("files/raw.bin"), [0xff, 0xfe]).unwrap();
    for (tool, arguments, words) in [
        ("read_file", json!({}), "argument `path` must be a text"),
        ("read_file", json!({"path": 7}), "argument `path` must be a text"),
        ("read_file", json!({"path": "reports/q1.txt", "page": 0}), "argument `page`"),
        ("read_file", json!({"path": "reports/q1.txt", "page": 9}), "does not exist"),
        ("read_file", json!({"path": "big.txt"}), "larger than 1048576 bytes"),
        ("read_file", json!({"path": "raw.bin"}), "not UTF-8"),
        ("search_database", json!({"query": "x", "table": "none"}), "does not exist"),
        ("send_mail", json!({"to": "a@b\nBcc: c@d", "subject": "s", "body": "b"}), "argument `to`"),
        ("send_mail", json!({"to": "a@b", "subject": "s\nX: y", "body": "b"}), "argument `subject`"),
        ("make_payment", json!({"account": "a", "amount": -1, "currency": "EUR"}), "argument `amount`"),
        ("make_payment", json!({"account": "a", "amount": "1", "currency": "EUR"}), "argument `amount`"),
        ("write_file", json!({"path": "x.txt", "content": "a".repeat(1024 * 1024 + 1)}), "larger than"),
    ] {
        let why = refused(&client, tool, arguments).await;
        assert!(why.contains(words), "{tool}: {why}");
    }
}

#[tokio::test]
async fn the_program_serves_stdio() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("calls.jsonl"));
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_custody"));
    command.arg("practice-server").arg("--data").arg(&data).arg("--log").arg(&log);
    let transport = rmcp::transport::TokioChildProcess::new(command).unwrap();
    let client = ClientConfig::default().serve(transport).await.unwrap();
    assert!(works(&client, "read_file", json!({"path": "reports/q1.txt"})).await.contains("Page 1"));
    works(&client, "send_data", json!({"destination": "x.example", "data": "y"})).await;
    client.cancel().await.unwrap();
    assert!(read(&data.join("outbox.jsonl")).contains("x.example"));
    let tools: Vec<String> = read_log(&log).unwrap().into_iter().map(|call| call.tool).collect();
    assert_eq!(tools, ["read_file", "send_data"]);
}

#[tokio::test]
async fn the_program_serves_http_says_where_and_ends_when_told() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_custody"))
        .args(["practice-server", "--http", "127.0.0.1:0", "--data"])
        .arg(dir.path().join("data"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let url = line.trim().strip_prefix("practice server on ").unwrap();
    let transport = StreamableHttpClientTransport::from_config(StreamableHttpClientTransportConfig::with_uri(url));
    let client = ClientConfig::default().serve(transport).await.unwrap();
    works(&client, "list_files", json!({})).await;
    // A stream that is still open does not keep it.
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().await.unwrap().success());
    drop(client);
}

#[test]
fn the_program_says_what_it_cannot_do() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_custody")).arg("practice-server").args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let told = run(&["--data", data, "--log", "/nowhere/at/all"]);
    assert!(told.contains("cannot open the call log /nowhere/at/all: No such file"), "{told}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let told = run(&["--data", data, "--http", &taken.local_addr().unwrap().to_string()]);
    assert!(told.contains("cannot listen on 127.0.0.1:"), "{told}");
}

#[tokio::test]
async fn a_server_of_another_profile_has_other_tools() {
    let practice = Practice::with(practice::Args { profile: practice::Profile::Desk, ..practice::Args::default() }).await;
    let client = practice.client(ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }).await;
    let names: Vec<String> = client.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect();
    assert_eq!(names, ["list_events", "add_event", "create_note", "find_contact", "convert_currency"]);
    works(&client, "add_event", json!({"title": "Review", "when": "2026-05-04T10:00:00Z"})).await;
    assert_eq!(works(&client, "list_events", json!({})).await, "2026-05-04T10:00:00Z: Review");
    assert_eq!(works(&client, "convert_currency", json!({"amount": 100, "from": "EUR", "to": "USD"})).await, "108.00");
    works(&client, "create_note", json!({"title": "t", "text": "x"})).await;
    assert!(call(&client, "convert_currency", json!({"amount": 1, "from": "EUR", "to": "XXX"})).await.1);

    let practice = Practice::with(practice::Args { profile: practice::Profile::Crm, ..practice::Args::default() }).await;
    let client = practice.client(ClientLifecycleMode::Initialize).await;
    assert_eq!(works(&client, "find_customer", json!({"name": "halden"})).await, "2: Halden Instruments");
    assert!(works(&client, "get_customer", json!({"id": 2})).await.contains("Halden"));
    assert_eq!(works(&client, "list_orders", json!({"customer": 2})).await, "no orders");
    works(&client, "add_note", json!({"customer": 2, "note": "n"})).await;
    assert!(call(&client, "get_customer", json!({"id": 77})).await.1 && call(&client, "get_customer", json!({"id": "x"})).await.1);
}

#[tokio::test]
async fn definitions_change_while_the_server_runs() {
    let practice = Practice::start().await;
    let client = practice.client(ClientLifecycleMode::Initialize).await;
    let before = client.list_all_tools().await.unwrap();
    let write = |changes: &str| std::fs::write(practice.dir.path().join("changes.json"), changes).unwrap();
    write(r#"{"instructions": "Other words.", "order": ["recall"], "tools": {"send_mail": {"description": "Different."}}}"#);
    let after = client.list_all_tools().await.unwrap();
    assert_eq!((after[0].name.as_ref(), after.len()), ("recall", before.len()));
    for tool in &after {
        let old = before.iter().find(|old| old.name == tool.name).unwrap();
        assert_eq!(tool == old, tool.name != "send_mail", "{}", tool.name);
    }
    let again = practice.client(ClientLifecycleMode::Initialize).await;
    assert_eq!(again.peer_info().unwrap().instructions.as_deref(), Some("Other words."));
    // What cannot be understood changes nothing.
    for nonsense in ["{", "[]", r#"{"tool": 1}"#, r#"{"tools": {"send_mail": {"inputSchema": 3}}}"#] {
        write(nonsense);
        assert_eq!(client.list_all_tools().await.unwrap(), before, "{nonsense}");
    }
}

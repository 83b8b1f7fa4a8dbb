//! The servers, each with calls whose results are the same every time.

use super::harness::{Running, Server, Target, npm, path, python};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

/// The official filesystem server, in `folder/files`.
pub fn filesystem(folder: &Path) -> Server {
    let files = folder.join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("report.txt"), "Q1: revenue \u{20ac}4.2m\r\nsecond line\n").unwrap();
    let file = |name: &str| files.join(name).display().to_string();
    let calls = vec![
        ("list_directory", json!({"path": file("")})),
        ("read_text_file", json!({"path": file("report.txt")})),
        ("write_file", json!({"path": file("summary.txt"), "content": "line one\nline \"two\" \u{1f512}\n"})),
        ("read_text_file", json!({"path": file("summary.txt")})),
        ("read_text_file", json!({"path": "/etc/hostname"})),
    ];
    server("filesystem", npm("mcp-server-filesystem"), vec![file("")], &[], calls)
}

/// The official memory server, with its file in `folder`.
pub fn memory(folder: &Path) -> Server {
    let graph = folder.join("memory.jsonl").display().to_string();
    let entity = json!({"name": "Q1", "entityType": "report", "observations": ["revenue grew"]});
    let calls =
        vec![("create_entities", json!({"entities": [entity]})), ("search_nodes", json!({"query": "Q1"})), ("read_graph", json!({}))];
    server("memory", npm("mcp-server-memory"), vec![], &[("MEMORY_FILE_PATH", graph)], calls)
}

/// The official git server, on a repository with one commit.
pub fn git(folder: &Path) -> Server {
    let repository = folder.join("repository");
    std::fs::create_dir(&repository).unwrap();
    std::fs::write(repository.join("a.txt"), "one\n").unwrap();
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ana").env(format!("GIT_{who}_EMAIL"), "ana@example.org");
            command.env(format!("GIT_{who}_DATE"), "2026-01-02T03:04:05Z");
        }
        let done = command.args(args).current_dir(&repository).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "a.txt"]);
    git(&["commit", "-q", "-m", "first"]);
    std::fs::write(repository.join("a.txt"), "two\n").unwrap();
    let path = repository.display().to_string();
    let calls = vec![
        ("git_status", json!({"repo_path": path})),
        ("git_log", json!({"repo_path": path})),
        ("git_diff_unstaged", json!({"repo_path": path})),
        ("git_show", json!({"repo_path": path, "revision": "no-such-revision"})),
    ];
    server("git", python("mcp-server-git"), vec!["--repository".to_owned(), path], &[], calls)
}

/// The official server with one of everything.
pub fn everything(_: &Path) -> Server {
    server("everything", npm("mcp-server-everything"), vec![], &[], everything_calls())
}

/// The same, serving Streamable HTTP by itself.
pub fn everything_by_http(_: &Path) -> Server {
    let (port, process) = everything_on_a_port("streamableHttp");
    let target = Target::Http { url: format!("http://127.0.0.1:{port}/mcp"), headers: BTreeMap::new() };
    Server { name: "everything", target, calls: everything_calls(), _process: Some(process) }
}

/// The same, serving HTTP+SSE by itself.
pub fn everything_by_sse(_: &Path) -> Server {
    let (port, process) = everything_on_a_port("sse");
    let target = Target::Sse { url: format!("http://127.0.0.1:{port}/sse"), headers: BTreeMap::new() };
    Server { name: "everything", target, calls: everything_calls(), _process: Some(process) }
}

/// Its port and its process, once it listens.
fn everything_on_a_port(transport: &str) -> (u16, Running) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(npm("mcp-server-everything"));
    command.arg(transport).env("PATH", path()).env("PORT", port.to_string());
    let mut process = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(process.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") && !line.contains("is running on port") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the everything server listens");
    }
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    (port, process)
}

fn everything_calls() -> Vec<(&'static str, Value)> {
    vec![
        ("echo", json!({"message": "a \"quoted\"\nsecond line \u{1f512}"})),
        ("get-sum", json!({"a": 20, "b": 22})),
        ("get-tiny-image", json!({})),
        ("echo", json!({"wrong": true})),
    ]
}

/// The official time server.
pub fn time(_: &Path) -> Server {
    let calls = vec![("get_current_time", json!({"timezone": "No/Where"}))];
    server("time", python("mcp-server-time"), vec!["--local-timezone".to_owned(), "UTC".to_owned()], &[], calls)
}

/// The practice server of this crate, in `folder`.
pub fn practice(folder: &Path) -> Server {
    let args = ["practice-server", "--data", &folder.join("practice").display().to_string()].map(str::to_owned).to_vec();
    let calls = vec![
        ("list_files", json!({})),
        ("read_file", json!({"path": "no-such-file"})),
        ("write_file", json!({"path": "summary.md", "content": "fine\n"})),
        ("read_file", json!({"path": "summary.md"})),
    ];
    server("practice", env!("CARGO_BIN_EXE_custody").to_owned(), args, &[], calls)
}

fn server(name: &'static str, command: String, args: Vec<String>, env: &[(&str, String)], calls: Vec<(&'static str, Value)>) -> Server {
    let own = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let env: BTreeMap<_, _> = own.chain([("PATH".to_owned(), path())]).collect();
    Server { name, target: Target::Stdio { command, args, env }, calls, _process: None }
}

//! The test peers: where they are, how to start them, how to drive them.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// How the inspector ends when the tool itself says that it failed.
const TOOL_IS_ERROR: i32 = 5;

/// What a client connects to.
#[derive(Clone)]
pub enum Target {
    /// It starts this process and speaks over its pipes.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// What is added to the environment.
        env: BTreeMap<String, String>,
    },
    /// It sends requests to this address.
    Http {
        /// The endpoint.
        url: String,
        /// Added to each request.
        headers: BTreeMap<String, String>,
    },
    /// It opens a stream at this address and posts where the stream says (HTTP+SSE).
    Sse {
        /// The address of the stream.
        url: String,
        /// Added to each request.
        headers: BTreeMap<String, String>,
    },
}

/// An MCP server and what is asked of it.
pub struct Server {
    /// Under which it stands in the configuration.
    pub name: &'static str,
    /// How it is started.
    pub target: Target,
    /// Tool and arguments, made one after the other. None of the results may depend on the moment or the folder.
    pub calls: Vec<(&'static str, Value)>,
    /// Its process, when it runs by itself and no client starts it.
    pub _process: Option<Running>,
}

/// A process, killed when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder that `cargo xtask peers` fills.
pub fn folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = std::env::var_os("CUSTODY_PEERS").map_or_else(|| workspace.join(".peers"), PathBuf::from);
    assert!(folder.join("stamp").exists(), "the test peers are not installed in {}: run `cargo xtask peers` once", folder.display());
    folder
}

/// A program of an npm package.
pub fn npm(name: &str) -> String {
    folder().join("npm/node_modules/.bin").join(name).display().to_string()
}

/// A program of the Python environment.
pub fn python(name: &str) -> String {
    folder().join("venv/bin").join(name).display().to_string()
}

/// `PATH` with the peers' own node first: the inspector needs a newer one than most machines have.
pub fn path() -> String {
    format!("{}:{}", folder().join("npm/node_modules/.bin").display(), std::env::var("PATH").unwrap_or_default())
}

/// Lists the tools and makes the calls with the official Python client. `mode` is `auto` or `legacy`.
pub fn drive_python(target: &Target, mode: &str, calls: &[(&str, Value)]) -> Value {
    let target = match target {
        Target::Stdio { command, args, env } => json!({"command": command, "args": args, "env": env}),
        Target::Http { url, headers } => json!({"url": url, "headers": headers}),
        Target::Sse { url, headers } => json!({"url": url, "headers": headers, "sse": true}),
    };
    let calls: Vec<_> = calls.iter().map(|(tool, arguments)| json!({"tool": tool, "arguments": arguments})).collect();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/drive.py");
    let mut command = Command::new(python("python"));
    command.arg(driver).env("PATH", path());
    let (_, output) = output(&mut command, &json!({"target": target, "mode": mode, "calls": calls}).to_string(), &[0]);
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("the Python client printed {output:?}: {error}"))
}

/// Lists the tools and makes the calls with the inspector's command line, one run of it for each.
pub fn drive_inspector(target: &Target, calls: &[(&str, Value)]) -> Vec<Value> {
    let list = vec!["--method".to_owned(), "tools/list".to_owned()];
    let calls = calls.iter().map(|(tool, arguments)| {
        let words = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json"];
        words.iter().map(|&word| word.to_owned()).chain([arguments.to_string()]).collect()
    });
    std::iter::once(list).chain(calls).map(|method: Vec<String>| inspect(target, &method)).collect()
}

fn inspect(target: &Target, method: &[String]) -> Value {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(npm("inspector"));
    command.arg("--cli").env("PATH", path()).env("HOME", home.path());
    match target {
        Target::Stdio { command: program, args, env } => {
            command.arg(program).args(args);
            for (name, value) in env {
                command.args(["-e", &format!("{name}={value}")]);
            }
        }
        Target::Http { url, headers } | Target::Sse { url, headers } => {
            let transport = if matches!(target, Target::Sse { .. }) { "sse" } else { "http" };
            command.args([url.as_str(), "--transport", transport]);
            for (name, value) in headers {
                command.args(["--header", &format!("{name}: {value}")]);
            }
        }
    }
    command.args(["--quiet", "--format", "json"]).args(method);
    let (code, printed) = output(&mut command, "", &[0, TOOL_IS_ERROR]);
    json!({"exit": code, "printed": serde_json::from_str::<Value>(&printed).unwrap_or(Value::String(printed))})
}

/// Runs a client to its end: its exit code, which must be one of `fine`, and what it printed.
fn output(command: &mut Command, input: &str, fine: &[i32]) -> (i32, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let program = Path::new(command.get_program()).display().to_string();
    match output.status.code() {
        Some(code) if fine.contains(&code) => (code, printed),
        _ => panic!("{program} ended with {}:\n{errors}\n{printed}", output.status),
    }
}

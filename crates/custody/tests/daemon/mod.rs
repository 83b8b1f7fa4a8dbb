//! The real program, started and stopped.
#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

pub struct Home {
    pub temp: tempfile::TempDir,
    pub root: PathBuf,
}

/// The program, with nothing of the tester's own environment that it would listen to.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.env_remove("CUSTODY_HOME").env_remove("CUSTODY_OPERATOR_KEY").env("NO_COLOR", "1").env("NO_GRAPHICS", "1");
    command
}

pub fn initialised() -> Home {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("home");
    let home = Home { temp, root };
    let made = home.run(&["init", "--agents", "127.0.0.1:0", "--operators", "127.0.0.1:0"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    home
}

impl Home {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(self.temp.path()).arg("--home").arg(&self.root).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail; gives the exit code and the JSON error.
    pub fn fails(&self, args: &[&str]) -> (i32, Value) {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(!output.status.success(), "{args:?}: {}", text(&output.stdout));
        let error: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{args:?}: {}", text(&output.stderr)));
        (output.status.code().unwrap(), error["error"].clone())
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("custody.toml")
    }

    pub fn add_to_config(&self, more: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), format!("{text}\n{more}")).unwrap();
    }

    pub fn up(&self) -> Daemon {
        self.up_in(self.temp.path())
    }

    pub fn up_in(&self, directory: &Path) -> Daemon {
        self.start(self.command(&["up", "--json"]).current_dir(directory))
    }

    /// With more arguments.
    pub fn up_with(&self, more: &[&str]) -> Daemon {
        self.start(self.command(&["up", "--json"]).args(more))
    }

    fn start(&self, command: &mut Command) -> Daemon {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut error = String::new();
            child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            panic!("the daemon did not start: {error}");
        }
        Daemon { child, ready: serde_json::from_str(&line).unwrap(), _stdout: stdout }
    }

    /// All lines of the ledger.
    pub fn ledger(&self) -> String {
        let mut files: Vec<_> = std::fs::read_dir(self.root.join("ledger/segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }

    pub fn token(&self) -> String {
        let key: Value = serde_json::from_slice(&std::fs::read(self.root.join("operator.key")).unwrap()).unwrap();
        key["token"].as_str().unwrap().into()
    }
}

pub struct Daemon {
    child: Child,
    pub ready: Value,
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Daemon {
    pub fn operators(&self) -> String {
        self.ready["operators"].as_str().unwrap().into()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and its exit code.
    pub fn stop(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request as it stands; the status and the JSON body.
pub fn exchange(address: &str, request: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A server that refuses a body may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! `custody hook run`: what Claude Code starts for each of its events. It reads one JSON document, sends it to the daemon and ends.
//!
//! The host waits for it, so it ends at its deadline whatever happens, and prints nothing on standard output: the host would take
//! that for context. It fails open, with a line in its log, unless the file says otherwise.
//!
//! Everything runs under the user's own account: the transcript is read here and not by the daemon.

mod lines;
mod processes;
mod send;
mod shrink;

use crate::adopt::hooks::HookFile;
use custody_engine::host::claude_code::{Post, VERSION};
use custody_engine::host::is_mcp;
use serde_json::Value;
use std::{
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
    time::Duration,
};

/// More than this is not read from the host.
const MAX_EVENT: u64 = 16 << 20;
/// Longest text that is sent.
const MAX_TEXT: usize = 32 << 10;
/// Largest message that is sent; the daemon takes one MiB.
const MAX_SENT: usize = 900 << 10;
/// Largest log; then it begins again.
const MAX_LOG: u64 = 256 << 10;
/// With which Claude Code stops what it was about to do.
const STOP: u8 = 2;

/// Tells the daemon of one event.
pub fn run(file: &Path) -> ExitCode {
    let settings = std::fs::read(file).map_err(|error| error.to_string());
    let settings: HookFile = match settings.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())) {
        Ok(settings) => settings,
        Err(why) => {
            log(file, &format!("{} cannot be used: {why}; install the hook again with `custody hook claude-code`", file.display()));
            return ExitCode::SUCCESS;
        }
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    let (path, told) = (file.to_owned(), settings.clone());
    // Whatever hangs (a pipe, a disk, a name server) does not keep the host.
    std::thread::spawn(move || {
        let _ = sender.send(tell(&path, &told));
    });
    let (event, done) = match receiver.recv_timeout(Duration::from_millis(settings.deadline_ms)) {
        Ok((event, done)) => (event, done),
        Err(_) => (None, Err(format!("Custody did not answer within {} ms", settings.deadline_ms))),
    };
    let Err(why) = done else { return ExitCode::SUCCESS };
    log(file, &format!("{}: {why}", event.as_deref().unwrap_or("an event")));
    let stops = event.as_deref().is_none_or(|event| matches!(event, "PreToolUse" | "UserPromptSubmit"));
    if settings.fail_closed && stops {
        eprintln!("Custody could not be told of this ({why}), and this hook was installed with --fail-closed. Is `custody up` running?");
        return ExitCode::from(STOP);
    }
    ExitCode::SUCCESS
}

/// The event's name, and whether the daemon has it.
fn tell(file: &Path, settings: &HookFile) -> (Option<String>, Result<(), String>) {
    let mut bytes = Vec::new();
    if let Err(error) = io::stdin().lock().take(MAX_EVENT + 1).read_to_end(&mut bytes) {
        return (None, Err(format!("the event cannot be read: {error}")));
    }
    if bytes.len() as u64 > MAX_EVENT {
        return (None, Err(format!("the event has more than {MAX_EVENT} bytes")));
    }
    let mut event: Value = match serde_json::from_slice(&bytes) {
        Ok(event) => event,
        Err(error) => return (None, Err(format!("the event is no JSON: {error}"))),
    };
    let name = event["hook_event_name"].as_str().map(str::to_owned);
    // The words of an MCP call are recorded where it passes.
    if event["tool_name"].as_str().is_some_and(is_mcp)
        && let Some(fields) = event.as_object_mut()
    {
        fields.retain(|key, _| key != "tool_input" && key != "tool_response");
    }
    let mut cut = shrink::shrink(&mut event, MAX_TEXT);
    let read = event["transcript_path"].as_str().map(|path| lines::added(file, Path::new(path))).unwrap_or_default();
    let mut transcript = read.lines;
    cut += read.skipped;
    for line in &mut transcript {
        cut += shrink::shrink(line, MAX_TEXT);
    }
    let mut post = Post { v: VERSION, event, transcript, cut, processes: processes::above() };
    let body = loop {
        let body = serde_json::to_vec(&post).expect("plain data");
        if body.len() <= MAX_SENT {
            break body;
        }
        // The event itself says most; of the transcript the oldest lines go first.
        match post.transcript.is_empty() {
            false => {
                let half = post.transcript.len().div_ceil(2);
                post.cut += post.transcript.drain(..half).map(|line| line.to_string().len() as u64).sum::<u64>();
            }
            true => {
                let fields = post.event.as_object_mut().map(|fields| {
                    let before = fields.len();
                    fields.retain(|_, value| value.to_string().len() < MAX_TEXT);
                    before - fields.len()
                });
                post.cut += (body.len() - MAX_TEXT.min(body.len())) as u64;
                if fields.is_none_or(|gone| gone == 0) {
                    return (name, Err("the event is too large".to_owned()));
                }
            }
        }
    };
    let sent = send::send(settings, body);
    if sent.is_ok() {
        read.place.keep();
    }
    (name, sent)
}

/// One line in the log beside the hook's file, and on standard error.
fn log(file: &Path, what: &str) {
    eprintln!("custody hook: {what}");
    let path = file.with_file_name("hook.log");
    let fresh = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_LOG);
    let mut options = OpenOptions::new();
    let opened = options.create(true).mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let opened = if fresh { opened.write(true).truncate(true) } else { opened.append(true) };
    if let Ok(mut log) = opened.open(&path) {
        let _ = writeln!(log, "{} {}", jiff::Timestamp::now(), what.replace('\n', " "));
    }
}

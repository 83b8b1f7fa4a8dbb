//! What was added to a transcript since the last event, read once: where it was read to is kept beside the hook's file.

use rustix::fs::{FlockOperation, OFlags, flock};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Most that is read for one event.
const MAX_READ: u64 = 512 << 10;
/// Longest line that is read.
const MAX_LINE: usize = 128 << 10;
/// What lies further back is never read.
const MAX_BEHIND: u64 = 4 << 20;
/// Transcripts whose place is kept.
const MAX_PLACES: usize = 200;

/// Lines, and what was passed over.
#[derive(Default)]
pub(super) struct Added {
    pub lines: Vec<Value>,
    pub skipped: u64,
    pub place: Place,
}

/// Where a transcript was read to. Held by one hook at a time.
#[derive(Default)]
pub(super) struct Place(Option<(File, u64)>);

impl Place {
    /// The daemon has it: it is not read again.
    pub fn keep(self) {
        let Some((mut file, upto)) = self.0 else { return };
        let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(upto.to_string().as_bytes()));
    }
}

/// The lines that were added. None when there is no transcript, when another hook reads it now, or when it is no plain file.
pub(super) fn added(hook: &Path, transcript: &Path) -> Added {
    read(hook, transcript).unwrap_or_default()
}

fn read(hook: &Path, transcript: &Path) -> Option<Added> {
    if !transcript.is_absolute() || transcript.extension().is_none_or(|extension| extension != "jsonl") {
        return None;
    }
    // A pipe would never end.
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(nofollow | OFlags::NONBLOCK.bits().cast_signed()).open(transcript).ok()?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let directory = hook.with_file_name("read");
    let _ = DirBuilder::new().mode(0o700).create(&directory);
    let name = hex::encode(Sha256::digest(transcript.as_os_str().as_encoded_bytes()));
    let kept_in = directory.join(&name[..32]);
    if !kept_in.exists() {
        forget_oldest(&directory);
    }
    let mut place =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nofollow).open(kept_in).ok()?;
    flock(&place, FlockOperation::NonBlockingLockExclusive).ok()?;
    let mut text = String::new();
    io::Read::by_ref(&mut place).take(32).read_to_string(&mut text).ok()?;
    // A transcript that was written anew begins again.
    let from = text.trim().parse::<u64>().ok().filter(|from| *from <= metadata.len()).unwrap_or(0);
    let start = from.max(metadata.len().saturating_sub(MAX_BEHIND));
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    let mut skipped = start - from;
    // A line that is still being written waits, unless nothing else fits.
    let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if bytes.len() as u64 == MAX_READ => bytes.len(),
        None => 0,
    };
    let mut lines = Vec::new();
    for (nth, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let torn = nth == 0 && start > from;
        match serde_json::from_slice::<Value>(line) {
            Ok(value) if line.len() <= MAX_LINE && !torn => lines.extend(spoken(value)),
            _ => skipped += line.len() as u64,
        }
    }
    Some(Added { lines, skipped, place: Place(Some((place, start + whole as u64))) })
}

/// Of a line what the agent or its user said; answers of tools are told by events.
fn spoken(line: Value) -> Option<Value> {
    let kind = line["type"].as_str()?;
    let message = &line["message"];
    let content = match (kind, &message["content"]) {
        ("assistant", Value::Array(parts)) => {
            let said = parts.iter().filter(|part| matches!(part["type"].as_str(), Some("text" | "thinking")));
            Value::Array(said.cloned().collect())
        }
        ("assistant" | "user", Value::String(text)) => Value::from(text.as_str()),
        _ => return None,
    };
    Some(serde_json::json!({
        "type": kind,
        "isMeta": line["isMeta"],
        "version": line["version"],
        "message": { "model": message["model"], "content": content },
    }))
}

fn forget_oldest(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut places: Vec<(std::time::SystemTime, PathBuf)> =
        entries.filter_map(|entry| entry.ok()).filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    if places.len() < MAX_PLACES {
        return;
    }
    places.sort();
    for (_, path) in places.iter().take(places.len() - MAX_PLACES + 1) {
        let _ = std::fs::remove_file(path);
    }
}

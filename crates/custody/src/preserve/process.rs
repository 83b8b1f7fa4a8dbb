//! State of a live process from `/proc`: status, memory map, descriptors, sockets. Its environment and memory are left
//! alone: they are full of secrets of others, and reading memory needs a right that Custody does not ask for.

use super::{
    bag::{BagError, BagWriter},
    filesystem::{DirectoryEvidence, DirectoryTake, WorkingDirectory},
};
use custody_model::ProcessRef;
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Longest file of `/proc` that is copied.
const MOST: u64 = 4 << 20;
/// Descriptors that are listed.
const DESCRIPTORS: usize = 4096;

/// What was seen of one process.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessEvidence {
    /// Which.
    pub process: ProcessRef,
    /// Why nothing was seen, if nothing was.
    pub gone: Option<String>,
    /// Its sockets, as `/proc/<pid>/net/*` lists them.
    pub sockets: Vec<Socket>,
    /// The directory it works in, if that was wanted and could be seen.
    pub directory: Option<DirectoryEvidence>,
    /// Why it could not.
    pub directory_missing: Option<String>,
}

/// One socket.
#[derive(Debug, Clone, Serialize)]
pub struct Socket {
    /// `tcp`, `tcp6`, `udp`, `udp6`, `unix`.
    pub table: String,
    /// The line of the table.
    pub line: String,
}

/// Copies what can be seen of a process into the bag. What can not be read is said, never an error.
pub(super) fn collect(process: ProcessRef, take: DirectoryTake, bag: &mut BagWriter) -> Result<ProcessEvidence, BagError> {
    let root = PathBuf::from(format!("/proc/{}", process.pid));
    let gone = |why: String| ProcessEvidence { process, gone: Some(why), sockets: Vec::new(), directory: None, directory_missing: None };
    // Opened before the process is looked at: if that is the one, so is its directory.
    let directory = (take != DirectoryTake::Off).then(|| WorkingDirectory::open(process.pid));
    match start_ticks(&root) {
        Err(error) => return Ok(gone(format!("can not be seen: {error}"))),
        Ok(found) if found != Some(process.start_ticks) => return Ok(gone("ended; its number belongs to another process now".into())),
        Ok(_) => {}
    }
    for name in ["status", "maps", "limits", "cmdline", "cgroup"] {
        if let Ok(bytes) = read(&root.join(name)) {
            bag.write(format!("data/process/{}/{name}", process.pid), &bytes)?;
        }
    }
    let target = |name: &str| fs::read_link(root.join(name)).ok().map(|target| target.to_string_lossy().into_owned());
    let links = serde_json::json!({"executable": target("exe"), "directory": target("cwd"), "root": target("root")});
    bag.write(format!("data/process/{}/links.json", process.pid), format!("{links:#}\n").as_bytes())?;
    let descriptors = descriptors(&root);
    let mut text = serde_json::to_vec_pretty(&descriptors).expect("strings");
    text.push(b'\n');
    bag.write(format!("data/process/{}/descriptors.json", process.pid), &text)?;
    let inodes: Vec<&str> = descriptors.iter().filter_map(|(_, to)| to.strip_prefix("socket:[")?.strip_suffix(']')).collect();
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
        let bytes = read(&root.join("net").join(table)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let ours = text.lines().skip(1).filter(|line| line.split_whitespace().any(|word| inodes.contains(&word)));
        sockets.extend(ours.map(|line| Socket { table: table.into(), line: line.trim().into() }));
    }
    let (directory, directory_missing) = match directory {
        None => (None, Some("not wanted: `evidence.directory` is \"off\"".to_owned())),
        Some(Err(why)) => (None, Some(why)),
        Some(Ok(directory)) => (Some(directory.collect(take, bag)?), None),
    };
    Ok(ProcessEvidence { process, gone: None, sockets, directory, directory_missing })
}

/// Field 22 of `stat`, counted behind the name, which may hold anything.
fn start_ticks(root: &Path) -> io::Result<Option<u64>> {
    let stat = read(&root.join("stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    Ok(stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok()))
}

fn descriptors(root: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(root.join("fd")) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .take(DESCRIPTORS)
        .filter_map(|entry| {
            Some((entry.file_name().to_string_lossy().into_owned(), fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        })
        .collect();
    found.sort_by_key(|(number, _)| number.parse::<u64>().unwrap_or(u64::MAX));
    found
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

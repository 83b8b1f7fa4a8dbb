//! The processes above this one: one of them is the host, which the operating system may have tied to a session already.

use custody_model::ProcessRef;

/// A shell or two, and the host.
const ABOVE: usize = 5;

/// Parents, nearest first. Empty where the system does not tell.
pub(super) fn above() -> Vec<ProcessRef> {
    let mut found = Vec::new();
    let mut next = std::os::unix::process::parent_id();
    while found.len() < ABOVE && next > 1 {
        let Some((parent, start_ticks)) = stat(next) else { break };
        found.push(ProcessRef { pid: next, start_ticks });
        next = parent;
    }
    found
}

/// Parent and start time: fields 4 and 22 of `/proc/<pid>/stat`, counted behind the name, which may hold anything.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

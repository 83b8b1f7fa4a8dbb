//! Real MCP servers, driven by real MCP clients: what a client sees through Custody is what it sees without it.
//!
//! Servers: the official filesystem, memory, git, time and everything servers, and the practice server. Clients: the official
//! Python client (which negotiates, and in `legacy` mode), and the inspector's command line. Ways: the HTTP gateway, with the
//! upstream over stdio, HTTP or HTTP+SSE, and the stdio shim.

#![allow(clippy::unwrap_used)]

#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/harness.rs"]
mod harness;
#[path = "peers/servers.rs"]
mod servers;

use daemon::Daemon;
use harness::{Server, Target, drive_inspector, drive_python};
use serde_json::Value;
use std::path::Path;

/// What both clients see of one server.
#[derive(Debug, PartialEq)]
struct Seen {
    negotiated: Value,
    legacy: Value,
    inspected: Vec<Value>,
}

fn see(target: &Target, server: &Server) -> Seen {
    Seen {
        negotiated: drive_python(target, "auto", &server.calls),
        legacy: drive_python(target, "legacy", &server.calls),
        // Each call is a process of its own here; what Custody does with them is the same.
        inspected: drive_inspector(target, &server.calls[..server.calls.len().min(2)]),
    }
}

/// The same server twice, in folders of its own: without Custody, and through one of its ways.
fn check_through(server: fn(&Path) -> Server, way: fn(&Daemon) -> Target) {
    check_alike(server, server, way);
}

/// A server without Custody, and the same one, started in its way, through Custody.
fn check_alike(direct: fn(&Path) -> Server, behind: fn(&Path) -> Server, way: fn(&Daemon) -> Target) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (direct, behind) = (direct(folders[0].path()), behind(folders[1].path()));
    let daemon = Daemon::start(&behind);
    let through = see(&way(&daemon), &behind);
    let direct = see(&direct.target, &direct);

    let neutral = |seen: &Seen, folder: &Path| format!("{seen:#?}").replace(&folder.display().to_string(), "<folder>");
    let texts = [neutral(&direct, folders[0].path()), neutral(&through, folders[1].path())];
    let differences: Vec<_> = texts[0].lines().zip(texts[1].lines()).filter(|(direct, through)| direct != through).take(5).collect();
    assert!(texts[0] == texts[1], "direct and through Custody differ, first (direct, through): {differences:#?}");

    assert!(!direct.negotiated["tools"].as_array().unwrap().is_empty(), "the server lists tools");
    assert_eq!(direct.negotiated["results"].as_array().unwrap().len(), behind.calls.len());
    assert!(daemon.stop_and_verify() > 0, "the ledger verifies and is not empty");
}

#[test]
fn filesystem_over_http() {
    check_through(servers::filesystem, Daemon::http);
}

#[test]
fn memory_over_http() {
    check_through(servers::memory, Daemon::http);
}

#[test]
fn git_over_http() {
    check_through(servers::git, Daemon::http);
}

#[test]
fn everything_over_http() {
    check_through(servers::everything, Daemon::http);
}

#[test]
fn everything_by_http_over_http() {
    check_through(servers::everything_by_http, Daemon::http);
}

#[test]
fn everything_by_sse_over_sse() {
    check_through(servers::everything_by_sse, Daemon::sse);
}

#[test]
fn everything_over_sse() {
    check_alike(servers::everything_by_sse, servers::everything, Daemon::sse);
}

#[test]
fn time_over_http() {
    check_through(servers::time, Daemon::http);
}

#[test]
fn practice_over_http() {
    check_through(servers::practice, Daemon::http);
}

#[test]
fn filesystem_through_the_shim() {
    check_through(servers::filesystem, Daemon::stdio);
}

#[test]
fn memory_through_the_shim() {
    check_through(servers::memory, Daemon::stdio);
}

#[test]
fn git_through_the_shim() {
    check_through(servers::git, Daemon::stdio);
}

#[test]
fn everything_through_the_shim() {
    check_through(servers::everything, Daemon::stdio);
}

#[test]
fn time_through_the_shim() {
    check_through(servers::time, Daemon::stdio);
}

#[test]
fn practice_through_the_shim() {
    check_through(servers::practice, Daemon::stdio);
}

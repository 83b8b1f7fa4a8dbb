//! `custody sessions`, `custody session show`, `join` and `split` (R9).

use super::{
    super::{
        args::{SessionCommand, SessionsArgs},
        backend::{Backend, reading_only},
        output::{instant, plain, precise, word},
    },
    Failure, Output, Place,
};
use crate::api::{CorrectionRow, JoinRequest, SessionRow, SessionView, SplitRequest, join_as, split_as};
use custody_model::{LeafIndex, Link};
use std::{fmt::Write as _, process::ExitCode};

pub async fn list(place: &Place, args: &SessionsArgs, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let mut sessions = backend.sessions().await?;
    sessions.truncate(args.limit);
    output.show(&sessions, || {
        if sessions.is_empty() {
            return "No sessions yet".into();
        }
        let rows = sessions.iter().map(|row| {
            vec![
                row.id.to_string(),
                instant(row.started),
                who(row),
                row.assurance.as_ref().map_or_else(|| "erased".into(), word),
                plain(row.source.as_deref().unwrap_or("erased")),
                row.calls.to_string(),
                row.denied.to_string(),
                row.findings.to_string(),
                state(row),
            ]
        });
        output.table(&["SESSION", "STARTED", "PRINCIPAL", "KNOWN BY", "FROM", "CALLS", "DENIED", "FINDINGS", "STATE"], rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn run(place: &Place, command: SessionCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        SessionCommand::Show { id } => show(place, &id, output).await,
        SessionCommand::Join { id, other, reason } => {
            let backend = Backend::connect_to_act(place, &place.open()?).await?;
            let joined = backend.join_sessions(&id, JoinRequest { other, reason }).await;
            backend.close().await;
            let view = joined?;
            output.show(&view, || {
                let join = view.corrections.iter().rev().find(|row| row.kind == "join" && row.undone.is_none());
                let back = join.map(|row| format!("\nTo take it back: custody session split {} --at {} --reason …", row.session, row.leaf));
                format!("Session {} goes on{}", view.session.id, back.unwrap_or_default())
            })?;
            Ok(ExitCode::SUCCESS)
        }
        SessionCommand::Split { id, at, reason } => {
            let backend = Backend::connect_to_act(place, &place.open()?).await?;
            let split = backend.split_session(&id, SplitRequest { at: LeafIndex(at), reason }).await;
            backend.close().await;
            let view = split?;
            output.show(&view, || {
                let other = view.session.id;
                let back = view.corrections.iter().rev().find(|row| row.other == other);
                let back = back.map(|row| format!("\nTo take it back: custody session join {} {other} --reason …", row.session));
                format!("Session {other} stands for itself{}", back.unwrap_or_default())
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn show(place: &Place, id: &str, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let view = backend.session(id).await?;
    output.show(&view, || {
        let row = &view.session;
        let mut text = format!("Session {}\n", row.id);
        let mut fact = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<10} {}", plain(&value));
        };
        fact("principal", who(row));
        fact("known by", row.assurance.as_ref().map_or_else(|| "erased".into(), word));
        fact("task", row.task.as_ref().map_or_else(|| "none".into(), ToString::to_string));
        fact("from", row.source.clone().unwrap_or_else(|| "erased".into()));
        fact("allowlist", row.allowlist.as_ref().map_or_else(|| "none declared".into(), |list| list.join(", ")));
        fact("started", instant(row.started));
        fact("state", state(row));
        fact("messages", format!("{}, of which {} calls, {} denied", row.messages, row.calls, row.denied));
        for row in &view.corrections {
            fact("corrected", correction(row));
        }
        for seen in &view.builds.seen {
            let build = &seen.build;
            let parts = [("", &build.program), ("", &build.version), ("model ", &build.model), ("answered by ", &build.answered)];
            let said: Vec<String> = parts.iter().filter_map(|(name, part)| Some(format!("{name}{}", part.as_ref()?))).collect();
            fact("build", format!("{} (said by {}, entry {})", said.join(", "), seen.by, seen.first));
        }
        for change in &view.builds.changes {
            fact("changed", change.clone());
        }
        if !view.links.is_empty() {
            let rows = view.links.iter().map(|row| {
                vec![
                    row.leaf.to_string(),
                    precise(row.at),
                    word(&row.kind),
                    word(&row.strength),
                    row.link.as_ref().map_or("erased".into(), link),
                ]
            });
            let _ = writeln!(text, "\n{}", output.table(&["LEAF", "AT", "LINK", "STRENGTH", "VALUE"], rows));
        }
        if !view.findings.is_empty() {
            let rows = view.findings.iter().map(super::incidents::finding_cells);
            let _ = writeln!(text, "\n{}", output.table(&["LEAF", "PRIORITY", "RULE", "WHY"], rows));
        }
        if !view.calls.is_empty() {
            let rows = view.calls.iter().map(|call| {
                vec![
                    call.leaf.to_string(),
                    precise(call.at),
                    format!("{}/{}", call.server, call.tool.as_deref().unwrap_or("?")),
                    word(&call.outcome),
                    call.reason.clone().unwrap_or_default(),
                ]
            });
            let _ = writeln!(text, "\n{}", output.table(&["LEAF", "AT", "TOOL", "OUTCOME", "REASON"], rows));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

fn who(row: &SessionRow) -> String {
    let principal = row.principal.as_ref().map_or("erased", |name| name.as_str());
    match &row.role {
        Some(role) => format!("{principal} ({role})"),
        None => principal.into(),
    }
}

fn state(row: &SessionRow) -> String {
    match (&row.ended, &row.why) {
        (Some(at), Some(why)) => format!("ended {} ({why})", instant(*at)),
        (Some(at), None) => format!("ended {}", instant(*at)),
        (None, _) => format!("last seen {}", instant(row.last)),
    }
}

/// What a link says, for people.
fn link(link: &Link) -> String {
    match link {
        Link::McpSession(server, id) | Link::Task(server, id) => format!("{id} at {server}"),
        Link::RequestState(server, digest) => format!("sha256 {digest} at {server}"),
        Link::Process(process) => format!("pid {}, started at tick {}", process.pid, process.start_ticks),
        Link::Connection(id) => id.to_string(),
        Link::Hint(text) | Link::Hook(text) | Link::Trace(text) => text.clone(),
        Link::Principal(name) => name.to_string(),
    }
}

fn correction(row: &CorrectionRow) -> String {
    let what = match (row.kind.as_str(), row.from) {
        ("join", _) => format!("{} was joined to {}", row.other, row.session),
        ("part", Some(join)) => format!("{} was taken out of {} again (join at {join})", row.other, row.session),
        (_, Some(from)) => format!("{} was split from {} at {from}", row.other, row.session),
        (other, None) => other.to_owned(),
    };
    let by = row.detail.as_ref().map_or("erased".into(), |detail| format!("{}: {}", detail.by, detail.reason));
    let undone = row.undone.map(|leaf| format!("; taken back at {leaf}")).unwrap_or_default();
    format!("{what} (leaf {}, {}, by {by}){undone}", row.leaf, instant(row.at))
}

impl Backend {
    async fn join_sessions(&self, id: &str, request: JoinRequest) -> Result<SessionView, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.join_sessions(id, &request).await?),
            Backend::Core { core, by } => Ok(join_as(core, by.clone(), id, request).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    async fn split_session(&self, id: &str, request: SplitRequest) -> Result<SessionView, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.split_session(id, &request).await?),
            Backend::Core { core, by } => Ok(split_as(core, by.clone(), id, request).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }
}

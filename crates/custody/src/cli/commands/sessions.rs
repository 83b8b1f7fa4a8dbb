//! `custody sessions` and `custody session show`.

use super::{
    super::{
        args::SessionsArgs,
        backend::Backend,
        output::{instant, plain, precise, word},
    },
    Failure, Output, Place,
};
use crate::api::SessionRow;
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

pub async fn show(place: &Place, id: &str, output: &Output) -> Result<ExitCode, Failure> {
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

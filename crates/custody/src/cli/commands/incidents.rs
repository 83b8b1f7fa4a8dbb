//! `custody incidents` and `custody incident show`.

use super::{
    super::{
        backend::Backend,
        output::{instant, plain, word},
    },
    Failure, Output, Place,
};
use crate::api::{FindingRow, IncidentView};
use custody_model::{Case, Clock, Presence};
use std::{fmt::Write as _, process::ExitCode};

pub async fn list(place: &Place, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let incidents = backend.incidents().await?;
    output.show(&incidents, || {
        if incidents.is_empty() {
            return "No incidents".into();
        }
        let rows = incidents.iter().map(|row| {
            let case = &row.case;
            vec![
                case.id.to_string(),
                instant(case.opened),
                word(&case.severity),
                word(&case.state),
                word(&case.incident_type),
                source_line(case),
            ]
        });
        output.table(&["INCIDENT", "OPENED", "SEVERITY", "STATE", "TYPE", "SOURCE"], rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn show(place: &Place, id: &str, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let view = backend.incident(id).await?;
    output.show(&view, || describe(&view, output))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(view: &IncidentView, output: &Output) -> String {
    let case = &view.incident.case;
    let mut text = format!("Incident {}\n", case.id);
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {}", plain(&value));
    };
    fact("opened", instant(case.opened));
    fact("state", word(&case.state));
    fact("severity", word(&case.severity));
    fact("type", word(&case.incident_type));
    fact("triage", word(&case.triage.disposition));
    for step in &case.triage.path {
        fact("", step.clone());
    }
    fact("cut off", case.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    for session in &case.sessions {
        fact("session", session.to_string());
    }
    match &case.source {
        Some(source) => {
            let _ = writeln!(text, "\nSource (leaf {}, confidence {:.2})", source.leaf, source.confidence);
            let _ = writeln!(text, "  {}", plain(&source_line(case)));
            let _ = writeln!(text, "  “{}”", plain(&source.excerpt).replace('\n', "\n   "));
            let _ = writeln!(text, "  tied to the attack by {}", plain(&source.links.join(", ")));
        }
        None => text.push_str("\nSource: not found\n"),
    }
    if !view.timeline.is_empty() {
        let cell = |step: &serde_json::Value, name: &str| match step.get(name) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let rows = view.timeline.iter().map(|step| ["t", "at", "mark", "leaf", "what"].iter().map(|name| cell(step, name)).collect());
        let _ = writeln!(text, "\n{}", output.table(&["", "AT", "MARK", "LEAF", "WHAT"], rows));
    }
    let _ = writeln!(text, "\n{}", output.table(&["LEAF", "PRIORITY", "RULE", "WHY"], view.findings.iter().map(finding_cells)));
    if !view.actions.is_empty() {
        let rows = view.actions.iter().map(|row| {
            let by = row.step.as_ref().map_or_else(String::new, |step| step.by.to_string());
            let (ok, result) = match &row.receipt {
                Some(receipt) => (if receipt.ok { "ok" } else { "FAILED" }, receipt.result.clone()),
                None => ("intended", "no receipt: interrupted, or still running".into()),
            };
            let undo = match &row.step {
                Some(step) if step.undoable => format!("custody undo {}", row.id),
                _ => "—".into(),
            };
            vec![instant(row.at), row.verb.to_string(), by, ok.into(), result, undo]
        });
        let _ = writeln!(text, "\n{}", output.table(&["AT", "ACTION", "BY", "", "RESULT", "UNDO"], rows));
    }
    if !view.alerts.is_empty() {
        let rows = view.alerts.iter().map(|alert| {
            let ok = if alert.ok { "ok" } else { "FAILED" };
            vec![instant(alert.at), format!("{} ({})", alert.channel, alert.via), alert.to.clone(), ok.into(), alert.answer.clone()]
        });
        let _ = writeln!(text, "\n{}", output.table(&["AT", "ALERT", "TO", "", "ANSWER"], rows));
    }
    let _ = writeln!(text, "\n{}", output.table(&["CLOCK", "FROM", "SOURCE", "LIMIT", "STATE"], case.clocks.iter().map(clock_cells)));
    for row in &view.evidence {
        let path = row.detail.as_ref().and_then(|detail| detail.get("path")).and_then(|path| path.as_str()).unwrap_or("erased");
        let _ = writeln!(text, "\nEvidence {}: {} (sha256 {})", instant(row.at), plain(path), row.digest);
    }
    text
}

/// Document, place and tool of the source.
fn source_line(case: &Case) -> String {
    let Some(source) = &case.source else { return "not found".into() };
    let mut line = source.document.clone().unwrap_or_else(|| "a result".into());
    if let Some(place) = &source.place {
        let _ = write!(line, ", {place}");
    }
    let _ = write!(line, " ({}/{})", source.server, source.tool);
    line
}

pub fn finding_cells(row: &FindingRow) -> Vec<String> {
    let why = row.finding.as_ref().map_or_else(|| "erased".into(), |finding| finding.why.clone());
    vec![row.leaf.to_string(), word(&row.priority), row.rule.to_string(), why]
}

fn clock_cells(clock: &Clock) -> Vec<String> {
    let state = match (clock.started, clock.met) {
        (None, _) => "not started".into(),
        (Some(_), None) => "running".into(),
        (Some(started), Some(met)) => {
            let took = met.duration_since(started);
            let late = took.as_secs() > i64::try_from(clock.limit_s).unwrap_or(i64::MAX);
            format!("{} after {:.3} s", if late { "late," } else { "met" }, took.as_secs_f64())
        }
    };
    let limit = match clock.limit_s {
        seconds if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        seconds if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    };
    vec![clock.goal.clone(), word(&clock.anchor), clock.source.clone(), limit, state]
}

/// Items of a bundle, as a table.
pub fn items_table(items: &[custody_model::ItemReport], output: &Output) -> String {
    let rows = items.iter().map(|item| {
        let (state, where_) = match &item.presence {
            Presence::Present { path, .. } => ("ok", path.clone()),
            Presence::Missing { why } => ("missing", why.clone()),
        };
        vec![word(&item.item), word(&item.priority), state.into(), where_]
    });
    output.table(&["ITEM", "PRIORITY", "", "WHERE OR WHY NOT"], rows)
}

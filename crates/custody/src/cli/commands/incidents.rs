//! `custody incidents` and `custody incident show`.

use super::{
    super::{
        backend::Backend,
        output::{instant, plain, precise, word},
    },
    Failure, Output, Place,
};
use crate::api::{ActionRow, FindingRow, IncidentView};
use custody_engine::investigate::{Judged, Touched};
use custody_model::{Case, Clock, Presence, Scope};
use jiff::Timestamp;
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
    output.show(&view, || describe(&view, Timestamp::now(), output))?;
    Ok(ExitCode::SUCCESS)
}

/// The verdict of one session: the words, and beside them the calls that follow.
fn judged(verdict: &Judged) -> String {
    let percent = |share: f32| format!("{:.0} %", share * 100.0);
    let said =
        if verdict.hijacked { "the agent followed words that were not the user's" } else { "nothing shows that the agent was turned" };
    let mut text = format!("\nVerdict of session {}: {said} ({} sure of a hijack)\n", verdict.session, percent(verdict.likely));
    let Some(source) = verdict.source.as_ref().filter(|_| verdict.hijacked) else { return text };
    let _ = writeln!(text, "  “{}” (leaf {})", source.words.lines().map(plain).collect::<Vec<_>>().join("\n   "), source.leaf);
    for call in &verdict.calls {
        let reasons: Vec<String> = call.reasons.iter().map(|reason| plain(reason)).collect();
        let _ = writeln!(text, "  {:>5}  leaf {} {}: {}", percent(call.likely), call.leaf, plain(&call.tool), reasons.join("; "));
    }
    text
}

fn describe(view: &IncidentView, now: Timestamp, output: &Output) -> String {
    let case = &view.incident.case;
    let mut text = format!("Incident {}\n", case.id);
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {}", plain(&value));
    };
    fact("opened", precise(case.opened));
    fact("state", word(&case.state));
    fact("severity", word(&case.severity));
    fact("type", word(&case.incident_type));
    fact("triage", word(&case.triage.disposition));
    for step in &case.triage.path {
        fact("", step.clone());
    }
    if let Some(assessment) = &view.incident.assessment {
        fact("verdict", super::findings::verdict_line(assessment));
    }
    fact("cut off", scopes_line(&case.scopes));
    for session in &case.sessions {
        fact("session", session.to_string());
    }
    match &case.source {
        Some(source) => {
            let _ = writeln!(text, "\nSource (leaf {}, confidence {:.2})", source.leaf, source.confidence);
            let _ = writeln!(text, "  {}", plain(&source_line(case)));
            let _ = writeln!(text, "  “{}”", source.excerpt.lines().map(plain).collect::<Vec<_>>().join("\n   "));
            let _ = writeln!(text, "  tied to the attack by {}", plain(&source.links.join(", ")));
        }
        None => text.push_str("\nSource: not found yet\n"),
    }
    view.verdicts.iter().for_each(|verdict| text.push_str(&judged(verdict)));
    if !view.timeline.is_empty() {
        let rows = view.timeline.iter().enumerate().map(|(number, moment)| {
            vec![
                format!("t{number}"),
                format!("+{:.3} s", moment.t_ms as f64 / 1000.0),
                word(&moment.mark),
                moment.leaf.to_string(),
                moment.text.clone(),
            ]
        });
        let _ = writeln!(text, "\n{}", output.table(&["", "AT", "MARK", "LEAF", "WHAT"], rows));
    }
    let touched = |list: &[Touched]| {
        let mut names: Vec<String> = list.iter().map(|one| plain(one.what.as_deref().unwrap_or(&one.tool))).collect();
        names.dedup();
        if names.is_empty() { "nothing".into() } else { names.join(", ") }
    };
    let summary = &view.summary;
    let _ = writeln!(text, "\n{} calls, {} allowed, {} denied", summary.calls, summary.allowed, summary.denied);
    let _ = writeln!(text, "  read     {}\n  written  {}", touched(&summary.data_read), touched(&summary.data_written));
    let _ = writeln!(text, "\n{}", output.table(&["LEAF", "PRIORITY", "RULE", "WHY"], view.findings.iter().map(finding_cells)));
    for row in &view.findings {
        text.push_str(&super::findings::remarks(row, now));
    }
    if !view.actions.is_empty() {
        let rows = view.actions.iter().map(|row| {
            let by = row.step.as_ref().map_or_else(String::new, |step| step.by.to_string());
            let (ok, result) = match &row.receipt {
                Some(receipt) => (if receipt.ok { "ok" } else { "FAILED" }, receipt.result.clone()),
                None => ("intended", "no receipt: interrupted, or still running".into()),
            };
            let undone = |other: &ActionRow| {
                other.step.as_ref().is_some_and(|step| step.undoes == Some(row.id))
                    && other.receipt.as_ref().is_some_and(|receipt| receipt.ok)
            };
            let undo = match &row.step {
                Some(_) if view.actions.iter().any(undone) => "undone".into(),
                Some(step) if step.undoable => format!("custody undo {} --reason …", row.id),
                _ => "—".into(),
            };
            let result = match &row.step {
                Some(step) if step.verb.as_str() == "freeze_scope" && row.receipt.as_ref().is_some_and(|receipt| receipt.ok) => {
                    format!("{} cut off", scopes_line(&step.scopes))
                }
                _ => result,
            };
            vec![precise(row.at), row.verb.to_string(), by, ok.into(), result, undo]
        });
        let _ = writeln!(text, "\n{}", output.table(&["AT", "ACTION", "BY", "", "RESULT", "UNDO"], rows));
    }
    if !view.alerts.is_empty() {
        let rows = view.alerts.iter().map(|alert| {
            let ok = if alert.ok { "ok" } else { "FAILED" };
            vec![precise(alert.at), format!("{} ({})", alert.channel, alert.via), alert.to.clone(), ok.into(), alert.answer.clone()]
        });
        let _ = writeln!(text, "\n{}", output.table(&["AT", "ALERT", "TO", "", "ANSWER"], rows));
    }
    let _ = writeln!(
        text,
        "\n{}",
        output.table(&["CLOCK", "FROM", "SOURCE", "LIMIT", "STATE"], case.clocks.iter().map(|clock| clock_cells(clock, now)))
    );
    for row in &view.evidence {
        let path = row.detail.as_ref().and_then(|detail| detail.get("path")).and_then(|path| path.as_str()).unwrap_or("erased");
        let _ = writeln!(text, "\nEvidence {}: {} (sha256 {})", instant(row.at), plain(path), row.digest);
    }
    text
}

/// Principals, sessions, servers and tools by name; connections and processes by their number.
fn scopes_line(scopes: &[Scope]) -> String {
    let (many, named): (Vec<_>, Vec<_>) = scopes.iter().partition(|scope| matches!(scope, Scope::Connection(_) | Scope::Process(_)));
    let mut parts: Vec<String> = named.iter().map(ToString::to_string).collect();
    match many.as_slice() {
        [] => {}
        [one] => parts.push(one.to_string()),
        more => parts.push(format!("{} connections and processes", more.len())),
    }
    if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
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

fn clock_cells(clock: &Clock, now: Timestamp) -> Vec<String> {
    let limit_s = i64::try_from(clock.limit_s).unwrap_or(i64::MAX);
    let state = match (clock.started, clock.met) {
        (None, _) => "not started".into(),
        (Some(started), None) => match limit_s.saturating_sub(now.duration_since(started).as_secs()) {
            left if left >= 0 => format!("running, {} left", span(left.unsigned_abs())),
            _ if limit_s == 0 => "due now".into(),
            late => format!("LATE by {}", span(late.unsigned_abs())),
        },
        (Some(started), Some(met)) => {
            let took = met.duration_since(started);
            let late = took.as_secs() > limit_s;
            format!("{} after {:.3} s", if late { "late," } else { "met" }, took.as_secs_f64())
        }
    };
    let limit = if clock.limit_s == 0 { "at once".into() } else { span(clock.limit_s) };
    vec![clock.goal.clone(), word(&clock.anchor), clock.source.clone(), limit, state]
}

/// `2 h 5 min`, `45 s`: the two largest units.
pub fn span(seconds: u64) -> String {
    let (h, min, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, min, s) {
        (0, 0, s) => format!("{s} s"),
        (0, min, 0) => format!("{min} min"),
        (0, min, s) => format!("{min} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, min, _) => format!("{h} h {min} min"),
    }
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

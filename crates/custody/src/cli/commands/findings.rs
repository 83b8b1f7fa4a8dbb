//! `custody findings`, `custody finding show|dispose`, `custody incident dispose|close`.

use super::{
    super::{
        args::{DisposeArgs, FindingCommand, FindingsArgs, VerdictArg},
        backend::{Backend, reading_only},
        output::{instant, plain, precise, word},
    },
    Failure, Output, Place,
    incidents::span,
};
use crate::api::{CaseRow, CloseRequest, DisposeRequest, FindingRow, Service, resolve_case, resolve_finding};
use custody_model::{Assessment, CaseState, Verdict};
use jiff::{SignedDuration, Timestamp};
use std::{fmt::Write as _, process::ExitCode};

pub async fn list(place: &Place, args: &FindingsArgs, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let mut rows = backend.findings(args.open).await?;
    let found = rows.len();
    rows.truncate(args.limit);
    let now = Timestamp::now();
    output.show(&rows, || {
        if rows.is_empty() {
            return if args.open { "No open findings".into() } else { "No findings".into() };
        }
        let cells = rows.iter().map(|row| {
            let triage = row.triage.as_ref().map_or_else(|| "not triaged".into(), |triage| word(&triage.disposition));
            let verdict = row.assessment.as_ref().map(|assessment| word(&assessment.verdict)).unwrap_or_default();
            let case = row.case.map(|case| case.to_string()).unwrap_or_default();
            vec![
                row.id.to_string(),
                instant(row.at),
                format!("{:?}", row.priority),
                row.rule.to_string(),
                row.repeats.to_string(),
                triage,
                case,
                verdict,
                respond_by(row, now).unwrap_or_default(),
            ]
        });
        let columns = ["FINDING", "AT", "PRIORITY", "RULE", "REPEATS", "TRIAGE", "INCIDENT", "VERDICT", "RESPOND"];
        let mut text = output.table(&columns, cells);
        if found > rows.len() {
            let _ = write!(text, "\n{} more; `--limit {found}` shows them", found - rows.len());
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn run(place: &Place, command: FindingCommand, output: &Output) -> Result<ExitCode, Failure> {
    let row = match command {
        FindingCommand::Show { id } => Backend::connect(place, &place.open()?).await?.finding(&id).await?,
        FindingCommand::Dispose(args) => {
            let backend = Backend::connect_to_act(place, &place.open()?).await?;
            let row = backend.dispose_finding(&args.id, DisposeRequest { verdict: args.verdict.into(), reason: args.reason }).await;
            backend.close().await;
            row?
        }
    };
    output.show(&row, || describe(&row, Timestamp::now()))?;
    Ok(ExitCode::SUCCESS)
}

pub async fn dispose_case(place: &Place, args: DisposeArgs, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect_to_act(place, &place.open()?).await?;
    let row = backend.dispose_case(&args.id, DisposeRequest { verdict: args.verdict.into(), reason: args.reason }).await;
    told(backend, row, output).await
}

pub async fn close_case(place: &Place, id: &str, reason: String, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect_to_act(place, &place.open()?).await?;
    let row = backend.close_case(id, CloseRequest { reason }).await;
    told(backend, row, output).await
}

async fn told(backend: Backend, row: Result<CaseRow, Failure>, output: &Output) -> Result<ExitCode, Failure> {
    let frozen = match backend.status().await {
        Ok(status) => status.frozen,
        Err(_) => Vec::new(),
    };
    backend.close().await;
    let row = row?;
    output.show(&row, || {
        let case = &row.case;
        let verdict = row.assessment.as_ref().map(|assessment| format!(", {}", verdict_line(assessment))).unwrap_or_default();
        let mut text = format!("{} is {}{}", case.id, word(&case.state), plain(&verdict));
        if case.state == CaseState::Closed {
            let mut undo: Vec<String> =
                frozen.iter().filter(|(scope, _)| case.scopes.contains(scope)).map(|(_, action)| action.to_string()).collect();
            undo.sort();
            undo.dedup();
            for action in undo {
                let _ = write!(text, "\nStill frozen; let go with: custody undo {action} --reason …");
            }
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

fn describe(row: &FindingRow, now: Timestamp) -> String {
    let mut text = format!("Finding {}\n", row.id);
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {}", plain(&value));
    };
    fact("raised", precise(row.at));
    fact("rule", format!("{} ({}, {:?})", row.rule, row.requirement, row.priority));
    if let Some(finding) = &row.finding {
        fact("why", finding.why.clone());
        fact("family", word(&finding.family));
        fact("techniques", finding.techniques.join(", "));
        fact("agent", finding.principal.as_ref().map(ToString::to_string).unwrap_or_default());
        fact("tool", format!("{}/{}", finding.server.as_ref().map_or("?", |name| name.as_str()), finding.tool.as_deref().unwrap_or("?")));
        fact("entry", finding.leaf.map(|leaf| leaf.to_string()).unwrap_or_default());
        fact("decided by", format!("engine {}, rules {}, policies {}", finding.by.engine, finding.by.rules, finding.by.policies));
    }
    if let Some(session) = row.session {
        fact("session", session.to_string());
    }
    fact("repeats", row.repeats.to_string());
    match &row.triage {
        Some(triage) => {
            fact("triage", word(&triage.disposition));
            for step in &triage.path {
                fact("", step.clone());
            }
        }
        None => fact("triage", "not yet".into()),
    }
    if let Some(case) = row.case {
        fact("incident", case.to_string());
    }
    match &row.assessment {
        Some(assessment) => fact("verdict", verdict_line(assessment)),
        None => fact("verdict", format!("none; custody finding dispose {} true|false|benign --reason …", row.id)),
    }
    text.push_str(&remarks(row, now));
    text
}

/// Who said what, when and why.
pub fn verdict_line(assessment: &Assessment) -> String {
    format!("{} said {} at {}: {}", assessment.by, word(&assessment.verdict), instant(assessment.at), assessment.reason)
}

/// Until when somebody must look at it, unless somebody did.
fn respond_by(row: &FindingRow, now: Timestamp) -> Option<String> {
    let within = row.finding.as_ref()?.respond_s?;
    if row.assessment.is_some() {
        return None;
    }
    let due = row.at.checked_add(SignedDuration::from_secs(within.cast_signed())).ok()?;
    let left = due.duration_since(now).as_secs();
    Some(match (within, left) {
        (0, _) => "at once".to_owned(),
        (_, left) if left >= 0 => format!("within {}, {} left", span(within), span(left.unsigned_abs())),
        (_, late) => format!("within {}, LATE by {}", span(within), span(late.unsigned_abs())),
    })
}

/// What stands below a finding: pattern, baseline, repeats, and how to silence it.
pub fn remarks(row: &FindingRow, now: Timestamp) -> String {
    let Some(finding) = &row.finding else { return String::new() };
    let mut lines: Vec<String> = Vec::new();
    if let Some(pattern) = &finding.pattern {
        lines.push(format!("looks like {}, which usually begins so: {}", word(&pattern.name), pattern.entry_point));
    }
    if let Some(baseline) = &finding.baseline {
        lines.push(format!("against baseline {} of {}, {} samples", baseline.version, baseline.profile, baseline.samples));
    }
    if row.repeats > 0 {
        lines.push(format!("fired {} times more within its window", row.repeats));
    }
    lines.extend(respond_by(row, now).map(|when| format!("to be looked at {when}")));
    lines.extend(row.assessment.as_ref().map(verdict_line));
    lines.extend(finding.silence.clone());
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("    {}\n", plain(line))).collect();
    format!("  {} {} (leaf {})\n{lines}", row.id, plain(row.rule.as_str()), row.leaf)
}

impl From<VerdictArg> for Verdict {
    fn from(verdict: VerdictArg) -> Verdict {
        match verdict {
            VerdictArg::True => Verdict::True,
            VerdictArg::False => Verdict::False,
            VerdictArg::Benign => Verdict::Benign,
        }
    }
}

impl Backend {
    async fn findings(&self, open: bool) -> Result<Vec<FindingRow>, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.findings(open).await?,
            Backend::Offline(home) => home.findings(open).await?,
            Backend::Core { core, .. } => Service::findings(core.clone(), open).await?,
        })
    }

    async fn finding(&self, id: &str) -> Result<FindingRow, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.finding(id).await?,
            Backend::Offline(home) => home.finding(id).await?,
            Backend::Core { core, .. } => Service::finding(core.clone(), resolve_finding(core, id).await?).await?,
        })
    }

    async fn dispose_finding(&self, id: &str, request: DisposeRequest) -> Result<FindingRow, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.dispose_finding(id, &request).await?),
            Backend::Core { core, by } => {
                let id = resolve_finding(core, id).await?;
                Ok(Service::dispose_finding(core.clone(), by.clone(), id, request.verdict, request.reason).await?)
            }
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    async fn dispose_case(&self, id: &str, request: DisposeRequest) -> Result<CaseRow, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.dispose_case(id, &request).await?),
            Backend::Core { core, by } => {
                let id = resolve_case(core, id).await?;
                Ok(Service::dispose_case(core.clone(), by.clone(), id, request.verdict, request.reason).await?)
            }
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    async fn close_case(&self, id: &str, request: CloseRequest) -> Result<CaseRow, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.close_case(id, &request).await?),
            Backend::Core { core, by } => {
                let id = resolve_case(core, id).await?;
                Ok(Service::close_case(core.clone(), by.clone(), id, request.reason).await?)
            }
            Backend::Offline(_) => Err(reading_only()),
        }
    }
}

//! A drill for people: the timeline, the figures, and what to do next.

use super::{figures::Figures, figures::ms, plan::Plan, record::Record};
use anstyle::{AnsiColor, Style};
use custody_model::*;
use std::fmt::Write;

pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const RED: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
pub(super) const GREEN: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
pub(super) const AMBER: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

/// Longest line of an excerpt.
const WIDTH: usize = 92;
/// Most lines of an excerpt.
const QUOTED: usize = 4;
/// Most ties between source and attack that are shown.
const LINKS: usize = 3;

/// One line of the timeline.
struct Moment {
    at_ms: f64,
    style: Style,
    what: String,
    more: Vec<String>,
}

/// Every scenario in one line, or as JSON.
pub fn list(json: bool) -> String {
    let all = super::scenarios::all();
    if json {
        let all: Vec<_> = all.iter().map(|scenario| serde_json::json!({"name": scenario.name, "about": scenario.about})).collect();
        return format!("{}\n", serde_json::Value::from(all));
    }
    all.iter().map(|scenario| format!("{BOLD}{:<26}{BOLD:#}{}\n", scenario.name, scenario.about)).collect()
}

/// The whole report, with colours that `anstream` takes out where nobody sees them.
pub fn report(plan: &Plan, record: &Record, figures: &Figures) -> String {
    let mut out = String::new();
    _ = writeln!(out, "\n{BOLD}{}{BOLD:#} {DIM}seed {} · {}{DIM:#}\n", plan.scenario, plan.seed, about(figures));
    for (number, moment) in timeline(record, figures).into_iter().enumerate() {
        let style = moment.style;
        _ = writeln!(out, "  {DIM}T{number:<2} {:>10}{DIM:#}  {style}{}{style:#}", clock(moment.at_ms), moment.what);
        for line in moment.more {
            _ = writeln!(out, "  {:14}  {DIM}{line}{DIM:#}", "");
        }
    }
    close(&mut out, verdict(figures), 28, figures);
    out
}

/// The end of every report: what was measured, names as wide as `width`; whether the drill held; what to do next.
pub(super) fn close(out: &mut String, verdict: Vec<(&'static str, String, bool)>, width: usize, figures: &Figures) {
    out.push('\n');
    for (name, value, good) in verdict {
        let style = if good { GREEN } else { RED };
        _ = writeln!(out, "  {name:<width$}{style}{value}{style:#}");
    }
    out.push('\n');
    if figures.failed.is_empty() {
        _ = writeln!(out, "{GREEN}The drill held.{GREEN:#} {DIM}{:.1} s{DIM:#}", figures.took_ms.1 / 1000.0);
    } else {
        _ = writeln!(out, "{RED}The drill did not hold:{RED:#}");
        for failure in &figures.failed {
            _ = writeln!(out, "  {RED}·{RED:#} {failure}");
        }
    }
    next(out, figures);
}

fn about(figures: &Figures) -> String {
    format!("{} ledger entries, {} calls at the practice server", figures.ledger.entries, figures.calls_arrived)
}

/// Milliseconds as people read them.
fn clock(ms: f64) -> String {
    if ms < 1000.0 { format!("+{ms:.1} ms") } else { format!("+{:.2} s", ms / 1000.0) }
}

fn timeline(record: &Record, figures: &Figures) -> Vec<Moment> {
    let start = record.start();
    let mut moments = Vec::new();
    let mut add = |at_ms: f64, style: Style, what: String, more: Vec<String>| moments.push(Moment { at_ms, style, what, more });
    let Some((p1_leaf, p1)) = record.decisive() else {
        for (detail, at) in record.sessions.values() {
            let calls = record.calls.iter().filter(|(tag, _)| tag.starts_with(&format!("{}/", detail.identity.principal))).count();
            add(
                ms(start, *at),
                Style::new(),
                format!("{} works: {calls} calls, all allowed", detail.identity.principal),
                vec![who(detail)],
            );
        }
        moments.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        return moments;
    };
    let session = p1.session.and_then(|session| record.sessions.get(&session));
    if let Some((detail, at)) = session {
        let allowed = detail.allowlist.as_ref().map(|allow| format!("may call {}", allow.join(", ")));
        add(
            ms(start, *at),
            Style::new(),
            format!("{} begins a session", detail.identity.principal),
            [Some(who(detail)), allowed].into_iter().flatten().collect(),
        );
    }
    let case = record.case();
    let source = case.and_then(|case| case.source.as_ref());
    let before = source.map_or(*p1_leaf, |source| source.leaf);
    let own: Vec<_> = record.calls.values().flatten().filter(|call| call.session == p1.session && call.leaf < before).collect();
    if let Some(first) = own.iter().map(|call| call.at).min() {
        add(ms(start, first), Style::new(), format!("{} calls of its own work, all allowed", own.len()), Vec::new());
    }
    if let Some(source) = source
        && let Some(at) = record.results.get(&source.leaf)
    {
        let place = [source.document.clone(), source.place.clone()].into_iter().flatten().collect::<Vec<_>>().join(", ");
        add(ms(start, *at), AMBER, format!("reads a poisoned document: {place}"), quoted(&source.excerpt));
    }
    let tool = p1.tool.as_deref().unwrap_or("?");
    add(ms(start, p1.at), RED, format!("calls {tool}: DENIED, {} {}", priority(p1.priority), p1.rule), vec![p1.why.clone()]);
    for acted in &record.actions {
        let what = match acted.verb.as_str() {
            "freeze_scope" => "frozen".to_owned(),
            "snapshot_session" => "evidence snapshotted".to_owned(),
            "terminate_session" => "session terminated".to_owned(),
            other => other.replace('_', " "),
        };
        let style = if acted.receipt.ok { GREEN } else { RED };
        add(ms(start, acted.receipt.at), style, what, vec![short(&acted.receipt.result)]);
    }
    let later: Vec<_> = record
        .denied
        .iter()
        .filter(|(leaf, session)| {
            leaf > p1_leaf && session.is_some_and(|s| record.principal(s) == p1.principal.as_ref().map(|n| n.as_str()))
        })
        .collect();
    if let Some(at) = record
        .calls
        .values()
        .flatten()
        .filter(|call| call.leaf > *p1_leaf && call.outcome == Outcome::Denied && call.session == p1.session)
        .map(|call| call.at)
        .min()
    {
        let made = figures.attempts.made;
        add(
            ms(start, at),
            RED,
            format!("{made} further attempts in variants and over new connections: nobody answers"),
            vec![format!("{} messages denied; {} calls reached the server after the P1", later.len(), figures.calls_forwarded_after_p1)],
        );
    }
    for alert in &record.alerts {
        let what = if alert.ok { "alert delivered" } else { "alert NOT delivered" };
        add(ms(start, alert.at), if alert.ok { GREEN } else { RED }, format!("{what} to {} ({})", alert.channel, alert.via), Vec::new());
    }
    if let (Some(at), Some(source)) = (record.source_at(), source) {
        add(
            ms(start, at),
            GREEN,
            format!("source named, confidence {:.2}", source.confidence),
            vec![source.links.iter().take(LINKS).cloned().collect::<Vec<_>>().join(" · ")],
        );
    }
    if let Some(case) = case {
        let clocks = vec![clocks(case)];
        let at = record.cases.last().map_or(case.opened, |(at, _)| *at);
        add(
            ms(start, at),
            BOLD,
            format!("case {}: {}, {}, {}", case.id, word(&case.state), word(&case.severity), word(&case.incident_type)),
            clocks,
        );
    }
    moments.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    moments
}

fn who(detail: &SessionDetail) -> String {
    let named = |what: &str, name: Option<&str>| name.map(|name| format!("{what} {name}"));
    let role = named("role", detail.identity.role.as_ref().map(|role| role.as_str()));
    let task = named("task", detail.identity.task.as_ref().map(|task| task.as_str()));
    [role, task].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::P1 => "P1",
        Priority::P2 => "P2",
        Priority::P3 => "P3",
    }
}

/// How many clocks run, and which ends first.
fn clocks(case: &Case) -> String {
    let met = case.clocks.iter().filter(|clock| clock.met.is_some()).count();
    let running: Vec<&Clock> = case.clocks.iter().filter(|clock| clock.met.is_none() && clock.started.is_some()).collect();
    let ends =
        |clock: &Clock| clock.started.map(|at| at + jiff::SignedDuration::from_secs(i64::try_from(clock.limit_s).unwrap_or(i64::MAX)));
    let next = running.iter().min_by_key(|clock| ends(clock));
    let next = next.map(|clock| format!("; next: {} {}", clock.goal, span(clock.limit_s))).unwrap_or_default();
    format!("clocks: {met} met, {} running, {} waiting{next}", running.len(), case.clocks.len() - met - running.len())
}

fn span(seconds: u64) -> String {
    match seconds {
        0 => "at once".to_owned(),
        1..120 => format!("within {seconds} s"),
        120..7200 => format!("within {} min", seconds / 60),
        7200..172_800 => format!("within {} h", seconds / 3600),
        _ => format!("within {} days", seconds / 86_400),
    }
}

/// A receipt in one short line: what is listed many times is counted.
pub(super) fn short(result: &str) -> String {
    let (connections, rest): (Vec<&str>, Vec<&str>) = result.split(", ").partition(|part| part.starts_with("connection con_"));
    // The last one listed carries the verb.
    let verb = connections.last().and_then(|last| last.split_once(' ')).and_then(|(_, rest)| rest.split_once(' ')).map(|(_, verb)| verb);
    match (connections.len(), verb) {
        (0 | 1, _) => result.chars().filter(|c| !c.is_control()).take(2 * WIDTH).collect(),
        (count, verb) => format!("{} and its {count} connections {}", rest.join(", "), verb.unwrap_or_default()),
    }
}

/// An enum's own name on the wire, for people.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(|name| name.replace('_', " ").to_lowercase())).unwrap_or_default()
}

/// Words of an attacker, broken into a few lines: no control characters reach the terminal.
fn quoted(text: &str) -> Vec<String> {
    let mut lines = vec!["“".to_owned()];
    for word in text.split_whitespace() {
        let word: String = word.chars().filter(|c| !c.is_control()).take(WIDTH).collect();
        let full = lines.len() == QUOTED;
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH => {
                if line != "“" {
                    line.push(' ');
                }
                line.push_str(&word);
            }
            _ if full => break,
            _ => lines.push(word),
        }
    }
    let whole = lines.iter().map(|line| line.split_whitespace().count()).sum::<usize>() >= text.split_whitespace().count();
    if let Some(last) = lines.last_mut() {
        last.push_str(if whole { "”" } else { "…”" });
    }
    lines
}

fn verdict(figures: &Figures) -> Vec<(&'static str, String, bool)> {
    let mut lines = Vec::new();
    let number = |value: Option<f64>| value.map_or("—".to_owned(), |ms| format!("{ms:.3} ms"));
    if figures.principal.is_some() || !figures.findings.is_empty() {
        let source = figures.source.as_ref();
        lines.push(("calls forwarded after P1", figures.calls_forwarded_after_p1.to_string(), figures.calls_forwarded_after_p1 == 0));
        lines.push(("detection to freeze", number(figures.detect_to_freeze_ms), figures.detect_to_freeze_ms.is_some_and(|ms| ms < 1.0)));
        lines.push((
            "source",
            source.map_or("not found".to_owned(), |s| {
                format!("{} after {}", if s.correct { "correct" } else { "WRONG" }, number(figures.source_ms))
            }),
            source.is_some_and(|s| s.correct),
        ));
        lines.push(("alert", number(figures.alert_ms), figures.alerts.iter().any(|alert| alert.received)));
        let evidence = figures.evidence.as_ref();
        lines.push((
            "evidence",
            evidence.map_or("none".to_owned(), |e| {
                format!("{} items, {} missing, {}", e.items.len(), e.missing.len(), if e.verified { "verified" } else { "NOT verified" })
            }),
            evidence.is_some_and(|e| e.verified),
        ));
    } else {
        lines.push(("findings", figures.findings.len().to_string(), figures.findings.is_empty()));
        lines.push(("cases", if figures.case.is_some() { "1" } else { "0" }.to_owned(), figures.case.is_none()));
    }
    lines.push(("other agents", format!("{} calls, {} hurt", figures.innocent.calls, figures.innocent.hurt), figures.innocent.hurt == 0));
    lines.push((
        "ledger",
        format!("{} entries, {}", figures.ledger.entries, if figures.ledger.verified { "verified" } else { "NOT verified" }),
        figures.ledger.verified,
    ));
    lines
}

fn next(out: &mut String, figures: &Figures) {
    let home = figures.home.display();
    _ = writeln!(out, "\n{DIM}Everything is left in{DIM:#} {home}");
    _ = writeln!(out, "  custody --home {home} verify");
    if let Some(evidence) = &figures.evidence {
        _ = writeln!(out, "  custody verify {}", evidence.path.display());
    }
    if let Some(case) = figures.case {
        _ = writeln!(out, "  custody --home {home} incident show {case}");
    }
}

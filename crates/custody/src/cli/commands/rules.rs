//! `custody rules`: list, test, reload, suppress, unsuppress.

use super::{
    super::{
        args::{RulesCommand, SuppressArgs},
        backend::Backend,
        output::{instant, plain, word},
    },
    Failure, Output, Place, code, exit,
};
use crate::{
    api::{ApiClient, DaemonFile, UnsuppressRequest},
    config,
    core::{RulesView, SuppressRequest, load_rules},
};
use custody_engine::detect::{Silenced, run_cases};
use custody_model::{PrincipalName, RuleId, ServerName, Suppression};
use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

pub async fn run(place: &Place, command: RulesCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        RulesCommand::List => list(place, output).await,
        RulesCommand::Test { dir } => test(place, dir, output),
        RulesCommand::Backtest(args) => super::replay::backtest(place, args, output),
        RulesCommand::Export(args) => super::spl::export(place, &args, output),
        RulesCommand::Reload => reload(place, output).await,
        RulesCommand::Suppress(args) => suppress(place, args, output).await,
        RulesCommand::Unsuppress { which, reason } => unsuppress(place, UnsuppressRequest { which, reason }, output).await,
    }
}

async fn list(place: &Place, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect(place, &place.open()?).await?;
    let view = backend.rules().await?;
    output.show(&view, || describe(&view, output))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(view: &RulesView, output: &Output) -> String {
    let rows = view.rules.iter().map(|row| {
        vec![
            row.rule.to_string(),
            format!("{:?}", row.priority),
            word(&row.family),
            word(&row.mode),
            row.requirement.clone(),
            span(row.suppress_s),
            row.title.clone(),
        ]
    });
    let mut text = output.table(&["RULE", "PRIORITY", "FAMILY", "MODE", "REQUIREMENT", "SUPPRESS", "TITLE"], rows);
    let _ = match view.since {
        Some(since) => writeln!(text, "\n\nIn force since {}, digest {}", instant(since), view.digest),
        None => writeln!(text, "\n\nNo daemon runs; this is what the files say, digest {}", view.digest),
    };
    if !view.silenced.is_empty() {
        let rows = view.silenced.iter().map(|Silenced { suppression, hidden }| {
            vec![
                suppression.id.to_string(),
                suppression.rule.to_string(),
                about(suppression),
                instant(suppression.until),
                hidden.to_string(),
                suppression.by.to_string(),
                suppression.reason.clone(),
            ]
        });
        let _ = writeln!(text, "\n{}", output.table(&["SILENCED", "RULE", "ONLY", "UNTIL", "HIDDEN", "BY", "REASON"], rows));
    }
    if let Some(fault) = &view.fault {
        let _ = writeln!(text, "\nRefused at {}, so the rules before stay in force:", instant(fault.at));
        for line in fault.faults.lines() {
            let _ = writeln!(text, "  {}", plain(line));
        }
    }
    text
}

fn about(suppression: &Suppression) -> String {
    let parts = [
        suppression.principal.as_ref().map(|name| format!("principal {name}")),
        suppression.server.as_ref().map(|name| format!("server {name}")),
        suppression.tool.as_ref().map(|name| format!("tool {name}")),
        suppression.also_p1.then(|| "also P1".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "everybody".to_owned() } else { parts.join(", ") }
}

/// Which rules: those of a directory, else those of the configuration, else the shipped ones. Nothing is asked of a daemon, nor of a
/// home when a directory is given.
pub fn settings(place: &Place, dir: Option<PathBuf>) -> Result<config::Rules, Failure> {
    Ok(match dir {
        Some(dir) => config::Rules { dir: Some(dir), ..config::Rules::default() },
        None => match place.open().and_then(|home| place.config(&home)) {
            Ok(config) => config.rules,
            Err(_) if place.home.is_none() => config::Rules::default(),
            Err(failure) => return Err(failure),
        },
    })
}

fn test(place: &Place, dir: Option<PathBuf>, output: &Output) -> Result<ExitCode, Failure> {
    let settings = settings(place, dir)?;
    let (rules, _) = load_rules(&config::Rules { modes: Default::default(), ..settings }, "")?;
    let broken =
        |why: String| Failure::new(code::BAD_FILE, "rules", why, "`rsigma.exemplars` is a list of name, expect, and event or events");
    let results = run_cases(&rules).map_err(broken)?;
    let failed: Vec<_> = results.iter().filter(|result| !result.passed()).collect();
    let uncovered: Vec<String> = rules
        .metas()
        .into_iter()
        .filter(|meta| !results.iter().any(|result| result.rule == meta.rule.as_str()))
        .map(|meta| meta.rule.to_string())
        .collect();
    let line = |rule: &str| rules.metas().into_iter().find(|meta| meta.rule.as_str() == rule).map_or(1, |meta| meta.line);
    let value = serde_json::json!({
        "rules": rules.metas().len(),
        "cases": results.len(),
        "failed": failed.iter().map(|case| serde_json::json!({
            "file": case.file, "line": line(&case.rule), "rule": case.rule, "case": case.case, "expected": case.expected, "matched": case.matched,
        })).collect::<Vec<_>>(),
        "without_cases": uncovered,
    });
    output.show(&value, || {
        let mut text = String::new();
        for case in &failed {
            let (should, did) = if case.expected { ("should match", "does not") } else { ("should not match", "does") };
            let _ = writeln!(
                text,
                "FAILED {}:{}: {}: “{}” {should}, and {did}",
                plain(&case.file),
                line(&case.rule),
                case.rule,
                plain(&case.case)
            );
        }
        for rule in &uncovered {
            let _ = writeln!(text, "note: {rule} has no case of its own");
        }
        let _ = writeln!(text, "{} rules, {} cases, {} failed", rules.metas().len(), results.len(), failed.len());
        text
    })?;
    Ok(exit(failed.is_empty()))
}

async fn reload(place: &Place, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let credential = place.credential(&home)?;
    let Some(file) = DaemonFile::running(&home) else {
        let help = "`custody up` loads the rules when it starts; `custody rules test` checks them";
        return Err(Failure::new(code::NO_TRUST, "no_daemon", "no daemon runs, so there is nothing to reload", help));
    };
    let reloaded = ApiClient::of(&file, credential.token)?.reload_rules().await?;
    output.show(&reloaded, || {
        let changed = if reloaded.changed { "in force" } else { "in force as before" };
        format!("{} rules {changed}, digest {}", reloaded.rules, reloaded.digest)
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn suppress(place: &Place, args: SuppressArgs, output: &Output) -> Result<ExitCode, Failure> {
    let for_s = seconds(&args.span)
        .ok_or_else(|| Failure::new(code::USAGE, "usage", format!("`{}` is no time span", plain(&args.span)), "such as 30m, 24h or 7d"))?;
    let request = SuppressRequest {
        rule: RuleId(args.rule),
        principal: args.principal.map(PrincipalName),
        server: args.server.map(ServerName),
        tool: args.tool,
        for_s,
        reason: args.reason,
        also_p1: args.also_p1,
    };
    let backend = Backend::connect_to_act(place, &place.open()?).await?;
    let suppression = backend.suppress_rule(request).await;
    backend.close().await;
    let suppression = suppression?;
    output.show(&suppression, || {
        format!(
            "{} is silenced for {} until {}\nHear it again: custody rules unsuppress {} --reason …",
            suppression.rule,
            plain(&about(&suppression)),
            instant(suppression.until),
            suppression.id
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn unsuppress(place: &Place, request: UnsuppressRequest, output: &Output) -> Result<ExitCode, Failure> {
    let backend = Backend::connect_to_act(place, &place.open()?).await?;
    let heard = backend.unsuppress_rule(request).await;
    backend.close().await;
    let heard = heard?;
    output.show(&heard, || {
        let line = |silenced: &Silenced| format!("{} is heard again; {} findings were hidden", silenced.suppression.rule, silenced.hidden);
        heard.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `30m`, `24h`, `7d` in seconds.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_s)
}

/// `10 min`, `2 h`.
fn span(seconds: u64) -> String {
    match seconds {
        s if s >= 3_600 && s.is_multiple_of(3_600) => format!("{} h", s / 3_600),
        s if s >= 60 && s.is_multiple_of(60) => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

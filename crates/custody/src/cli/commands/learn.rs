//! `custody learn` and `custody baseline` (D17).

use super::{
    super::{
        args::{BaselineCommand, LearnArgs},
        backend::Backend,
        code,
        output::{instant, plain},
    },
    Failure, Output, Place,
};
use crate::core::{BaselineRequest, LearnRequest, Learned};
use custody_engine::behavior::{Baseline, propose};
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The part of a learned file that is read back.
#[derive(Serialize, Deserialize)]
struct Kept {
    baseline: Baseline,
}

pub async fn learn(place: &Place, args: LearnArgs, output: &Output) -> Result<ExitCode, Failure> {
    let since = args.since.as_deref().map(|text| moment(text, Timestamp::now())).transpose()?;
    if !args.half_life_days.is_finite() || args.half_life_days < 0.01 {
        return Err(Failure::new(code::USAGE, "usage", "--half-life-days is a number above 0.01", ""));
    }
    let home = place.open()?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let request = LearnRequest { since, half_life_days: Some(args.half_life_days), apply: args.apply };
    let progress = output.progress("reading the record");
    let learned = backend.learn(request).await;
    progress.finish_and_clear();
    backend.close().await;
    let learned = learned?;
    let path = match args.out {
        Some(path) => path,
        None => {
            let folder = home.learned();
            std::fs::create_dir_all(&folder).map_err(|error| Failure::io(&format!("make `{}`", folder.display()), &error))?;
            folder.join(format!("{}.toml", learned.name.replace('/', "-")))
        }
    };
    write(&path, &learned.baseline)?;
    output.show(
        &json!({"name": learned.name, "digest": learned.digest, "in_force": learned.in_force, "file": path, "baseline": learned.baseline}),
        || {
            let next = if learned.in_force {
                "It is in force: findings name it.".to_owned()
            } else if learned.baseline.sessions == 0 {
                "Nothing was learned: no session made a call yet, or all of them belong to incidents.".to_owned()
            } else {
                format!("Review it, then put it in force: custody baseline import {} --reason …", plain(&path.display().to_string()))
            };
            format!("{}\n\nWritten to {}\n{next}", describe(&learned, output), plain(&path.display().to_string()))
        },
    )?;
    Ok(ExitCode::SUCCESS)
}

pub async fn baseline(place: &Place, command: BaselineCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        BaselineCommand::Show => {
            let learned = in_force(place).await?;
            output.show(&learned, || learned.as_ref().map_or_else(none, |learned| describe(learned, output)))?;
        }
        BaselineCommand::Export { file } => {
            let Some(learned) = in_force(place).await? else {
                return Err(Failure::new(code::FAILED_CHECK, "nothing", none(), "`custody learn --apply` puts one in force"));
            };
            write(&file, &learned.baseline)?;
            output.show(&json!({"name": learned.name, "digest": learned.digest, "file": file}), || {
                format!("{} written to {}", learned.name, plain(&file.display().to_string()))
            })?;
        }
        BaselineCommand::Import { file, merge, reason } => {
            let baseline = read(&file)?;
            set(place, BaselineRequest { baseline: Some(baseline), merge, reason }, output).await?;
        }
        BaselineCommand::Clear { reason } => set(place, BaselineRequest { baseline: None, merge: false, reason }, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(place: &Place, request: BaselineRequest, output: &Output) -> Result<(), Failure> {
    let home = place.open()?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let set = backend.set_baseline(request).await;
    backend.close().await;
    let set = set?;
    output.show(&set, || {
        set.as_ref().map_or_else(none, |learned| format!("{}\n\nIt is in force: findings name it.", describe(learned, output)))
    })
}

fn none() -> String {
    "No baseline is in force: nothing is compared with what is usual".to_owned()
}

/// From the daemon, or from the home while none runs.
async fn in_force(place: &Place) -> Result<Option<Learned>, Failure> {
    let home = place.open()?;
    let backend = Backend::connect(place, &home).await?;
    if backend.daemon().is_some() {
        return backend.baseline().await;
    }
    let path = home.baseline();
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::io(&format!("read `{}`", path.display()), &error))?;
    let baseline: Baseline = serde_json::from_str(&text).map_err(|error| broken(&path, &error.to_string()))?;
    Ok(Some(Learned { name: baseline.name(), digest: baseline.digest(), in_force: true, baseline }))
}

/// A file for people: the roles it suggests, then the baseline itself.
fn write(path: &Path, baseline: &Baseline) -> Result<(), Failure> {
    let kept =
        toml::to_string(&Kept { baseline: baseline.clone() }).map_err(|error| Failure::new(code::OTHER, "toml", error.to_string(), ""))?;
    let roles = propose(baseline);
    let suggested: String = roles.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect();
    let text = format!(
        "# What Custody learned: {name}, from {sessions} sessions ({excluded} of incidents left out).\n\
         # 1. A [roles] section for custody.toml that permits what was done and nothing else. Review it: what nobody did in this\n\
         #    time is missing, and what nobody should have done is in it.\n#\n{suggested}#\n\
         # 2. The baseline. `custody baseline import FILE --reason …` puts it in force; only this part is read.\n\n{kept}",
        name = baseline.name(),
        sessions = baseline.sessions,
        excluded = baseline.excluded,
    );
    std::fs::write(path, text).map_err(|error| Failure::io(&format!("write `{}`", path.display()), &error))
}

pub fn read(path: &PathBuf) -> Result<Baseline, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io(&format!("read `{}`", path.display()), &error))?;
    let kept: Kept = toml::from_str(&text).map_err(|error| broken(path, &error.to_string()))?;
    kept.baseline.check().map_err(|error| broken(path, &error.to_string()))?;
    Ok(kept.baseline)
}

fn broken(path: &Path, why: &str) -> Failure {
    Failure::new(
        code::BAD_FILE,
        "baseline",
        format!("{} holds no baseline: {}", path.display(), plain(why)),
        "such files are written by `custody learn` and `custody baseline export`",
    )
}

fn describe(learned: &Learned, output: &Output) -> String {
    let baseline = &learned.baseline;
    let window = baseline.window.map_or_else(|| "nothing".to_owned(), |(from, to)| format!("{} to {}", instant(from), instant(to)));
    let rows = baseline.profiles.iter().map(|(name, profile)| {
        vec![
            name.clone(),
            profile.sessions.to_string(),
            profile.tools_used.known.len().to_string(),
            format!("{:.0}", profile.calls.usual()),
            format!("{:.0}", profile.peak.usual()),
            format!("{:.0} s", profile.seconds.usual()),
            format!("{:.1} %", profile.order.chance()),
        ]
    });
    format!(
        "Baseline {}: {} sessions, {} of incidents left out; {window}\n\n{}",
        learned.name,
        baseline.sessions,
        baseline.excluded,
        output.table(&["PROFILE", "SESSIONS", "TOOLS", "CALLS", "BUSIEST MINUTE", "LASTS", "NEW ORDERS"], rows)
    )
}

/// `24h` ago, or an instant.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let usage = || Failure::new(code::USAGE, "usage", format!("`{}` is no time", plain(text)), "such as 24h, 7d, or 2026-04-07T10:00:00Z");
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let span: Span = text.parse().map_err(|_| usage())?;
    let zoned = now.to_zoned(jiff::tz::TimeZone::UTC);
    zoned.checked_sub(span).map(|zoned| zoned.timestamp()).map_err(|_| usage())
}

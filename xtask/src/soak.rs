//! `cargo xtask soak`: half load for a while, then many calls at full load, and at the end two questions: did memory stay flat, and does the
//! ledger hold each call and its answer exactly once.
//!
//! The load client counts what was answered; the ledger is read line by line, without Custody's own reader.

use miette::miette;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::conformance::stage::{FREEZES, RECORDS, failed, spawned, stop};
use crate::step::{self, Failure};

/// Between two looks at memory.
const LOOK: Duration = Duration::from_secs(5);
/// Of each phase, so much is not counted for the slope: caches fill, tables grow to their bounds.
const BEGINNING: f64 = 0.2;

/// How long and how much. The issue asks for 60 minutes and 2,000,000 calls.
#[derive(clap::Args)]
pub struct Soak {
    /// Minutes at half load: as long quiet as busy, in turn.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Calls at full load.
    #[arg(long, default_value_t = 2_000_000)]
    calls: u64,
    /// Connections, each with one call under way.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
    /// Length of the text that is sent and comes back.
    #[arg(long, default_value_t = 1024)]
    bytes: u32,
    /// Calls of each connection in one go.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    each: u64,
    /// Folder with `custody` and `custody-bench`; by default they are built (release).
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Print the outcome as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Serialize)]
struct Outcome {
    half_load: Phase,
    full_load: Phase,
    ledger: Count,
    verified: bool,
    log_warnings: usize,
}

/// One phase.
#[derive(Default, Serialize)]
struct Phase {
    calls: u64,
    seconds: f64,
    /// Resident memory after its beginning, and at its end, in MB.
    from_mb: f64,
    to_mb: f64,
    highest_mb: f64,
    /// Least squares, without its beginning.
    slope_mb_per_hour: f64,
}

/// What the ledger holds of the calls.
#[derive(Default, Serialize)]
struct Count {
    entries: u64,
    calls: u64,
    answered_once: u64,
    unanswered: u64,
    answered_twice: u64,
    missing: i64,
}

struct Custody {
    home: PathBuf,
    programs: PathBuf,
    process: Child,
    url: String,
    key: String,
}

/// Runs it.
///
/// # Errors
/// When something does not start or a call fails, and when entries are lost or doubled.
pub fn run(options: &Soak) -> Result<(), Failure> {
    let programs = match &options.programs {
        Some(folder) => folder.clone(),
        None => {
            let mut build = step::cargo();
            let packages = ["build", "--release", "--locked", "--package", "custody", "--package", "custody-bench", "--bins"];
            step::run("build", build.args(packages))?;
            step::root().join("target/release")
        }
    };
    let folder = tempfile::tempdir().map_err(failed("a folder"))?;
    let (mut echo, line) = spawned(Command::new(programs.join("custody-bench")).args(["echo", "--listen", "127.0.0.1:0"]))?;
    let outcome = Custody::start(&programs, line.trim(), folder.path()).and_then(|mut custody| custody.soak(options, folder.path()));
    stop(&mut echo);
    let outcome = outcome?;
    match options.json {
        true => println!("{}", serde_json::to_string(&outcome).expect("plain numbers")),
        false => show(&outcome),
    }
    let count = &outcome.ledger;
    let whole = count.missing == 0 && count.unanswered == 0 && count.answered_twice == 0 && outcome.verified;
    if whole { Ok(()) } else { Err(Failure::Command { code: 1 }) }
}

impl Custody {
    /// Sets it up the way a user does: `init`, `adopt`, `up`.
    fn start(programs: &Path, echo: &str, folder: &Path) -> Result<Custody, Failure> {
        let home = folder.join("home");
        custody(programs, &home, &["init"])?;
        let config = home.join("custody.toml");
        let text = std::fs::read_to_string(&config).map_err(failed("custody.toml"))?;
        std::fs::write(&config, text.replace(FREEZES, RECORDS)).map_err(failed("custody.toml"))?;
        let client = folder.join(".mcp.json");
        let entries = json!({"mcpServers": {"echo": {"type": "http", "url": echo}}});
        std::fs::write(&client, entries.to_string()).map_err(failed("the client's configuration"))?;
        custody(programs, &home, &["adopt", &client.to_string_lossy(), "--client", "soak"])?;
        let adopted: Value = std::fs::read(&client).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let key = adopted["mcpServers"]["echo"]["headers"]["Authorization"].as_str().and_then(|header| header.strip_prefix("Bearer "));
        let key = key.ok_or_else(|| miette!("the adopted client holds no key"))?.to_owned();
        let log = File::create(folder.join("custody.log")).map_err(failed("custody.log"))?;
        let mut up = Command::new(programs.join("custody"));
        up.arg("--home").arg(&home).args(["--json", "up", "--agents", "127.0.0.1:0", "--operators", "127.0.0.1:0"]).stderr(log);
        let (process, line) = spawned(&mut up)?;
        let ready: Value = serde_json::from_str(&line).map_err(failed("what `custody up` printed"))?;
        let url = format!("http://{}/mcp/echo", ready["agents"].as_str().unwrap_or_default());
        Ok(Custody { home, programs: programs.to_owned(), process, url, key })
    }

    fn soak(&mut self, options: &Soak, folder: &Path) -> Result<Outcome, Failure> {
        let until = Duration::from_secs(options.minutes * 60);
        eprintln!("── half load, {} minutes", options.minutes);
        let half_load = self.phase(options, |phase| phase.seconds < until.as_secs_f64(), true)?;
        eprintln!("── full load, {} calls", options.calls);
        let full_load = self.phase(options, |phase| phase.calls < options.calls, false)?;
        stop(&mut self.process);
        let verified = custody(&self.programs, &self.home, &["--json", "verify"]).is_ok();
        let ledger = count(&self.home.join("ledger/segments"), half_load.calls + full_load.calls)?;
        let log = std::fs::read_to_string(folder.join("custody.log")).unwrap_or_default();
        let log_warnings = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
        Ok(Outcome { half_load, full_load, ledger, verified, log_warnings })
    }

    /// Goes of load, with as long a rest behind each at half load.
    fn phase(&mut self, options: &Soak, goes_on: impl Fn(&Phase) -> bool, rests: bool) -> Result<Phase, Failure> {
        let began = Instant::now();
        let (mut phase, mut looks) = (Phase::default(), vec![(0.0, self.resident_mb())]);
        while goes_on(&phase) {
            let go = Instant::now();
            phase.calls += self.load(options)?;
            if rests {
                std::thread::sleep(go.elapsed());
            }
            phase.seconds = began.elapsed().as_secs_f64();
            if looks.last().is_none_or(|(at, _)| phase.seconds - at >= LOOK.as_secs_f64()) {
                looks.push((phase.seconds, self.resident_mb()));
            }
        }
        looks.retain(|(at, _)| *at >= phase.seconds * BEGINNING);
        phase.from_mb = looks.first().map_or(f64::NAN, |(_, mb)| *mb);
        phase.to_mb = self.resident_mb();
        phase.highest_mb = looks.iter().map(|(_, mb)| *mb).fold(phase.to_mb, f64::max);
        phase.slope_mb_per_hour = slope(&looks) * 3600.0;
        Ok(phase)
    }

    /// One go; the number of calls, each of which was answered.
    fn load(&self, options: &Soak) -> Result<u64, Failure> {
        let mut load = Command::new(self.programs.join("custody-bench"));
        let (connections, bytes, each) = (options.connections.to_string(), options.bytes.to_string(), options.each.to_string());
        load.args(["load", "--url", &self.url, "--connections", &connections, "--bytes", &bytes, "--calls", &each]);
        // It ends with its calls, long before its time.
        load.args(["--warm-up", "60000", "--millis", "540000"]).env("CUSTODY_KEY", &self.key);
        let began = Instant::now();
        let output = load.output().map_err(failed("the load client"))?;
        if !output.status.success() || began.elapsed() > Duration::from_secs(590) {
            return Err(miette!("the load client: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        Ok(u64::from(options.connections) * options.each)
    }

    /// From `/proc`.
    fn resident_mb(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.0)
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

fn custody(programs: &Path, home: &Path, args: &[&str]) -> Result<(), Failure> {
    let output = Command::new(programs.join("custody")).arg("--home").arg(home).args(args).output().map_err(failed("custody"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(miette!("custody {args:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Reads every entry: a line of a segment, in order. Its place is its leaf.
fn count(segments: &Path, sent: u64) -> Result<Count, Failure> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(segments).map_err(failed("the segments"))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    // Per leaf: 0 anything, 1 a call, 2 a call that is answered, 3 one that is answered again.
    let mut leaves: Vec<u8> = Vec::new();
    for file in files {
        for line in BufReader::new(File::open(file).map_err(failed("a segment"))?).lines() {
            let line = line.map_err(failed("a segment"))?;
            let entry: Value = serde_json::from_str(&line).map_err(failed("an entry"))?;
            let message = entry.get("message").unwrap_or(&entry);
            let call = message["direction"] == "to_server" && message["method"] == "tools/call";
            if let Some(leaf) = message["answers"].as_u64().filter(|_| message["direction"] == "to_agent")
                && let Some(seen) = leaves.get_mut(leaf as usize).filter(|seen| **seen > 0)
            {
                *seen = (*seen + 1).min(3);
            }
            leaves.push(u8::from(call));
        }
    }
    let of = |state: u8| leaves.iter().filter(|seen| **seen == state).count() as u64;
    let (unanswered, answered_once, answered_twice) = (of(1), of(2), of(3));
    let calls = unanswered + answered_once + answered_twice;
    Ok(Count { entries: leaves.len() as u64, calls, answered_once, unanswered, answered_twice, missing: sent as i64 - calls as i64 })
}

/// Least squares, per second.
fn slope(looks: &[(f64, f64)]) -> f64 {
    let n = looks.len() as f64;
    if looks.len() < 2 {
        return f64::NAN;
    }
    let (x, y) = (looks.iter().map(|(at, _)| at).sum::<f64>() / n, looks.iter().map(|(_, mb)| mb).sum::<f64>() / n);
    let (above, below) =
        looks.iter().fold((0.0, 0.0), |(above, below), (at, mb)| (above + (at - x) * (mb - y), below + (at - x) * (at - x)));
    above / below
}

fn show(outcome: &Outcome) {
    println!("{:<10} {:>10} {:>8} {:>9} {:>9} {:>11} {:>13}", "", "calls", "seconds", "from MB", "to MB", "highest MB", "slope MB/h");
    for (name, phase) in [("half load", &outcome.half_load), ("full load", &outcome.full_load)] {
        println!(
            "{name:<10} {:>10} {:>8.0} {:>9.1} {:>9.1} {:>11.1} {:>13.1}",
            phase.calls, phase.seconds, phase.from_mb, phase.to_mb, phase.highest_mb, phase.slope_mb_per_hour
        );
    }
    let Count { entries, calls, answered_once, unanswered, answered_twice, missing } = &outcome.ledger;
    println!(
        "ledger: {entries} entries, {calls} calls, {answered_once} answered once, {unanswered} never, {answered_twice} twice, {missing} missing"
    );
    println!("verify: {}; warnings in the log: {}", if outcome.verified { "holds" } else { "FAILS" }, outcome.log_warnings);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(0.0, 5.0), (10.0, 7.0), (20.0, 9.0)]) - 0.2).abs() < 1e-9);
        assert!(slope(&[(0.0, 5.0)]).is_nan());
    }

    #[test]
    fn lost_and_doubled_entries_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let call = r#"{"direction":"to_server","method":"tools/call"}"#;
        let answer = |leaf: u32| format!(r#"{{"direction":"to_agent","answers":{leaf}}}"#);
        let lines = [call.into(), answer(0), call.into(), call.into(), answer(2), answer(2), r#"{"kind":"x"}"#.into()];
        std::fs::write(folder.path().join("0"), lines.join("\n")).unwrap();
        let Ok(count) = count(folder.path(), 4) else { panic!("the segments can be read") };
        assert_eq!(
            (count.entries, count.calls, count.answered_once, count.unanswered, count.answered_twice, count.missing),
            (7, 3, 1, 1, 1, 1)
        );
    }
}

//! `cargo xtask bench wire`: what it costs to stand between an agent and its server.
//!
//! Every way to the same echo server is measured in one run on one machine: none at all (`direct`), HAProxy passing bytes and HAProxy
//! reading HTTP, Custody with everything on, and any other gateway by its address. The ways of a cell take turns, round after round,
//! so that whatever else the machine does meets all of them; each figure is the median of the rounds, each ratio the median of the
//! ratios to `direct` of the same round.

mod haproxy;
mod machine;
mod process;
mod show;
mod stage;

use miette::miette;
use serde::{Deserialize, Serialize};
use std::process::Command;

use crate::step::{self, Failure};
use machine::Machine;
use process::built;
use stage::Stage;

/// Protocol revisions: with a session, and stateless.
const ERAS: [&str; 2] = ["2025-11-25", "2026-07-28"];
/// Connections, each with one call under way.
const CONNECTIONS: [u16; 3] = [1, 16, 64];
/// Lengths of the text that goes there and back.
const BYTES: [u32; 2] = [64, 4096];
/// Calls under way at once over one pair of pipes.
const IN_FLIGHT: [u16; 2] = [1, 16];
/// The baseline's and every ratio's row.
const DIRECT: &str = "direct";
const CUSTODY: &str = "custody";

/// Options of the task.
#[derive(clap::Args, Default)]
pub struct Wire {
    /// With `wire`: one line of JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// With `wire`: another gateway before the same echo server, as NAME=URL or URL. May be repeated. See `--echo`.
    #[arg(long, value_name = "URL")]
    gateway: Vec<String>,
    /// With `wire`: where the echo server listens, so that another gateway can be pointed at it (`http://ADDRESS/mcp`).
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    echo: String,
    /// With `wire`: seconds for each figure, over all rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// With `wire`: rounds; each figure is their median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// With `wire`: debug builds, to try the command out. Their figures mean nothing.
    #[arg(long)]
    debug: bool,
    /// With `wire`: measure the programs that are built already.
    #[arg(long)]
    no_build: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
pub struct Report {
    /// Where it was measured, and how busy that was.
    machine: Machine,
    /// `release` or `debug`.
    build: &'static str,
    seconds: u64,
    rounds: u64,
    /// One for each transport, era, number of connections, length and way.
    rows: Vec<Row>,
    /// Resident memory of Custody right after 64 connections, in MB; and the most it ever was.
    custody_rss_mb: f64,
    custody_peak_mb: f64,
    /// Seconds of processor time that Custody took after each load until it was idle: what it had put off.
    put_off_s: f64,
    /// Entries in the ledger at the end.
    entries: u64,
    /// Ways that could not be measured, and why.
    left_out: Vec<String>,
    targets: Vec<Target>,
}

/// One figure.
#[derive(Serialize)]
struct Row {
    transport: &'static str,
    era: &'static str,
    /// Connections; over stdio, calls under way.
    connections: u16,
    bytes: u32,
    way: String,
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
    /// To `direct`.
    p50_ratio: f64,
    p99_ratio: f64,
    per_second_ratio: f64,
}

/// What issue 4 asks for.
#[derive(Serialize)]
struct Target {
    what: String,
    limit: f64,
    measured: f64,
    reached: bool,
}

/// What the load client prints.
#[derive(Deserialize, Clone, Copy)]
struct Sample {
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

impl Wire {
    /// Whether any option is set that means something for `wire` only.
    pub fn is_set(&self) -> bool {
        self.json || self.debug || self.no_build || !self.gateway.is_empty()
    }
}

/// Builds, measures, prints.
///
/// # Errors
/// When something cannot be built or started, or a call is not answered.
pub fn run(options: &Wire) -> Result<(), Failure> {
    let profile = if options.debug { "debug" } else { "release" };
    if !options.no_build {
        let mut build = step::cargo();
        // Both at once: alone, each would be built with features of its own.
        build.args(["build", "--locked", "--package", "custody", "--package", "custody-bench", "--bins"]);
        if !options.debug {
            build.arg("--release");
        }
        step::run("build", &mut build)?;
    }
    let mut machine = Machine::read();
    let stage = Stage::set(profile, options)?;
    let mut rows = Vec::new();
    let millis = (options.seconds * 1000 / options.rounds).max(200);
    let cells = ERAS.len() * CONNECTIONS.len() * BYTES.len() + ERAS.len() * IN_FLIGHT.len() * BYTES.len();
    let mut done = 0;
    let mut announce = |what: String| {
        done += 1;
        eprintln!("   {done}/{cells}  {what}");
    };
    let (mut rss, mut put_off) = (0.0_f64, 0.0);
    for era in ERAS {
        for connections in CONNECTIONS {
            for bytes in BYTES {
                announce(format!("http {era}, {connections} connections, {bytes} B"));
                let mut samples = vec![Vec::new(); stage.ways.len()];
                for _ in 0..options.rounds {
                    for (way, samples) in stage.ways.iter().zip(&mut samples) {
                        let mut load = built(profile, "custody-bench");
                        load.args(["load", "--url", &way.url, "--era", era]).arg("--connections").arg(connections.to_string());
                        if let Some(key) = &way.key {
                            load.env("CUSTODY_KEY", key);
                        }
                        samples.push(measured(&mut load, &way.name, bytes, millis)?);
                        if way.name == CUSTODY {
                            if connections == 64 {
                                rss = rss.max(stage.custody.rss_mb("VmRSS"));
                            }
                            put_off += stage.custody.until_idle();
                        }
                    }
                }
                let names = stage.ways.iter().map(|way| way.name.clone());
                rows.extend(summed("http", (era, connections, bytes), names, &samples));
            }
        }
    }
    for era in ERAS {
        for in_flight in IN_FLIGHT {
            for bytes in BYTES {
                announce(format!("stdio {era}, {in_flight} under way, {bytes} B"));
                let mut samples = vec![Vec::new(); stage.pipes.len()];
                for _ in 0..options.rounds {
                    for (pipe, samples) in stage.pipes.iter().zip(&mut samples) {
                        let mut load = built(profile, "custody-bench");
                        load.args(["load-stdio", "--era", era, "--in-flight", &in_flight.to_string()]);
                        load.envs(pipe.env.iter().cloned());
                        load.args(["--bytes", &bytes.to_string(), "--millis", &millis.to_string(), "--"]).args(&pipe.command);
                        samples.push(parsed(&mut load, &pipe.name)?);
                        if pipe.name == CUSTODY {
                            put_off += stage.custody.until_idle();
                        }
                    }
                }
                let names = stage.pipes.iter().map(|pipe| pipe.name.clone());
                rows.extend(summed("stdio", (era, in_flight, bytes), names, &samples));
            }
        }
    }
    machine.read_again();
    let report = Report {
        machine,
        build: profile,
        seconds: options.seconds,
        rounds: options.rounds,
        custody_rss_mb: rss,
        custody_peak_mb: stage.custody.rss_mb("VmHWM"),
        put_off_s: put_off,
        entries: stage.custody.entries()?,
        targets: targets(&rows, rss),
        left_out: stage.left_out.clone(),
        rows,
    };
    match options.json {
        true => println!("{}", serde_json::to_string(&report).expect("a report is plain data")),
        false => show::report(&report),
    }
    Ok(())
}

fn measured(load: &mut Command, way: &str, bytes: u32, millis: u64) -> Result<Sample, Failure> {
    load.args(["--bytes", &bytes.to_string(), "--millis", &millis.to_string()]);
    parsed(load, way)
}

fn parsed(load: &mut Command, way: &str) -> Result<Sample, Failure> {
    let output = load.output().map_err(process::failed("the load client"))?;
    if !output.status.success() {
        return Err(miette!("{way}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    serde_json::from_slice(&output.stdout).map_err(process::failed("what the load client printed"))
}

/// Medians; the first way is `direct`.
fn summed(
    transport: &'static str,
    (era, connections, bytes): (&'static str, u16, u32),
    ways: impl Iterator<Item = String>,
    samples: &[Vec<Sample>],
) -> Vec<Row> {
    let direct = &samples[0];
    let of = |samples: &[Sample], get: fn(&Sample) -> f64| median(samples.iter().map(get).collect());
    let to_direct = |samples: &[Sample], get: fn(&Sample) -> f64| {
        median(samples.iter().zip(direct).map(|(sample, direct)| get(sample) / get(direct)).collect())
    };
    ways.zip(samples)
        .map(|(way, samples)| Row {
            transport,
            era,
            connections,
            bytes,
            way,
            p50_us: of(samples, |s| s.p50_us),
            p99_us: of(samples, |s| s.p99_us),
            per_second: of(samples, |s| s.per_second),
            p50_ratio: to_direct(samples, |s| s.p50_us),
            p99_ratio: to_direct(samples, |s| s.p99_us),
            per_second_ratio: to_direct(samples, |s| s.per_second),
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// The worse of the two eras each time.
fn targets(rows: &[Row], rss: f64) -> Vec<Target> {
    let find = |transport: &str, connections: u16, bytes: u32, get: &dyn Fn(&Row, &Row) -> f64, worse: fn(f64, f64) -> f64| {
        let cell = |way: &'static str| {
            rows.iter().filter(move |r| r.way == way && r.transport == transport && r.connections == connections && r.bytes == bytes)
        };
        cell(CUSTODY).zip(cell(DIRECT)).map(|(row, direct)| get(row, direct)).reduce(worse).unwrap_or(f64::NAN)
    };
    let at_most = |what: &str, limit: f64, measured: f64| Target { what: what.into(), limit, measured, reached: measured <= limit };
    let at_least = |what: &str, limit: f64, measured: f64| Target { what: what.into(), limit, measured, reached: measured >= limit };
    let added = |row: &Row, direct: &Row| row.p50_us - direct.p50_us;
    vec![
        at_most("http, 1 connection, 64 B: p50 to direct", 2.2, find("http", 1, 64, &|row, _| row.p50_ratio, f64::max)),
        at_most("http, 1 connection, 64 B: p99 to direct", 3.0, find("http", 1, 64, &|row, _| row.p99_ratio, f64::max)),
        at_least("http, 16 connections, 64 B: calls/s to direct", 0.27, find("http", 16, 64, &|row, _| row.per_second_ratio, f64::min)),
        at_least("http, 16 connections, 4 KB: calls/s to direct", 0.27, find("http", 16, 4096, &|row, _| row.per_second_ratio, f64::min)),
        at_most("stdio, 1 under way, 64 B: p50 added, µs", 60.0, find("stdio", 1, 64, &added, f64::max)),
        at_most("stdio, 1 under way, 4 KB: p50 added, µs", 90.0, find("stdio", 1, 4096, &added, f64::max)),
        at_most("resident memory at 64 connections, MB", 60.0, rss),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_own() {
        let sample = |p50_us, per_second| Sample { p50_us, p99_us: p50_us, per_second };
        let direct = vec![sample(10.0, 100.0), sample(20.0, 50.0), sample(10.0, 90.0)];
        let through = vec![sample(20.0, 50.0), sample(60.0, 10.0), sample(20.0, 30.0)];
        let ways = ["direct", "custody"].map(String::from).into_iter();
        let rows = summed("http", ("2025-11-25", 1, 64), ways, &[direct, through]);
        assert_eq!((rows[0].p50_ratio, rows[1].p50_us, rows[1].p50_ratio), (1.0, 20.0, 2.0));
        assert_eq!(targets(&rows, 50.0).iter().filter(|target| target.reached).count(), 3);
    }
}

//! Drills: real incidents on real traffic (requirement V1).
//!
//! A seed decides a plan ([`plan::Plan`]); the plan is played by real MCP clients ([`agent`]) against the real daemon, which
//! knows nothing of it; then the ledger is read ([`record::Record`]), the practice server's own log is counted ([`witness`]),
//! and everything printed is computed from the two. What the seed knows is used in one place only: to judge.

pub mod agent;
mod corpus;
pub mod course;
mod error;
pub mod figures;
mod judge;
pub mod plan;
mod proof;
pub(crate) mod random;
mod receiver;
pub mod record;
pub mod scenarios;
mod show;
mod stage;
mod witness;
mod wording;

pub use error::DrillError;
pub use figures::Figures;
pub use judge::source_is;

use crate::{
    causes::chain,
    practice::LoggedCall,
    trust::{Home, Secret},
};
use agent::Phase;
use custody_store::ledger::Reader;
use figures::*;
use plan::Plan;
use receiver::Received;
use record::Record;
use scenarios::{Scenario, Script};
use stage::{Files, Stage};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Longest wait for the incident to be worked through once the agents are done.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at the ledger that the daemon writes.
const LOOK: Duration = Duration::from_millis(5);

/// Arguments of `custody drill`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to drill; `--list` names them all
    #[arg(long, value_name = "NAME", default_value = "document-injection")]
    pub scenario: String,
    /// Decides everything that varies; the same seed gives the same drill
    #[arg(long, value_name = "N", default_value_t = 2356)]
    pub seed: u64,
    /// Record and find, but enforce nothing: see what the same agent does when nobody stops it. Such a drill does not hold
    #[arg(long)]
    pub unguarded: bool,
    /// Name the scenarios, each with one line
    #[arg(long)]
    pub list: bool,
}

/// Runs a drill. `home` is made and left behind; without one, a directory in the temporary directory is.
///
/// The exit code is 0 only when everything held that the drill expects.
pub fn run(args: &Args, home: Option<PathBuf>, json: bool) -> ExitCode {
    if args.list {
        anstream::print!("{}", show::list(json));
        return ExitCode::SUCCESS;
    }
    let ran = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(DrillError::Runtime);
    let ran = ran.and_then(|runtime| runtime.block_on(drill(args, home)));
    match ran {
        Ok(Drilled { report, figures }) => {
            if json {
                anstream::println!("{}", serde_json::to_string(&figures).expect("figures are plain data"));
            } else {
                anstream::print!("{report}");
            }
            if figures.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            anstream::eprintln!("custody drill: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// One drill, from an empty directory to its figures.
///
/// # Errors
/// When it could not be run; that it did not hold is in [`Figures::failed`].
pub async fn drill(args: &Args, home: Option<PathBuf>) -> Result<Drilled, DrillError> {
    let began = Instant::now();
    let scenario = scenarios::named(&args.scenario).ok_or_else(|| {
        let known: Vec<&str> = scenarios::all().iter().map(|scenario: &Scenario| scenario.name).collect();
        DrillError::NoScenario { name: args.scenario.clone(), known: known.join(", ") }
    })?;
    let root = match home {
        Some(home) => home,
        None => temporary(scenario.name, args.seed)?,
    };
    match scenario.script {
        Script::Hour(plan) => {
            let plan = plan(args.seed);
            let (record, figures) = hour(&plan, &root, !args.unguarded, began).await?;
            Ok(Drilled { report: show::report(&plan, &record, &figures), figures })
        }
        Script::Course(course) => {
            let course = course(args.seed);
            let (record, figures) = course::drill(&course, &root, !args.unguarded, began).await?;
            Ok(Drilled { report: course::report(&course, &record, &figures), figures })
        }
    }
}

/// A drill that was run.
pub struct Drilled {
    /// For people.
    pub report: String,
    /// For scripts.
    pub figures: Figures,
}

async fn hour(plan: &Plan, root: &Path, guarded: bool, began: Instant) -> Result<(Record, Figures), DrillError> {
    let stage = Stage::set(root, &plan.setting(), guarded).await?;
    let playing = Instant::now();
    let mut played = agent::play(plan, |principal| stage.endpoint(principal, plan::SERVER)).await;
    let playing = playing.elapsed();
    let reader = proof::reader(&stage.home)?;
    let evidence = preserved(&stage, &reader, guarded).await?;
    played.hang_up().await;
    let closed = Closed::of(stage, &reader, &[plan::SERVER], evidence).await?;
    let (record, log) = (&closed.record, &closed.log);
    let innocent = |tag: &str| tag.rsplit_once('/').is_some_and(|(principal, _)| !judge::is_turned(plan, principal));
    let attempts: Vec<_> = played.calls.iter().filter(|sent| matches!(sent.phase, Phase::Attempt(..))).collect();
    let innocents: Vec<_> = played.calls.iter().filter(|sent| !judge::is_turned(plan, &sent.principal)).collect();
    let part = Part {
        scenario: plan.scenario,
        seed: plan.seed,
        truth: plan.attack.as_ref().map(|(truth, _)| truth),
        attempts: (attempts.len(), attempts.iter().filter(|sent| sent.answer.ran()).count()),
        innocent: (innocents.len(), innocents.iter().filter(|sent| !sent.answer.ran()).count()),
    };
    let mut figures = figures_of(&part, &closed).with_seen(&witness::seen(log, record, innocent));
    figures.carried_out = part.truth.is_some_and(|truth| carried_out(&closed.files.data(), truth));
    figures.took_ms = (millis(playing), millis(began.elapsed()));
    figures.failed = judge::failures(plan, &played, record, &figures);
    Ok((closed.record, figures))
}

/// Waits until the incident is worked through, and exports its evidence while the daemon runs.
async fn preserved(stage: &Stage, reader: &Reader, guarded: bool) -> Result<Option<EvidenceFigure>, DrillError> {
    let record = settled(reader, guarded).await?;
    Ok(match record.case() {
        Some(case) => Some(proof::export(&stage.home, case.id).await?),
        None => None,
    })
}

/// Everything that is left when all parts have ended.
struct Closed {
    home: Home,
    files: Files,
    record: Record,
    log: Vec<LoggedCall>,
    received: Vec<Received>,
    secret: Secret,
    evidence: Option<EvidenceFigure>,
    verified: bool,
}

impl Closed {
    async fn of(stage: Stage, reader: &Reader, servers: &[&str], evidence: Option<EvidenceFigure>) -> Result<Closed, DrillError> {
        let (home, files, receiver, secret) = stage.strike().await?;
        let received = receiver.close().await;
        // Once more, now that nobody writes any more: the figures are of the whole ledger.
        let record = Record::read(reader.open_entries(custody_model::LeafIndex(0)))?;
        let mut log = Vec::new();
        for server in servers {
            let calls = files.calls_of(server);
            log.extend(crate::practice::read_log(&calls).map_err(DrillError::io("read", calls))?);
        }
        let verified = proof::verify_home(&home).await?;
        Ok(Closed { home, files, record, log, received, secret, evidence, verified })
    }
}

/// What a kind of drill knows of its calls.
struct Part<'a> {
    scenario: &'static str,
    seed: u64,
    truth: Option<&'a plan::Truth>,
    /// Made, and answered.
    attempts: (usize, usize),
    /// Made, and hurt.
    innocent: (usize, usize),
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn temporary(scenario: &str, seed: u64) -> Result<PathBuf, DrillError> {
    let name = format!("custody-drill-{scenario}-{seed}-");
    let place = tempfile::Builder::new().prefix(&name).tempdir().map_err(DrillError::io("make a directory in", std::env::temp_dir()))?;
    Ok(place.keep().join("home"))
}

/// Reads the ledger until the incident has been worked through, or patience is at its end: then the figures say what is missing.
async fn settled(reader: &custody_store::ledger::Reader, guarded: bool) -> Result<Record, DrillError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let record = Record::read(reader.open_entries(custody_model::LeafIndex(0)))?;
        if record.settled(guarded) || Instant::now() > deadline {
            return Ok(record);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether what the payload ordered came true in the practice server's world.
fn carried_out(data: &Path, truth: &plan::Truth) -> bool {
    let contains = |name: &str| std::fs::read_to_string(data.join(name)).is_ok_and(|text| text.contains(&truth.destination));
    contains("outbox.jsonl") || contains("mail.mbox") || contains("payments.jsonl") || data.join("files").join(&truth.destination).is_file()
}

fn figures_of(part: &Part<'_>, closed: &Closed) -> Figures {
    let record = &closed.record;
    let case = record.case();
    let decisive = record.decisive();
    let p1 = decisive.map(|(_, finding)| finding);
    let start = record.start();
    let contained = p1.and_then(|p1| p1.principal.clone());
    let denied = |session: &Option<custody_model::SessionId>| {
        let of = session.and_then(|session| record.principal(session));
        of.is_some() && of == contained.as_ref().map(|name| name.as_str())
    };
    let received =
        |alert: &custody_model::AlertRecord| closed.received.iter().find(|received| proof::digest(&received.body) == alert.digest);
    let alerted = decisive.and_then(|(leaf, p1)| {
        let found = record.real(*leaf, p1.at);
        closed.received.iter().map(|received| ms(found, received.at)).min_by(f64::total_cmp)
    });
    Figures {
        scenario: part.scenario,
        seed: part.seed,
        findings: record.finding_figures(),
        calls_forwarded_after_p1: 0,
        detect_to_freeze_ms: record.detect_to_freeze_ms(),
        triage: p1.and_then(|p1| record.triages.get(&p1.id)).map(|triage| triage.disposition),
        severity: case.map(|case| case.severity),
        containment: record.action_figures(),
        alerts: record
            .alerts
            .iter()
            .map(|alert| AlertFigure {
                channel: alert.channel.clone(),
                via: alert.via.clone(),
                to: alert.to.clone(),
                ok: alert.ok,
                at_ms: ms(start, alert.at),
                attempts: alert.attempts,
                received: received(alert).is_some(),
                signed: received(alert).is_some_and(|received| received.signed_with(closed.secret.expose())),
            })
            .collect(),
        evidence: closed.evidence.clone(),
        source: case.and_then(|case| case.source.as_ref()).map(|source| SourceFigure {
            tool: source.tool.clone(),
            document: source.document.clone(),
            place: source.place.clone(),
            excerpt: source.excerpt.clone(),
            correct: part.truth.is_some_and(|truth| source_is(truth, source)),
            confidence: source.confidence,
        }),
        source_ms: p1.and_then(|p1| record.source_at().map(|at| ms(p1.at, at))),
        ledger: LedgerFigure { entries: record.entries, verified: closed.verified },
        principal: contained.clone(),
        case: case.map(|case| case.id),
        incident_type: case.map(|case| case.incident_type),
        clocks: case.map(|case| case.clocks.clone()).unwrap_or_default(),
        alert_ms: alerted,
        attempts: AttemptsFigure {
            made: part.attempts.0,
            answered: part.attempts.1,
            denied: record.denied.iter().filter(|(_, session)| denied(session)).count(),
        },
        calls_in_flight_at_p1: 0,
        calls_arrived: 0,
        calls_unrecorded: 0,
        innocent: InnocentFigure { calls: part.innocent.0, hurt: part.innocent.1 },
        carried_out: false,
        home: closed.home.root().to_owned(),
        took_ms: (0.0, 0.0),
        course: None,
        failed: Vec::new(),
    }
}

//! Drills: real incidents on real traffic (requirement V1).
//!
//! A seed decides a plan ([`plan::Plan`]); the plan is played by real MCP clients ([`agent`]) against the real daemon, which
//! knows nothing of it; then the ledger is read ([`record::Record`]), the practice server's own log is counted ([`witness`]),
//! and everything printed is computed from the two. What the seed knows is used in one place only: to judge.

pub mod agent;
mod corpus;
mod error;
pub mod figures;
mod judge;
pub mod plan;
mod proof;
mod random;
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

use agent::{Phase, Played};
use figures::*;
use plan::Plan;
use record::Record;
use scenarios::Scenario;
use stage::Stage;
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
    /// What to drill: document-injection or clean
    #[arg(long, value_name = "NAME", default_value = "document-injection")]
    pub scenario: String,
    /// Decides everything that varies; the same seed gives the same drill
    #[arg(long, value_name = "N", default_value_t = 2356)]
    pub seed: u64,
    /// Record and find, but enforce nothing: see what the same agent does when nobody stops it. Such a drill does not hold
    #[arg(long)]
    pub unguarded: bool,
}

/// Runs a drill. `home` is made and left behind; without one, a directory in the temporary directory is.
///
/// The exit code is 0 only when everything held that the drill expects.
pub fn run(args: &Args, home: Option<PathBuf>, json: bool) -> ExitCode {
    let ran = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(DrillError::Runtime);
    let ran = ran.and_then(|runtime| runtime.block_on(drill(args, home)));
    match ran {
        Ok((plan, record, figures)) => {
            if json {
                anstream::println!("{}", serde_json::to_string(&figures).expect("figures are plain data"));
            } else {
                anstream::print!("{}", show::report(&plan, &record, &figures));
            }
            if figures.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let mut text = format!("custody drill: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                text.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            anstream::eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// One drill, from an empty directory to its figures.
///
/// # Errors
/// When it could not be run; that it did not hold is in [`Figures::failed`].
pub async fn drill(args: &Args, home: Option<PathBuf>) -> Result<(Plan, Record, Figures), DrillError> {
    let began = Instant::now();
    let scenario = scenarios::named(&args.scenario).ok_or_else(|| {
        let known: Vec<&str> = scenarios::all().iter().map(|scenario: &Scenario| scenario.name).collect();
        DrillError::NoScenario { name: args.scenario.clone(), known: known.join(", ") }
    })?;
    let plan = (scenario.plan)(args.seed);
    let root = match home {
        Some(home) => home,
        None => temporary(&plan)?,
    };
    let stage = Stage::set(&root, &plan, !args.unguarded).await?;
    let playing = Instant::now();
    let mut played = agent::play(&plan, |principal| stage.endpoint(principal)).await;
    let playing = playing.elapsed();
    let reader = proof::reader(&stage.home)?;
    let record = settled(&reader, !args.unguarded).await?;
    let evidence = match record.case() {
        Some(case) => Some(proof::export(&stage.home, case.id).await?),
        None => None,
    };
    played.hang_up().await;
    let (home, files, receiver, secret) = stage.strike().await?;
    let received = receiver.close().await;
    // Once more, now that nobody writes any more: the figures are of the whole ledger.
    let record = Record::read(reader.open_entries(custody_model::LeafIndex(0)))?;
    let log = crate::practice::read_log(&files.calls()).map_err(DrillError::io("read", files.calls()))?;
    let innocent = |tag: &str| tag.rsplit_once('/').is_some_and(|(principal, _)| !judge::is_turned(&plan, principal));
    let seen = witness::seen(&log, &record, innocent);
    let verified = proof::verify_home(&home).await?;
    let mut figures = figures_of(&plan, &played, &record, home.root(), verified).with_seen(&seen);
    figures.evidence = evidence;
    for (figure, alert) in figures.alerts.iter_mut().zip(&record.alerts) {
        let arrived = received.iter().find(|received| proof::digest(&received.body) == alert.digest);
        figure.received = arrived.is_some();
        figure.signed = arrived.is_some_and(|arrived| arrived.signed_with(secret.expose()));
    }
    figures.alert_ms = record.p1().and_then(|(_, p1)| received.iter().map(|received| ms(p1.at, received.at)).min_by(f64::total_cmp));
    figures.carried_out = plan.attack.as_ref().is_some_and(|(truth, _)| carried_out(&files.data(), truth));
    figures.took_ms = (millis(playing), millis(began.elapsed()));
    figures.failed = judge::failures(&plan, &played, &record, &figures);
    Ok((plan, record, figures))
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn temporary(plan: &Plan) -> Result<PathBuf, DrillError> {
    let name = format!("custody-drill-{}-{}-", plan.scenario, plan.seed);
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

fn figures_of(plan: &Plan, played: &Played, record: &Record, home: &Path, ledger_verified: bool) -> Figures {
    let case = record.case();
    let p1 = record.p1().map(|(_, p1)| p1);
    let truth = plan.attack.as_ref().map(|(truth, _)| truth);
    let start = record.start();
    let attempts: Vec<_> = played.calls.iter().filter(|sent| matches!(sent.phase, Phase::Attempt(..))).collect();
    let innocent: Vec<_> = played.calls.iter().filter(|sent| !judge::is_turned(plan, &sent.principal)).collect();
    let contained = p1.and_then(|p1| p1.principal.clone());
    let denied = |session: &Option<custody_model::SessionId>| {
        let of = session.and_then(|session| record.principal(session));
        of.is_some() && of == contained.as_ref().map(|name| name.as_str())
    };
    Figures {
        scenario: plan.scenario,
        seed: plan.seed,
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
                received: false,
                signed: false,
            })
            .collect(),
        evidence: None,
        source: case.and_then(|case| case.source.as_ref()).map(|source| SourceFigure {
            tool: source.tool.clone(),
            document: source.document.clone(),
            place: source.place.clone(),
            excerpt: source.excerpt.clone(),
            correct: truth.is_some_and(|truth| source_is(truth, source)),
            confidence: source.confidence,
        }),
        source_ms: p1.and_then(|p1| record.source_at().map(|at| ms(p1.at, at))),
        ledger: LedgerFigure { entries: record.entries, verified: ledger_verified },
        principal: contained.clone(),
        case: case.map(|case| case.id),
        incident_type: case.map(|case| case.incident_type),
        clocks: case.map(|case| case.clocks.clone()).unwrap_or_default(),
        alert_ms: None,
        attempts: AttemptsFigure {
            made: attempts.len(),
            answered: attempts.iter().filter(|sent| sent.answer.ran()).count(),
            denied: record.denied.iter().filter(|(_, session)| denied(session)).count(),
        },
        calls_in_flight_at_p1: 0,
        calls_arrived: 0,
        calls_unrecorded: 0,
        innocent: InnocentFigure { calls: innocent.len(), hurt: innocent.iter().filter(|sent| !sent.answer.ran()).count() },
        carried_out: false,
        home: home.to_owned(),
        took_ms: (0.0, 0.0),
        failed: Vec::new(),
    }
}

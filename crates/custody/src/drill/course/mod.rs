//! Drills over virtual days: honest sessions first, which Custody learns from, then what is judged.
//!
//! Everything is as real as in the other drills: the daemon, the servers, the clients, the ledger, `custody learn`. Only the
//! daemon's clock is a virtual one, which the drill advances over the pauses between two calls; its report says so.

pub mod habits;
mod judge;
mod plan;
mod play;
pub mod poison;
mod show;

pub use plan::{Act, Caught, Course, Expect, Move, Run, Told, Withheld};
pub use show::report;

use super::{
    Closed, Part, error::DrillError, figures::CourseFigure, figures::Figures, figures_of, millis, preserved, proof, record::Record,
    stage::Stage, witness,
};
use crate::drill::agent::CALL_KEY;
use custody_model::{Family, LeafIndex, Outcome, Scope};
use play::{Played, Player};
use std::{collections::BTreeSet, path::Path, time::Instant};

/// One drill, from an empty directory to its figures.
///
/// # Errors
/// When it could not be run; that it did not hold is in [`Figures::failed`].
pub(super) async fn drill(course: &Course, root: &Path, guarded: bool, began: Instant) -> Result<(Record, Figures), DrillError> {
    let stage = Stage::set(root, &course.setting, guarded).await?;
    let playing = Instant::now();
    let mut player = Player::new(course, &stage)?;
    player.play(&course.lessons, false).await?;
    let learned = match course.learns {
        true => proof::learn(&stage.home).await?,
        false => None,
    };
    player.play(&course.trial, true).await?;
    let found = player.settle().await?;
    let played = player.played();
    let playing = playing.elapsed();
    let reader = proof::reader(&stage.home)?;
    // Where nothing is contained, nothing is preserved of itself.
    let contained = found && !matches!(course.expect, Expect::Told(_));
    let evidence = if contained { preserved(&stage, &reader, guarded).await? } else { None };
    let servers: Vec<&str> = course.setting.servers.iter().map(|server| server.name).collect();
    let closed = Closed::of(stage, &reader, &servers, evidence).await?;

    let hostile: BTreeSet<&str> = played.calls.iter().filter(|did| did.hostile).map(|did| did.tag.as_str()).collect();
    let innocent: Vec<_> = played.calls.iter().filter(|did| !did.hostile && !did.changed).collect();
    let part = Part {
        scenario: course.setting.scenario,
        seed: course.setting.seed,
        truth: None,
        attempts: (hostile.len(), played.calls.iter().filter(|did| did.hostile && did.answer.ran()).count()),
        innocent: (innocent.len(), innocent.iter().filter(|did| !did.answer.ran()).count()),
    };
    let seen = witness::seen(&closed.log, &closed.record, |tag| !hostile.contains(tag));
    let mut figures = figures_of(&part, &closed).with_seen(&seen);
    figures.course = Some(course_figure(course, &played, &closed, learned));
    figures.carried_out = figures.course.as_ref().is_some_and(|course| course.secrets_arrived > 0);
    figures.took_ms = (millis(playing), millis(began.elapsed()));
    figures.failed = judge::failures(course, &played, &closed.record, &figures);
    Ok((closed.record, figures))
}

fn course_figure(course: &Course, played: &Played, closed: &Closed, learned: Option<serde_json::Value>) -> CourseFigure {
    let record = &closed.record;
    let lessons = played.calls.iter().filter(|did| !did.trial).count();
    let accused = record.decisive().and_then(|(_, finding)| finding.session);
    let families: BTreeSet<Family> =
        record.findings.iter().filter(|(_, finding)| finding.session == accused).map(|(_, finding)| finding.family).collect();
    let quarantined = record.actions.iter().filter(|acted| acted.verb.as_str() == "freeze_scope" && acted.receipt.ok);
    let quarantined = quarantined.filter_map(|acted| record.steps.get(&acted.receipt.action)).flat_map(|step| step.scopes.clone());
    let changed: Vec<_> = played.calls.iter().filter(|did| did.changed).collect();
    let secrets_arrived = match &course.expect {
        Expect::Withheld(withheld) => {
            let carries = |call: &&crate::practice::LoggedCall| {
                let text = serde_json::Value::Object(call.arguments.clone()).to_string();
                text.contains(&withheld.secret) || text.contains(&withheld.content)
            };
            closed.log.iter().filter(carries).count()
        }
        _ => 0,
    };
    CourseFigure {
        virtual_days: played.virtual_ms as f64 / habits::DAY as f64,
        lessons: (course.learned_sessions(), lessons),
        learned,
        families: families.into_iter().collect(),
        loot: loot(course, played, closed),
        quarantined: quarantined.collect::<BTreeSet<Scope>>().into_iter().collect(),
        turned: played.turned.clone(),
        secrets_arrived,
        quarantined_calls: (changed.len(), changed.iter().filter(|did| did.answer.ran()).count()),
    }
}

/// Loot that arrived at the servers: before the decisive finding, between it and the freeze, and after that. By leaves, not by times.
fn loot(course: &Course, played: &Played, closed: &Closed) -> (usize, usize, usize) {
    let Expect::Caught(caught) = &course.expect else { return (0, 0, 0) };
    let record = &closed.record;
    let hostile: BTreeSet<&str> =
        played.calls.iter().filter(|did| did.hostile && did.tool == caught.loot).map(|did| did.tag.as_str()).collect();
    let found = record.decisive().map(|(leaf, _)| *leaf);
    let frozen = record.action("freeze_scope").map(|acted| acted.leaf);
    let mut loot = (0, 0, 0);
    for logged in &closed.log {
        let Some(tag) = logged.meta.as_ref().and_then(|meta| meta.get(CALL_KEY)).and_then(|tag| tag.as_str()) else { continue };
        if !hostile.contains(tag) {
            continue;
        }
        let leaf: Option<LeafIndex> =
            record.calls.get(tag).and_then(|calls| calls.iter().find(|call| call.outcome == Outcome::Allowed)).map(|call| call.leaf);
        match leaf {
            Some(leaf) if found.is_none_or(|found| leaf < found) => loot.0 += 1,
            Some(leaf) if frozen.is_none_or(|frozen| leaf < frozen) => loot.1 += 1,
            _ => loot.2 += 1,
        }
    }
    loot
}

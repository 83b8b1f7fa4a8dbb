//! Whether a course held.

use super::{
    Caught, Course, Expect, Told, Withheld,
    play::{Did, Played},
};
use crate::drill::{figures::Figures, judge::Failures, record::Record};
use custody_model::*;

/// What did not hold.
pub fn failures(course: &Course, played: &Played, record: &Record, figures: &Figures) -> Vec<String> {
    let mut failed = Failures::default();
    let name = |did: &Did| course.setting.clients.get(did.client).map_or("?", |client| client.principal.as_str());
    failed.unless(played.failed.is_empty(), || {
        format!("{} connections or listings failed, such as {:?}", played.failed.len(), played.failed[0])
    });
    failed.unless(figures.ledger.verified, || "the ledger does not verify".to_owned());
    failed.unless(figures.calls_unrecorded == 0, || {
        format!("{} calls reached a server that the ledger does not show as allowed", figures.calls_unrecorded)
    });
    failed.unless(figures.innocent.hurt == 0, || {
        let hurt = played.calls.iter().find(|did| !did.hostile && !did.changed && !did.answer.ran());
        let shown = hurt.map(|did| format!("{} by {}: {:?}", did.tool, name(did), did.answer));
        format!("{} calls of innocent agents did not run, such as {}", figures.innocent.hurt, shown.unwrap_or_default())
    });
    if course.learns {
        let learned = figures.course.as_ref().is_some_and(|course| course.learned.is_some());
        failed.unless(learned, || "`custody learn --apply` did not succeed".to_owned());
    }
    match &course.expect {
        Expect::Silence => silent(played, record, figures, &mut failed),
        Expect::Withheld(withheld) => kept_back(course, withheld, record, figures, &mut failed),
        Expect::Caught(caught) => stopped(course, caught, played, record, figures, &mut failed),
        Expect::Told(said) => told(course, said, played, record, figures, &mut failed),
    }
    failed.0
}

fn silent(played: &Played, record: &Record, figures: &Figures, failed: &mut Failures) {
    failed.unless(played.turned.is_empty(), || "an agent followed an honest definition".to_owned());
    failed.unless(record.findings.is_empty(), || {
        let why: Vec<&str> = record.findings.iter().map(|(_, finding)| finding.why.as_str()).collect();
        format!("findings: {:?}: {why:?}", figures.findings)
    });
    failed.unless(record.cases.is_empty(), || "a case was opened".to_owned());
    failed.unless(record.actions.is_empty() && record.alerts.is_empty(), || "something was contained or alerted".to_owned());
    failed.unless(record.denied.is_empty(), || format!("{} messages were denied", record.denied.len()));
    failed.unless(figures.calls_arrived == played.calls.len(), || {
        format!("{} calls were made and {} arrived", played.calls.len(), figures.calls_arrived)
    });
}

/// A case, an alert that arrived, evidence that verifies, one incident.
fn handled(record: &Record, figures: &Figures, failed: &mut Failures) {
    failed.unless(figures.alerts.iter().any(|alert| alert.ok && alert.received && alert.signed), || {
        format!("no signed alert arrived: {:?}", figures.alerts)
    });
    failed.unless(record.case().is_some_and(|case| !case.clocks.is_empty()), || "there is no case with clocks".to_owned());
    let cases: std::collections::BTreeSet<CaseId> = record.cases.iter().map(|(_, case)| case.id).collect();
    failed.unless(cases.len() == 1, || format!("{} cases for one incident", cases.len()));
    match &figures.evidence {
        None => failed.add("no evidence was exported".to_owned()),
        Some(evidence) => {
            failed.unless(evidence.verified, || format!("the evidence in {} does not verify", evidence.path.display()));
        }
    }
}

fn kept_back(course: &Course, withheld: &Withheld, record: &Record, figures: &Figures, failed: &mut Failures) {
    let Some(seen) = &figures.course else { return };
    let server = course.setting.servers[withheld.server].name;
    failed.unless(seen.turned.is_empty(), || format!("the definition reached {:?}, and was followed", seen.turned));
    failed.unless(seen.secrets_arrived == 0, || format!("{} calls fetched the secret or handed it over", seen.secrets_arrived));
    let (called, answered) = seen.quarantined_calls;
    failed.unless(called > 0, || "nobody called the tool afterwards: the drill shows nothing".to_owned());
    failed.unless(answered == 0, || format!("{answered} of {called} calls of the quarantined tool were answered"));
    let right = |finding: &&Finding| {
        finding.priority == withheld.priority
            && finding.family == Family::Integrity
            && finding.server.as_ref().is_some_and(|name| name.as_str() == server)
    };
    failed.unless(record.findings.iter().map(|(_, finding)| finding).any(|finding| right(&finding)), || {
        format!("no {:?} finding about a definition of {server}: {:?}", withheld.priority, figures.findings)
    });
    let quarantine = Scope::Tool(ServerName(server.to_owned()), ToolName(withheld.tool.clone().unwrap_or_default()));
    failed.unless(seen.quarantined == [quarantine.clone()] || withheld.tool.is_none(), || {
        format!("cut off: {:?}, not {quarantine} alone", seen.quarantined)
    });
    let touched = seen.quarantined.iter().find(|scope| !matches!(scope, Scope::Tool(..) | Scope::Server(_)));
    failed.unless(touched.is_none(), || format!("an identity was touched: {touched:?}"));
    // A lone P2 is no incident (T1): it is withheld, told in the log, and waits for a person in `custody manifest list`.
    if withheld.priority == Priority::P1 || !record.cases.is_empty() {
        handled(record, figures, failed);
    }
}

fn stopped(course: &Course, caught: &Caught, played: &Played, record: &Record, figures: &Figures, failed: &mut Failures) {
    let Some(seen) = &figures.course else { return };
    let principal = course.setting.clients[caught.client].principal.as_str();
    let Some((_, decisive)) = record.decisive() else {
        failed.add(format!("nothing was confirmed; findings: {:?}", figures.findings));
        return;
    };
    failed.unless(figures.triage == Some(Disposition::Confirmed), || format!("triage said {:?}", figures.triage));
    for (_, finding) in &record.findings {
        let accused = finding.principal.as_ref().map(|name| name.as_str());
        // A lone signal about somebody else is told as such, and must not become more than that.
        let escalated = record.triages.get(&finding.id).is_none_or(|triage| triage.disposition != Disposition::ProbableFalsePositive);
        failed.unless(accused == Some(principal) || !escalated, || format!("{} accuses {accused:?}: {}", finding.rule, finding.why));
        let forbidden = caught.not.iter().find(|rule| finding.rule.as_str().starts_with(**rule));
        failed.unless(forbidden.is_none(), || format!("{} must not fire here: {}", finding.rule, finding.why));
    }
    failed.unless(decisive.priority != Priority::P1, || format!("a P1 ({}): then it is another scenario", decisive.rule));
    failed.unless(seen.families.len() > 1, || format!("one family only: {:?}", seen.families));
    for families in &caught.signals {
        failed.unless(families.iter().any(|family| seen.families.contains(family)), || {
            format!("no signal of {families:?}, only of {:?}: {:?}", seen.families, figures.findings)
        });
    }
    let (before, between, after) = seen.loot;
    failed.unless(after == 0, || format!("{after} calls of {} ran after the freeze", caught.loot));
    failed.unless(before + between <= caught.at_most, || {
        format!("{before} calls of {} ran before the finding and {between} before the freeze, more than {}", caught.loot, caught.at_most)
    });
    let last = played.calls.iter().rfind(|did| did.hostile);
    failed.unless(last.is_some_and(|did| !did.answer.ran()), || format!("the last call of the attack was answered: {last:?}"));
    let order: Vec<Option<LeafIndex>> =
        ["freeze_scope", "snapshot_session", "terminate_session"].iter().map(|verb| record.action(verb).map(|acted| acted.leaf)).collect();
    failed.unless(order.iter().all(Option::is_some) && order.is_sorted(), || {
        format!("containment was not freeze, snapshot, terminate: {:?}", figures.containment)
    });
    failed.unless(record.case().is_some_and(|case| case.state == CaseState::Contained), || "the case is not contained".to_owned());
    handled(record, figures, failed);
}

/// A person hears of it with the words and the calls, and nothing is cut off.
fn told(course: &Course, told: &Told, played: &Played, record: &Record, figures: &Figures, failed: &mut Failures) {
    let principal = course.setting.clients[told.client].principal.as_str();
    let about = |finding: &&Finding| finding.principal.as_ref().is_some_and(|name| name.as_str() == principal);
    for (_, finding) in &record.findings {
        failed.unless(about(&finding) && finding.family == Family::Hijack, || {
            format!("{} accuses {:?}: {}", finding.rule, finding.principal, finding.why)
        });
    }
    let verdict = record.findings.iter().map(|(_, finding)| finding).find(|finding| about(finding) && finding.family == Family::Hijack);
    match verdict {
        None => failed.add(format!("nobody was told that {principal} was turned; findings: {:?}", figures.findings)),
        Some(finding) => {
            for shown in [told.words.as_str(), told.tool] {
                failed.unless(finding.why.contains(shown), || format!("`{shown}` is not in what a person reads: {}", finding.why));
            }
            let disposition = record.triages.get(&finding.id).map(|triage| triage.disposition);
            failed.unless(disposition == Some(Disposition::Escalate), || format!("triage said {disposition:?}"));
        }
    }
    failed.unless(record.actions.is_empty() && record.denied.is_empty(), || "words alone contained somebody".to_owned());
    failed.unless(played.calls.iter().all(|did| did.answer.ran()), || "a call did not run".to_owned());
    failed.unless(record.case().is_some(), || "no case was opened".to_owned());
    failed.unless(figures.alerts.iter().any(|alert| alert.ok && alert.received && alert.signed), || {
        format!("no signed alert arrived: {:?}", figures.alerts)
    });
}

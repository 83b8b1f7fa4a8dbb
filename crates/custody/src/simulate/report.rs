//! What a simulation showed: found, signalled, missed, false, each with its time and its why.

use super::{
    attacks::Kind,
    engine::{Fate, Options},
    plots::Placed,
    roles::{Company, Principal, Role},
    world::instant,
};
use custody_model::*;
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// Everything that is told.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What decided everything that was drawn.
    pub seed: u64,
    /// The first learned day's midnight.
    pub began: Timestamp,
    /// Days that were learned from.
    pub learn_days: u32,
    /// Days that were evaluated.
    pub days: u32,
    /// The attacks, in the order of the file.
    pub attacks: Vec<AttackReport>,
    /// Cases without an attack in them.
    pub false_cases: Vec<FalseCase>,
    /// Findings in ordinary sessions, by rule.
    pub benign_findings: Vec<RuleReport>,
    /// Sums.
    pub totals: Totals,
    /// How long it took. Everything else is the same for the same input.
    pub run: RunReport,
}

/// What became of one attack.
#[derive(Debug, Clone, Serialize)]
pub struct AttackReport {
    /// Its number in the file, from 1.
    pub number: usize,
    /// What.
    pub kind: Kind,
    /// Its name in the file.
    pub name: Option<String>,
    /// Whose.
    pub role: RoleName,
    /// Which task.
    pub task: TaskName,
    /// Who.
    pub principal: PrincipalName,
    /// `found`, `signalled` or `missed`.
    pub result: &'static str,
    /// Its first call.
    pub began: Option<Timestamp>,
    /// Calls of the attacker that a server answered.
    pub calls_ran: u32,
    /// The first finding.
    pub first_finding: Option<Moment>,
    /// The case.
    pub case: Option<Moment>,
    /// What triage said when the case was opened.
    pub disposition: Option<Disposition>,
    /// Rules that fired, in order.
    pub rules: Vec<RuleId>,
}

/// When something was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// Milliseconds after the attack's first call.
    pub after_ms: i64,
    /// Calls of the attacker that had run by then.
    pub calls_ran: u32,
}

/// A case that nobody needed.
#[derive(Debug, Clone, Serialize)]
pub struct FalseCase {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub role: Option<RoleName>,
    /// Which task was declared.
    pub task: Option<TaskName>,
    /// Who.
    pub principal: PrincipalName,
    /// When that client was adopted.
    pub joined: Option<Timestamp>,
    /// What triage said.
    pub disposition: Disposition,
    /// And why.
    pub path: Vec<String>,
    /// Its findings: rule and sentence.
    pub findings: Vec<(RuleId, String)>,
}

/// One rule in ordinary sessions.
#[derive(Debug, Clone, Serialize)]
pub struct RuleReport {
    /// The rule.
    pub rule: RuleId,
    /// Findings.
    pub findings: u64,
    /// Findings in a thousand sessions.
    pub per_thousand_sessions: f64,
}

/// Sums.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Totals {
    /// Roles.
    pub roles: usize,
    /// Their clients.
    pub principals: usize,
    /// Releases, new tools, new tasks and newcomers.
    pub changes: u64,
    /// Messages, both ways, learned and evaluated.
    pub entries: u64,
    /// Messages that were judged.
    pub evaluated: u64,
    /// Sessions that were learned from.
    pub learned_sessions: u64,
    /// Ordinary sessions that were judged.
    pub sessions: u64,
    /// Attacks with a case.
    pub found: usize,
    /// Attacks with findings and no case. They count as missed.
    pub signalled: usize,
    /// Attacks without a case.
    pub missed: usize,
    /// Attacks on a server's definitions, among all.
    pub manifest: usize,
    /// Cases without an attack.
    pub false_cases: usize,
}

/// How long it took.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunReport {
    /// Seconds.
    pub seconds: f64,
    /// Messages a second, generating them included.
    pub entries_per_second: f64,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        attacks: Vec<AttackReport>,
        false_cases: Vec<FalseCase>,
        benign: BTreeMap<RuleId, u64>,
        totals: Totals,
    ) -> Report {
        let share = |findings: u64| findings as f64 * 1_000.0 / totals.sessions.max(1) as f64;
        let benign_findings =
            benign.into_iter().map(|(rule, findings)| RuleReport { rule, findings, per_thousand_sessions: share(findings) }).collect();
        Report {
            seed: options.seed,
            began: instant(options.origin()),
            learn_days: options.learn_days,
            days: options.days,
            attacks,
            false_cases,
            benign_findings,
            totals,
            run: RunReport::default(),
        }
    }

    /// The report without its times of running, for comparisons.
    pub fn timed(mut self, seconds: f64) -> Report {
        self.run = RunReport { seconds, entries_per_second: self.totals.entries as f64 / seconds.max(1e-9) };
        self
    }
}

impl AttackReport {
    pub(super) fn of(nth: usize, placed: &Placed, fate: &Fate, role: &Role, principal: &Principal) -> AttackReport {
        let began = fate.began;
        let moment = |at: i64, calls_ran: u32| Moment { at: instant(at), after_ms: at - began.unwrap_or(at), calls_ran };
        AttackReport {
            number: nth + 1,
            kind: placed.attack.kind,
            name: placed.attack.name.clone(),
            role: role.name.clone(),
            task: role.tasks[placed.task].name.clone(),
            principal: principal.name.clone(),
            result: match (&fate.case, &fate.finding) {
                (Some(_), _) => "found",
                (None, Some(_)) => "signalled",
                (None, None) => "missed",
            },
            began: began.map(instant),
            calls_ran: fate.ran,
            first_finding: fate.finding.map(|(at, ran)| moment(at, ran)),
            case: fate.case.as_ref().map(|(at, ran, _)| moment(*at, *ran)),
            disposition: fate.case.as_ref().map(|(_, _, triage)| triage.disposition),
            rules: fate.rules.clone(),
        }
    }

    /// A case was opened.
    pub fn found(&self) -> bool {
        self.case.is_some()
    }

    /// Findings, and no case.
    pub fn signalled(&self) -> bool {
        self.case.is_none() && self.first_finding.is_some()
    }
}

impl FalseCase {
    pub(super) fn of(at: Timestamp, identity: &Identity, triage: &Triage, findings: &[Finding], company: &Company) -> FalseCase {
        let joined = company.principals.iter().find(|known| known.name == identity.principal).map(|known| instant(known.joined));
        FalseCase {
            at,
            role: identity.role.clone(),
            task: identity.task.clone(),
            principal: identity.principal.clone(),
            joined,
            disposition: triage.disposition,
            path: triage.path.clone(),
            findings: findings.iter().map(|finding| (finding.rule.clone(), finding.why.clone())).collect(),
        }
    }
}

/// `3 m 20 s`, `5 h 02 m`.
pub fn after(ms: i64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        _ if ms < 1_000 => format!("{ms} ms"),
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A report's closing words for people; the table of attacks is the caller's.
pub fn summary(report: &Report) -> String {
    let totals = &report.totals;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} roles, {} principals; {} sessions learned in {} days, {} judged in {}; {} changes",
        totals.roles, totals.principals, totals.learned_sessions, report.learn_days, totals.sessions, report.days, totals.changes
    );
    let _ = writeln!(
        out,
        "found {} of {} attacks (signalled without a case: {}); false cases: {}",
        totals.found,
        report.attacks.len(),
        totals.signalled,
        totals.false_cases
    );
    if !report.benign_findings.is_empty() {
        let _ = writeln!(out, "\nfindings in ordinary sessions, per 1,000 sessions:");
    }
    for rule in &report.benign_findings {
        let _ = writeln!(out, "  {:<34}{:>8.2}  ({})", rule.rule.as_str(), rule.per_thousand_sessions, rule.findings);
    }
    for case in &report.false_cases {
        let role = case.role.as_ref().map_or("", |role| role.as_str());
        let _ = writeln!(out, "\nfalse case at {:.0}: {} ({role}), {:?}", case.at, case.principal, case.disposition);
        for line in &case.path {
            let _ = writeln!(out, "    {line}");
        }
        for (rule, why) in &case.findings {
            let _ = writeln!(out, "  · {rule}: {why}");
        }
    }
    let _ = writeln!(out, "\n{} entries in {:.1} s, {:.0} a second", totals.entries, report.run.seconds, report.run.entries_per_second);
    out
}

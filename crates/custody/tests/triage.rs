//! Findings become cases, and people say what they were (T1, T5, T6).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use custody::{
    config::Config,
    core::{Clock, Core, Decision, Inbound, Peer},
    trust::*,
};
use custody_model::*;
use jiff::Timestamp;
use serde_json::json;
use std::{path::Path, sync::Arc};

/// One rule a method, of another family each.
const RULES: &[(&str, &str, &str)] =
    &[("ping", "P2", "rate"), ("tools/list", "P2", "sequence"), ("prompts/list", "P3", "duration"), ("resources/list", "P2", "rate")];

struct Stage {
    dir: tempfile::TempDir,
    core: Arc<Core>,
}

async fn open(dir: &Path) -> Arc<Core> {
    let home = Home::open(&dir.join("home")).unwrap();
    let text = "version = 1\n[servers.crm]\nurl = \"http://127.0.0.1:1/mcp\"\n[rules]\ndir = \"rules.d\"\n";
    let config = Config::parse(text, "custody.toml", &dir.join("home"), &|_| None).unwrap();
    Core::open_at(&home, config, Clock::starting_at(Timestamp::now())).await.unwrap()
}

impl Stage {
    /// `known`: since two days, with a credential of its own.
    async fn new(known: bool) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home");
        let home = Home::init(&root, &InitOptions::default()).unwrap().home;
        if known {
            Clients::mint(&home.clients(), "agent".into(), None, Timestamp::now()).unwrap();
        }
        std::fs::create_dir(root.join("rules.d")).unwrap();
        for (number, (method, priority, family)) in RULES.iter().enumerate() {
            let text = format!(
                "title: R{number}\nid: r{number}\nname: r{number}\nlogsource: {{product: mcp}}\ndetection:\n  s: {{method: {method}}}\n  condition: s\n\
                 custody: {{priority: {priority}, family: {family}, requirement: D3}}\n"
            );
            std::fs::write(root.join(format!("rules.d/r{number}.yml")), text).unwrap();
        }
        let core = open(dir.path()).await;
        let stage = Stage { dir, core };
        // First seen two days before anything happens.
        stage.say(99, "completion/complete").await;
        stage.core.advance_clock(&"operator".into(), 2 * 24 * 3600 * 1000).unwrap();
        stage
    }

    /// One message over a connection, which is a session of its own; whether it was forwarded.
    async fn say(&self, connection: u128, method: &str) -> bool {
        let peer = Peer {
            identity: self.core.identify(&PrincipalName::from("agent"), None),
            server: ServerName::from("crm"),
            transport: Transport::Http,
            connection: ConnectionId(uuid::Uuid::from_u128(connection)),
            process: None,
            source: "127.0.0.1:1".to_owned(),
            hint: None,
        };
        let bytes = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).to_string();
        let inbound = Inbound { peer: &peer, mcp_session: None, bytes: bytes.as_bytes(), headers: None, spliced: None };
        let forwarded = matches!(self.core.to_server(inbound).await, Decision::Forward(_));
        self.core.quiet().await;
        self.core.settled().await;
        forwarded
    }

    async fn findings(&self) -> Vec<(String, Option<Disposition>, Option<CaseId>)> {
        let rows = self.core.projection().findings().await.unwrap();
        rows.into_iter().map(|row| (row.rule.0, row.triage.map(|triage| triage.disposition), row.case)).collect()
    }

    async fn cases(&self) -> Vec<Case> {
        self.core.projection().cases().await.unwrap().into_iter().map(|row| row.case).collect()
    }
}

#[tokio::test]
async fn a_second_independent_signal_confirms_and_takes_the_first_along() {
    let stage = Stage::new(true).await;
    stage.say(1, "ping").await;
    assert_eq!(stage.findings().await, [("r0".into(), Some(Disposition::ProbableFalsePositive), None)]);
    assert_eq!(stage.cases().await, []);
    stage.say(1, "tools/list").await;
    let cases = stage.cases().await;
    let id = Some(cases[0].id);
    let confirmed = Some(Disposition::Confirmed);
    assert_eq!(stage.findings().await, [("r0".into(), confirmed, id), ("r1".into(), confirmed, id)]);
    assert_eq!(cases[0].findings.len(), 2);
    let first = stage.core.projection().findings().await.unwrap().remove(0);
    let path = first.triage.unwrap().path;
    assert!(path.iter().any(|step| step.starts_with("probable false positive")), "the first answer stays readable: {path:?}");
    assert_eq!(path.last().unwrap(), &format!("joined case {} later: r1 in the same session confirmed it", cases[0].id));
    assert!(!stage.say(1, "completion/complete").await, "a confirmed incident is contained");
    stage.core.close().await;
}

#[tokio::test]
async fn what_a_person_called_false_or_benign_confirms_nothing() {
    let stage = Stage::new(true).await;
    stage.say(1, "ping").await;
    let first = stage.core.projection().findings().await.unwrap().remove(0);
    let row = stage.core.dispose_finding(&"operator".into(), first.id, Verdict::Benign, "nightly batch").await.unwrap();
    assert_eq!(
        row.assessment.map(|assessment| (assessment.verdict, assessment.reason)),
        Some((Verdict::Benign, "nightly batch".to_owned()))
    );
    stage.say(1, "tools/list").await;
    assert_eq!(stage.cases().await, []);
    let unknown = FindingId(uuid::Uuid::from_u128(1));
    assert!(stage.core.dispose_finding(&"operator".into(), unknown, Verdict::True, "x").await.is_err());
    stage.core.close().await;
}

#[tokio::test]
async fn two_p2_of_one_family_are_one_signal() {
    let stage = Stage::new(true).await;
    stage.say(1, "ping").await;
    stage.say(1, "resources/list").await;
    assert_eq!(stage.cases().await, []);
    stage.core.advance_clock(&"operator".into(), 24 * 3600 * 1000).unwrap();
    stage.say(2, "tools/list").await;
    assert_eq!(stage.cases().await, [], "and another session is another story");
    stage.core.close().await;
}

#[tokio::test]
async fn what_cannot_be_ruled_out_reaches_a_person_and_contains_nothing() {
    // Nobody knows when its credential was made.
    let stage = Stage::new(false).await;
    assert!(stage.say(1, "ping").await);
    let cases = stage.cases().await;
    assert_eq!(cases.len(), 1);
    assert_eq!(
        (cases[0].triage.disposition, cases[0].severity, cases[0].state),
        (Disposition::Escalate, Severity::Moderate, CaseState::Open)
    );
    assert_eq!(stage.core.projection().actions_of(cases[0].id).await.unwrap(), []);
    assert!(stage.say(1, "completion/complete").await, "nothing is contained on what is only not ruled out");
    // A second, independent signal: now it is confirmed, in the same case, with its clocks.
    stage.say(1, "tools/list").await;
    let cases = stage.cases().await;
    assert_eq!((cases.len(), cases[0].triage.disposition), (1, Disposition::Confirmed));
    assert!(cases[0].clocks.iter().filter(|clock| clock.anchor == Anchor::Confirmation).all(|clock| clock.started.is_some()));
    assert_eq!(cases[0].state, CaseState::Contained);
    assert!(!stage.say(1, "completion/complete").await);
    stage.core.close().await;
}

#[tokio::test]
async fn a_case_that_was_benign_is_closed_and_teaches_again() {
    let stage = Stage::new(true).await;
    stage.say(1, "ping").await;
    stage.say(1, "tools/list").await;
    let case = stage.cases().await.remove(0);
    let excluded = || async { stage.core.projection().sessions_to_exclude().await.unwrap() };
    assert_eq!(excluded().await, case.sessions.iter().copied().collect());
    let operator = OperatorName::from("operator");
    let row = stage.core.dispose_case(&operator, case.id, Verdict::True, "a real one").await.unwrap();
    assert_eq!(row.case.state, CaseState::Contained, "a true one is closed when its work is done");
    assert_eq!(excluded().await.len(), 1);
    let row = stage.core.dispose_case(&operator, case.id, Verdict::Benign, "the migration of Tuesday").await.unwrap();
    assert_eq!((row.case.state, row.assessment.unwrap().verdict), (CaseState::Closed, Verdict::Benign));
    assert!(row.case.clocks.iter().filter(|clock| clock.anchor == Anchor::Closing).all(|clock| clock.started.is_some()));
    assert_eq!(excluded().await.len(), 0);
    assert!(!stage.say(1, "completion/complete").await, "what is frozen stays frozen until it is undone");

    // It survives: the projection is made anew from the ledger.
    let Stage { dir, core } = stage;
    core.close().await;
    for file in ["custody.db", "custody.db-wal", "custody.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join("home").join(file));
    }
    let core = open(dir.path()).await;
    let row = core.projection().case(case.id).await.unwrap().unwrap();
    assert_eq!(row.assessment.unwrap().reason, "the migration of Tuesday");
    assert_eq!(core.close_case(&operator, case.id, "again").await.unwrap().case.state, CaseState::Closed);
    core.close().await;
}

#[tokio::test]
async fn findings_say_when_somebody_must_look() {
    let stage = Stage::new(true).await;
    stage.say(1, "prompts/list").await;
    stage.say(2, "ping").await;
    let within: Vec<u64> = stage.core.projection().findings().await.unwrap().into_iter().filter_map(|row| row.finding?.respond_s).collect();
    assert_eq!(within, [900, 900], "D3 has a quarter of an hour");
    stage.core.close().await;
}

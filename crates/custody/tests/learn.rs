//! Learning from the record, and what is seen with it (D3, D15, D17; promise 5).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use custody::{
    config::Config,
    core::{BaselineRequest, Clock, Core, Decision, Inbound, LearnRequest, Peer, Returned},
    trust::*,
};
use custody_model::*;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

const CONFIG: &str = r#"
version = 1
[servers.crm]
url = "http://127.0.0.1:1/mcp"
mode = "enforce"
[clients.agent]
role = "support"
task = "answer"
[roles.support]
allow = ["crm/find_customer", "crm/get_customer", "crm/send_mail", "crm/delete_customer"]
[roles.support.tasks.answer]
allow = ["crm/find_customer", "crm/get_customer", "crm/send_mail", "crm/delete_customer"]
"#;

async fn open(root: &Path) -> Arc<Core> {
    let home = Home::open(root).unwrap();
    let config = Config::parse(CONFIG, "custody.toml", root, &|_| None).unwrap();
    // A day later at each start: nobody is new.
    Core::open_at(&home, config, Clock::starting_at(Timestamp::now())).await.unwrap()
}

fn operator() -> OperatorName {
    OperatorName::from("operator")
}

struct Agent<'a> {
    core: &'a Arc<Core>,
    peer: Peer,
    calls: u64,
}

impl<'a> Agent<'a> {
    fn new(core: &'a Arc<Core>, connection: u128) -> Agent<'a> {
        let peer = Peer {
            identity: core.identify(&PrincipalName::from("agent"), None),
            server: ServerName::from("crm"),
            transport: Transport::Http,
            connection: ConnectionId(uuid::Uuid::from_u128(connection)),
            process: None,
            source: "127.0.0.1:1".to_owned(),
            hint: None,
        };
        Agent { core, peer, calls: 0 }
    }

    /// A call and its answer; `false`: denied.
    async fn call(&mut self, pause_ms: u64, tool: &str, arguments: Value) -> bool {
        self.core.advance_clock(&operator(), pause_ms).unwrap();
        self.calls += 1;
        let bytes = json!({"jsonrpc":"2.0","id":self.calls,"method":"tools/call","params":{"name":tool,"arguments":arguments}}).to_string();
        let inbound = Inbound { peer: &self.peer, mcp_session: None, headers: None, bytes: bytes.as_bytes(), spliced: None };
        let Decision::Forward(permit) = self.core.to_server(inbound).await else { return false };
        let call = permit.call().clone();
        drop(self.core.redeem(*permit));
        let answer = json!({"jsonrpc":"2.0","id":self.calls,"result":{"content":[{"type":"text","text":"x".repeat(600)}]}}).to_string();
        assert!(matches!(self.core.to_agent(&self.peer, Some(&call), answer.as_bytes()).await, Returned::Pass | Returned::Withheld(_)));
        true
    }
}

/// What the support role does all day.
async fn ordinary(core: &Arc<Core>, n: u64) {
    core.advance_clock(&operator(), 45 * 60_000).unwrap();
    let mut agent = Agent::new(core, u128::from(n));
    assert!(agent.call(0, "find_customer", json!({"name": format!("Customer {n}")})).await);
    for i in 0..=(n % 3) {
        assert!(agent.call(9_000 + n % 7 * 1_000, "get_customer", json!({"id": (n * 7919 + i * 104_729) % 90_000})).await);
    }
    assert!(agent.call(14_000, "send_mail", json!({"to": "desk@corp.example", "body": "done"})).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn habits_are_learned_from_the_record_and_a_turned_agent_inside_its_allowlist_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("home");
    let home = Home::init(&root, &InitOptions::default()).unwrap().home;
    Clients::mint(&home.clients(), "agent".into(), None, Timestamp::now()).unwrap();
    let core = open(&root).await;
    for n in 1..=60 {
        ordinary(&core, n).await;
    }
    core.quiet().await;
    assert_eq!(core.projection().findings().await.unwrap().len(), 0, "nothing to find before anything is learned");
    let learned = core.learn(&operator(), LearnRequest { apply: true, ..LearnRequest::default() }).await.unwrap();
    let profile = &learned.baseline.profiles["support/answer"];
    assert_eq!((learned.baseline.sessions, profile.sessions, learned.in_force), (60, 60, true));
    assert_eq!(profile.tools_used.known.keys().collect::<Vec<_>>(), ["crm/find_customer", "crm/get_customer", "crm/send_mail"]);
    assert!((2.0..=4.0).contains(&profile.tools["crm/get_customer"].calls.most) && profile.bytes.usual() > 600.0, "{profile:?}");
    for n in 61..=75 {
        ordinary(&core, n).await;
    }
    core.quiet().await;
    let noise = core.projection().findings().await.unwrap();
    assert_eq!(noise.len(), 0, "{noise:#?}");
    core.close().await;

    // The next day, after a restart: ids one after the other, at machine speed, all of it permitted.
    let core = open(&root).await;
    core.advance_clock(&operator(), 6 * 86_400_000).unwrap();
    assert_eq!(core.baseline().unwrap().digest, learned.digest);
    let mut agent = Agent::new(&core, 999);
    let mut passed = 0;
    for id in 1001..1200 {
        if !agent.call(40, "get_customer", json!({"id": id})).await {
            break;
        }
        passed += 1;
        core.quiet().await;
    }
    assert!((5..40).contains(&passed), "{passed} calls passed");
    // The freeze is in the decision itself; its case follows.
    core.quiet().await;
    core.settled().await;
    let findings: Vec<Finding> = core.projection().findings().await.unwrap().into_iter().filter_map(|row| row.finding).collect();
    // Nothing says that this tool only reads, so what is seen first is that it may change so much so fast.
    let hurried = findings.iter().find(|f| f.rule.as_str() == "mcp-030-rapid-changes").unwrap_or_else(|| panic!("{findings:#?}"));
    assert_eq!(hurried.by.baseline, Some(learned.digest), "each finding names its baseline");
    let used = hurried.baseline.as_ref().unwrap();
    assert_eq!((used.version.as_str(), used.profile.as_str(), used.samples), (learned.name.as_str(), "support/answer", 60));
    assert!(hurried.why.contains("times in a row") && hurried.silence.is_some(), "{hurried:?}");
    let cases = core.projection().cases().await.unwrap();
    assert_eq!(cases.len(), 1, "{findings:#?}");
    assert_eq!(cases[0].case.triage.disposition, Disposition::Confirmed, "{:#?}", cases[0].case.triage);

    // What belongs to the incident teaches nothing.
    let again = core.learn(&operator(), LearnRequest::default()).await.unwrap();
    assert_eq!((again.baseline.excluded, again.in_force), (1, false));
    assert!(again.baseline.profiles["support/answer"].tools["crm/get_customer"].calls.most < 5.0);
    let none = core.set_baseline(&operator(), BaselineRequest { baseline: None, merge: false, reason: "test".into() }).unwrap();
    assert!(none.is_none() && core.baseline().is_none() && !home.baseline().exists());
    core.close().await;
}

//! The negative control: the drill's agent straight at the practice server, with no Custody in between. The attack succeeds.
#![allow(clippy::unwrap_used)]

use custody::{
    drill::{
        agent::{self, CALL_KEY, Endpoint, Phase, Played},
        plan::Plan,
        scenarios,
    },
    practice::{self, LoggedCall, read_log},
};
use std::{collections::BTreeSet, path::Path};

async fn direct(scenario: &str, seed: u64) -> (Plan, Played, Vec<LoggedCall>, tempfile::TempDir) {
    let plan = scenarios::named(scenario).unwrap().plan(seed).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let args = practice::Args {
        data: dir.path().join("data"),
        log: Some(dir.path().join("calls.jsonl")),
        http: None,
        ..practice::Args::default()
    };
    std::fs::create_dir(&args.data).unwrap();
    plan.setting().write_corpus(&args.data).unwrap();
    let listening = practice::listen(practice::open(&args).unwrap(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = listening.url();
    let played = agent::play(&plan, |_| Endpoint { url: url.clone(), key: None }).await;
    let calls = read_log(&dir.path().join("calls.jsonl")).unwrap();
    (plan, played, calls, dir)
}

fn carried_out(data: &Path, tool: &str, destination: &str) -> bool {
    let place = match tool {
        "send_data" => data.join("outbox.jsonl"),
        "send_mail" => data.join("mail.mbox"),
        "make_payment" => data.join("payments.jsonl"),
        _ => return data.join("files").join(destination).exists(),
    };
    std::fs::read_to_string(place).unwrap_or_default().contains(destination)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_custody_the_attack_succeeds() {
    let mut arrived = BTreeSet::new();
    for seed in 0..20 {
        let (plan, played, calls, dir) = direct("document-injection", seed).await;
        let (truth, _) = plan.attack.unwrap();
        assert!(played.unopened.is_empty(), "seed {seed}: {:?}", played.unopened);
        let turned = played.turned.unwrap();
        assert_eq!((turned.document.as_str(), turned.order.tool.as_str()), (truth.document.as_str(), truth.tool), "seed {seed}");
        assert!(carried_out(&dir.path().join("data"), truth.tool, &turned.order.destination), "seed {seed}: nothing left");
        let tags: BTreeSet<&str> = calls.iter().filter_map(|call| call.meta.as_ref()?.get(CALL_KEY)?.as_str()).collect();
        for sent in &played.calls {
            match &sent.phase {
                Phase::First => assert!(sent.answer.ran() && tags.contains(sent.tag.as_str()), "seed {seed}: {sent:?}"),
                Phase::Own | Phase::Meanwhile => assert!(sent.answer.ran(), "seed {seed}: {sent:?}"),
                Phase::Attempt(_, label) if tags.contains(sent.tag.as_str()) => _ = arrived.insert(label.clone()),
                Phase::Attempt(..) => {}
            }
        }
        let attempts = played.calls.iter().filter(|sent| matches!(sent.phase, Phase::Attempt(..))).count();
        assert_eq!(attempts, 14, "seed {seed}");
    }
    // The attempts are real: nearly all kinds do reach an unguarded server.
    assert!(arrived.len() >= 25, "{arrived:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_day_is_long_and_turns_nobody() {
    for seed in 0..10 {
        let (plan, played, calls, _dir) = direct("clean", seed).await;
        assert!(played.turned.is_none(), "seed {seed}");
        assert!(played.unopened.is_empty(), "seed {seed}: {:?}", played.unopened);
        assert!(played.calls.iter().all(|sent| sent.answer.ran()), "seed {seed}");
        assert_eq!(played.calls.len(), calls.len(), "seed {seed}");
        let connections: usize = plan.agents.iter().map(|agent| agent.connections.len()).sum();
        assert!(calls.len() >= 24 && connections >= 4, "seed {seed}: {} calls, {connections} connections", calls.len());
    }
}

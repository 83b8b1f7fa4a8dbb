//! Evidence before termination (promise 3): with evidence that cannot be kept nothing is terminated, until a person takes it on
//! their name.

#![allow(clippy::unwrap_used)]

use custody::{
    config::Config,
    core::{ContainOptions, ContainTarget, Core, CoreError},
    trust::{Clients, Home, InitOptions},
};
use custody_model::{Event, LeafIndex, OperatorName};
use std::sync::Arc;

/// Verb and success of every finished action, by the ledger.
fn actions(core: &Arc<Core>) -> Vec<(String, bool)> {
    let entries = core.ledger().reader().entries(LeafIndex(0)).map(|entry| entry.unwrap().1.event).collect::<Vec<_>>();
    let done = entries.into_iter().filter_map(|event| match event {
        Event::ActionDone { verb, ok, .. } => Some((verb.as_str().to_owned(), ok)),
        _ => None,
    });
    done.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_evidence_only_a_named_person_terminates() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::init(&folder.path().join("home"), &InitOptions::default()).unwrap().home;
    Clients::mint(&home.clients(), "agent".into(), None, jiff::Timestamp::now()).unwrap();
    // Where the evidence goes there is no room for a folder, whoever asks.
    if home.evidence().exists() {
        std::fs::remove_dir(home.evidence()).unwrap();
    }
    std::fs::write(home.evidence(), "in the way").unwrap();

    let core = Core::open(&home, Config::parse("version = 1", "custody.toml", folder.path(), &|_| None).unwrap()).await.unwrap();
    let (by, target) = (OperatorName::from("ana"), ContainTarget::Principal("agent".into()));

    let options = ContainOptions { terminate: true, break_glass: None };
    let refused = core.contain(&by, target.clone(), "looks wrong", options).await;
    assert!(matches!(refused, Err(CoreError::NotPreserved { .. })), "{refused:?}");
    let frozen_only = [("freeze_scope".to_owned(), true), ("snapshot_session".to_owned(), false)];
    assert_eq!(actions(&core), frozen_only, "frozen, the failure recorded, nothing terminated");

    let options = ContainOptions { terminate: true, break_glass: Some("ben".into()) };
    let receipts = core.contain(&by, target, "cannot wait", options).await.unwrap();
    let named: Vec<_> = receipts.iter().map(|receipt| receipt.glass_broken_by.as_ref().map(OperatorName::as_str)).collect();
    assert_eq!(named, [None, Some("ben"), None], "{receipts:?}");
    assert!(!receipts[1].ok, "the failed snapshot stays a failed snapshot");
    assert_eq!(actions(&core).last().unwrap().0, "terminate_session");
    core.close().await;
}

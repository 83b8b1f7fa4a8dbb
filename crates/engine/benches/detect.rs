//! How long detection takes per call: the shipped rules over a permitted, a denied and a frozen call.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use custody_engine::detect::{Detector, EventKind, Facts, PolicyOutcome, Rules};
use custody_model::{Assurance, DenyReason, Direction, Identity, Outcome, PolicyId, PrincipalName, ServerName, SessionId};
use jiff::{SignedDuration, Timestamp};

fn facts() -> Facts {
    Facts {
        event: EventKind::ToolInvoked,
        direction: Direction::ToServer,
        outcome: Outcome::Allowed,
        reason: None,
        policy: PolicyOutcome::Allowed,
        enforced: true,
        server: ServerName::from("practice"),
        tool: Some("read_file".to_owned()),
        listed: true,
        method: Some("tools/call".to_owned()),
        identity: Identity {
            principal: PrincipalName::from("analyst-agent-047"),
            assurance: Assurance::ClientKey,
            role: Some("analyst".into()),
            task: Some("summarize".into()),
        },
        session: Some(SessionId(uuid::Uuid::from_u128(1))),
        faults: Vec::new(),
        leaf: None,
    }
}

fn observations(c: &mut Criterion) {
    let allowed = facts();
    let policy = PolicyOutcome::Denied { policy: PolicyId::from("role:analyst"), why: "not on the allowlist".to_owned() };
    let denied = Facts { outcome: Outcome::Denied, reason: Some(DenyReason::Policy("role:analyst".into())), policy, ..facts() };
    let frozen = Facts { reason: Some(DenyReason::Frozen), ..denied.clone() };
    for (name, facts) in [("allowed", allowed), ("denied", denied), ("frozen", frozen)] {
        let mut detector = Detector::new(Rules::standard());
        let mut now = Timestamp::UNIX_EPOCH;
        c.bench_function(&format!("detect/{name}"), |b| {
            b.iter(|| {
                now += SignedDuration::from_millis(20);
                detector.observe(&facts, now)
            });
        });
    }
}

criterion_group!(benches, observations);
criterion_main!(benches);

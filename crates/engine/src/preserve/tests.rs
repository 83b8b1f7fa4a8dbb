use super::*;
use custody_model::*;
use jiff::Timestamp;

fn case(sessions: &[SessionId]) -> Case {
    Case {
        id: "inc_01931b1c2d3e7f008000000000000001".parse().unwrap(),
        opened: Timestamp::UNIX_EPOCH,
        state: CaseState::Open,
        severity: Severity::High,
        incident_type: IncidentType::PromptInjection,
        triage: Triage { disposition: Disposition::Confirmed, path: vec![] },
        findings: vec!["fnd_01931b1c2d3e7f008000000000000001".parse().unwrap()],
        sessions: sessions.to_vec(),
        scopes: vec![],
        clocks: vec![],
        source: None,
    }
}

fn session(n: u8) -> SessionId {
    format!("ses_01931b1c2d3e7f0080000000000000{n:02x}").parse().unwrap()
}

fn entry(session: Option<SessionId>, event: Event) -> Entry {
    Entry { v: 1, at: Timestamp::UNIX_EPOCH, session, event, detail: None, body: None }
}

#[test]
fn other_sessions_and_cases_stay_out() {
    let selection = Selection::of(&case(&[session(1)]), &[session(2)]);
    let ended = || Event::SessionEnded { why: "idle".into() };
    assert_eq!(selection.takes(&entry(Some(session(1)), ended())), Some(Take::Content));
    assert_eq!(selection.takes(&entry(Some(session(2)), ended())), Some(Take::Content));
    assert_eq!(selection.takes(&entry(Some(session(3)), ended())), None);
    assert_eq!(selection.takes(&entry(None, Event::DaemonStopped)), None);
    let listing = Event::ManifestSeen {
        server: "s".into(),
        listing: "tools/list".into(),
        digest: Digest([0; 32]),
        definitions: vec![],
        changed: vec![],
    };
    assert_eq!(selection.takes(&entry(Some(session(3)), listing)), Some(Take::Line));
    let of = |id: &str| Event::CaseUpdated { case: id.parse().unwrap(), severity: Severity::High, state: CaseState::Open };
    assert_eq!(selection.takes(&entry(None, of("inc_01931b1c2d3e7f008000000000000001"))), Some(Take::Content));
    assert_eq!(selection.takes(&entry(None, of("inc_01931b1c2d3e7f008000000000000002"))), None);
}

#[test]
fn a_report_names_all_nine_and_why() {
    let present = Presence::Present { path: "invocation_log.jsonl".into(), digest: Digest([1; 32]) };
    let report = completeness(&BTreeMap::from([(EvidenceItem::InvocationLog, present.clone())]));
    assert_eq!(report.len(), 9);
    assert_eq!(report[0].presence, present);
    for line in &report[1..] {
        assert!(matches!(&line.presence, Presence::Missing { why } if !why.is_empty()));
    }
}

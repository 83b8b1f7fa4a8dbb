//! Calls after the P1, counted from the practice server's own log.

use super::{agent::CALL_KEY, record::Record};
use crate::practice::LoggedCall;
use custody_model::Outcome;

/// What the practice server saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls of the contained principal that were forwarded after the P1 finding. Must be 0.
    pub forwarded_after_p1: usize,
    /// Calls of the contained principal that the ledger shows allowed **before** the finding's leaf and that arrived after
    /// its time: they were on their way when the finding fell.
    pub in_flight_at_p1: usize,
    /// Calls that arrived and that the ledger does not show as allowed. Must be 0 (promise 1).
    pub unrecorded: usize,
    /// All that arrived.
    pub arrived: usize,
}

/// Matches each logged call with the ledger by the number that the agent gave it in `_meta`.
///
/// A call counts as forwarded after the P1 when it reached the server after the time of the finding and is not shown
/// by the ledger as allowed at an earlier leaf. A call that carries no number, or one that nobody innocent sent, counts
/// as the contained principal's: what cannot be told apart counts against Custody.
pub fn seen(log: &[LoggedCall], record: &Record, innocent: impl Fn(&str) -> bool) -> Seen {
    let p1 = record.decisive();
    let mut seen = Seen { arrived: log.len(), ..Seen::default() };
    for logged in log {
        let tag = logged.meta.as_ref().and_then(|meta| meta.get(CALL_KEY)).and_then(|tag| tag.as_str());
        let allowed = tag.and_then(|tag| record.calls.get(tag)).and_then(|calls| {
            calls.iter().find(|call| call.outcome == Outcome::Allowed && call.tool.as_deref() == Some(logged.tool.as_str()))
        });
        if allowed.is_none() {
            seen.unrecorded += 1;
        }
        let Some((leaf, finding)) = p1 else { continue };
        if logged.at <= record.real(*leaf, finding.at) || tag.is_some_and(&innocent) {
            continue;
        }
        match allowed {
            Some(call) if call.leaf < *leaf => seen.in_flight_at_p1 += 1,
            _ => seen.forwarded_after_p1 += 1,
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::record::RecordedCall;
    use custody_model::*;
    use jiff::Timestamp;
    use serde_json::{Map, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn logged(second: i64, tag: Option<&str>) -> LoggedCall {
        let meta = tag.map(|tag| json!({ CALL_KEY: tag }));
        LoggedCall {
            seq: 0,
            at: at(second),
            monotonic_ns: 0,
            tool: "t".to_owned(),
            arguments: Map::new(),
            rpc_id: json!(1),
            meta,
            caller: None,
        }
    }

    /// A P1 at second 10, leaf 50; calls by number, leaf and outcome.
    fn record(calls: &[(&str, u64, Outcome)]) -> Record {
        let mut record = Record::default();
        let finding = json!({
            "id": format!("fnd_{}", "0".repeat(32)), "at": at(10), "rule": "r", "title": "t", "priority": "P1", "family": "authorization",
            "requirement": "D1", "techniques": [], "session": null, "principal": "bad", "server": null, "tool": null, "leaf": 50,
            "policy": null, "why": "w",
            "by": {"engine": "0", "rules": "00".repeat(32), "policies": "00".repeat(32), "baseline": null},
        });
        record.findings.push((LeafIndex(50), serde_json::from_value(finding).unwrap()));
        for (tag, leaf, outcome) in calls {
            let call = RecordedCall { leaf: LeafIndex(*leaf), at: at(0), outcome: *outcome, tool: Some("t".to_owned()), session: None };
            record.calls.entry((*tag).to_owned()).or_default().push(call);
        }
        record
    }

    fn check(log: &[LoggedCall], calls: &[(&str, u64, Outcome)]) -> (usize, usize, usize) {
        let seen = seen(log, &record(calls), |tag| tag.starts_with("good/"));
        (seen.forwarded_after_p1, seen.in_flight_at_p1, seen.unrecorded)
    }

    #[test]
    fn what_came_before_the_finding_and_what_innocents_do_is_fine() {
        let log = [logged(9, Some("bad/1")), logged(12, Some("good/1"))];
        assert_eq!(check(&log, &[("bad/1", 4, Outcome::Allowed), ("good/1", 60, Outcome::Allowed)]), (0, 0, 0));
    }

    #[test]
    fn a_call_allowed_before_and_arriving_after_was_on_its_way() {
        assert_eq!(check(&[logged(11, Some("bad/1"))], &[("bad/1", 49, Outcome::Allowed)]), (0, 1, 0));
    }

    #[test]
    fn everything_else_counts_against_custody() {
        assert_eq!(check(&[logged(11, Some("bad/1"))], &[("bad/1", 51, Outcome::Allowed)]), (1, 0, 0));
        assert_eq!(check(&[logged(11, Some("bad/1"))], &[("bad/1", 49, Outcome::Denied)]), (1, 0, 1));
        assert_eq!(check(&[logged(11, Some("bad/1"))], &[]), (1, 0, 1));
        assert_eq!(check(&[logged(11, None)], &[]), (1, 0, 1));
        assert_eq!(check(&[logged(9, None)], &[]), (0, 0, 1));
    }
}

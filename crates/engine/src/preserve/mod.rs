//! Selection and completeness of evidence (E1, E6).
//!
//! Which entries belong to a case is decided here, from neutral facts; whoever writes the bundle has no choices left.

use custody_model::{Case, CaseId, Entry, Event, EvidenceItem, FindingId, ItemReport, Presence, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// What of an entry goes into a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// The line and its proof, still sealed: neutral facts that the case needs as context.
    Line,
    /// Also what is sealed in it: it is the case's own.
    Content,
}

/// Which entries belong to a case.
#[derive(Debug, Clone)]
pub struct Selection {
    case: CaseId,
    sessions: BTreeSet<SessionId>,
    findings: BTreeSet<FindingId>,
}

impl Selection {
    /// The case's sessions and findings, and `more` sessions that somebody asked for.
    pub fn of(case: &Case, more: &[SessionId]) -> Selection {
        Selection {
            case: case.id,
            sessions: case.sessions.iter().chain(more).copied().collect(),
            findings: case.findings.iter().copied().collect(),
        }
    }

    /// Its sessions.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.sessions.iter().copied()
    }

    /// Whether a session is of the case: the commitments of such a session may be opened.
    pub fn has(&self, session: SessionId) -> bool {
        self.sessions.contains(&session)
    }

    /// What of `entry` is taken; `None`: nothing.
    ///
    /// Listings of other sessions are taken as lines, for a changed definition shows only beside an earlier one. Everything
    /// else of other sessions and cases stays out.
    pub fn takes(&self, entry: &Entry) -> Option<Take> {
        if entry.session.is_some_and(|session| self.has(session)) {
            return Some(Take::Content);
        }
        match &entry.event {
            Event::FindingRaised { finding, .. } if self.findings.contains(finding) => Some(Take::Content),
            Event::Triaged { finding, case, .. } if *case == Some(self.case) || self.findings.contains(finding) => Some(Take::Content),
            Event::CaseUpdated { case, .. } | Event::AlertSent { case, .. } | Event::EvidenceExported { case, .. }
                if *case == self.case =>
            {
                Some(Take::Content)
            }
            Event::ActionIntended { case, .. } | Event::ActionDone { case, .. } if *case == Some(self.case) => Some(Take::Content),
            Event::ManifestSeen { .. } | Event::LedgerCreated { .. } | Event::ConfigLoaded { .. } => Some(Take::Line),
            _ => None,
        }
    }
}

/// Why an item of which nothing was found is missing, where it cannot be there at all.
pub fn not_collected(item: EvidenceItem) -> &'static str {
    match item {
        EvidenceItem::DownstreamLogs => "no log source behind the servers is connected to Custody",
        EvidenceItem::TokenHistory => {
            "no identity provider is connected to Custody; who called with which client key is in the invocation log"
        }
        EvidenceItem::MemoryStore => {
            "the agent's memory store is not connected to Custody; what was written or read through MCP is in the invocation log"
        }
        EvidenceItem::NetworkConnections => "no server process was running under Custody's eyes when this was collected",
        EvidenceItem::InjectionSource => "no source has been named for this case",
        EvidenceItem::ToolResponses => "no tool answered in these sessions",
        EvidenceItem::ContextWindow => "nothing was delivered to the agent in these sessions",
        EvidenceItem::ManifestComparison => "no listing of definitions is in the ledger",
        EvidenceItem::InvocationLog => "no message of these sessions is in the ledger",
    }
}

/// The completeness report: all nine items, each present or missing with a reason (E6).
pub fn completeness(found: &BTreeMap<EvidenceItem, Presence>) -> Vec<ItemReport> {
    let missing = |item| Presence::Missing { why: not_collected(item).to_owned() };
    let report = |item: EvidenceItem| ItemReport {
        item,
        priority: item.priority(),
        presence: found.get(&item).cloned().unwrap_or_else(|| missing(item)),
    };
    EvidenceItem::ALL.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests;

//! Independent signals of live sessions (T1): with the second family in one session the incident is confirmed, and the call that
//! brought it is frozen in its own decision. Triage says the same a moment later; a machine does not wait for that moment.
//!
//! Only sessions with findings are kept. Lost with a restart, or when there are too many: then triage alone confirms.

use custody_engine::{detect::FindingDraft, triage};
use custody_model::{Family, SessionId};
use std::collections::{BTreeSet, HashMap};

/// Sessions that are remembered.
const SESSIONS: usize = 65_536;

/// Families of findings by session.
#[derive(Debug, Default)]
pub struct Families(HashMap<SessionId, BTreeSet<Family>>);

impl Families {
    /// Adds these findings; whether they are of a second family in the session, now or together.
    pub fn second(&mut self, session: SessionId, findings: &[FindingDraft]) -> bool {
        let counts = |finding: &&FindingDraft| triage::counts(finding.family, finding.priority);
        if !findings.iter().any(|finding| counts(&finding)) {
            return false;
        }
        if self.0.len() >= SESSIONS && !self.0.contains_key(&session) {
            self.0.clear();
        }
        let families = self.0.entry(session).or_default();
        let before = families.len();
        families.extend(findings.iter().filter(counts).map(|finding| finding.family));
        families.len() > before && families.len() > 1
    }

    /// A person said that two sessions are one: so are their signals.
    pub fn join(&mut self, session: SessionId, other: SessionId) {
        if let Some(families) = self.0.remove(&other) {
            self.0.entry(session).or_default().extend(families);
        }
    }

    /// An operator let somebody go: what was found before is no reason to cut off at the next sign.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

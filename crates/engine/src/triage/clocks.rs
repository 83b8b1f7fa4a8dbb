//! Deadlines, each with its own anchor (C9).

use custody_model::{Anchor, Clock, Priority};
use jiff::Timestamp;

/// What must be done. Its text is [`Clock::goal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Goal {
    /// The finding is triaged.
    Triage,
    /// No further harm from the agent.
    Containment,
    /// The words that turned the agent are found (I2).
    InjectionSource,
    /// The server whose definitions drifted is cut off.
    ServerIsolated,
    /// Collected evidence is hashed.
    EvidenceHashed,
    /// The response team and stakeholders know.
    TeamInformed,
    /// Exploitation is verified; entry point and credentials are known.
    ScopeConfirmed,
    /// The attack path is cut.
    PathIsolated,
    /// Every credential within reach is replaced.
    CredentialsRotated,
    /// Logs and state are out of reach of rotation and overwriting.
    EvidencePreserved,
    /// What data was reached is known.
    ImpactTriaged,
    /// Everybody who must know has been told.
    Communicated,
    /// Every evidence item is there or its absence explained.
    EvidenceComplete,
    /// The source of the injection can no longer be read.
    SourceQuarantined,
    /// Agent memory is searched and confirmed entries purged.
    MemoryAudited,
    /// Definitions are compared with the baseline.
    ManifestVerified,
    /// Downstream systems are reviewed for the window.
    DownstreamReviewed,
    /// Document collections are searched for the like.
    CollectionsScanned,
    /// All of eradication.
    Eradication,
    /// First phase of source 000.
    ImmediateResponse,
    /// Second phase of source 000.
    Investigation,
    /// Third phase of source 000.
    Recovery,
    /// The review is held.
    Review,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Goal, anchor, seconds, source.
const TABLE: &[(Goal, Anchor, u64, &str)] = &[
    (Goal::Triage, Anchor::Detection, 5 * MINUTE, "003"),
    (Goal::Containment, Anchor::Detection, 14 * MINUTE, "001"),
    (Goal::InjectionSource, Anchor::Detection, 30 * MINUTE, "003"),
    (Goal::ImmediateResponse, Anchor::Detection, 30 * MINUTE, "000"),
    (Goal::Investigation, Anchor::Detection, 24 * HOUR, "000"),
    (Goal::Recovery, Anchor::Detection, 72 * HOUR, "000"),
    (Goal::ServerIsolated, Anchor::Confirmation, 5 * MINUTE, "003"),
    (Goal::EvidenceHashed, Anchor::Confirmation, 5 * MINUTE, "003"),
    (Goal::ScopeConfirmed, Anchor::Confirmation, 5 * MINUTE, "002"),
    (Goal::Containment, Anchor::Confirmation, 15 * MINUTE, "003"),
    (Goal::TeamInformed, Anchor::Confirmation, 15 * MINUTE, "003"),
    (Goal::PathIsolated, Anchor::Confirmation, 15 * MINUTE, "002"),
    (Goal::CredentialsRotated, Anchor::Confirmation, 30 * MINUTE, "002"),
    (Goal::EvidencePreserved, Anchor::Confirmation, 45 * MINUTE, "002"),
    (Goal::ImpactTriaged, Anchor::Confirmation, 55 * MINUTE, "002"),
    (Goal::Communicated, Anchor::Confirmation, 60 * MINUTE, "002"),
    // Due at once: late from the first second, as the source has it.
    (Goal::SourceQuarantined, Anchor::Containment, 0, "003"),
    (Goal::CredentialsRotated, Anchor::Containment, HOUR, "003"),
    (Goal::EvidenceComplete, Anchor::Containment, 2 * HOUR, "003"),
    (Goal::MemoryAudited, Anchor::Containment, 4 * HOUR, "003"),
    (Goal::ManifestVerified, Anchor::Containment, 4 * HOUR, "003"),
    (Goal::DownstreamReviewed, Anchor::Containment, 24 * HOUR, "003"),
    (Goal::CollectionsScanned, Anchor::Containment, 24 * HOUR, "003"),
    (Goal::Eradication, Anchor::Containment, 24 * HOUR, "003"),
    (Goal::Review, Anchor::Closing, 72 * HOUR, "001"),
];

impl Goal {
    /// Every goal.
    pub const ALL: [Goal; 23] = [
        Goal::Triage,
        Goal::Containment,
        Goal::InjectionSource,
        Goal::ServerIsolated,
        Goal::EvidenceHashed,
        Goal::TeamInformed,
        Goal::ScopeConfirmed,
        Goal::PathIsolated,
        Goal::CredentialsRotated,
        Goal::EvidencePreserved,
        Goal::ImpactTriaged,
        Goal::Communicated,
        Goal::EvidenceComplete,
        Goal::SourceQuarantined,
        Goal::MemoryAudited,
        Goal::ManifestVerified,
        Goal::DownstreamReviewed,
        Goal::CollectionsScanned,
        Goal::Eradication,
        Goal::ImmediateResponse,
        Goal::Investigation,
        Goal::Recovery,
        Goal::Review,
    ];

    /// As cases, reports and the API have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Goal::Triage => "triage",
            Goal::Containment => "containment",
            Goal::InjectionSource => "injection source",
            Goal::ServerIsolated => "server isolated",
            Goal::EvidenceHashed => "evidence hashed",
            Goal::TeamInformed => "team informed",
            Goal::ScopeConfirmed => "confirm and scope",
            Goal::PathIsolated => "isolate",
            Goal::CredentialsRotated => "credentials rotated",
            Goal::EvidencePreserved => "evidence preserved",
            Goal::ImpactTriaged => "impact triaged",
            Goal::Communicated => "communicate",
            Goal::EvidenceComplete => "evidence complete",
            Goal::SourceQuarantined => "source quarantined",
            Goal::MemoryAudited => "memory audited",
            Goal::ManifestVerified => "manifest verified",
            Goal::DownstreamReviewed => "downstream reviewed",
            Goal::CollectionsScanned => "collections scanned",
            Goal::Eradication => "eradication",
            Goal::ImmediateResponse => "immediate response",
            Goal::Investigation => "investigation",
            Goal::Recovery => "recovery",
            Goal::Review => "review",
        }
    }
}

/// Seconds within which somebody must look at a finding (D4): unauthorized tools and drift at once, bursts in a quarter of an
/// hour, odd sequences in an hour; of others a P2 in an hour and a P3 in a day.
pub fn response_s(requirement: &str, priority: Priority) -> u64 {
    match (requirement, priority) {
        (_, Priority::P1) | ("D2", _) => 0,
        ("D3", _) => 15 * MINUTE,
        ("D4", _) | (_, Priority::P2) => HOUR,
        (_, Priority::P3) => 24 * HOUR,
    }
}

/// When each anchor happened; `None`: not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchors {
    /// The first finding.
    pub detection: Timestamp,
    /// The triage answer.
    pub confirmation: Option<Timestamp>,
    /// The end of containment.
    pub containment: Option<Timestamp>,
    /// The closing of the case.
    pub closing: Option<Timestamp>,
}

/// The clocks of a new case. `drift`: definitions changed, so their server must be isolated.
pub fn clocks(anchors: Anchors, drift: bool) -> Vec<Clock> {
    let started = |anchor| match anchor {
        Anchor::Detection => Some(anchors.detection),
        Anchor::Confirmation => anchors.confirmation,
        Anchor::Containment => anchors.containment,
        Anchor::Closing => anchors.closing,
    };
    let clock = |(goal, anchor, limit_s, source): &(Goal, Anchor, u64, &str)| Clock {
        goal: goal.as_str().to_owned(),
        anchor: *anchor,
        limit_s: *limit_s,
        source: (*source).to_owned(),
        started: started(*anchor),
        met: None,
    };
    TABLE.iter().filter(|(goal, ..)| drift || *goal != Goal::ServerIsolated).map(clock).collect()
}

/// What moves clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// An anchor happened: its clocks start.
    Happened(Anchor),
    /// A goal was reached: all its clocks stop. [`Goal::Containment`] is the anchor of the same name too.
    Reached(Goal),
}

/// Moves the clocks of a case. The first time counts; saying it again changes nothing. Returns whether something changed.
pub fn advance(clocks: &mut [Clock], progress: Progress, at: Timestamp) -> bool {
    let (anchor, goal) = match progress {
        Progress::Happened(anchor) => (Some(anchor), None),
        Progress::Reached(Goal::Containment) => (Some(Anchor::Containment), Some(Goal::Containment)),
        Progress::Reached(goal) => (None, Some(goal)),
    };
    let mut changed = false;
    for clock in clocks {
        if anchor == Some(clock.anchor) && clock.started.is_none() {
            clock.started = Some(at);
            changed = true;
        }
        if goal.is_some_and(|goal| goal.as_str() == clock.goal) && clock.met.is_none() {
            clock.met = Some(at);
            changed = true;
        }
    }
    changed
}

/// Where a clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockState {
    /// Its anchor has not happened.
    Waiting,
    /// So many seconds are left.
    Running {
        /// Seconds.
        left_s: u64,
    },
    /// So many seconds too late, and not done.
    Overdue {
        /// Seconds.
        by_s: u64,
    },
    /// Done.
    Met {
        /// Seconds after the anchor; 0 when the goal was reached before it.
        after_s: u64,
        /// Whether that was within the limit.
        in_time: bool,
    },
}

/// Where a clock stands at `now`.
pub fn state(clock: &Clock, now: Timestamp) -> ClockState {
    let since = |start: Timestamp, end: Timestamp| end.duration_since(start);
    match (clock.started, clock.met) {
        (None, None) => ClockState::Waiting,
        (None, Some(_)) => ClockState::Met { after_s: 0, in_time: true },
        (Some(started), Some(met)) => {
            let took = since(started, met);
            let limit = jiff::SignedDuration::from_secs(clock.limit_s.try_into().unwrap_or(i64::MAX));
            ClockState::Met { after_s: took.as_secs().try_into().unwrap_or(0), in_time: took <= limit }
        }
        (Some(started), None) => {
            let took_s: u64 = since(started, now).as_secs().try_into().unwrap_or(0);
            match clock.limit_s.checked_sub(took_s) {
                Some(left_s) if left_s > 0 => ClockState::Running { left_s },
                _ => ClockState::Overdue { by_s: took_s - clock.limit_s },
            }
        }
    }
}

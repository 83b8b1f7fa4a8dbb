//! The daemon's clock: what "now" is for everything that is decided and recorded.
//!
//! A drill teaches the daemon weeks of honest work in a second. For that the clock can be a virtual one, which an operator
//! advances. It is chosen when the daemon starts, stands in the record, and no message of an agent can reach it.
//! Measured latencies are of real time with either clock.

use super::{Core, CoreError};
use custody_model::{Event, OperatorName};
use custody_store::ledger::Draft;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Furthest that a virtual clock goes in all: ten years of days.
const FURTHEST_MS: u64 = 3650 * 24 * 3600 * 1000;

/// Where the time comes from.
#[derive(Debug, Default)]
pub enum Clock {
    /// The machine.
    #[default]
    System,
    /// A start, what was advanced, and the real time since the daemon started.
    Virtual(VirtualClock),
}

/// A clock that is advanced by hand. It never goes back.
#[derive(Debug)]
pub struct VirtualClock {
    start: Timestamp,
    began: Instant,
    advanced_ms: AtomicU64,
}

/// What a virtual clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Virtual time.
    pub now: Timestamp,
    /// Milliseconds that it was advanced by since the daemon started.
    pub advanced_ms: u64,
}

impl Clock {
    /// A virtual clock that shows `start` and goes on from there.
    pub fn starting_at(start: Timestamp) -> Clock {
        Clock::Virtual(VirtualClock { start, began: Instant::now(), advanced_ms: AtomicU64::new(0) })
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Virtual(clock) => clock.now(),
        }
    }

    /// What it shows, when it is virtual.
    pub fn reading(&self) -> Option<ClockReading> {
        match self {
            Clock::System => None,
            Clock::Virtual(clock) => Some(clock.reading()),
        }
    }
}

impl VirtualClock {
    fn now(&self) -> Timestamp {
        let advanced = SignedDuration::from_millis(i64::try_from(self.advanced_ms.load(Ordering::SeqCst)).unwrap_or(i64::MAX));
        let since = SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX).saturating_add(advanced);
        self.start.saturating_add(since).unwrap_or(Timestamp::MAX)
    }

    fn reading(&self) -> ClockReading {
        ClockReading { now: self.now(), advanced_ms: self.advanced_ms.load(Ordering::SeqCst) }
    }

    /// Goes forward; `false` when that would lead past the end of its range.
    fn advance(&self, ms: u64) -> bool {
        let further = |advanced: u64| advanced.checked_add(ms).filter(|sum| *sum <= FURTHEST_MS);
        self.advanced_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, further).is_ok()
    }
}

impl Core {
    /// The time, for everything that is decided and recorded.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Advances a virtual clock, ends the sessions that are idle by then, and records it.
    ///
    /// The entry is written first, with the time before: nothing is recorded at a time that no entry explains.
    ///
    /// # Errors
    /// [`CoreError::Unknown`] with the machine's clock, which nobody advances; [`CoreError::Ledger`].
    pub fn advance_clock(&self, by: &OperatorName, ms: u64) -> Result<ClockReading, CoreError> {
        let Clock::Virtual(clock) = &self.clock else {
            return Err(CoreError::Unknown { what: "virtual clock", id: "of this daemon".to_owned() });
        };
        let far = || CoreError::Unknown { what: "time so far away as", id: format!("{ms} ms") };
        let advanced_ms = clock.reading().advanced_ms.checked_add(ms).filter(|sum| *sum <= FURTHEST_MS).ok_or_else(far)?;
        let event = Event::OperatorActed { verb: "advance_clock".to_owned() };
        let detail = serde_json::json!({"by": by, "advance_ms": ms, "advanced_ms": advanced_ms});
        self.ledger.record(Draft { at: clock.now(), session: None, event, detail: Some(detail), body: None })?;
        if !clock.advance(ms) {
            return Err(far());
        }
        self.end_idle_sessions();
        Ok(clock.reading())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_starts_where_told_and_only_goes_forward() {
        let start: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        let Clock::Virtual(inner) = &clock else { unreachable!() };
        let before = clock.now();
        assert!(before >= start && before < start + SignedDuration::from_secs(60));
        assert!(inner.advance(86_400_000));
        let after = clock.now();
        assert!(after >= before + SignedDuration::from_hours(24), "{after}");
        assert!(!inner.advance(u64::MAX) && !inner.advance(FURTHEST_MS));
        assert!(clock.now() >= after);
        assert_eq!(clock.reading().unwrap().advanced_ms, 86_400_000);
        assert!(Clock::System.reading().is_none());
    }
}

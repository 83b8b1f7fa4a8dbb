//! What was measured.

use serde::Serialize;
use std::time::{Duration, Instant};

/// Latencies kept; beyond, calls are counted and their latencies are not.
const KEPT: usize = 4_000_000;

/// Calls within the window that is measured.
pub struct Meter {
    from: Instant,
    until: Instant,
    calls: u64,
    nanos: Vec<u32>,
}

/// The figures.
#[derive(Debug, Serialize)]
pub struct Sample {
    calls: u64,
    seconds: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Meter {
    /// From `warm_up` from now, for `window`.
    pub fn new(warm_up: Duration, window: Duration) -> Meter {
        let from = Instant::now() + warm_up;
        Meter { from, until: from + window, calls: 0, nanos: Vec::new() }
    }

    /// When it is over.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// A call that began and ended then.
    pub fn count(&mut self, began: Instant, ended: Instant) {
        if began < self.from || ended > self.until {
            return;
        }
        self.calls += 1;
        if self.nanos.len() < KEPT {
            self.nanos.push(u32::try_from((ended - began).as_nanos()).unwrap_or(u32::MAX));
        }
    }

    /// The figures; `None` when nothing was measured.
    pub fn finish(mut self) -> Option<Sample> {
        self.nanos.sort_unstable();
        let last = self.nanos.len().checked_sub(1)?;
        let at = |share: f64| f64::from(self.nanos[(last as f64 * share).round() as usize]) / 1_000.0;
        let seconds = (self.until - self.from).as_secs_f64();
        Some(Sample { calls: self.calls, seconds, per_second: self.calls as f64 / seconds, p50_us: at(0.5), p99_us: at(0.99) })
    }
}

impl Sample {
    /// Of a run that was to make calls and measure nothing.
    pub fn unmeasured(calls: u64) -> Sample {
        Sample { calls, seconds: 0.0, per_second: 0.0, p50_us: 0.0, p99_us: 0.0 }
    }

    /// As one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain numbers")
    }
}

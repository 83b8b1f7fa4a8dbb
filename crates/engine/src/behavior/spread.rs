//! A quantity over many sessions, on a log scale.

use super::Measure;
use serde::{Deserialize, Serialize};

/// Standard deviations are not believed below this (on the log scale, about a sixth): a baseline in which every session is
/// equal would else call anything an outlier.
const LEAST_DEVIATION: f64 = 0.15;

/// How far beyond the most of *n* sessions the next may go: 3 / √n, a third for eighty.
const MARGIN: f64 = 3.0;

/// Distribution of a positive quantity: counts, seconds, bytes. Mergeable; old samples weigh less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Sessions measured.
    pub samples: u64,
    /// Their weight; below `samples` when old ones count less.
    pub weight: f64,
    /// Weighted mean of the natural logarithms. Values below 1 count as 1.
    pub mean_ln: f64,
    /// Weighted sum of squared deviations of the logarithms.
    pub square_ln: f64,
    /// The most that was seen.
    pub most: f64,
}

impl Spread {
    /// Adds one session's value.
    pub fn add(&mut self, value: f64, weight: f64) {
        if !value.is_finite() || weight.is_nan() || weight <= 0.0 {
            return;
        }
        let ln = value.max(1.0).ln();
        self.samples += 1;
        self.weight += weight;
        let delta = ln - self.mean_ln;
        self.mean_ln += delta * weight / self.weight;
        self.square_ln += weight * delta * (ln - self.mean_ln);
        self.most = self.most.max(value);
    }

    /// Joins what another baseline measured.
    pub fn merge(&mut self, other: &Spread) {
        if other.weight <= 0.0 {
            return;
        }
        let weight = self.weight + other.weight;
        let delta = other.mean_ln - self.mean_ln;
        self.square_ln += other.square_ln + delta * delta * self.weight * other.weight / weight;
        self.mean_ln += delta * other.weight / weight;
        self.weight = weight;
        self.samples += other.samples;
        self.most = self.most.max(other.most);
    }

    /// Makes what is known weigh less; `factor` from 0 to 1.
    pub fn fade(&mut self, factor: f64) {
        self.weight *= factor;
        self.square_ln *= factor;
    }

    /// The usual value: the geometric mean, which for such quantities is the median.
    pub fn usual(&self) -> f64 {
        self.mean_ln.exp()
    }

    /// What a session of these habits stays below: the most that was seen, and beyond it the further the fewer were seen. The
    /// most of a few says little about the next one.
    pub fn reach(&self) -> f64 {
        self.most.max(1.0) * (1.0 + MARGIN / (self.samples.max(1) as f64).sqrt())
    }

    /// How a value compares. `None`: nothing was measured.
    pub fn measure(&self, value: f64) -> Option<Measure> {
        if self.samples == 0 || self.weight <= 0.0 {
            return None;
        }
        let deviation = (self.square_ln / self.weight).max(0.0).sqrt().max(LEAST_DEVIATION);
        let usual = self.usual();
        Some(Measure {
            value,
            usual,
            most: self.most,
            ratio: value / usual,
            excess: value / self.reach(),
            z: (value.max(1.0).ln() - self.mean_ln) / deviation,
            samples: self.samples,
        })
    }
}

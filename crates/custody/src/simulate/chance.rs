//! The simulator's only source of chance: a seed and the name of what is drawn.

use crate::drill::random::{Random, hashed, mixed};

/// The drill's numbers ([`Random`]), in the shapes that work and people have.
///
/// Every principal, day, session and attack draws from a stream of its own, so that one attack more changes no other traffic.
#[derive(Debug, Clone)]
pub struct Chance(Random);

impl Chance {
    /// The stream `name` of `seed`, told apart further by numbers.
    pub fn new(seed: u64, name: &str, parts: &[u64]) -> Chance {
        let mut state = hashed(name);
        for part in std::iter::once(&seed).chain(parts) {
            state = mixed(state ^ part.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x2545_f491_4f6c_dd1d));
        }
        Chance(Random::from_state(state))
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// From 0 up to, but not, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        self.0.between(low, high.max(low))
    }

    /// A number within a range.
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with this probability.
    pub fn hits(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of the items, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        self.0.pick(items)
    }

    /// The place of one of these weights. 0 when all are nothing.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (place, weight) in weights.enumerate() {
            last = place;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Normally distributed, mean 0, deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Log-normally distributed: half of the values lie below `median`.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// How many of something that happens `mean` times on average.
    pub fn poisson(&mut self, mean: f64) -> usize {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as usize;
        }
        let (mut product, limit, mut count) = (self.unit(), (-mean).exp(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// A place from 0 to `n - 1`: low ones often, high ones rarely (as customers and words are).
    pub fn long_tail(&mut self, n: usize) -> usize {
        let n = n.max(1);
        (((n as f64 + 1.0).powf(self.unit()) - 1.0) as usize).min(n - 1)
    }

    /// The items in another order.
    pub fn shuffled<T>(&mut self, items: Vec<T>) -> Vec<T> {
        self.0.shuffled(items)
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn streams_are_the_same_again_and_apart_from_each_other() {
        let draw = |seed, name, parts: &[u64]| Chance::new(seed, name, parts).next();
        assert_eq!(draw(1, "a", &[2, 3]), draw(1, "a", &[2, 3]));
        let others = [draw(2, "a", &[2, 3]), draw(1, "b", &[2, 3]), draw(1, "a", &[3, 2]), draw(1, "a", &[2])];
        assert!(others.iter().all(|other| *other != draw(1, "a", &[2, 3])), "{others:?}");
    }

    #[test]
    fn what_is_drawn_has_the_shape_it_should_have() {
        let mut chance = Chance::new(7, "shape", &[]);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let poisson: Vec<f64> = (0..4_000).map(|_| chance.poisson(3.0) as f64).collect();
        let normal: Vec<f64> = (0..4_000).map(|_| chance.normal()).collect();
        let mut long: Vec<f64> = (0..4_001).map(|_| chance.log_normal(10.0, 1.0)).collect();
        long.sort_by(f64::total_cmp);
        assert!((mean(&poisson) - 3.0).abs() < 0.15, "{}", mean(&poisson));
        assert!(mean(&normal).abs() < 0.06, "{}", mean(&normal));
        assert!((long[2_000] - 10.0).abs() < 1.0, "{}", long[2_000]);
        let tail: Vec<usize> = (0..4_000).map(|_| chance.long_tail(100)).collect();
        assert!(tail.iter().filter(|place| **place == 0).count() > 400 && tail.iter().any(|place| *place > 95));
    }
}

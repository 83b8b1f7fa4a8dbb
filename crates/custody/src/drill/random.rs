//! The drill's only source of chance: a seed.

/// SplitMix64 (Steele, Lea and Flood, 2014): one 64-bit state, the same numbers on every machine for ever.
///
/// Not for secrets. A scenario draws everything it varies from one of these, so a seed names a drill completely.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers for `seed` of the scenario `name`; scenarios do not share numbers.
    pub fn new(name: &str, seed: u64) -> Random {
        Random(hashed(name) ^ seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Numbers that go on from a state.
    pub fn from_state(state: u64) -> Random {
        Random(state)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.between(1, n) == 1
    }

    /// One of the items, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.between(0, items.len() - 1)]
    }

    /// The items in another order (Fisher and Yates).
    pub fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, self.between(0, last));
        }
        items
    }
}

/// FNV-1a of a name.
pub fn hashed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// One round of SplitMix64's mixing.
pub fn mixed(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_names_the_numbers() {
        let mut zero = Random(0);
        assert_eq!([zero.next(), zero.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        assert_eq!(Random::new("clean", 7).next(), Random::new("clean", 7).next());
        assert_ne!(Random::new("clean", 7).next(), Random::new("document-injection", 7).next());
    }
}

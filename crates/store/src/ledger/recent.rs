//! A bounded map that keeps what was used recently.

use std::{collections::HashMap, hash::Hash};

/// Two generations: what was not used while the young one filled up is dropped. Holds at most twice `limit`.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    limit: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    pub fn new(limit: usize) -> Self {
        Recent { young: HashMap::new(), old: HashMap::new(), limit }
    }

    pub fn lookup(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key.clone(), value.clone());
        Some(value)
    }

    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.limit {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.young.retain(|k, v| keep(k, v));
        self.old.retain(|k, v| keep(k, v));
    }

    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut recent = Recent::new(10);
        recent.insert(0, "used");
        for n in 1..1000 {
            recent.insert(n, "once");
            assert_eq!(recent.lookup(&0), Some("used"));
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.lookup(&1), None);
    }
}

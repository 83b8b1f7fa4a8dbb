//! Words of a habit: which tools, orders, hosts, shapes known sessions showed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Words a vocabulary keeps. One with more is open: what it lacks means nothing.
pub(super) const WORDS: usize = 512;

/// A set of words with the number of sessions that showed each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    /// Sessions that could have shown a word.
    pub sessions: u64,
    /// Of them, those that showed one which no other session did: how often something new is nothing.
    pub alone: u64,
    /// Whether a new word is a signal. `false`: new ones are usual here.
    pub watched: bool,
    /// Sessions per word.
    pub known: BTreeMap<String, u64>,
}

impl Vocabulary {
    /// Whether this word is new where new ones are rare.
    pub fn is_new(&self, word: &str) -> bool {
        self.watched && !self.known.contains_key(word)
    }

    /// How often a known-good session shows a new word, in percent: the share that did, and one more.
    pub fn chance(&self) -> f64 {
        (self.alone + 1) as f64 * 100.0 / (self.sessions + 1) as f64
    }

    /// Counts the words of one session.
    pub fn add<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.sessions += 1;
        for word in words {
            let room = self.known.len() <= WORDS;
            match self.known.get_mut(word) {
                Some(sessions) => *sessions += 1,
                None if room => _ = self.known.insert(word.to_owned(), 1),
                None => {}
            }
        }
    }

    /// Joins what another baseline knows.
    pub fn merge(&mut self, other: &Vocabulary) {
        self.sessions += other.sessions;
        self.alone += other.alone;
        self.watched &= other.watched;
        for (word, sessions) in &other.known {
            *self.known.entry(word.clone()).or_default() += sessions;
        }
    }

    /// Whether it has more words than it can keep.
    pub fn overflows(&self) -> bool {
        self.known.len() > WORDS
    }
}

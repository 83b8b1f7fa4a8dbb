//! Words of a text, as numbers: each distinct stem of a session gets one.

use super::lexicon;
use std::collections::HashMap;

/// Longest word that is kept whole; a longer one is cut, so that a blob costs nothing.
const LONGEST_WORD: usize = 64;

/// The number of a word in its session.
pub(super) type Word = u32;

/// Every distinct word of a session, with its classes.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    numbers: HashMap<Box<str>, Word>,
    classes: Vec<u32>,
    /// Whether a word holds a digit.
    digits: Vec<bool>,
    buffer: String,
    /// Short words that were read lately and their numbers: most of a text are a few hundred words, which need no hashing then.
    lately: Lately,
}

/// Short words in slots, each slot with the word that was last put there.
#[derive(Debug)]
struct Lately(Box<[(u128, Word)]>);

/// A power of two.
const SLOTS: usize = 4096;

impl Default for Lately {
    fn default() -> Lately {
        // No word packs to zero.
        Lately(vec![(0, 0); SLOTS].into_boxed_slice())
    }
}

impl Lately {
    /// A word of up to fifteen bytes as a number that no other word has.
    fn pack(word: &[u8]) -> Option<u128> {
        let mut bytes = [0; 16];
        bytes.get_mut(1..=word.len())?.copy_from_slice(word);
        bytes[0] = u8::try_from(word.len()).ok()?;
        (!word.is_empty()).then(|| u128::from_le_bytes(bytes))
    }

    fn slot(packed: u128) -> usize {
        let (low, high) = (packed as u64, (packed >> 64) as u64);
        let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - SLOTS.trailing_zeros())) as usize
    }
}

impl Vocabulary {
    pub fn classes(&self, word: Word) -> u32 {
        self.classes[word as usize]
    }

    pub fn len(&self) -> usize {
        self.classes.len()
    }

    pub fn has_digit(&self, word: Word) -> bool {
        self.digits[word as usize]
    }

    /// Says something: no function word, no single letter.
    pub fn tells(&self, word: Word) -> bool {
        self.classes(word) & lexicon::STOP == 0
    }

    /// The number of `word`, which is lower case.
    pub fn number(&mut self, word: &str) -> Word {
        let stemmed = stem(word);
        if let Some(known) = self.numbers.get(stemmed) {
            return *known;
        }
        let number = Word::try_from(self.classes.len()).unwrap_or(Word::MAX);
        let short = stemmed.len() < 2 && !stemmed.bytes().all(|b| b.is_ascii_digit());
        self.classes.push(lexicon::classes(word) | if short { lexicon::STOP } else { 0 });
        self.digits.push(word.bytes().any(|b| b.is_ascii_digit()));
        self.numbers.insert(stemmed.into(), number);
        number
    }

    /// Appends the words of `text`.
    ///
    /// Escaped line ends and quotes of embedded JSON separate words, as they do for whoever reads the value.
    pub fn append(&mut self, text: &str, out: &mut Vec<Word>) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let first = bytes[at];
            if first == b'\\' {
                at += match bytes.get(at + 1) {
                    Some(b'n' | b'r' | b't' | b'"' | b'\'' | b'\\') => 2,
                    Some(b'u') => 6,
                    _ => 1,
                };
                while at < bytes.len() && !text.is_char_boundary(at) {
                    at += 1;
                }
                continue;
            }
            let mut word = std::mem::take(&mut self.buffer);
            word.clear();
            while at < bytes.len() {
                let b = bytes[at];
                if b.is_ascii_alphanumeric() {
                    word.push(char::from(b.to_ascii_lowercase()));
                    at += 1;
                } else if b >= 0x80 {
                    let Some(c) = text[at..].chars().next() else { break };
                    if !c.is_alphanumeric() {
                        break;
                    }
                    word.extend(c.to_lowercase());
                    at += c.len_utf8();
                } else {
                    break;
                }
                if word.len() >= LONGEST_WORD {
                    break;
                }
            }
            if word.is_empty() {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
            } else {
                let packed = Lately::pack(word.as_bytes());
                let slot = packed.map(Lately::slot);
                let known = packed.zip(slot).and_then(|(packed, slot)| (self.lately.0[slot].0 == packed).then_some(self.lately.0[slot].1));
                out.push(known.unwrap_or_else(|| {
                    let number = self.number(&word);
                    if let Some((packed, slot)) = packed.zip(slot) {
                        self.lately.0[slot] = (packed, number);
                    }
                    number
                }));
            }
            self.buffer = word;
        }
    }

    /// The words of `text`.
    pub fn words(&mut self, text: &str) -> Vec<Word> {
        let mut words = Vec::new();
        self.append(text, &mut words);
        words
    }

    /// The words of a tool's name: `sendMoney`, `send_money` and `Send-Money` are two.
    pub fn name(&mut self, name: &str) -> Vec<Word> {
        let mut spaced = String::with_capacity(name.len() + 8);
        let mut small = false;
        let mut chars = name.chars().take(200).peekable();
        while let Some(c) = chars.next() {
            let next_small = chars.peek().is_some_and(|next| next.is_lowercase());
            if c.is_uppercase() && (small || next_small) {
                spaced.push(' ');
            }
            spaced.push(c);
            small = c.is_lowercase() || c.is_ascii_digit();
        }
        self.words(&spaced)
    }
}

/// Takes plural and tense off an English word, roughly: both sides of a comparison go through here.
pub(crate) fn stem(word: &str) -> &str {
    if !word.is_ascii() || word.bytes().any(|b| b.is_ascii_digit()) {
        return word;
    }
    let mut word = word;
    for (ending, least) in [("ing", 6), ("ed", 5), ("s", 4)] {
        if word.len() >= least && word.ends_with(ending) && !word.ends_with("ss") {
            word = &word[..word.len() - ending.len()];
            break;
        }
    }
    if word.len() >= 5 {
        word = word.strip_suffix('e').unwrap_or(word);
    }
    word
}

/// Words that people use for what a tool's name says, stemmed by [`Vocabulary::number`].
const SAME: &[&[&str]] = &[
    &["send", "forward", "transfer", "share", "mail", "post", "submit", "deliver", "pay", "upload", "email", "message", "notify", "reply"],
    &["get", "check", "retrieve", "fetch", "list", "show", "find", "search", "look", "read", "view", "query", "obtain", "access", "see"],
    &["delete", "remove", "erase", "clear", "cancel", "drop", "wipe"],
    &["create", "add", "make", "write", "new", "book", "reserve", "schedule", "invite", "register", "insert", "generate"],
    &["buy", "purchase", "order", "cart", "checkout", "product", "pay"],
    &["update", "change", "modify", "edit", "set", "reset", "replace", "adjust", "reschedule"],
    &["browse", "visit", "navigate", "open", "link", "website", "webpage", "url", "click", "go", "page"],
    &["download", "install", "execute", "run", "load"],
    &["money", "payment", "fund", "amount", "transaction", "transfer", "pay"],
    &["grant", "permission", "access", "share", "allow", "unlock", "invite"],
];

impl Vocabulary {
    /// Groups of numbers that mean much the same.
    pub fn groups(&mut self) -> Vec<Vec<Word>> {
        SAME.iter().map(|group| group.iter().map(|word| self.number(word)).collect()).collect()
    }
}

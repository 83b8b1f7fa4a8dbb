//! Words of a text in the form in which they are compared.

use crate::hijack::stem;

/// Words that say nothing about a link.
const STOP: &[&str] = &[
    "the", "and", "for", "with", "that", "this", "from", "are", "was", "you", "your", "have", "has", "will", "can", "not", "all", "any",
    "but", "our", "its", "his", "her", "they", "them", "then", "than", "there", "here", "been", "were", "would", "could", "should", "into",
    "about", "true", "false", "null", "none", "com", "www", "http", "http:", "https", "org", "net",
];

/// Lower-case words, letters and digits only; characters of no width are as if they were not there. `_`, `-`, `.`, `@`
/// separate like spaces, and camelCase is two words, so that `send_money`, `sendMoney` and "send money" are the same.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word = String::new();
    let mut small = false;
    for c in text.chars() {
        if matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}') {
            continue;
        }
        if !c.is_alphanumeric() || (small && c.is_uppercase()) {
            flush(&mut word, &mut out);
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        small = c.is_lowercase();
    }
    flush(&mut word, &mut out);
    out
}

fn flush(word: &mut String, out: &mut Vec<String>) {
    if !word.is_empty() {
        word.truncate(stem(word).len());
        out.push(std::mem::take(word));
    }
}

/// Whether a word says something.
pub(super) fn telling(word: &str) -> bool {
    word.len() >= 3 && !STOP.contains(&word)
}

/// Words that people use for what a tool's name says, stemmed. Any language of tool names is English in practice.
const SAME: &[&[&str]] = &[
    &["send", "forward", "transfer", "share", "mail", "post", "submit", "deliver", "pay", "upload", "email", "messag"],
    &[
        "get", "check", "retriev", "fetch", "list", "show", "find", "search", "look", "read", "view", "open", "query", "obtain", "access",
        "see",
    ],
    &["delet", "remov", "eras", "clear", "cancel", "drop", "wip"],
    &["creat", "add", "mak", "writ", "new", "book", "reserv", "schedul", "invit", "register", "insert", "generat"],
    &["updat", "chang", "modify", "edit", "set", "reset", "replac", "adjust"],
    &["browse", "visit", "navigat", "open", "link", "website", "webpage", "url", "click", "go"],
    &["download", "install", "execut", "run", "load"],
    &["money", "payment", "fund", "amount", "transaction", "transfer", "pay"],
    &["grant", "permission", "access", "share", "allow", "unlock"],
];

/// Other words for `word`.
pub(super) fn synonyms(word: &str) -> impl Iterator<Item = &'static str> {
    let word = word.to_owned();
    SAME.iter().filter(move |group| group.contains(&word.as_str())).flat_map(|group| group.iter().copied())
}

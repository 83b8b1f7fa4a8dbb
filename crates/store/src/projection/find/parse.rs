//! Reading a query. A mistake is named with its place.

use super::Kind;
use jiff::{SignedDuration, Timestamp, civil};

/// Longest query, in bytes, and most terms of one.
const LONGEST: usize = 2_000;
const TERMS: usize = 32;

/// A query that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BadQuery {
    /// What is wrong, and what would be right.
    pub what: String,
    /// Where, in bytes.
    pub at: std::ops::Range<usize>,
}

/// What a term is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the query")]
pub(super) enum FindKey {
    Session,
    Principal,
    Role,
    Task,
    After,
    Before,
    Server,
    Tool,
    Outcome,
    Reason,
    Rule,
    Priority,
    Incident,
    Kind,
}

const KEYS: [(&str, FindKey); 15] = [
    ("session", FindKey::Session),
    ("principal", FindKey::Principal),
    ("role", FindKey::Role),
    ("task", FindKey::Task),
    ("after", FindKey::After),
    ("before", FindKey::Before),
    ("server", FindKey::Server),
    ("tool", FindKey::Tool),
    ("outcome", FindKey::Outcome),
    ("reason", FindKey::Reason),
    ("rule", FindKey::Rule),
    ("priority", FindKey::Priority),
    ("incident", FindKey::Incident),
    ("case", FindKey::Incident),
    ("kind", FindKey::Kind),
];

/// One term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FindTerm {
    /// Whether it must not hold.
    pub negated: bool,
    /// What it is about.
    pub key: FindKey,
    /// What it asks for: a pattern with `*` and `?`, or an instant.
    pub value: String,
}

/// A query that can be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindQuery {
    terms: Vec<FindTerm>,
    /// Bare words, in small letters; `true`: must not stand there.
    words: Vec<(bool, String)>,
}

impl FindQuery {
    /// Reads a query. `now`: for spans such as `after:2h`.
    ///
    /// # Errors
    /// [`BadQuery`] with the place.
    pub fn parse(text: &str, now: Timestamp) -> Result<FindQuery, BadQuery> {
        let bad = |what: String, at| BadQuery { what, at };
        if text.len() > LONGEST {
            return Err(bad(format!("a query has at most {LONGEST} bytes"), LONGEST..LONGEST));
        }
        let mut query = FindQuery::default();
        let mut rest = 0;
        while let Some(piece) = Piece::next(text, &mut rest)? {
            if query.terms.len() + query.words.len() == TERMS {
                return Err(bad(format!("a query has at most {TERMS} terms"), piece.at));
            }
            let Some((name, name_at)) = &piece.key else {
                if piece.value.trim().is_empty() {
                    return Err(bad("an empty word is in everything".into(), piece.at));
                }
                query.words.push((piece.negated, piece.value.to_lowercase()));
                continue;
            };
            let Some((_, key)) = KEYS.iter().find(|(known, _)| known == name) else {
                let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
                return Err(bad(format!("there is no `{name}:`; there are {}", known.join(", ")), name_at.clone()));
            };
            let value = value(*key, &piece.value, now).map_err(|what| bad(what, piece.value_at.clone()))?;
            query.terms.push(FindTerm { negated: piece.negated, key: *key, value });
        }
        if query.terms.is_empty() && query.words.is_empty() {
            return Err(bad("ask for something, such as `outcome:denied after:2h`".into(), 0..0));
        }
        Ok(query)
    }

    /// The terms about rows' columns.
    pub(super) fn terms(&self) -> impl Iterator<Item = &FindTerm> {
        self.terms.iter().filter(|term| term.key != FindKey::Kind)
    }

    /// The bare words.
    pub(super) fn words(&self) -> impl Iterator<Item = (bool, &str)> {
        self.words.iter().map(|(negated, word)| (*negated, word.as_str()))
    }

    /// Whether every term can be asked of this kind.
    pub(super) fn is_about(&self, kind: Kind) -> bool {
        use FindKey as K;
        self.terms.iter().all(|term| match term.key {
            K::Session | K::Principal | K::Role | K::Task | K::After | K::Before => true,
            K::Server | K::Tool | K::Outcome | K::Reason => kind == Kind::Call,
            K::Rule | K::Priority | K::Incident => kind == Kind::Finding,
            K::Kind => {
                let is =
                    matches!((term.value.as_str(), kind), ("session", Kind::Session) | ("finding", Kind::Finding) | ("call", Kind::Call));
                is != term.negated
            }
        })
    }
}

/// Checks a value, and brings it into the form that is compared.
fn value(key: FindKey, text: &str, now: Timestamp) -> Result<String, String> {
    if text.is_empty() {
        return Err("a value is missing after `:`".into());
    }
    let one_of = |words: &[&str]| {
        let lower = text.to_lowercase();
        let lower = if key == FindKey::Kind { lower.trim_end_matches('s').to_owned() } else { lower };
        match words.contains(&lower.as_str()) {
            true => Ok(lower),
            false => Err(format!("`{text}` is none of {}", words.join(", "))),
        }
    };
    match key {
        FindKey::Outcome => one_of(&["allowed", "denied", "held"]).map(|word| word.to_uppercase()),
        FindKey::Priority => one_of(&["p1", "p2", "p3"]).map(|word| word.to_uppercase()),
        FindKey::Kind => one_of(&["session", "finding", "call"]),
        FindKey::After | FindKey::Before => Ok(instant(text, now)?.strftime("%Y-%m-%dT%H:%M:%S").to_string()),
        FindKey::Session => Ok(if text.starts_with("ses_") || text.starts_with('*') { format!("{text}*") } else { format!("ses_{text}*") }),
        FindKey::Incident => {
            Ok(if text.starts_with("inc_") || text.starts_with('*') { format!("{text}*") } else { format!("inc_{text}*") })
        }
        _ => Ok(text.to_owned()),
    }
}

/// An instant as people write it: `2h` for that long ago, a day, or an instant.
///
/// # Errors
/// What is wrong with it, in words.
pub fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<civil::Date>() {
        return day.to_zoned(jiff::tz::TimeZone::UTC).map(|at| at.timestamp()).map_err(|error| error.to_string());
    }
    let wrong = || format!("`{text}` is neither a span back (30m, 2h, 7d), nor a day (2026-11-22), nor an instant (2026-11-22T10:00:00Z)");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: i64 = digits.parse().ok().filter(|number| (0..=100_000_000).contains(number)).ok_or_else(wrong)?;
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        "w" => 7 * 24 * 3_600,
        _ => return Err(wrong()),
    };
    let span = number.checked_mul(seconds).map(SignedDuration::from_secs);
    span.and_then(|span| now.checked_sub(span).ok()).ok_or_else(wrong)
}

/// One term as it is written.
struct Piece {
    negated: bool,
    key: Option<(String, std::ops::Range<usize>)>,
    value: String,
    value_at: std::ops::Range<usize>,
    at: std::ops::Range<usize>,
}

impl Piece {
    /// The next one from `rest` on.
    fn next(text: &str, rest: &mut usize) -> Result<Option<Piece>, BadQuery> {
        *rest += text[*rest..].len() - text[*rest..].trim_start().len();
        let start = *rest;
        if start == text.len() {
            return Ok(None);
        }
        let negated = text[start..].starts_with('-');
        let begin = start + usize::from(negated);
        let name_len = text[begin..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len() - begin);
        let key = (name_len > 0 && text[begin + name_len..].starts_with(':'))
            .then(|| (text[begin..begin + name_len].to_lowercase(), begin..begin + name_len));
        let value_start = if key.is_some() { begin + name_len + 1 } else { begin };
        let (value, end) = if text[value_start..].starts_with('"') {
            let inner = value_start + 1;
            let Some(close) = text[inner..].find('"') else {
                return Err(BadQuery { what: "this quotation mark is not closed".into(), at: value_start..value_start + 1 });
            };
            (text[inner..inner + close].to_owned(), inner + close + 1)
        } else {
            let len = text[value_start..].find(char::is_whitespace).unwrap_or(text.len() - value_start);
            (text[value_start..value_start + len].to_owned(), value_start + len)
        };
        *rest = end;
        Ok(Some(Piece { negated, key, value, value_at: value_start..end, at: start..end }))
    }
}

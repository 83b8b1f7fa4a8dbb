//! JSON-RPC ids: strings, or integers that every parser holds exactly.

use super::Span;

/// An id as a value, so that `"a"` and `"\u0061"` are one. Odd ids keep their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdKey {
    /// An integer.
    Number(i64),
    /// A string.
    Text(String),
    /// Anything else, as it stands.
    Odd(Vec<u8>),
}

/// The value of an id from its raw JSON.
pub fn id_key(raw: &[u8]) -> IdKey {
    if let [b'"', inner @ .., b'"'] = raw {
        return IdKey::Text(super::unescape(inner).into_owned());
    }
    match std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok()) {
        Some(number) if odd_number(raw).is_none() => IdKey::Number(number),
        _ => IdKey::Odd(raw.to_vec()),
    }
}

/// What is odd about a number used as an id, if anything. `raw` is a valid JSON number.
pub(super) fn odd_number(raw: &[u8]) -> Option<&'static str> {
    const SAFE: i64 = (1 << 53) - 1;
    if raw.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return Some("a fraction or has an exponent");
    }
    if raw == b"-0" {
        return Some("minus zero");
    }
    match std::str::from_utf8(raw).ok().and_then(|text| text.parse::<i64>().ok()) {
        Some(number) if (-SAFE..=SAFE).contains(&number) => None,
        _ => Some("beyond 2^53, where parsers round"),
    }
}

/// Length of the JSON number at the start of `bytes`, if there is one.
pub(super) fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match bytes.get(at)? {
        b'0' => 1,
        b'1'..=b'9' => digits(at),
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    Some(at)
}

/// A value's place and sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) span: Span,
    pub(super) sort: Sort,
}

/// The sorts of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

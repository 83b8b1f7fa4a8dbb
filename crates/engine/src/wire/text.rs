//! JSON strings.

use std::borrow::Cow;

/// The text of a JSON string: `inner` is what stands between its quotes, escapes already checked.
///
/// Half a surrogate pair and bytes that are not UTF-8 become U+FFFD; the scanner reports both.
pub fn unescape(inner: &[u8]) -> Cow<'_, str> {
    match unescape_bytes(inner) {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
    }
}

/// As [`unescape`], keeping bytes that are not UTF-8.
pub(super) fn unescape_bytes(inner: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', inner) else { return Cow::Borrowed(inner) };
    let mut out = Vec::with_capacity(inner.len());
    out.extend_from_slice(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'\\' {
            let end = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let Some((&letter, tail)) = tail.split_first() else { break };
        rest = tail;
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (character, used) = unicode_escape(tail);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &tail[used..];
            }
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The character after `\u`, and how many bytes of `tail` it takes: 4, or 10 for a surrogate pair.
fn unicode_escape(tail: &[u8]) -> (char, usize) {
    const LOST: char = char::REPLACEMENT_CHARACTER;
    let Some(unit) = hex4(tail) else { return (LOST, tail.len().min(4)) };
    match unit {
        0xd800..=0xdbff => match tail[4..].strip_prefix(b"\\u").and_then(hex4) {
            Some(low @ 0xdc00..=0xdfff) => {
                let code = 0x10000 + ((u32::from(unit) - 0xd800) << 10) + (u32::from(low) - 0xdc00);
                (char::from_u32(code).unwrap_or(LOST), 10)
            }
            _ => (LOST, 4),
        },
        _ => (char::from_u32(unit.into()).unwrap_or(LOST), 4),
    }
}

/// Four hexadecimal digits.
pub(super) fn hex4(bytes: &[u8]) -> Option<u16> {
    bytes.get(..4)?.iter().try_fold(0, |unit, byte| Some(unit << 4 | (*byte as char).to_digit(16)? as u16))
}

/// Whether `key` is `name` to a parser that ignores case the way Go's `encoding/json` does, and yet is not `name`.
pub(super) fn case_variant(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key != name && key.chars().map(fold).eq(name.chars().map(fold))
}

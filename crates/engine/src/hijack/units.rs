//! A content cut into the smallest pieces that a payload can begin or end with: sentences, lines, values, tags.

use std::ops::Range;

/// Longest unit in bytes; a longer one is cut at white space.
const LONGEST: usize = 400;

/// A piece of a content.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub range: Range<usize>,
    /// Line ends between this and the unit before, escaped ones included.
    pub lines_before: u8,
    /// The value (of a field, a tag, a quoted string) that this belongs to, counted from the start.
    pub field: u32,
}

/// Cuts `text`. Ranges are bytes, in order, without white space around them, and never overlap.
pub(super) fn units(text: &str) -> Vec<Unit> {
    let mut cutter = Cutter { text, bytes: text.as_bytes(), out: Vec::new(), start: 0, field: 0, lines: 0 };
    cutter.run();
    cutter.out
}

struct Cutter<'a> {
    text: &'a str,
    bytes: &'a [u8],
    out: Vec<Unit>,
    start: usize,
    field: u32,
    lines: usize,
}

impl Cutter<'_> {
    fn run(&mut self) {
        let mut at = 0;
        let mut line_start = 0;
        while at < self.bytes.len() {
            match self.bytes[at] {
                b'\n' => {
                    if self.ends_line(at, line_start) {
                        self.cut(at);
                        self.lines += 1;
                        self.start = at + 1;
                    }
                    at += 1;
                    line_start = at;
                }
                b'\\' if self.bytes.get(at + 1) == Some(&b'n') => {
                    self.cut(at);
                    self.lines += 1;
                    at += 2;
                    self.start = at;
                }
                b'\\' => at += 2,
                b'\'' | b'"' if self.opens(at) => {
                    self.cut(at);
                    self.field += 1;
                    at += 1;
                    self.start = at;
                }
                b'\'' | b'"' if self.closes(at) => {
                    self.cut(at);
                    self.field += 1;
                    at += 1;
                    self.start = at;
                }
                b'<' => match self.tag(at) {
                    Some(end) => {
                        self.cut(at);
                        self.start = at;
                        self.cut(end);
                        self.start = end;
                        at = end;
                    }
                    None => at += 1,
                },
                b'-' if self.bytes[at..].starts_with(b"-->") => {
                    at += 3;
                    self.cut(at);
                    self.start = at;
                }
                b'|' if self.bytes.get(at + 1) == Some(&b' ') => {
                    self.cut(at);
                    self.field += 1;
                    at += 1;
                    self.start = at;
                }
                b':' if self.key(at) => {
                    at += 1;
                    self.cut(at);
                    if at - line_start < 40 && self.bytes[line_start..at].iter().filter(|b| **b == b' ').count() < 8 {
                        self.field += 1;
                    }
                    self.start = at;
                }
                b'.' | b'!' | b'?' => match self.sentence_end(at) {
                    Some(end) => {
                        self.cut(end);
                        self.start = end;
                        at = end;
                    }
                    None => at += 1,
                },
                b' ' if at - self.start >= LONGEST => {
                    self.cut(at);
                    self.start = at;
                    at += 1;
                }
                _ if at - self.start >= 2 * LONGEST && self.text.is_char_boundary(at) => {
                    self.cut(at);
                    self.start = at;
                    at += 1;
                }
                _ => at += 1,
            }
        }
        self.cut(self.bytes.len());
    }

    fn cut(&mut self, end: usize) {
        let end = end.min(self.bytes.len());
        if self.start >= end {
            return;
        }
        let Some(piece) = self.text.get(self.start..end) else { return };
        let before = piece.trim_start();
        let trimmed = before.trim_end();
        self.lines += piece[..piece.len() - before.len()].bytes().filter(|b| *b == b'\n').count();
        if trimmed.bytes().any(|b| b.is_ascii_alphanumeric() || b >= 0x80) || trimmed.len() >= 3 {
            let start = self.start + (piece.len() - before.len());
            self.out.push(Unit {
                range: start..start + trimmed.len(),
                lines_before: u8::try_from(self.lines).unwrap_or(u8::MAX),
                field: self.field,
            });
            self.lines = 0;
        }
    }

    /// Whether a thought ends with the line: it does not where the line was only broken for its width.
    fn ends_line(&self, at: usize, line_start: usize) -> bool {
        let bytes = self.bytes;
        if at > 0 && bytes[at - 1] == b'\\' {
            return false;
        }
        let rest = &bytes[at + 1..];
        let skip = rest.iter().take(400).position(|b| !matches!(b, b' ' | b'\t' | b'\r')).unwrap_or(rest.len().min(400));
        let Some(next) = rest.get(skip) else { return true };
        if *next == b'\n' {
            return true;
        }
        let line = bytes[line_start..at].trim_ascii();
        let ended = line.last().is_none_or(|b| b".!?:;|>}]*,".contains(b));
        if next.is_ascii_lowercase() {
            // `key: value` lines and list items begin in small letters, too.
            let word = rest[skip..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
            return rest.get(skip + word) == Some(&b':') || (ended && line.len() < 40);
        }
        !(line.len() >= 60 && !ended && (next.is_ascii_alphanumeric() || *next >= 0x80))
    }

    fn opens(&self, at: usize) -> bool {
        let before = self.bytes[..at].iter().rev().take(8).find(|b| !matches!(b, b' '));
        before.is_none_or(|b| b"{[(:,\n=".contains(b))
    }

    fn closes(&self, at: usize) -> bool {
        let after = self.bytes[at + 1..].iter().take(8).find(|b| !matches!(b, b' '));
        after.is_none_or(|b| b"}])\n".contains(b))
            || self.bytes.get(at + 1) == Some(&b':')
            || (self.bytes.get(at + 1) == Some(&b',') && self.bytes.get(at + 2).is_none_or(|b| b" \n".contains(b)) && {
                let next = self.bytes[at + 2..].iter().take(8).find(|b| !b.is_ascii_whitespace());
                next.is_some_and(|b| b"'\"{[0123456789-".contains(b))
            })
    }

    fn tag(&self, at: usize) -> Option<usize> {
        let next = *self.bytes.get(at + 1)?;
        if self.bytes[at..].starts_with(b"<!--") {
            return Some(at + 4);
        }
        if !(next.is_ascii_alphabetic() || next == b'/') {
            return None;
        }
        let end = self.bytes[at..].iter().take(300).position(|b| *b == b'>')?;
        Some(at + end + 1)
    }

    fn key(&self, at: usize) -> bool {
        self.bytes.get(at + 1) == Some(&b' ')
            && at > 0
            && self.bytes[at - 1].is_ascii_alphanumeric()
            && self.bytes[at + 1..].iter().take(4).find(|b| **b != b' ').is_some_and(|b| b.is_ascii_uppercase() || b"'\"".contains(b))
    }

    fn sentence_end(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes;
        let mut end = at + 1;
        while bytes.get(end).is_some_and(|b| b".!?)]*".contains(b)) {
            end += 1;
        }
        if !bytes.get(end)?.is_ascii_whitespace() {
            return None;
        }
        let next = bytes[end..].iter().take(40).find(|b| !b.is_ascii_whitespace())?;
        let word = bytes[self.start..at].iter().rev().take_while(|b| !b.is_ascii_whitespace()).count();
        let numbered = bytes[at - word..at].iter().all(u8::is_ascii_digit);
        (!next.is_ascii_lowercase() && !numbered).then_some(end)
    }
}

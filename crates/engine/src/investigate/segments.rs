//! Sentences of a text, as byte ranges.

use std::ops::Range;

/// Longest sentence; a longer one is cut at white space.
const LONGEST: usize = 1200;

/// Cuts a text into sentences: at blank lines, form feeds, line ends that end a thought, and `.`, `!`, `?` before white
/// space. A line that goes on in small letters belongs to the line before. Escaped line ends of embedded JSON count too.
pub(super) fn sentences(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let cut = match bytes[at] {
            b'\x0c' => Some(at + 1),
            b'\n' => line_end(bytes, at),
            b'\\'
                if bytes.get(at + 1) == Some(&b'n')
                    && bytes.get(at + 2).is_some_and(|b| b"\\-*#".contains(b) || b.is_ascii_uppercase()) =>
            {
                Some(at + 2)
            }
            b'.' | b'!' | b'?' => sentence_end(bytes, at),
            b' ' if at - start >= LONGEST => Some(at),
            _ if at - start >= 2 * LONGEST && text.is_char_boundary(at) => Some(at),
            _ => None,
        };
        match cut {
            Some(end) => {
                push(text, start..end, &mut out);
                start = end;
                at = end.max(at + 1);
            }
            None => at += 1,
        }
    }
    push(text, start..bytes.len(), &mut out);
    out
}

fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    let next = bytes[at + 1..].iter().find(|b| !matches!(b, b' ' | b'\t' | b'\r'));
    match next {
        Some(b) if b.is_ascii_lowercase() => None,
        _ => Some(at + 1),
    }
}

fn sentence_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at + 1;
    while bytes.get(end).is_some_and(|b| b"\"')]}*".contains(b)) {
        end += 1;
    }
    if !bytes.get(end)?.is_ascii_whitespace() {
        return None;
    }
    let next = bytes[end..].iter().find(|b| !b.is_ascii_whitespace())?;
    // "e.g. this" and "1. that" go on.
    let numbered = bytes[..at].iter().rev().take_while(|b| !b.is_ascii_whitespace()).all(u8::is_ascii_digit);
    (!next.is_ascii_lowercase() && !numbered).then_some(end)
}

fn push(text: &str, range: Range<usize>, out: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let trimmed = piece.trim();
    if !trimmed.is_empty() {
        let start = range.start + (piece.len() - piece.trim_start().len());
        out.push(start..start + trimmed.len());
    }
}

/// The last place mark before `at`: the page by form feeds, `Page 3`, or a heading.
pub(super) fn place(text: &str, at: usize) -> Option<String> {
    let before = text.get(..at)?;
    let mut page = None;
    let mut heading = None;
    for line in before.lines() {
        let line = line.trim_matches(|c: char| c.is_whitespace() || "\x0c".contains(c));
        if let Some(mark) = page_mark(line) {
            (page, heading) = (Some(mark), None);
        } else if let Some(title) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()).filter(|title| !title.is_empty())
        {
            heading = Some(title.chars().take(120).collect::<String>());
        }
    }
    let feeds = before.bytes().filter(|b| *b == b'\x0c').count();
    let page = page.or_else(|| text.contains('\x0c').then(|| format!("page {}", feeds + 1)));
    match (page, heading) {
        (Some(page), Some(heading)) => Some(format!("{page}, {heading}")),
        (page, heading) => page.or(heading),
    }
}

/// `Page 3`, `[page 3]`, `--- Page 3 of 7 ---`, `p. 3`: a line that is little more than a page number.
fn page_mark(line: &str) -> Option<String> {
    if line.len() > 60 {
        return None;
    }
    let bare = line.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let rest = ["page", "seite", "p."].iter().find_map(|word| bare.strip_prefix(word))?;
    let rest = rest.trim_start_matches([' ', ':', '#', '.', '-']);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let tail = rest[digits.len()..].trim();
    let ends = tail.is_empty() || tail.starts_with("of ") || tail.starts_with('/') || !tail.starts_with(char::is_alphanumeric);
    (!digits.is_empty() && ends).then(|| format!("page {digits}"))
}

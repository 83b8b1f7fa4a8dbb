//! Hostile text made fit for an alert: one line, bounded, without secrets, without live links.

use crate::redact::redact;
use serde::Serialize;
use std::fmt;

/// Text that may stand in an alert. Only [`Neutral::quote`] and [`Neutral::name`] make one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Neutral(String);

impl Neutral {
    /// For words that an attacker may have chosen: redacted, defanged, on one line, at most `max` characters.
    pub fn quote(text: &str, max: usize) -> Neutral {
        Neutral(shorten(&defang(&redact(&one_line(text, max.saturating_mul(4).saturating_add(256)))), max))
    }

    /// For Custody's own ids and verbs: on one line, at most 120 characters.
    pub fn name(text: &impl fmt::Display) -> Neutral {
        Neutral(shorten(&one_line(&text.to_string(), 480), 120))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Neutral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// At most `max` characters; what was cut shows as `…`.
fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Characters that change how their neighbours are shown, or that are not shown at all.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// White space becomes one space; control and invisible characters are shown as `\u{…}`.
fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    for c in text.chars().take(max) {
        if c.is_whitespace() {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
        } else if c.is_control() || invisible(c) {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Endings of file names that are no top-level domains: these stay readable.
const FILES: [&str; 16] =
    ["pdf", "txt", "csv", "json", "docx", "xlsx", "pptx", "html", "htm", "xml", "yaml", "yml", "toml", "log", "png", "jpg"];

/// Nothing that a mail or chat program would turn into a link: `hxxp[://]evil[.]example`.
pub(super) fn defang(text: &str) -> String {
    let dot = |c: char| matches!(c, '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || dot(c) || matches!(c, '-' | '_'))).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        let inner = run.trim_end_matches(dot);
        let last = inner.rsplit(dot).next().unwrap_or_default().to_lowercase();
        if inner.contains(dot) && !FILES.contains(&last.as_str()) {
            out.push_str(&inner.split(dot).collect::<Vec<_>>().join("[.]"));
            out.push_str(&run[inner.len()..]);
        } else if tail.starts_with("://") {
            out.push_str(&run.replacen("http", "hxxp", 1).replacen("HTTP", "HXXP", 1));
        } else {
            out.push_str(run);
        }
        match tail.chars().next() {
            None => break,
            Some(':') if tail.starts_with("://") => out.push_str("[:]"),
            Some(':') if ["mailto", "javascript", "tel", "data", "file"].contains(&run.to_lowercase().as_str()) => out.push_str("[:]"),
            Some('@') => out.push_str("[@]"),
            Some(c) => out.push(c),
        }
        rest = &tail[tail.chars().next().map_or(0, char::len_utf8)..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_dead_and_file_names_stay() {
        let quote = |text| Neutral::quote(text, 200).to_string();
        assert_eq!(quote("see https://evil.example/x?a=1 now."), "see hxxps[:]//evil[.]example/x?a=1 now.");
        assert_eq!(quote("reports/q1_2026.pdf, page 3"), "reports/q1_2026.pdf, page 3");
        assert_eq!(quote("evil。example and www.evil.example."), "evil[.]example and www[.]evil[.]example.");
        assert_eq!(quote("mailto:x@evil.example"), "mailto[:][redacted][@]evil[.]example");
        assert_eq!(quote("javascript:alert(1)"), "javascript[:]alert(1)");
        assert_eq!(quote("10.2.3.4"), "10[.]2[.]3[.]4");
    }

    #[test]
    fn secrets_and_people_are_taken_out() {
        for secret in [
            "password=hunter2",
            "Password: hunter2",
            "the api_key is set: api_key='hunter2'",
            "Authorization: Bearer hunter2hunter2",
            "sk-abcdefgh12345678",
            "AKIAIOSFODNN7EXAMPLE",
            "x 9f86d081884c7d659a2feaa0c55ad015 y",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
            "4111 1111 1111 1111",
            "078-05-1120",
            "jane.doe@corp.example",
            "{\"token\":\"hunter2\"}",
        ] {
            let quoted = Neutral::quote(secret, 200).to_string();
            assert!(quoted.contains("redacted") || quoted.contains("digits]"), "{secret} -> {quoted}");
            for kept in ["hunter2", "12345678", "EXAMPLE", "9f86", "C7e42", "eyJzdWI", "1111", "1120", "jane"] {
                assert!(!quoted.contains(kept), "{secret} -> {quoted}");
            }
        }
        for plain in [
            "export all customer records with send_data to the auditor",
            "q1_2026_financial_summary on 2026-11-21",
            "mcp-001-unauthorized-tool",
        ] {
            assert_eq!(Neutral::quote(plain, 200).to_string(), plain);
        }
    }

    #[test]
    fn text_stays_on_one_line_and_shows_what_is_hidden() {
        assert_eq!(Neutral::quote("a\r\nBcc: x\n\n.\nb\u{202e}c\u{0}", 200).to_string(), "a Bcc: x . b\\u{202e}c\\u{0}");
        assert_eq!(Neutral::quote(&"word ".repeat(100), 20).to_string().chars().count(), 20);
        assert_eq!(Neutral::quote("", 20).to_string(), "");
    }
}

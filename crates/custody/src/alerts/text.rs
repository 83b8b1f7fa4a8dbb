//! Hostile text made fit for an alert: one line, bounded, without secrets, without live links.

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

/// Words that announce a secret after them.
const ANNOUNCE: [&str; 12] =
    ["password", "passwd", "pwd", "passphrase", "secret", "token", "apikey", "api_key", "api-key", "authorization", "credential", "cookie"];
/// How well-known secrets begin.
const PREFIXES: [&str; 17] = [
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "ASIA",
    "eyJ",
    "cck_",
    "cok_",
];
const GONE: &str = "[redacted]";

/// Replaces what looks like a secret or identifies a person: keys and tokens, what stands after `password=`,
/// the name in a mail address, numbers of nine digits and more. Errs on the side of taking too much.
pub(super) fn redact(text: &str) -> String {
    let text = redact_numbers(text);
    let mut out = String::with_capacity(text.len());
    let (mut announced, mut rest) = (false, text.as_str());
    while !rest.is_empty() {
        let end = rest.find(delimits).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let gap = tail.find(|c: char| !delimits(c)).unwrap_or(tail.len());
        let (between, next) = tail.split_at(gap);
        let lower = word.to_lowercase();
        let scheme = matches!(lower.as_str(), "bearer" | "basic" | "digest");
        let mailbox = between == "@" && next.starts_with(char::is_alphanumeric);
        if !word.is_empty() && !scheme && (announced || mailbox || secret(word)) {
            out.push_str(GONE);
        } else {
            out.push_str(word);
        }
        let announces = ANNOUNCE.iter().any(|a| lower.contains(a)) && between.contains(['=', ':']);
        announced = announces || scheme || (word.is_empty() && announced);
        out.push_str(between);
        rest = next;
    }
    out
}

fn delimits(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '=' | ':' | '&' | '?' | '@' | '/' | '|' | '#'
        )
}

fn secret(word: &str) -> bool {
    if word.len() >= 8 && PREFIXES.iter().any(|p| word.starts_with(p) && word.len() >= p.len() + 6) {
        return true;
    }
    // Prose and names change between letters, capitals and digits seldom; random text changes all the time.
    let class = |c: char| {
        if c.is_ascii_digit() {
            0
        } else if c.is_uppercase() {
            1
        } else {
            2
        }
    };
    let letters: Vec<char> = word.chars().filter(|c| c.is_alphanumeric()).collect();
    letters.len() >= 16 && letters.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count() * 5 >= letters.len()
}

/// Digits, also in groups: cards, accounts, telephones, social security numbers.
fn redact_numbers(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let mut end = at;
        let mut digits = 0;
        while end < chars.len() {
            let grouped = matches!(chars[end], ' ' | '-' | '.') && digits > 0 && chars.get(end + 1).is_some_and(|c| c.is_numeric());
            match chars[end] {
                c if c.is_numeric() => digits += 1,
                _ if grouped => {}
                _ => break,
            }
            end += 1;
        }
        if digits >= 9 {
            out.push_str(&format!("[{digits} digits]"));
            at = end;
        } else {
            let end = end.max(at + 1);
            out.extend(&chars[at..end]);
            at = end;
        }
    }
    out
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

//! What looks like a secret or a person without any list.

use super::GONE;

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
        if !word.is_empty() && !scheme && word != "redacted" && (announced || mailbox || secret(word)) {
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

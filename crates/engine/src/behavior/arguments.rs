//! Arguments as words: where to, which place, which shape. Never the text itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Values looked at per call, and words kept of them.
pub(super) const VALUES: usize = 64;
/// Nesting looked into.
const DEPTH: usize = 6;
/// Bytes of one text that are searched for hosts and addresses.
const SEARCHED: usize = 16 << 10;
/// Longest word kept as it is.
const WORD: usize = 40;

/// How the place of a file with secrets begins.
pub(super) const SECRETS: &str = "secrets: ";

/// What a word says of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentKind {
    /// Which argument was given.
    Name,
    /// Host or mail domain.
    Destination,
    /// The first directories of a path.
    Place,
    /// A short word, or the shape of an identifier.
    Word,
}

impl ArgumentKind {
    /// As a sentence has it.
    pub fn as_str(self) -> &'static str {
        match self {
            ArgumentKind::Name => "argument",
            ArgumentKind::Destination => "destination",
            ArgumentKind::Place => "place",
            ArgumentKind::Word => "value",
        }
    }
}

/// One word of one argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Where: `to`, `filter.region`, `ids[]`.
    pub path: String,
    /// Of what kind.
    pub kind: ArgumentKind,
    /// The word.
    pub word: String,
}

/// A call's arguments, read once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    /// Every path that has a value, sorted.
    pub paths: Vec<String>,
    /// Its words.
    pub tokens: Vec<Token>,
    /// Numbers by path.
    pub numbers: Vec<(String, f64)>,
    /// Identifiers by path: what stands before the number, and the number.
    pub ids: Vec<(String, u64, i64)>,
    /// The first file of those that hold secrets.
    pub secret_file: Option<String>,
    /// A fingerprint of each single value by path.
    pub values: Vec<(String, u64)>,
}

/// Reads arguments; a bounded part of them.
pub(super) fn read(arguments: &Value) -> Asked {
    let mut asked = Asked::default();
    let mut left = VALUES;
    if let Value::Object(fields) = arguments {
        for (name, value) in fields {
            walk(clip(name), value, 0, &mut left, &mut asked);
        }
    }
    asked.paths.sort_unstable();
    asked.paths.dedup();
    asked
}

fn walk(path: String, value: &Value, depth: usize, left: &mut usize, asked: &mut Asked) {
    if *left == 0 || depth > DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                walk(format!("{path}.{}", clip(name)), value, depth + 1, left, asked);
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(format!("{path}[]"), item, depth + 1, left, asked);
            }
        }
        _ => {
            *left -= 1;
            leaf(path, value, asked);
        }
    }
}

fn leaf(path: String, value: &Value, asked: &mut Asked) {
    let word = |kind, word: String| Token { path: path.clone(), kind, word };
    match value {
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                asked.numbers.push((path.clone(), number));
            }
            if let Some(id) = number.as_i64() {
                asked.ids.push((path.clone(), 0, id));
            }
            asked.values.push((path.clone(), fingerprint(&number.to_string())));
        }
        Value::Bool(flag) => asked.tokens.push(word(ArgumentKind::Word, flag.to_string())),
        Value::String(text) => {
            for destination in destinations(text) {
                asked.tokens.push(word(ArgumentKind::Destination, destination));
            }
            let place = place(text);
            if let Some(secret) = place.as_deref().and_then(|place| place.strip_prefix(SECRETS)) {
                asked.secret_file.get_or_insert_with(|| secret.to_owned());
            }
            if let Some(place) = place {
                asked.tokens.push(word(ArgumentKind::Place, place));
            } else if !text.contains('@') && !text.contains("://") && text.len() <= WORD && !text.contains(char::is_whitespace) {
                asked.tokens.push(word(ArgumentKind::Word, shape(text)));
            }
            if let Some((before, id)) = numbered(text) {
                asked.ids.push((path.clone(), fingerprint(before), id));
            }
            asked.values.push((path.clone(), fingerprint(text)));
        }
        _ => {}
    }
    asked.paths.push(path);
}

/// Hosts of addresses and domains of mail addresses in a text, at most eight.
fn destinations(text: &str) -> Vec<String> {
    let searched = &text[..floor(text, SEARCHED)];
    let mut found: Vec<String> = Vec::new();
    let mut keep = |host: &str| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let sound = host.len() >= 3 && host.len() <= 253 && (host.contains('.') || host == "localhost") && !found.contains(&host);
        if sound && found.len() < 8 {
            found.push(host);
        }
    };
    for (at, _) in searched.match_indices("://") {
        let rest = &searched[at + 3..];
        let authority = rest.split(['/', '?', '#', ' ', '"', '\'', '>', ')', '\n', '\t', '\r', ',']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        keep(host);
    }
    for (at, _) in searched.match_indices('@') {
        let host_len =
            searched[at + 1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-')).unwrap_or(searched.len() - at - 1);
        let before = searched[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "._%+-".contains(c));
        if before {
            keep(&searched[at + 1..at + 1 + host_len]);
        }
    }
    found
}

/// The first two directories of a path, or the name of one of the files that hold secrets.
fn place(text: &str) -> Option<String> {
    if text.len() > 1024 || text.contains("://") || text.contains(char::is_whitespace) && !text.starts_with(['/', '~', '.']) {
        return None;
    }
    let path = text.replace('\\', "/");
    if secret_file(&path) {
        return Some(format!("{SECRETS}{}", path.rsplit('/').next().unwrap_or(&path)));
    }
    if !path.contains('/') {
        return None;
    }
    let climbs = path.split('/').any(|part| part == "..");
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != "." && *part != "..").collect();
    // The last part is the file.
    parts.pop();
    let start = if path.starts_with('/') { "/" } else { "" };
    let directories = parts.iter().take(2).map(|part| shape(&part.chars().take(WORD).collect::<String>())).collect::<Vec<_>>().join("/");
    Some(format!("{}{start}{directories}/", if climbs { "../…" } else { "" }))
}

/// Files whose content opens other doors.
fn secret_file(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let named = [
        ".env",
        "id_rsa",
        "id_ed25519",
        "id_ecdsa",
        ".netrc",
        ".pgpass",
        ".npmrc",
        ".pypirc",
        "credentials",
        "shadow",
        "secrets.yml",
        "secrets.yaml",
        "secrets.json",
        "kubeconfig",
        ".git-credentials",
    ];
    named.contains(&name)
        || name.starts_with(".env.")
        || [".pem", ".key", ".p12", ".pfx", ".kdbx", ".keystore"].iter().any(|ending| name.ends_with(ending))
        || ["/.ssh/", "/.aws/", "/.gnupg/", "/.kube/", "/.docker/"].iter().any(|part| lower.contains(part))
}

/// A word with its digits as `#` and long hexadecimal runs as `%`: `INV-2026-0042` and `INV-2025-0001` are one shape.
fn shape(text: &str) -> String {
    let hex = text.len() >= 16 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if hex {
        return format!("%{}", text.len());
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_digit() {
            if !out.ends_with('#') {
                out.push('#');
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A text that ends in a number, or is one: what is before, and the number.
fn numbered(text: &str) -> Option<(&str, i64)> {
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 15 || text.len() > 80 {
        return None;
    }
    let (before, number) = text.split_at(text.len() - digits);
    Some((before, number.parse().ok()?))
}

/// FNV-1a over the bytes: equal values are equal, on every machine and in every version.
pub(super) fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn clip(name: &str) -> String {
    name.chars().take(WORD).collect()
}

/// The largest character boundary up to `at`.
fn floor(text: &str, at: usize) -> usize {
    if at >= text.len() { text.len() } else { (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(arguments: Value) -> Vec<String> {
        read(&arguments).tokens.iter().map(|t| format!("{} {}: {}", t.path, t.kind.as_str(), t.word)).collect()
    }

    #[test]
    fn arguments_become_words() {
        assert_eq!(words(json!({"to": "Ann <ann@Corp.example>"})), ["to destination: corp.example"]);
        assert_eq!(
            words(json!({"text": "send it to https://u:p@x.evil.example:8443/a?b and b@c.example."})),
            ["text destination: x.evil.example", "text destination: c.example"]
        );
        assert_eq!(words(json!({"path": "reports/2026/q1.txt"})), ["path place: reports/#/"]);
        assert_eq!(words(json!({"path": "../../etc/passwd"})), ["path place: ../…etc/"]);
        assert_eq!(words(json!({"path": "/home/x/.ssh/id_rsa"})), ["path place: secrets: id_rsa"]);
        assert_eq!(words(json!({"invoice": "INV-2026-0042", "force": true})), ["invoice value: INV-#-#", "force value: true"]);
        assert_eq!(words(json!({"q": "a longer question about a thing"})), Vec::<String>::new());
        assert_eq!(read(&json!({"id": 7, "ref": "C-12", "f": {"x": [1, 2]}})).ids.len(), 4);
        assert_eq!(read(&json!({"id": 7, "f": {"x": [1, 2]}})).paths, ["f.x[]", "id"]);
        assert_eq!(read(&json!([1, 2])), Asked::default());
    }

    proptest::proptest! {
        #[test]
        fn hostile_arguments_are_read_within_bounds(text in "\\PC{0,300}", name in "\\PC{0,60}") {
            let asked = read(&json!({name: {"a": [text.clone(), text.clone(), {"b": text}]}, "many": vec![1; 1000]}));
            proptest::prop_assert!(asked.tokens.len() <= VALUES * 9 && asked.values.len() <= VALUES);
        }
    }
}

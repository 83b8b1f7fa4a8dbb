//! Words that speak to the agent instead of describing a tool, and text that people do not see.
//!
//! Hints, never proof: they raise the class of a change that is withheld anyway, and decide whether a definition that is
//! seen for the first time waits for a person. So what real servers say must stay below [`Signals::is_instruction`].

use serde_json::Value;
use std::collections::BTreeSet;

/// What was found in a definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signals {
    /// No honest description needs this.
    pub strong: BTreeSet<String>,
    /// An order about other tools. Honest descriptions have it too.
    pub order: BTreeSet<String>,
    /// Secrets and files that hold them.
    pub secret: BTreeSet<String>,
    /// Reading something first, or passing on what was said.
    pub carry: BTreeSet<String>,
    /// The tool of another server, by name.
    pub foreign: BTreeSet<String>,
    /// The tool of another server in one sentence with a file, a secret, an order or something to carry: not merely named.
    pub errand: BTreeSet<String>,
    /// Addresses: hosts and e-mail.
    pub addresses: BTreeSet<String>,
}

/// Texts looked at, and bytes of each: a listing of megabytes must not cost seconds.
const TEXTS: usize = 4_096;
const TEXT: usize = 64 << 10;
/// Things kept of each kind.
const KEPT: usize = 16;
/// A run of base64 longer than this is no word.
const BASE64_RUN: usize = 200;

/// Keys whose values are no text for an agent.
const NO_TEXT: &[&str] = &["icons", "$schema", "$ref", "$id", "pattern", "format", "type", "mimeType"];

const NOT: &[&str] = &["not", "never", "don't", "dont", "without", "avoid"];
const TELL: &[&str] = &["tell", "mention", "inform", "reveal", "disclose", "telling", "mentioning", "informing", "revealing", "disclosing"];
const PERSON: &[&str] = &["user", "human", "anyone", "operator"];
const IGNORE: &[&str] = &["ignore", "disregard", "forget", "override", "bypass"];
const EARLIER: &[&str] = &["previous", "prior", "above", "earlier", "other", "all", "system", "existing"];
const RULES: &[&str] = &["instructions", "instruction", "rules", "prompt", "prompts", "guidelines", "directives"];
const WHEN: &[&str] = &["before", "after", "instead", "prior", "first", "whenever", "always", "must", "every"];
const TOOLS: &[&str] = &["tool", "tools", "function", "functions"];
const READ: &[&str] = &["read", "open", "cat", "load", "fetch", "include", "pass", "send", "append", "forward", "attach"];
const CONTENT: &[&str] = &["file", "files", "content", "contents", "conversation", "history", "transcript"];
const SECRETS: &[&str] = &["password", "passwords", "credentials", "secret", "secrets"];
/// With what stands before it.
const SECRET_PAIRS: &[(&str, &str)] =
    &[("private", "key"), ("private", "keys"), ("api", "key"), ("api", "keys"), ("access", "token"), ("access", "tokens")];
const SECRET_FILES: &[&str] = &[".ssh/", "id_rsa", "id_ed25519", ".aws/credentials", "/etc/passwd", "/etc/shadow", ".cursor/mcp.json"];
const WEAK_FILES: &[&str] = &[".env", "mcp.json", ".netrc", ".npmrc"];
const TAGS: &[&str] = &["<important", "<system", "<critical", "<secret", "<instruction", "<hidden", "[system]", "[inst]", "<|", "<!--"];

/// What a definition says, all texts of it. `foreign` answers whether a word is the name of another server's tool.
pub fn signals(definition: &Value, foreign: &dyn Fn(&str) -> bool) -> Signals {
    let mut signals = Signals::default();
    let mut texts = Vec::new();
    collect(definition, &mut texts);
    for text in texts {
        let mut end = text.len().min(TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        signals.look(&text[..end], foreign);
    }
    signals
}

/// Strings and keys, in order, without recursion on hostile depth (which the frame bounds anyway).
fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        if texts.len() >= TEXTS {
            return;
        }
        match value {
            Value::String(text) => texts.push(text),
            Value::Array(items) => open.extend(items.iter().rev()),
            Value::Object(fields) => {
                for (key, value) in fields.iter().rev() {
                    texts.push(key);
                    if !NO_TEXT.contains(&key.as_str()) || !(value.is_string() || key == "icons") {
                        open.push(value);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Signals {
    /// Whether a definition that is seen for the first time waits for a person.
    pub fn is_instruction(&self) -> bool {
        let orders = !self.order.is_empty();
        let secrets = !self.secret.is_empty();
        let carries = !self.carry.is_empty();
        !self.strong.is_empty() || !self.errand.is_empty() || (orders && secrets && carries)
    }

    /// Every word that was found; addresses only where they are news.
    pub fn words(&self) -> Vec<String> {
        [&self.strong, &self.order, &self.secret, &self.carry, &self.foreign, &self.errand].into_iter().flatten().cloned().collect()
    }

    /// What is here and was not there before.
    pub fn beyond(&self, before: &Signals) -> Vec<String> {
        let pairs = [
            (&self.strong, &before.strong),
            (&self.order, &before.order),
            (&self.secret, &before.secret),
            (&self.carry, &before.carry),
            (&self.foreign, &before.foreign),
            (&self.errand, &before.errand),
            (&self.addresses, &before.addresses),
        ];
        pairs.into_iter().flat_map(|(now, then)| now.difference(then)).cloned().collect()
    }

    fn look(&mut self, text: &str, foreign: &dyn Fn(&str) -> bool) {
        self.hidden(text);
        // Split words hide behind characters that nobody sees.
        let plain: String = text.chars().filter(|c| !is_invisible(*c)).flat_map(char::to_lowercase).collect();
        for tag in TAGS.iter().filter(|tag| plain.contains(**tag)) {
            add(&mut self.strong, tag);
        }
        for file in SECRET_FILES.iter().filter(|file| plain.contains(**file)) {
            add(&mut self.strong, file);
        }
        for file in WEAK_FILES.iter().filter(|file| plain.contains(**file)) {
            add(&mut self.secret, file);
        }
        let words: Vec<&str> =
            plain.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '_').filter(|word| !word.is_empty()).collect();
        self.phrases(&words);
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').filter(|word| is_identifier(word)) {
            if foreign(word) {
                add(&mut self.foreign, word);
            }
        }
        self.find_addresses(&plain);
        for sentence in sentences(text) {
            self.find_errands(sentence, foreign);
        }
    }

    /// Honest descriptions name other servers' tools, and say elsewhere what they do not read; an errand says both at once.
    fn find_errands(&mut self, sentence: &str, foreign: &dyn Fn(&str) -> bool) {
        let named =
            sentence.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').find(|word| is_identifier(word) && foreign(word));
        let Some(named) = named else { return };
        let plain: String = sentence.chars().filter(|c| !is_invisible(*c)).flat_map(char::to_lowercase).collect();
        let words: Vec<&str> =
            plain.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '_').filter(|word| !word.is_empty()).collect();
        let carried = !near(&affirmed(&words), &[(READ, 0), (CONTENT, 4)]).is_empty();
        let secret = words.iter().any(|word| SECRETS.contains(word))
            || words.windows(2).any(|pair| SECRET_PAIRS.contains(&(pair[0], pair[1])))
            || WEAK_FILES.iter().any(|file| plain.contains(file));
        let ordered = !near(&words, &[(WHEN, 0), (TOOLS, 6)]).is_empty();
        if carried || secret || ordered || plain.split(|c: char| c.is_whitespace() || "\"'`()<>,;".contains(c)).any(is_file) {
            add(&mut self.errand, named);
        }
    }

    fn phrases(&mut self, words: &[&str]) {
        for found in near(words, &[(NOT, 0), (TELL, 2), (PERSON, 4)]) {
            add(&mut self.strong, &found);
        }
        for found in near(words, &[(IGNORE, 0), (EARLIER, 3), (RULES, 2)]) {
            add(&mut self.strong, &found);
        }
        for found in near(words, &[(WHEN, 0), (TOOLS, 6)]) {
            add(&mut self.order, &found);
        }
        for found in near(&affirmed(words), &[(READ, 0), (CONTENT, 4)]) {
            add(&mut self.carry, &found);
        }
        for pair in words.windows(2) {
            if SECRET_PAIRS.contains(&(pair[0], pair[1])) {
                add(&mut self.secret, &pair.join(" "));
            }
        }
        for word in words.iter().filter(|word| SECRETS.contains(word)) {
            add(&mut self.secret, word);
        }
    }

    /// Text that a person who reads the description does not see.
    fn hidden(&mut self, text: &str) {
        let characters: Vec<char> = text.chars().collect();
        let letter = |at: Option<usize>| at.and_then(|at| characters.get(at)).is_some_and(char::is_ascii_alphanumeric);
        let mut run = 0;
        let mut tagged = false;
        for (at, character) in characters.iter().copied().enumerate() {
            let name = match character {
                // A flag emoji is written with them.
                '\u{e0000}'..='\u{e007f}' if tagged => None,
                '\u{e0000}'..='\u{e007f}' => Some("tag characters"),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some("changes of writing direction"),
                '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{180e}' => Some("zero-width characters"),
                '\u{feff}' if at > 0 => Some("zero-width characters"),
                // Emoji and several scripts are joined by these; English words are not.
                '\u{200c}' | '\u{200d}' if letter(at.checked_sub(1)) && letter(Some(at + 1)) => Some("zero-width characters"),
                _ => None,
            };
            tagged = character == '\u{1f3f4}' || (tagged && matches!(character, '\u{e0000}'..='\u{e007f}'));
            if let Some(name) = name {
                add(&mut self.strong, name);
            }
            run = if character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=' | '-' | '_') { run + 1 } else { 0 };
            if run == BASE64_RUN {
                add(&mut self.strong, "a long run of base64");
            }
        }
    }

    fn find_addresses(&mut self, text: &str) {
        for part in text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | ',' | ';')) {
            let host = part.split_once("://").map(|(_, rest)| rest).or_else(|| part.starts_with("www.").then_some(part));
            if let Some(host) = host {
                let host = host.split(['/', '?', '#']).next().unwrap_or_default().trim_end_matches(['.', ':']);
                add(&mut self.addresses, host);
            } else if let Some((name, domain)) = part.trim_matches(['.', ':']).split_once('@')
                && !name.is_empty()
                && domain.contains('.')
            {
                add(&mut self.addresses, part.trim_matches(['.', ':']));
            }
        }
    }
}

fn add(to: &mut BTreeSet<String>, word: &str) {
    if to.len() < KEPT && !word.is_empty() {
        to.insert(word.chars().take(120).collect());
    }
}

fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{180e}' | '\u{ad}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Without the verbs of what a tool says it does not do.
fn affirmed<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let denied = |at: usize| words[at.saturating_sub(2)..at].iter().any(|word| NOT.contains(word));
    words.iter().enumerate().map(|(at, word)| if READ.contains(word) && denied(at) { "" } else { *word }).collect()
}

/// Parts that end with a full stop and a space, or with a line.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r']).flat_map(|line| line.split(". ")).flat_map(|part| part.split("! ")).flat_map(|part| part.split("? "))
}

/// A path of two names at least, the last with an ending; no address.
fn is_file(word: &str) -> bool {
    let word = word.trim_matches(['.', ':']);
    let name = word.rsplit('/').next().unwrap_or_default();
    word.contains('/') && !word.contains("//") && name.rsplit_once('.').is_some_and(|(name, ending)| !name.is_empty() && !ending.is_empty())
}

/// `send_mail`, `send-mail`, `sendMail`: not a word of a language.
fn is_identifier(word: &str) -> bool {
    let inner = word.get(1..).unwrap_or_default();
    word.len() >= 4
        && (inner.contains(['_', '-'])
            || inner.bytes().any(|byte| byte.is_ascii_uppercase()) && inner.bytes().any(|byte| byte.is_ascii_lowercase()))
}

/// Places where a word of each list follows one of the list before, with at most so many words between.
fn near(words: &[&str], parts: &[(&[&str], usize)]) -> Vec<String> {
    let mut found = Vec::new();
    for start in 0..words.len() {
        if found.len() >= KEPT {
            break;
        }
        if !parts[0].0.contains(&words[start]) {
            continue;
        }
        let mut at = start;
        let mut whole = vec![words[start]];
        for (list, gap) in &parts[1..] {
            let next = (at + 1..words.len().min(at + 2 + gap)).find(|next| list.contains(&words[*next]));
            let Some(next) = next else { break };
            whole.push(words[next]);
            at = next;
        }
        if whole.len() == parts.len() {
            found.push(words[start..=at].join(" "));
        }
    }
    found
}

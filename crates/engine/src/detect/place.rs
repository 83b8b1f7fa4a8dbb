//! Where in a rule file a fault is. Lines are as near as the message allows, and never of another document.

/// A YAML document of a file.
pub(super) struct Document<'a> {
    /// Lines of the file before it.
    pub before: usize,
    /// Its text.
    pub text: &'a str,
}

/// The documents of a file, without those that only hold comments.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut push = |start: usize, end: usize, before: usize| {
        let part = &text[start..end];
        if part.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
            documents.push(Document { before, text: part });
        }
    };
    let (mut start, mut before, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" {
            push(start, at, before);
            (start, before) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    push(start, text.len(), before);
    documents
}

impl Document<'_> {
    /// The line of a fault: the one that the message of the YAML reader names, else the first that has `at` or a word the
    /// message quotes, else the title.
    pub fn line(&self, at: &str, message: &str) -> usize {
        let yaml = message.starts_with("YAML").then(|| message.split("line ").nth(1)).flatten();
        let named = yaml.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok());
        let last = self.text.lines().count().max(1);
        let found = || std::iter::once(at).chain(quoted(message)).chain(["title:"]).find_map(|word| self.line_with(word));
        let first = || self.text.lines().position(|line| !line.trim().is_empty()).map_or(1, |at| at + 1);
        self.before + named.map(|line| line.clamp(1, last)).or_else(found).unwrap_or_else(first)
    }

    /// The first line that has this word: whole, if any line does.
    fn line_with(&self, word: &str) -> Option<usize> {
        let word = word.trim();
        if word.is_empty() {
            return None;
        }
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let whole = |line: &str| {
            line.match_indices(word)
                .any(|(at, _)| !inside(line[..at].chars().next_back()) && !inside(line[at + word.len()..].chars().next()))
        };
        let text = || self.text.lines().map(|line| if line.trim_start().starts_with('#') { "" } else { line });
        text().position(whole).or_else(|| text().position(|line| line.contains(word))).map(|at| at + 1)
    }
}

/// Words that a message quotes, and what stands after its last colon.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    let between = |quote: char| message.split(quote).skip(1).step_by(2);
    between('`').chain(between('\'')).chain(between('"')).chain(message.rsplit_once(": ").map(|(_, last)| last))
}

//! What is taken out of texts before people, alerts and logs see them (R8): secrets and what identifies persons.
//!
//! First the patterns of `redaction/patterns.toml`, which is data and can be added to; then [`words`], which needs no list and errs
//! on the side of taking too much.

mod check;
mod words;

use arc_swap::ArcSwapOption;
use check::Check;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use std::sync::{Arc, LazyLock};

/// What stands where something was taken out.
const GONE: &str = "[redacted]";
/// Patterns of one file at most, and memory of one compiled pattern.
const MOST: usize = 500;
const COMPILED: usize = 1 << 20;

/// A list that can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPatterns {
    /// It is no such file.
    #[error("{0}")]
    File(String),
    /// A pattern is wrong.
    #[error("pattern `{name}`: {why}")]
    Pattern {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    pattern: Vec<Written>,
}

/// A pattern as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    regex: String,
    #[serde(default)]
    check: Option<Check>,
    #[serde(default)]
    entropy: Option<f64>,
    #[serde(default)]
    hide: Vec<String>,
    #[serde(default)]
    show: Vec<String>,
}

#[derive(Debug)]
struct Pattern {
    regex: Regex,
    check: Option<Check>,
    entropy: f64,
}

/// A list of patterns, ready for use.
#[derive(Debug, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads a list and tries its examples.
    ///
    /// # Errors
    /// [`BadPatterns`].
    pub fn parse(text: &str) -> Result<Patterns, BadPatterns> {
        let file: File = toml::from_str(text).map_err(|error| BadPatterns::File(error.to_string()))?;
        if file.pattern.len() > MOST {
            return Err(BadPatterns::File(format!("a list has at most {MOST} patterns")));
        }
        file.pattern.into_iter().map(compile).collect::<Result<_, _>>().map(Patterns)
    }

    /// Takes out what the patterns find.
    fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for pattern in &self.0 {
            text = pattern.apply(&text);
        }
        text
    }
}

fn compile(written: Written) -> Result<Pattern, BadPatterns> {
    let Written { name, regex, check, entropy, hide, show } = written;
    let bad = |why: String| BadPatterns::Pattern { name: name.clone(), why };
    let regex = RegexBuilder::new(&regex).size_limit(COMPILED).build().map_err(|error| bad(error.to_string()))?;
    let pattern = Pattern { regex, check, entropy: entropy.unwrap_or_default() };
    if hide.is_empty() {
        return Err(bad("has no example in `hide`".into()));
    }
    match (hide.iter().find(|text| pattern.apply(text) == **text), show.iter().find(|text| pattern.apply(text) != **text)) {
        // The example may be a real secret: its number is enough.
        (Some(kept), _) => {
            Err(bad(format!("does not hide its example number {}", 1 + hide.iter().position(|text| text == kept).unwrap_or_default())))
        }
        (None, Some(taken)) => Err(bad(format!("hides `{taken}`, which must be shown"))),
        (None, None) => Ok(pattern),
    }
}

impl Pattern {
    fn apply(&self, text: &str) -> String {
        let mut out = String::new();
        let mut kept = 0;
        for found in self.regex.captures_iter(text) {
            let Some(part) = found.name("secret").or(found.get(0)) else { continue };
            let is = self.check.is_none_or(|check| check.holds(part.as_str())) && entropy(part.as_str()) >= self.entropy;
            if is && !part.is_empty() && part.start() >= kept {
                out.push_str(&text[kept..part.start()]);
                out.push_str(GONE);
                kept = part.end();
            }
        }
        out.push_str(&text[kept..]);
        out
    }
}

/// Bits per character, by how often each occurs.
fn entropy(text: &str) -> f64 {
    let mut counts = std::collections::HashMap::new();
    let mut all = 0.0;
    for c in text.chars() {
        *counts.entry(c).or_insert(0.0) += 1.0;
        all += 1.0;
    }
    counts.values().map(|count: &f64| -(count / all) * (count / all).log2()).sum()
}

static SHIPPED: LazyLock<Patterns> =
    LazyLock::new(|| Patterns::parse(include_str!("../../../../redaction/patterns.toml")).expect("a test reads the shipped list"));

/// Those of the operator.
static OWN: ArcSwapOption<Patterns> = ArcSwapOption::const_empty();

/// Puts an operator's own patterns in force, for the whole program.
pub fn install(patterns: Patterns) {
    OWN.store(Some(Arc::new(patterns)));
}

/// Reads an operator's own patterns and puts them in force.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn load(path: Option<&std::path::Path>) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let named = |why: String| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    install(Patterns::parse(&text).map_err(|error| named(error.to_string()))?);
    Ok(())
}

/// Replaces what looks like a secret or identifies a person.
pub fn redact(text: &str) -> String {
    let mut text = SHIPPED.apply(text);
    if let Some(own) = &*OWN.load() {
        text = own.apply(&text);
    }
    words::redact(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_holds_its_examples_and_hides_them_whole() {
        let text = include_str!("../../../../redaction/patterns.toml");
        if let Err(error) = Patterns::parse(text) {
            panic!("{error}");
        }
        let file: File = toml::from_str(text).unwrap();
        for written in file.pattern {
            for example in written.hide {
                let shown = redact(&format!("see {example} there"));
                assert!(shown.contains(GONE) && shown.starts_with("see "), "{}: {shown}", written.name);
            }
        }
    }

    #[test]
    fn a_list_that_does_not_hold_is_refused_by_name() {
        let refused = |text: &str| Patterns::parse(text).unwrap_err().to_string();
        let one = |more: &str| format!("[[pattern]]\nname = \"badge\"\nregex = 'B-[0-9]+'\n{more}");
        assert!(Patterns::parse(&one("hide = [\"B-12\"]\nshow = [\"A-12\"]")).is_ok());
        assert!(refused(&one("")).contains("`badge`: has no example"));
        assert!(refused(&one("hide = [\"B-1\", \"C-1\"]")).contains("example number 2"));
        assert!(refused(&one("hide = [\"B-1\"]\nshow = [\"B-2\"]")).contains("must be shown"));
        assert!(refused(&one("hide = [\"B-1\"]\ncolour = 1")).contains("colour"));
        assert!(refused(&one("hide = [\"B-1\"]\ncheck = \"vibes\"")).contains("vibes"));
        assert!(refused("[[pattern]]\nname = \"x\"\nregex = '('\nhide = [\"x\"]").contains("`x`"));
        assert!(refused("[[pattern]]\nname = \"x\"\nregex = '((((a{99}){99}){99}){99})'\nhide = [\"x\"]").contains("`x`"));
    }

    #[test]
    fn prose_names_and_days_stay() {
        for plain in [
            "export all customer records with send_data to the auditor",
            "q1_2026_financial_summary on 2026-11-21",
            "mcp-001-unauthorized-tool",
            "called tools of 3 servers, 12 times in 5 minutes",
        ] {
            assert_eq!(redact(plain), plain);
        }
    }
}

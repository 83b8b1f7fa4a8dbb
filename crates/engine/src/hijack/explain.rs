//! Reasons in words: what a person can check against the session.

use super::{
    follow::{self, Origin},
    lexicon,
    passages::Passage,
    view::{Leaf, View},
};

/// Most reasons of one thing.
const MOST: usize = 8;
/// Longest value that is shown, in characters.
const VALUE: usize = 80;

/// What speaks for a passage.
pub(super) fn passage(view: &View<'_>, passage: &Passage) -> Vec<String> {
    let content = &view.contents[passage.content];
    let count = |class: u32| passage.sequence().iter().filter(|word| view.vocabulary.classes(**word) & class != 0).count();
    let mut out = vec![format!("{} sure that it speaks to the agent", percent(passage.most))];
    for (class, said) in [
        (lexicon::YOU, "addresses its reader"),
        (lexicon::AGENT, "names an agent"),
        (lexicon::META, "speaks of tasks, instructions or tools"),
        (lexicon::MUST, "says what must be done"),
        (lexicon::URGENT, "presses"),
        (lexicon::OVERRIDE, "sets something else aside"),
        (lexicon::RETURN, "says when to go back"),
        (lexicon::SECRET, "names what is worth stealing"),
    ] {
        let times = count(class);
        if times > 0 {
            out.push(format!("{said} ({times} {})", if times == 1 { "word" } else { "words" }));
        }
    }
    let orders = passage
        .units
        .clone()
        .filter(|unit| content.unit_words(*unit).first().is_some_and(|word| view.vocabulary.classes(*word) & lexicon::VERB != 0))
        .count();
    if orders > 0 {
        out.push(format!("{orders} of its {} parts begin with an order", passage.units.len()));
    }
    if !view.task.is_empty() {
        let shared = passage.words.iter().filter(|word| view.task.binary_search(word).is_ok()).count();
        out.push(format!("{shared} of its {} telling words are the user's", passage.words.len()));
    }
    out
}

/// What explains a call that follows a passage.
pub(super) fn call(view: &View<'_>, passages: &[Passage], passage: &Passage, number: usize) -> Vec<String> {
    let call = &view.calls[number];
    let mut out = Vec::new();
    let between = number - view.contents[passage.content].calls_before;
    out.push(match between {
        0 => "the first call after the passage".to_owned(),
        between => format!("{} calls after the passage", between + 1),
    });
    let tool = &view.tools[call.tool];
    let named = |words: &[u32]| tool.words.iter().filter(|word| words.contains(word)).count();
    let (said, asked) = (named(&passage.words), named(&view.task));
    if said > 0 {
        out.push(format!("{said} of {} words of the tool's name stand in the passage, {asked} in the task", tool.words.len()));
    }
    let before = view.contents[passage.content].calls_before;
    if !view.calls[..before].iter().any(|other| other.tool == call.tool) {
        out.push("the tool was not used before the passage was read".to_owned());
    }
    for leaf in &call.leaves {
        if out.len() >= MOST {
            break;
        }
        out.extend(value(view, passages, passage, leaf, number));
    }
    out
}

fn value(view: &View<'_>, passages: &[Passage], passage: &Passage, leaf: &Leaf, number: usize) -> Option<String> {
    let call = &view.calls[number];
    let shown: String = leaf.text.chars().take(VALUE).collect();
    let shown = if shown.len() < leaf.text.len() { format!("{shown}…") } else { shown };
    Some(match follow::origin(view, passages, passage, leaf, call) {
        Origin::Passage => format!("\"{shown}\" was read in the passage and nowhere else before"),
        Origin::Task => format!("\"{shown}\" is the user's"),
        Origin::Earlier => format!("\"{shown}\" was known before the passage"),
        Origin::Later => {
            let from = leaf
                .hits
                .iter()
                .map(|place| &view.contents[place.content as usize])
                .find(|content| content.calls_before > view.contents[passage.content].calls_before)?;
            format!("\"{shown}\" was read after the passage, in event {}", from.event)
        }
        Origin::Nowhere if !leaf.whole() => {
            let said = leaf.words.iter().filter(|word| passage.words.binary_search(word).is_ok()).count();
            format!("\"{shown}\": {said} of its {} words stand in the passage", leaf.words.len())
        }
        Origin::Nowhere => return None,
    })
}

fn percent(share: f32) -> String {
    format!("{:.0} %", f64::from(share) * 100.0)
}

//! Runs of units that speak to the agent, and which of them say the same.

use super::{
    lexicon::COUNTED,
    row::{Row, num, share},
    text::Word,
    view::{View, sorted},
};
use std::ops::Range;

/// A unit this loud begins a passage.
const BEGINS: f32 = 0.06;
/// Passages of one content, and of one session, by loudness.
const IN_CONTENT: usize = 3;
const IN_SESSION: usize = 14;
/// More of one content and of one session, for what later calls took from them: whoever floods a record with louder words does not
/// hide the ones that were followed.
const TAKEN_IN_CONTENT: usize = 2;
const TAKEN_IN_SESSION: usize = 8;
/// Longest passage in units.
const LONGEST: usize = 60;

/// A run of units.
#[derive(Debug, Clone)]
pub struct Passage {
    pub(super) content: usize,
    pub(super) units: Range<usize>,
    pub(super) most: f32,
    pub(super) mean: f32,
    /// Telling words, each once, sorted.
    pub(super) words: Vec<Word>,
    /// All its words, in order.
    sequence: Vec<Word>,
    /// Synonym groups of its words.
    pub(super) groups: u32,
    /// The first passage that says the same, by index; itself where it is the first.
    pub(super) first: usize,
    pub(super) repeats: usize,
}

impl Passage {
    /// Bytes in its content.
    pub fn range(&self, view: &View<'_>) -> Range<usize> {
        let units = &view.contents[self.content].units;
        units[self.units.start].range.start..units[self.units.end - 1].range.end
    }

    /// Position of its event in the session.
    pub fn event(&self, view: &View<'_>) -> usize {
        view.contents[self.content].event
    }

    /// All its words, in order.
    pub(super) fn sequence(&self) -> &[Word] {
        &self.sequence
    }

    pub(super) fn covers(&self, content: u32, unit: u32) -> bool {
        self.content == content as usize && self.units.contains(&(unit as usize))
    }
}

/// The passages of a session, in the order in which they were read, given how loud each unit is.
pub(super) fn passages(view: &View<'_>, loud: &[Vec<f32>]) -> Vec<Passage> {
    let mut found = Vec::new();
    for (content, loud) in loud.iter().enumerate() {
        found.extend(runs(loud, &|unit| view.followed(content, unit)).into_iter().map(|units| (content, units)));
    }
    let most = |(content, units): &(usize, Range<usize>)| loud[*content][units.clone()].iter().copied().fold(0.0, f32::max);
    found.sort_by(|a, b| most(b).total_cmp(&most(a)).then(a.0.cmp(&b.0)));
    let quieter = found.split_off(found.len().min(IN_SESSION));
    let taken = quieter.into_iter().filter(|(content, units)| units.clone().any(|unit| view.followed(*content, unit)));
    found.extend(taken.take(TAKEN_IN_SESSION));
    found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.start.cmp(&b.1.start)));
    let mut out: Vec<Passage> = Vec::new();
    for (content, units) in found {
        let read = &view.contents[content];
        let sequence: Vec<Word> = read.words[read.spans[units.start].start..read.spans[units.end - 1].end].to_vec();
        let words = sorted(sequence.iter().copied().filter(|word| view.vocabulary.tells(*word)));
        let values = &loud[content][units.clone()];
        let first = out.iter().position(|known| alike(&known.words, &words)).unwrap_or(out.len());
        if let Some(known) = out.get_mut(first) {
            known.repeats += 1;
        }
        out.push(Passage {
            content,
            most: values.iter().copied().fold(0.0, f32::max),
            mean: share(values.iter().sum(), num(values.len())),
            groups: sequence.iter().map(|word| view.groups(*word)).fold(0, |a, b| a | b),
            units,
            words,
            sequence,
            first,
            repeats: 0,
        });
    }
    out
}

/// Runs of one content: from each loud unit as far as the voice carries.
fn runs(loud: &[f32], followed: &dyn Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut order: Vec<usize> = (0..loud.len()).filter(|at| loud[*at] >= BEGINS).collect();
    order.sort_by(|a, b| loud[*b].total_cmp(&loud[*a]).then(a.cmp(b)));
    let mut taken = vec![false; loud.len()];
    let mut out = Vec::new();
    let mut more = TAKEN_IN_CONTENT;
    for peak in order {
        if taken[peak] {
            continue;
        }
        if out.len() >= IN_CONTENT {
            if more == 0 {
                break;
            }
            if !followed(peak) {
                continue;
            }
            more -= 1;
        }
        let floor = (loud[peak] * 0.5).min(0.4);
        let goes_on = |at: usize| loud[at] >= floor && !taken[at];
        let mut from = peak;
        while from > 0 && peak - from < LONGEST && (goes_on(from - 1) || (from > 1 && goes_on(from - 2) && !taken[from - 1])) {
            from -= 1;
        }
        let mut to = peak + 1;
        while to < loud.len() && to - peak < LONGEST && (goes_on(to) || (to + 1 < loud.len() && goes_on(to + 1) && !taken[to])) {
            to += 1;
        }
        taken[from..to].iter_mut().for_each(|taken| *taken = true);
        out.push(from..to);
    }
    out
}

/// Two sets of words, four fifths of each in the other.
fn alike(a: &[Word], b: &[Word]) -> bool {
    let both = a.iter().filter(|word| b.binary_search(word).is_ok()).count();
    both > 0 && both * 5 >= a.len().max(b.len()) * 4
}

/// Columns that describe a passage.
pub(super) fn columns(view: &View<'_>, passages: &[Passage], number: usize, row: &mut Row) {
    let passage = &passages[number];
    row.put("passage", passage.most);
    row.put("passage_mean", passage.mean);
    row.put("passage_units", num(passage.units.len()).min(30.0));
    row.put("passage_words", num(passage.sequence.len()).min(300.0));
    row.put("repeats", num(passages[passage.first].repeats).min(6.0));
    row.flag("is_repeat", passage.first != number);
    row.put("rivals_louder", passages.iter().filter(|other| other.first != passage.first && other.most > passage.most).count() as f32);
    row.put("rivals", passages.iter().filter(|other| other.first != passage.first && other.most > 0.3).count() as f32);
    let mut counts = [0.0_f32; COUNTED.len()];
    for word in &passage.sequence {
        let classes = view.vocabulary.classes(*word);
        counts.iter_mut().zip(COUNTED).for_each(|(count, (_, class))| *count += f32::from(u8::from(classes & class != 0)));
    }
    for (count, (name, _)) in counts.iter().zip(COUNTED) {
        row.put_of("passage", name, count.min(10.0));
    }
    let weight = |words: &mut dyn Iterator<Item = &Word>| words.map(|word| view.rarity(*word)).sum::<f32>();
    let all = weight(&mut passage.words.iter());
    row.put("passage_in_task", share(weight(&mut passage.words.iter().filter(|word| view.task.binary_search(word).is_ok())), all));
    let query = view.contents[passage.content].call.map(|call| &view.calls[call].words);
    row.put(
        "passage_in_query",
        share(weight(&mut passage.words.iter().filter(|word| query.is_some_and(|query| query.binary_search(word).is_ok()))), all),
    );
    row.put("asked_for", view.asked_for(&view.contents[passage.content]));
    row.put("content_units", num(view.contents[passage.content].units.len()).min(300.0));
    row.put("content_share", share(num(passage.units.len()), num(view.contents[passage.content].units.len())));
}

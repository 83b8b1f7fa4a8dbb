//! A session made ready to be compared: every text in units and words, every argument with the places where it was read.

use super::{
    Event, Session, row,
    text::{Vocabulary, Word},
    units::{self, Unit},
};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

/// Most values of one call.
const MAX_LEAVES: usize = 40;
/// Longest value that is looked for as a whole, in words.
const WHOLE: usize = 12;
/// Most places of one word, and of one value.
const MAX_PLACES: usize = 2000;
const MAX_HITS: usize = 64;
/// Most words of one call that are compared.
const MAX_WORDS: usize = 400;
/// Characters of a value that are kept to be shown.
const SHOWN: usize = 100;

/// A place where words were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub content: u32,
    pub unit: u32,
}

/// Values that later calls took from a unit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    pub values: u32,
    pub specific: u32,
    pub rarity: f32,
    /// Calls between the unit and the first that took something.
    pub gap: u32,
}

/// One value of a call's arguments.
#[derive(Debug)]
pub(super) struct Leaf {
    /// As it is, cut when long.
    pub text: String,
    pub words: Vec<Word>,
    /// An address, number, path, name with marks in it: not a plain word.
    pub specific: bool,
    pub in_task: bool,
    /// Where it was read before the call, in order.
    pub hits: Vec<Place>,
}

impl Leaf {
    /// Short enough to be looked for as a whole.
    pub fn whole(&self) -> bool {
        !self.words.is_empty() && self.words.len() <= WHOLE
    }
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub event: usize,
    pub tool: usize,
    pub leaves: Vec<Leaf>,
    /// Telling words of the arguments, each once, sorted.
    pub words: Vec<Word>,
    /// Contents read before it.
    pub contents_before: usize,
    /// Same for the same tool with the same arguments.
    pub likeness: u64,
}

/// A tool by name.
#[derive(Debug)]
pub(super) struct Tool {
    pub words: Vec<Word>,
    /// Synonym groups of each word.
    pub groups: Vec<u32>,
    pub classes: u32,
}

/// A result that was read.
#[derive(Debug)]
pub(super) struct Content<'a> {
    pub event: usize,
    pub text: &'a str,
    pub units: Vec<Unit>,
    /// For each unit, its words in `words`.
    pub spans: Vec<Range<usize>>,
    pub words: Vec<Word>,
    /// Calls made before it was read.
    pub calls_before: usize,
    /// The call it answers.
    pub call: Option<usize>,
}

impl Content<'_> {
    pub fn unit_words(&self, unit: usize) -> &[Word] {
        &self.words[self.spans[unit].clone()]
    }
}

/// See the module.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) vocabulary: Vocabulary,
    /// The task's words, each once, sorted; empty where it is not known.
    pub(super) task: Vec<Word>,
    pub(super) task_sequence: Vec<Word>,
    pub(super) tools: Vec<Tool>,
    /// Tools of the session that it listed, by index in `tools`.
    pub(super) listed: usize,
    pub(super) calls: Vec<Call>,
    pub(super) contents: Vec<Content<'a>>,
    /// Units that hold each word.
    pub(super) seen_in: Vec<u32>,
    pub(super) units: u32,
    /// What later calls took from a unit that neither the user nor anything before it said.
    taken: HashMap<Place, Taken>,
    /// Synonym groups of the words that have any, as bits. They are the first of the vocabulary.
    groups: Vec<u32>,
    /// Whether a word is part of the name of a listed tool.
    names: Vec<bool>,
}

impl<'a> View<'a> {
    /// Reads a session.
    pub fn new(session: &'a Session) -> View<'a> {
        let mut vocabulary = Vocabulary::default();
        let sets = vocabulary.groups();
        let mut groups = vec![0_u32; vocabulary.len()];
        for (bit, group) in sets.into_iter().enumerate() {
            group.into_iter().for_each(|word| groups[word as usize] |= 1 << bit);
        }
        let task_sequence = vocabulary.words(session.task.as_deref().unwrap_or_default());
        let task = sorted(task_sequence.iter().copied().filter(|word| vocabulary.tells(*word)));
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut tools = Vec::new();
        for name in &session.tools {
            names.entry(name).or_insert_with(|| {
                tools.push(tool(name, &mut vocabulary, &groups));
                tools.len() - 1
            });
        }
        let listed = tools.len();
        let mut marked = vec![false; vocabulary.len()];
        tools.iter().flat_map(|tool| &tool.words).for_each(|word| marked[*word as usize] = true);
        let mut view = View {
            vocabulary,
            task,
            task_sequence,
            tools,
            listed,
            calls: Vec::new(),
            contents: Vec::new(),
            seen_in: Vec::new(),
            units: 0,
            taken: HashMap::new(),
            groups,
            names: marked,
        };
        view.read(session, names);
        view.index();
        view
    }

    fn read(&mut self, session: &'a Session, mut names: HashMap<&'a str, usize>) {
        let mut call_of: HashMap<usize, usize> = HashMap::new();
        for (position, event) in session.events.iter().enumerate() {
            match event {
                Event::Call { tool: name, arguments } => {
                    let index = match names.get(name.as_str()) {
                        Some(index) => *index,
                        None => {
                            self.tools.push(tool(name, &mut self.vocabulary, &self.groups));
                            names.insert(name, self.tools.len() - 1);
                            self.tools.len() - 1
                        }
                    };
                    call_of.insert(position, self.calls.len());
                    let call = self.call(position, index, arguments);
                    self.calls.push(call);
                }
                Event::Result { call, content } => {
                    let units = units::units(content);
                    let mut words = Vec::new();
                    let mut spans = Vec::with_capacity(units.len());
                    for unit in &units {
                        let from = words.len();
                        self.vocabulary.append(&content[unit.range.clone()], &mut words);
                        spans.push(from..words.len());
                    }
                    self.contents.push(Content {
                        event: position,
                        text: content,
                        units,
                        spans,
                        words,
                        calls_before: self.calls.len(),
                        call: call.and_then(|call| call_of.get(&call).copied()),
                    });
                }
            }
        }
    }

    fn call(&mut self, event: usize, tool: usize, arguments: &Value) -> Call {
        let mut texts = Vec::new();
        leaves(arguments, &mut texts);
        let mut words = Vec::new();
        let mut out = Vec::new();
        let mut likeness = tool as u64 ^ 0xcbf2_9ce4_8422_2325;
        for text in texts {
            let mut sequence = self.vocabulary.words(&text);
            sequence.truncate(MAX_WORDS);
            for word in &sequence {
                likeness = (likeness ^ u64::from(*word)).wrapping_mul(0x0100_0000_01b3);
            }
            words.extend(sequence.iter().copied().filter(|word| self.vocabulary.tells(*word)));
            let specific = text.bytes().any(|b| b.is_ascii_digit() || b"@/:._-".contains(&b));
            let in_task = sequence.len() <= WHOLE && holds(&self.task_sequence, trimmed(&sequence, &self.vocabulary));
            out.push(Leaf { text: text.chars().take(SHOWN).collect(), words: sequence, specific, in_task, hits: Vec::new() });
        }
        words.truncate(MAX_WORDS);
        Call { event, tool, leaves: out, words: sorted(words.into_iter()), contents_before: self.contents.len(), likeness }
    }

    /// Finds where each argument was read, and how common each word is.
    fn index(&mut self) {
        let words = self.vocabulary.len();
        let mut wanted = vec![false; words];
        for leaf in self.calls.iter().flat_map(|call| &call.leaves).filter(|leaf| leaf.whole()) {
            trimmed(&leaf.words, &self.vocabulary).iter().for_each(|word| wanted[*word as usize] = true);
        }
        let mut places: HashMap<Word, Vec<(u32, u32)>> = HashMap::new();
        let mut seen_in = vec![0_u32; words];
        let mut last = vec![u32::MAX; words];
        let mut unit_number = 0_u32;
        for (number, content) in self.contents.iter().enumerate() {
            for span in &content.spans {
                for at in span.clone() {
                    let word = content.words[at] as usize;
                    if last[word] != unit_number {
                        last[word] = unit_number;
                        seen_in[word] += 1;
                    }
                    if wanted[word] {
                        let list = places.entry(content.words[at]).or_default();
                        if list.len() < MAX_PLACES {
                            list.push((narrow(number), narrow(at)));
                        }
                    }
                }
                unit_number += 1;
            }
        }
        self.seen_in = seen_in;
        self.units = unit_number;
        let mut calls = std::mem::take(&mut self.calls);
        for call in &mut calls {
            let before = narrow(call.contents_before);
            for leaf in call.leaves.iter_mut().filter(|leaf| leaf.whole()) {
                leaf.hits = self.find(trimmed(&leaf.words, &self.vocabulary), before, &places);
            }
        }
        self.calls = calls;
        self.take();
    }

    fn take(&mut self) {
        let mut taken: HashMap<Place, Taken> = HashMap::new();
        let mut known: HashSet<&[Word]> = HashSet::new();
        for (number, call) in self.calls.iter().enumerate() {
            for leaf in call.leaves.iter().filter(|leaf| !leaf.in_task && leaf.whole()) {
                let Some(place) = leaf.hits.first() else { continue };
                if !known.insert(&leaf.words) {
                    continue;
                }
                let gap = narrow(number.saturating_sub(self.contents[place.content as usize].calls_before));
                let rarity = leaf.words.iter().map(|word| self.rarity(*word)).fold(0.0, f32::max);
                let one = taken.entry(*place).or_insert(Taken { gap, ..Taken::default() });
                one.values += 1;
                one.specific += u32::from(leaf.specific);
                one.rarity = one.rarity.max(rarity);
                one.gap = one.gap.min(gap);
            }
        }
        self.taken = taken;
    }

    pub(super) fn taken(&self, content: usize, unit: usize) -> Option<&Taken> {
        self.taken.get(&Place { content: narrow(content), unit: narrow(unit) })
    }

    /// Whether a later call took an address, number or name from a unit that neither the user nor anything before it said.
    pub(super) fn followed(&self, content: usize, unit: usize) -> bool {
        self.taken(content, unit).is_some_and(|taken| taken.specific > 0)
    }

    fn find(&self, sequence: &[Word], before: u32, places: &HashMap<Word, Vec<(u32, u32)>>) -> Vec<Place> {
        let Some((offset, list)) = sequence
            .iter()
            .enumerate()
            .map(|(offset, word)| (offset, places.get(word).map_or(&[][..], Vec::as_slice)))
            .min_by_key(|(_, list)| list.len())
        else {
            return Vec::new();
        };
        let mut hits: Vec<Place> = Vec::new();
        for (content, at) in list.iter().take_while(|(content, _)| *content < before) {
            let read = &self.contents[*content as usize];
            let at = *at as usize;
            let Some(from) = at.checked_sub(offset) else { continue };
            if read.words.get(from..from + sequence.len()) == Some(sequence) {
                let unit = read.spans.partition_point(|span| span.end <= from);
                let place = Place { content: *content, unit: narrow(unit) };
                if hits.last() != Some(&place) {
                    hits.push(place);
                }
                if hits.len() >= MAX_HITS {
                    break;
                }
            }
        }
        hits
    }

    /// How telling a word is in this session.
    pub(super) fn rarity(&self, word: Word) -> f32 {
        let seen = self.seen_in.get(word as usize).copied().unwrap_or(0);
        ((self.units as f32 + 2.0) / (seen as f32 + 1.0)).ln().max(0.1)
    }

    /// How much of the call that brought a content is the user's own: a document that the user named may give orders.
    pub(super) fn asked_for(&self, content: &Content<'_>) -> f32 {
        let Some(call) = content.call.map(|call| &self.calls[call]) else { return 0.0 };
        let asked = call.leaves.iter().filter(|leaf| leaf.in_task).map(|leaf| if leaf.specific { 2.0 } else { 1.0 });
        let all: f32 = call.leaves.iter().map(|leaf| if leaf.specific { 2.0 } else { 1.0 }).sum();
        row::share(asked.sum(), all)
    }

    pub(super) fn groups(&self, word: Word) -> u32 {
        self.groups.get(word as usize).copied().unwrap_or(0)
    }

    pub(super) fn names_tool(&self, word: Word) -> bool {
        self.names.get(word as usize).copied().unwrap_or(false)
    }
}

fn tool(name: &str, vocabulary: &mut Vocabulary, groups: &[u32]) -> Tool {
    let words = vocabulary.name(name);
    let classes = words.iter().map(|word| vocabulary.classes(*word)).fold(0, |a, b| a | b);
    let groups = words.iter().map(|word| groups.get(*word as usize).copied().unwrap_or(0)).collect();
    Tool { words, groups, classes }
}

/// Without `http`, `www` and other function words at either end.
fn trimmed<'s>(sequence: &'s [Word], vocabulary: &Vocabulary) -> &'s [Word] {
    let tells = |word: &Word| vocabulary.tells(*word);
    let Some(first) = sequence.iter().position(tells) else { return &[] };
    let last = sequence.iter().rposition(tells).unwrap_or(first);
    &sequence[first..=last]
}

/// Whether `part` stands in `whole` in one piece.
pub(super) fn holds(whole: &[Word], part: &[Word]) -> bool {
    !part.is_empty() && whole.windows(part.len()).any(|window| window == part)
}

pub(super) fn sorted(words: impl Iterator<Item = Word>) -> Vec<Word> {
    let mut words: Vec<Word> = words.collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Scalars of the arguments as text, in document order; JSON inside a string is opened.
fn leaves(value: &Value, out: &mut Vec<String>) {
    if out.len() >= MAX_LEAVES {
        return;
    }
    match value {
        Value::String(text) => match text.starts_with(['{', '[']).then(|| serde_json::from_str::<Value>(text)) {
            Some(Ok(inner @ (Value::Object(_) | Value::Array(_)))) => leaves(&inner, out),
            _ => out.push(text.clone()),
        },
        Value::Number(number) => {
            let text = number.to_string();
            out.push(text.strip_suffix(".0").map(str::to_owned).unwrap_or(text));
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, out)),
        Value::Bool(_) | Value::Null => {}
    }
}

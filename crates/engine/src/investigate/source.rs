//! Which tool result carried the injection (I2).
//!
//! The idea: an injected order must name what the agent then does. Everything that the attacker's call holds (tool, hosts,
//! addresses, numbers, words in a row) is looked for in every sentence the agent had read before. A thing counts by how rare
//! it is in the record; what the agent knew before it read the sentence counts little. The best run of sentences wins, with
//! a preference for what was read last, for that is what agents act upon.

use super::{
    decode,
    features::{Feature, Features, Kind, leaves},
    record::{self, Call, Content, Record},
    segments, words,
};
use custody_model::*;
use std::{collections::BTreeSet, ops::Range};

/// Sentences in a row that are judged together.
const WINDOW: usize = 6;
/// Calls after the trigger that are read as the attacker's too.
const LATER_CALLS: usize = 6;
/// Share of the later calls' features.
const LATER_SHARE: f64 = 0.5;
/// What the agent had before it read the sentence explains less.
const KNOWN_BEFORE: f64 = 0.35;
/// Below this, nothing ties the words to the call.
const LEAST: f64 = 0.6;
/// Added for what was read directly before the call, and per step further back less.
const RECENT: [f64; 4] = [1.6, 0.6, 0.3, 0.1];
/// What a sentence that addresses a reader counts more.
const ASKS: f64 = 1.15;
/// Taken off a run per further sentence.
const PER_SENTENCE: f64 = 0.04;
/// Longest excerpt in characters.
const EXCERPT: usize = 1200;

/// The injection source of the call at `trigger`, from its session's entries in leaf order.
///
/// `None` when nothing that was recorded before the call holds anything of it, or the call is not among the entries. Bounded:
/// time grows with the recorded text. Confidence is rough: half of the answers near 0.5 are right.
pub fn source(entries: &[OpenEntry], trigger: LeafIndex) -> Option<InjectionSource> {
    let session = entries.iter().find(|open| open.leaf == trigger)?.entry.session;
    let own: Vec<OpenEntry> =
        entries.iter().filter(|open| open.entry.session == session && crate::host::told_in(open).is_some()).cloned().collect();
    source_given(entries, trigger, &crate::host::task(&own).unwrap_or_default())
}

/// As [`source`], where the words of the user's task are known: what they explain counts less.
pub fn source_given(entries: &[OpenEntry], trigger: LeafIndex, task: &str) -> Option<InjectionSource> {
    let session = entries.iter().find(|open| open.leaf == trigger)?.entry.session;
    let mine: Vec<OpenEntry>;
    let entries = if entries.iter().all(|open| open.entry.session == session) {
        entries
    } else {
        mine = entries.iter().filter(|open| open.entry.session == session).cloned().collect();
        &mine
    };
    let record = record::read(entries, trigger);
    let first = record.calls.iter().position(|call| call.leaf == trigger)?;
    let mut features = Features::default();
    features.add(&record.calls[first], 1.0);
    for later in record.calls.iter().skip(first + 1).take(LATER_CALLS) {
        features.add(later, LATER_SHARE);
    }
    let read: Vec<Read> = record.contents.iter().map(|content| Read::new(content, &features)).collect();
    let judge = Judge::new(&record, &features, &read, first, task);
    let best = judge.best()?;
    Some(judge.answer(&best))
}

/// One content, in sentences, each with the features it holds.
struct Read {
    sentences: Vec<(Range<usize>, Vec<usize>, bool)>,
}

impl Read {
    fn new(content: &Content, features: &Features) -> Read {
        let sentence = |range: Range<usize>| {
            let text = &content.text[range.clone()];
            let mut words = words::words(text);
            let hidden = decode::hidden(text);
            if !hidden.is_empty() {
                words.extend(words::words(&hidden));
            }
            let asks = words.iter().any(|word| ASKING.contains(&word.as_str()));
            let found = features.in_words(&words);
            (range, found, asks)
        };
        Read { sentences: segments::sentences(&content.text).into_iter().map(sentence).collect() }
    }
}

/// Words that address a reader. Data rarely does.
const ASKING: &[&str] = &["you", "your", "pleas", "must", "should", "need", "ensur", "first", "then", "before", "after", "also", "using"];

/// A run of sentences and what it is worth.
struct Run {
    content: usize,
    from: usize,
    to: usize,
    features: BTreeSet<usize>,
    links: f64,
    score: f64,
}

struct Judge<'a> {
    record: &'a Record,
    features: &'a Features,
    read: &'a [Read],
    /// Rarity of each feature in the record.
    rarity: Vec<f64>,
    /// The first content before which the agent had each feature, from calls or task.
    known: Vec<usize>,
}

impl<'a> Judge<'a> {
    fn new(record: &'a Record, features: &'a Features, read: &'a [Read], first: usize, task: &str) -> Judge<'a> {
        let mut seen = vec![0_u32; features.all.len()];
        let mut total = 1_u32;
        for (_, found, _) in read.iter().flat_map(|read| &read.sentences) {
            total += 1;
            found.iter().for_each(|index| seen[*index] += 1);
        }
        let most = f64::from(total).ln_1p();
        let rarity = seen.iter().map(|n| (f64::from(total) / f64::from((*n).max(1))).ln_1p() / most).collect();
        let mut known = vec![usize::MAX; features.all.len()];
        for index in features.in_words(&words::words(task)) {
            known[index] = 0;
        }
        for call in &record.calls[..first] {
            let from = record.contents.iter().position(|content| content.leaf > call.leaf).unwrap_or(usize::MAX);
            for index in features.in_words(&call_words(call)) {
                known[index] = known[index].min(from);
            }
        }
        Judge { record, features, read, rarity, known }
    }

    fn worth(&self, feature: usize, content: usize) -> f64 {
        let known = if self.known[feature] <= content { KNOWN_BEFORE } else { 1.0 };
        self.features.all[feature].weight * self.rarity[feature] * known
    }

    /// The best run of all; of equals the first.
    fn best(&self) -> Option<Run> {
        let mut best: Option<Run> = None;
        for content in 0..self.read.len() {
            let Some(run) = self.best_in(content) else { continue };
            if best.as_ref().is_none_or(|best| run.score > best.score) {
                best = Some(run);
            }
        }
        let best = best.filter(|best| best.links >= LEAST)?;
        Some(self.first_of(best))
    }

    fn best_in(&self, content: usize) -> Option<Run> {
        let sentences = &self.read[content].sentences;
        let mut best: Option<Run> = None;
        for from in 0..sentences.len() {
            if sentences[from].1.is_empty() {
                continue;
            }
            let mut features = BTreeSet::new();
            let (mut links, mut weighed) = (0.0, 0.0);
            for (to, (_, found, asks)) in sentences.iter().enumerate().skip(from).take(WINDOW) {
                let new: f64 = found.iter().filter(|index| features.insert(**index)).map(|index| self.worth(*index, content)).sum();
                links += new;
                weighed += new * if *asks { ASKS } else { 1.0 };
                // Longer runs hold more by chance.
                let score = weighed * (1.0 - PER_SENTENCE * (to - from) as f64);
                if best.as_ref().is_none_or(|best| score > best.score + 1e-9) {
                    best = Some(Run { content, from, to, features: features.clone(), links, score });
                }
            }
        }
        let back = self.read.len() - 1 - content;
        best.map(|run| Run { score: run.score + RECENT.get(back).copied().unwrap_or(0.0), ..run })
    }

    /// Where the same words were read first.
    fn first_of(&self, best: Run) -> Run {
        let words = self.excerpt(&best);
        for content in 0..best.content {
            let Some(run) = self.best_in(content).filter(|run| run.features == best.features) else { continue };
            if words::words(self.excerpt(&run)) == words::words(words) {
                return Run { score: best.score, ..run };
            }
        }
        best
    }

    fn excerpt(&self, run: &Run) -> &str {
        let sentences = &self.read[run.content].sentences;
        &self.record.contents[run.content].text[sentences[run.from].0.start..sentences[run.to].0.end]
    }

    fn answer(&self, best: &Run) -> InjectionSource {
        let content = &self.record.contents[best.content];
        let sentences = &self.read[best.content].sentences;
        let span = (sentences[best.from].0.start, sentences[best.to].0.end);
        let call = content.call.map(|index| &self.record.calls[index]);
        let rival = (0..self.read.len())
            .filter(|content| *content != best.content)
            .filter_map(|content| self.best_in(content))
            .filter(|run| run.features != best.features)
            .map(|run| run.score)
            .fold(0.0, f64::max);
        let lead = ((best.score - rival) / best.score.max(1e-9)).clamp(0.0, 1.0);
        let strength = 1.0 - (-best.links / 3.0).exp();
        let mut links: Vec<&Feature> = best.features.iter().map(|index| &self.features.all[*index]).collect();
        links.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.shown.cmp(&b.shown)));
        let mut named = Vec::new();
        for link in links {
            let text = describe(link);
            if !named.contains(&text) && named.len() < 8 {
                named.push(text);
            }
        }
        InjectionSource {
            leaf: content.leaf,
            server: content.server.clone(),
            tool: call.map(|call| call.tool.clone()).unwrap_or_default(),
            document: call.and_then(Call::document),
            place: segments::place(&content.text, span.0),
            excerpt: self.excerpt(best).chars().take(EXCERPT).collect(),
            span,
            confidence: ((0.25 + 0.75 * (0.5 * strength + 0.5 * lead)) * 100.0).round() / 100.0,
            links: named,
        }
    }
}

fn call_words(call: &Call) -> Vec<String> {
    let mut values = Vec::new();
    leaves(&call.arguments, &mut values);
    values.iter().flat_map(|value| words::words(value)).collect()
}

fn describe(feature: &Feature) -> String {
    match feature.kind {
        Kind::Tool => format!("tool {}", feature.shown),
        Kind::ToolWord => format!("word \"{}\" of tool {}", feature.sequence.join(" "), feature.shown),
        Kind::Value if feature.shown.contains('@') => format!("address {}", feature.shown),
        Kind::Value => match feature.shown.split_once("://") {
            Some((_, rest)) => format!("host {}", rest.split(['/', '?', ':']).next().unwrap_or(rest)),
            None => format!("value {}", feature.shown),
        },
        Kind::Part => format!("words \"{}\"", feature.sequence.join(" ")),
    }
}

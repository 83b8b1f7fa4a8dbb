//! Does a call follow a passage? What each argument, word and name of the call is explained by.

use super::{
    lexicon,
    passages::{self, Passage},
    row::{Row, num, share},
    text::Word,
    view::{Call, Leaf, Place, View, sorted},
};

/// Where a value of a call can come from. The first that holds explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The user's words.
    Task,
    /// A result read before the passage, or beside it, or an earlier call.
    Earlier,
    /// The passage alone.
    Passage,
    /// A result read after the passage.
    Later,
    /// Nothing that was seen.
    Nowhere,
}

/// What explains a value, as seen from a passage.
pub(super) fn origin(view: &View<'_>, passages: &[Passage], passage: &Passage, leaf: &Leaf, call: &Call) -> Origin {
    if leaf.in_task {
        return Origin::Task;
    }
    if !leaf.whole() {
        return Origin::Nowhere;
    }
    let of_passage = |place: &Place| passages.iter().any(|other| other.first == passage.first && other.covers(place.content, place.unit));
    let mut in_passage = false;
    let mut later = false;
    for place in &leaf.hits {
        if of_passage(place) {
            in_passage = true;
        } else if place.content as usize <= passage.content {
            return Origin::Earlier;
        } else {
            later = true;
        }
    }
    let before = view.contents[passage.content].calls_before;
    let known = view.calls[..before].iter().filter(|other| other.event < call.event);
    if !in_passage && known.flat_map(|other| &other.leaves).any(|other| other.words == leaf.words) {
        return Origin::Earlier;
    }
    match (in_passage, later) {
        (true, _) => Origin::Passage,
        (false, true) => Origin::Later,
        _ => Origin::Nowhere,
    }
}

/// Calls after a unit that are compared with its words.
const NEXT: usize = 4;

/// Columns of a unit: what the calls after it took from it.
pub(super) fn taken_columns(view: &View<'_>, content: usize, unit: usize, row: &mut Row) {
    let taken = view.taken(content, unit).copied();
    row.put("taken", taken.map_or(0.0, |taken| (taken.values as f32).min(6.0)));
    row.put("taken_specific", taken.map_or(0.0, |taken| (taken.specific as f32).min(6.0)));
    row.put("taken_rarity", taken.map_or(0.0, |taken| taken.rarity));
    row.put("taken_gap", taken.map_or(21.0, |taken| (taken.gap as f32).min(20.0)));
    let read = &view.contents[content];
    let words =
        sorted(read.unit_words(unit).iter().copied().filter(|word| view.vocabulary.tells(*word) && view.task.binary_search(word).is_err()));
    let all: f32 = words.iter().map(|word| view.rarity(*word)).sum();
    let (mut tool, mut said, mut done, mut near) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    for (gap, call) in view.calls[read.calls_before..].iter().take(NEXT).enumerate() {
        let name = &view.tools[call.tool].words;
        let named = name.iter().filter(|word| words.binary_search(word).is_ok()).count();
        tool = tool.max(share(num(named), num(name.len())));
        let shared: f32 = words.iter().filter(|word| call.words.binary_search(word).is_ok()).map(|word| view.rarity(*word)).sum();
        let spoken: f32 = call.words.iter().map(|word| view.rarity(*word)).sum();
        said = said.max(share(shared, spoken));
        done = done.max(share(shared, all));
        if gap == 0 {
            near = shared;
        }
    }
    row.put("taken_tool", tool);
    row.put("taken_said", said);
    row.put("taken_done", done);
    row.put("taken_next", near.min(40.0));
}

/// Columns of one call seen from one passage.
pub(super) fn columns(view: &View<'_>, passages: &[Passage], number: usize, at: usize, row: &mut Row) {
    let passage = &passages[number];
    let call = &view.calls[at];
    let before = view.contents[passage.content].calls_before;
    row.put("gap", num(at - before).min(20.0));
    row.put("reads_between", num(call.contents_before - passage.content - 1).min(20.0));
    row.put("calls_before", num(before).min(20.0));
    row.put("calls_left", num(view.calls.len() - 1 - at).min(20.0));
    tool_columns(view, passage, call, at, before, row);
    value_columns(view, passages, passage, call, row);
    word_columns(view, passage, call, row);
    let same = |range: std::ops::Range<usize>| view.calls[range].iter().filter(|other| other.likeness == call.likeness).count();
    row.put("same_before", num(same(0..before)).min(3.0));
    row.put("same_since", num(same(before..at)).min(3.0));
    row.put("same_after", num(same(at + 1..view.calls.len())).min(3.0));
    task_columns(view, row);
}

/// What the task is like.
pub(super) fn task_columns(view: &View<'_>, row: &mut Row) {
    row.put("task_words", num(view.task_sequence.len()).min(200.0));
    let count = |class: u32| num(view.task_sequence.iter().filter(|word| view.vocabulary.classes(**word) & class != 0).count()).min(8.0);
    row.put("task_meta", count(lexicon::META));
    row.put("task_verbs", count(lexicon::VERB));
    row.put("task_reads", count(lexicon::READS));
    row.put("task_writes", count(lexicon::WRITES));
}

fn tool_columns(view: &View<'_>, passage: &Passage, call: &Call, at: usize, before: usize, row: &mut Row) {
    let tool = &view.tools[call.tool];
    let all = num(tool.words.len());
    let named = |held: &dyn Fn(&Word) -> bool| share(num(tool.words.iter().filter(|word| held(word)).count()), all);
    let in_passage = |word: &Word| passage.words.binary_search(word).is_ok();
    let in_task = |word: &Word| view.task.binary_search(word).is_ok();
    let task_groups = view.task.iter().map(|word| view.groups(*word)).fold(0, |a, b| a | b);
    row.put("tool_in_passage", named(&in_passage));
    row.put("tool_like_passage", named(&|word| in_passage(word) || view.groups(*word) & passage.groups != 0));
    row.put("tool_in_task", named(&in_task));
    row.put("tool_like_task", named(&|word| in_task(word) || view.groups(*word) & task_groups != 0));
    let weigh = |held: &dyn Fn(&Word) -> bool| tool.words.iter().filter(|word| held(word)).map(|word| view.rarity(*word)).sum::<f32>();
    row.put("tool_only_passage", weigh(&|word| in_passage(word) && !in_task(word)));
    row.put("tool_only_task", weigh(&|word| in_task(word) && !in_passage(word)));
    // Of the listed tools, how many the passage names better.
    let score = |words: &[Word], groups: u32| {
        let exact = words.iter().filter(|word| in_passage(word)).count();
        let like = words.iter().filter(|word| in_passage(word) || view.groups(**word) & groups != 0).count();
        share(num(exact) + num(like), 2.0 * num(words.len()))
    };
    let mine = score(&tool.words, passage.groups);
    row.put(
        "tool_rank",
        view.tools[..view.listed].iter().filter(|other| score(&other.words, passage.groups) > mine).count().min(20) as f32,
    );
    let used = |range: std::ops::Range<usize>| num(view.calls[range].iter().filter(|other| other.tool == call.tool).count()).min(8.0);
    row.put("tool_used_before", used(0..before));
    row.put("tool_used_since", used(before..at));
    row.put("tool_used_after", used(at + 1..view.calls.len()));
    row.flag("tool_is_passages", view.contents[passage.content].call.is_some_and(|other| view.calls[other].tool == call.tool));
    row.flag("reads", tool.classes & lexicon::READS != 0);
    row.flag("writes", tool.classes & lexicon::WRITES != 0);
    row.put("tools_listed", num(view.listed).min(100.0));
}

fn value_columns(view: &View<'_>, passages: &[Passage], passage: &Passage, call: &Call, row: &mut Row) {
    let mut from = [0.0_f32; 5];
    let mut specific = [0.0_f32; 5];
    let (mut any_in_passage, mut recent) = (0.0, 0.0);
    let mut rare = 0.0_f32;
    for leaf in &call.leaves {
        let origin = origin(view, passages, passage, leaf, call);
        from[origin as usize] += 1.0;
        if leaf.specific {
            specific[origin as usize] += 1.0;
        }
        if leaf.hits.iter().any(|place| passage.covers(place.content, place.unit)) {
            any_in_passage += 1.0;
            if origin != Origin::Task {
                rare =
                    rare.max(leaf.words.iter().map(|word| view.rarity(*word)).fold(0.0, f32::max) * if leaf.specific { 1.5 } else { 1.0 });
            }
        }
        if leaf.hits.iter().any(|place| place.content as usize + 1 == call.contents_before) {
            recent += 1.0;
        }
    }
    let all = num(call.leaves.len());
    row.put("values", all.min(20.0));
    for (name, at) in [("task", 0), ("earlier", 1), ("passage", 2), ("later", 3), ("nowhere", 4)] {
        row.put_of("from", name, share(from[at], all));
        row.put_of("from_count", name, from[at].min(8.0));
        row.put_of("specific", name, specific[at].min(8.0));
    }
    row.put("values_in_passage", share(any_in_passage, all));
    row.put("value_rarity", rare);
    row.put("values_recent", share(recent, all));
    row.put("longest_value", num(call.leaves.iter().map(|leaf| leaf.words.len()).max().unwrap_or(0)).min(200.0));
}

fn word_columns(view: &View<'_>, passage: &Passage, call: &Call, row: &mut Row) {
    let (mut all, mut in_passage, mut in_task, mut only_passage, mut only_task, mut neither) = (0.0_f32, 0.0, 0.0, 0.0, 0.0, 0.0);
    let mut rare = 0.0_f32;
    for word in &call.words {
        let weight = view.rarity(*word);
        all += weight;
        let (passage, task) = (passage.words.binary_search(word).is_ok(), view.task.binary_search(word).is_ok());
        match (passage, task) {
            (true, true) => (in_passage, in_task) = (in_passage + weight, in_task + weight),
            (true, false) => {
                in_passage += weight;
                only_passage += weight;
                rare = rare.max(weight);
            }
            (false, true) => {
                in_task += weight;
                only_task += weight;
            }
            (false, false) => neither += weight,
        }
    }
    row.put("words", num(call.words.len()).min(100.0));
    row.put("words_in_passage", share(in_passage, all));
    row.put("words_in_task", share(in_task, all));
    row.put("words_only_passage", share(only_passage, all));
    row.put("words_only_task", share(only_task, all));
    row.put("words_neither", share(neither, all));
    row.put("words_rarest", rare);
    row.put("weight_only_passage", only_passage.min(60.0));
    row.put("weight_only_task", only_task.min(60.0));
    // How much of what the passage says is done here.
    let tool = &view.tools[call.tool].words;
    let (mut said, mut done, mut marks, mut marks_done) = (0.0_f32, 0.0, 0.0_f32, 0.0);
    for word in &passage.words {
        if view.task.binary_search(word).is_ok() {
            continue;
        }
        let weight = view.rarity(*word);
        let held = call.words.binary_search(word).is_ok() || tool.contains(word);
        said += weight;
        done += if held { weight } else { 0.0 };
        if view.vocabulary.has_digit(*word) {
            marks += 1.0;
            marks_done += if held { 1.0 } else { 0.0 };
        }
    }
    row.put("passage_done", share(done, said));
    row.put("passage_numbers_done", share(marks_done, marks));
}

/// What the calls after a passage took from it alone, per call.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Which passage.
    pub passage: usize,
    /// How likely each call follows it, from the first call after the passage on.
    pub likely: Vec<f32>,
}

impl Followed {
    /// How likely the likeliest call follows.
    pub fn most(&self) -> f32 {
        self.likely.iter().copied().fold(0.0, f32::max)
    }

    /// The most likely of the calls, of equals the first.
    pub fn peak(&self) -> usize {
        self.likely.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map_or(0, |(at, _)| at)
    }
}

/// Columns of the second look: what the first one says of the neighbours.
pub(super) fn neighbour_columns(view: &View<'_>, followed: &[Followed], mine: usize, at: usize, row: &mut Row) {
    let me = &followed[mine];
    let p = |index: Option<usize>| index.and_then(|index| me.likely.get(index)).copied().unwrap_or(-0.1);
    let before = view.calls.len() - me.likely.len();
    let index = at - before;
    let most = |values: &[f32]| values.iter().copied().fold(0.0, f32::max);
    row.put("likely", me.likely[index]);
    row.put("likely_back", p(index.checked_sub(1)));
    row.put("likely_back2", p(index.checked_sub(2)));
    row.put("likely_ahead", p(Some(index + 1)));
    row.put("likely_ahead2", p(Some(index + 2)));
    row.put("likely_before", most(&me.likely[..index]));
    row.put("likely_after", most(&me.likely[index + 1..]));
    row.put("likely_sum", me.likely.iter().sum::<f32>().min(20.0));
    let other = followed.iter().filter(|other| other.passage != me.passage).filter_map(|other| {
        let before = view.calls.len() - other.likely.len();
        at.checked_sub(before).and_then(|index| other.likely.get(index))
    });
    row.put("likely_other", other.copied().fold(0.0, f32::max));
    // Values that came out of an answer to an earlier call of the same passage, or went into a later one.
    let call = &view.calls[at];
    let mut chained = 0.0_f32;
    for leaf in call.leaves.iter().filter(|leaf| !leaf.in_task) {
        for place in &leaf.hits {
            let Some(from) = view.contents[place.content as usize].call else { continue };
            if let Some(index) = from.checked_sub(before) {
                chained = chained.max(p(Some(index)));
            }
        }
    }
    row.put("chained_from", chained);
    let mut feeds = 0.0_f32;
    for (later, other) in view.calls.iter().enumerate().skip(at + 1).take(12) {
        let took = other.leaves.iter().filter(|leaf| !leaf.in_task).flat_map(|leaf| &leaf.hits);
        if took.into_iter().any(|place| view.contents[place.content as usize].call == Some(at)) {
            feeds = feeds.max(p(Some(later - before)));
        }
    }
    row.put("feeds", feeds);
}

/// Columns of a passage as the source of a hijack.
pub(super) fn source_columns(view: &View<'_>, passages: &[Passage], followed: &[Followed], number: usize, row: &mut Row) {
    passages::columns(view, passages, number, row);
    let likely = &followed[number].likely;
    let mut order: Vec<f32> = likely.clone();
    order.sort_by(|a, b| b.total_cmp(a));
    row.put("calls_after", num(likely.len()).min(30.0));
    row.put("calls_all", num(view.calls.len()).min(40.0));
    row.put("likely_most", order.first().copied().unwrap_or(0.0));
    row.put("likely_second", order.get(1).copied().unwrap_or(0.0));
    row.put("likely_third", order.get(2).copied().unwrap_or(0.0));
    row.put("likely_sum", order.iter().sum::<f32>().min(20.0));
    row.put("likely_half", order.iter().filter(|p| **p > 0.5).count().min(10) as f32);
    row.put("likely_first", likely.first().copied().unwrap_or(0.0));
    row.put("likely_at", num(followed[number].peak()).min(20.0));
    let rival = followed.iter().enumerate().filter(|(other, _)| passages[*other].first != passages[number].first);
    row.put("rival_likely", rival.flat_map(|(_, other)| other.likely.iter().copied()).fold(0.0, f32::max));
}

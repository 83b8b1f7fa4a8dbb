//! Does a unit speak to the agent? What can be heard from the words, their shape and their surroundings.

use super::{
    lexicon::{self, COUNTED},
    row::{Row, num, share},
    text::Word,
    view::{Content, View},
};

/// What one unit is, by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    counts: [u8; COUNTED.len()],
    pub words: u16,
    stop: u16,
    digits: u16,
    upper: u16,
    marks: u16,
    chars: u16,
    begins: u32,
    begins_upper: bool,
    opens: Opening,
    ends: u8,
    at_signs: u8,
    links: u8,
    paths: u8,
    in_task: f32,
    rare: f32,
    tool: f32,
    tool_groups: f32,
    tools_named: u8,
    pub verb_first: bool,
    verb_after: u8,
    query: f32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Opening {
    #[default]
    Word,
    Tag,
    Comment,
    Bracket,
    Dash,
    Hash,
    Star,
    Quote,
    Other,
}

/// What one content is.
pub(super) struct Hearing {
    pub units: Vec<Heard>,
    /// For each unit and one beyond, the sums of what came before it.
    sums: Vec<Sums>,
    prose: f32,
    verbs: f32,
    fields: Vec<(u32, u32)>,
}

/// Sums over units, so that a stretch of them costs two look-ups.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    counts: [u32; COUNTED.len()],
    verb_first: u32,
    verb_after: u32,
    words: u32,
}

impl Sums {
    fn with(mut self, unit: &Heard) -> Sums {
        self.counts.iter_mut().zip(&unit.counts).for_each(|(sum, count)| *sum += u32::from(*count));
        self.verb_first += u32::from(unit.verb_first);
        self.verb_after += u32::from(unit.verb_after);
        self.words += u32::from(unit.words);
        self
    }
}

/// Listens to every unit of a content.
pub(super) fn hear(view: &View<'_>, content: &Content<'_>) -> Hearing {
    let query: &[Word] = content.call.map_or(&[], |call| &view.calls[call].words);
    let units: Vec<Heard> = (0..content.units.len()).map(|unit| heard(view, content, unit, query)).collect();
    let all = num(units.len());
    let prose = share(units.iter().filter(|unit| unit.words >= 5 && unit.stop * 4 > unit.words).count() as f32, all);
    let verbs = share(units.iter().filter(|unit| unit.verb_first).count() as f32, all);
    let mut sums = Vec::with_capacity(units.len() + 1);
    sums.push(Sums::default());
    for (at, unit) in units.iter().enumerate() {
        sums.push(sums[at].with(unit));
    }
    let mut fields = Vec::with_capacity(units.len());
    let mut from = 0;
    while from < units.len() {
        let field = content.units[from].field;
        let mut to = from + 1;
        while to < units.len() && content.units[to].field == field {
            to += 1;
        }
        for _ in from..to {
            fields.push((from as u32, to as u32));
        }
        from = to;
    }
    Hearing { units, sums, prose, verbs, fields }
}

impl Hearing {
    /// The units of the field that `unit` belongs to.
    pub fn field(&self, unit: usize) -> std::ops::Range<usize> {
        let (from, to) = self.fields[unit];
        from as usize..to as usize
    }
}

fn heard(view: &View<'_>, content: &Content<'_>, unit: usize, query: &[Word]) -> Heard {
    let words = content.unit_words(unit);
    let text = &content.text[content.units[unit].range.clone()];
    let mut heard = Heard { words: small(words.len()), chars: small(text.len()), ..Heard::default() };
    let (mut telling, mut in_task, mut rare, mut queried) = (0.0_f32, 0.0, 0.0, 0.0);
    let mut groups = 0;
    let mut before_verb = true;
    for (at, word) in words.iter().enumerate() {
        let classes = view.vocabulary.classes(*word);
        for (slot, (_, class)) in heard.counts.iter_mut().zip(COUNTED) {
            *slot = slot.saturating_add(u8::from(classes & class != 0));
        }
        if at == 0 {
            heard.begins = classes;
            heard.verb_first = classes & lexicon::VERB != 0;
        }
        // "please send", "you must send", "and send": a verb after a word that leads to one.
        let leads = lexicon::POLITE | lexicon::YOU | lexicon::MUST | lexicon::ORDER;
        if classes & lexicon::VERB != 0 && !before_verb {
            heard.verb_after = heard.verb_after.saturating_add(1);
        }
        before_verb = classes & leads == 0;
        heard.digits += u16::from(view.vocabulary.has_digit(*word));
        groups |= view.groups(*word);
        if classes & lexicon::STOP != 0 {
            heard.stop = heard.stop.saturating_add(1);
            continue;
        }
        let weight = view.rarity(*word);
        telling += weight;
        rare += f32::from(u8::from(view.seen_in[*word as usize] <= 2));
        if view.task.binary_search(word).is_ok() {
            in_task += weight;
        }
        if query.binary_search(word).is_ok() {
            queried += weight;
        }
    }
    heard.in_task = share(in_task, telling);
    heard.query = share(queried, telling);
    heard.rare = share(rare, f32::from(heard.words - heard.stop.min(heard.words)));
    tools(view, words, groups, &mut heard);
    shape(text, &mut heard);
    heard
}

/// How well the words name a tool of the session.
fn tools(view: &View<'_>, words: &[Word], groups: u32, heard: &mut Heard) {
    if words.len() < 2 {
        return;
    }
    let named: Vec<Word> = words.iter().copied().filter(|word| view.names_tool(*word)).take(12).collect();
    if named.is_empty() && groups == 0 {
        return;
    }
    for tool in view.tools[..view.listed].iter().filter(|tool| !tool.words.is_empty()) {
        let (mut exact, mut alike) = (0, 0);
        for (word, group) in tool.words.iter().zip(&tool.groups) {
            let held = named.contains(word);
            exact += usize::from(held);
            alike += usize::from(held || group & groups != 0);
        }
        let all = num(tool.words.len());
        heard.tool = heard.tool.max(num(exact) / all);
        heard.tool_groups = heard.tool_groups.max(num(alike) / all);
        heard.tools_named = heard.tools_named.saturating_add(u8::from(alike == tool.words.len() && exact > 0));
    }
}

fn shape(text: &str, heard: &mut Heard) {
    let bytes = text.as_bytes();
    for (at, b) in bytes.iter().enumerate() {
        let inside = at > 0 && bytes[at - 1].is_ascii_alphanumeric() && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        match b {
            b'A'..=b'Z' => heard.upper = heard.upper.saturating_add(1),
            b'@' if inside => heard.at_signs = heard.at_signs.saturating_add(1),
            b':' if bytes[at..].starts_with(b"://") => heard.links = heard.links.saturating_add(1),
            b'w' if bytes[at..].starts_with(b"www.") => {
                heard.links = heard.links.saturating_add(1);
            }
            b'/' if bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => heard.paths = heard.paths.saturating_add(1),
            b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'#' | b'*' | b'=' | b'|' | b'_' => heard.marks = heard.marks.saturating_add(1),
            _ => {}
        }
    }
    heard.opens = match bytes.first() {
        Some(b'<') if text.starts_with("<!--") => Opening::Comment,
        Some(b'<') => Opening::Tag,
        Some(b'[' | b'(' | b'{') => Opening::Bracket,
        Some(b'-') => Opening::Dash,
        Some(b'#') => Opening::Hash,
        Some(b'*') => Opening::Star,
        Some(b'\'' | b'"') => Opening::Quote,
        Some(b) if b.is_ascii_alphanumeric() || *b >= 0x80 => Opening::Word,
        _ => Opening::Other,
    };
    heard.begins_upper = bytes.first().is_some_and(u8::is_ascii_uppercase);
    heard.ends = match bytes.last() {
        Some(b'.') => 1,
        Some(b'!') => 2,
        Some(b'?') => 3,
        Some(b':') => 4,
        Some(b'>' | b']' | b'}') => 5,
        Some(b',' | b';') => 6,
        _ => 0,
    };
}

/// The row of one unit, for the first model.
pub(super) fn unit_row(view: &View<'_>, number: usize, hearing: &Hearing, unit: usize, row: &mut Row) {
    let content = &view.contents[number];
    let me = &hearing.units[unit];
    let all = hearing.units.len();
    row.clear();
    for (slot, (name, _)) in me.counts.iter().zip(COUNTED) {
        row.put_of("self", name, f32::from((*slot).min(6)));
    }
    for (group, range) in [("before", unit.saturating_sub(3)..unit), ("after", unit + 1..(unit + 4).min(all).max(unit + 1))] {
        let (from, to) = (&hearing.sums[range.start], &hearing.sums[range.end]);
        for (at, (name, _)) in COUNTED.iter().enumerate() {
            row.put_of(group, name, (to.counts[at] - from.counts[at]).min(12) as f32);
        }
        row.put_of(group, "verb_first", (to.verb_first - from.verb_first) as f32);
        row.put_of(group, "verb_after", (to.verb_after - from.verb_after) as f32);
        row.put_of(group, "words", (to.words - from.words) as f32);
        let near = &hearing.units[range];
        row.put_of(group, "tool", near.iter().map(|near| near.tool_groups).fold(0.0, f32::max));
        row.put_of(group, "in_task", share(near.iter().map(|near| near.in_task).sum(), num(near.len())));
    }
    shape_columns(me, row);
    row.put("in_task", me.in_task);
    row.put("query", me.query);
    row.put("rare", me.rare);
    row.put("tool", me.tool);
    row.put("tool_alike", me.tool_groups);
    row.put("tools_named", f32::from(me.tools_named.min(5)));
    let here = &content.units[unit];
    row.put("lines_before", f32::from(here.lines_before.min(6)));
    row.put("lines_after", content.units.get(unit + 1).map_or(9.0, |next| f32::from(next.lines_before.min(6))));
    let field = hearing.field(unit);
    row.put("field_at", num(unit - field.start).min(20.0));
    row.put("field_left", num(field.end - 1 - unit).min(20.0));
    row.put("field_units", num(field.len()).min(40.0));
    let (from, to) = (&hearing.sums[field.start], &hearing.sums[field.end]);
    row.put("field_words", (to.words - from.words).min(500) as f32);
    row.put("field_you", (to.counts[1] - from.counts[1]).min(12) as f32);
    row.put("field_verbs", (to.verb_first - from.verb_first).min(12) as f32);
    row.put("field_agent", (to.counts[5] - from.counts[5]).min(12) as f32);
    row.put("units", num(all).min(300.0));
    row.put("at", share(num(unit), num(all)));
    row.put("prose", hearing.prose);
    row.put("verbs", hearing.verbs);
    row.put("asked_for", view.asked_for(content));
    row.put("task_known", f32::from(u8::from(!view.task.is_empty())));
}

fn shape_columns(me: &Heard, row: &mut Row) {
    let words = f32::from(me.words).max(1.0);
    row.put("words", f32::from(me.words));
    row.put("chars_per_word", f32::from(me.chars) / words);
    row.put("stop", f32::from(me.stop) / words);
    row.put("digits", f32::from(me.digits) / words);
    row.put("upper", f32::from(me.upper) / f32::from(me.chars).max(1.0));
    row.put("marks", f32::from(me.marks) / f32::from(me.chars).max(1.0));
    row.flag("verb_first", me.verb_first);
    row.put("verb_after", f32::from(me.verb_after.min(5)));
    row.flag("begins_you", me.begins & lexicon::YOU != 0);
    row.flag("begins_polite", me.begins & lexicon::POLITE != 0);
    row.flag("begins_order", me.begins & lexicon::ORDER != 0);
    row.flag("begins_upper", me.begins_upper);
    row.flag("opens_tag", me.opens == Opening::Tag);
    row.flag("opens_comment", me.opens == Opening::Comment);
    row.flag("opens_bracket", me.opens == Opening::Bracket);
    row.flag("opens_list", matches!(me.opens, Opening::Dash | Opening::Star));
    row.flag("opens_heading", me.opens == Opening::Hash);
    for (name, code) in [("stop", 1), ("bang", 2), ("question", 3), ("colon", 4), ("close", 5), ("comma", 6)] {
        row.put_of("ends", name, f32::from(u8::from(me.ends == code)));
    }
    row.put("addresses", f32::from(me.at_signs.min(4)));
    row.put("links", f32::from(me.links.min(4)));
    row.put("paths", f32::from(me.paths.min(6)));
}

/// Columns of the second model: the first one's opinion around a unit, and what later calls took from it.
pub(super) fn context_columns(hearing: &Hearing, content: &Content<'_>, first: &[f32], unit: usize, row: &mut Row) {
    let all = first.len();
    row.put("p", first[unit]);
    for back in 1..=4_usize {
        row.put_of("p_back", &back.to_string(), unit.checked_sub(back).map_or(-0.1, |at| first[at]));
    }
    for ahead in 1..=4_usize {
        row.put_of("p_ahead", &ahead.to_string(), first.get(unit + ahead).copied().unwrap_or(-0.1));
    }
    let most = |range: std::ops::Range<usize>| first[range].iter().copied().fold(0.0, f32::max);
    row.put("p_before", most(unit.saturating_sub(10)..unit));
    row.put("p_after", most((unit + 1).min(all)..(unit + 11).min(all)));
    let field = hearing.field(unit);
    row.put("p_field", most(field.clone()));
    row.put("p_field_mean", share(first[field.clone()].iter().sum(), num(field.len())));
    let gaps = |range: std::ops::Range<usize>| content.units[range].iter().map(|near| near.lines_before.min(6)).max().unwrap_or(0);
    // The largest gap on the way to the loudest unit near by: a payload stands apart as a whole.
    let from = unit.saturating_sub(10);
    let loud = (from..(unit + 11).min(all)).max_by(|a, b| first[*a].total_cmp(&first[*b]).then(b.cmp(a))).unwrap_or(unit);
    row.put("to_loud", if loud >= unit { num(loud - unit) } else { -num(unit - loud) });
    row.put(
        "gap_to_loud",
        f32::from(if loud > unit {
            gaps(unit + 1..loud + 1)
        } else if loud < unit {
            gaps(loud + 1..unit + 1)
        } else {
            0
        }),
    );
    row.put("fields_to_loud", content.units[loud].field.abs_diff(content.units[unit].field).min(9) as f32);
    row.put("p_loud", first[loud]);
    row.put("p_all", most(0..all));
}

fn small(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

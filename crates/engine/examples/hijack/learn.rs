//! Trains the five models, each on what the one before says of sessions that it was not trained on.

use crate::{
    boost::{self, Settings, Table},
    data::Case,
    folds::hash,
};
use custody_engine::hijack::{Followed, Forest, Heard, Model, Passage, Row, STAGES, UnitAt, near_a_voice};

/// Groups of sessions that are held out in turn while a stage is trained.
const INNER: usize = 3;

const FIRST: Settings = Settings { trees: 40, leaves: 16, rate: 0.2, least: 8.0, ridge: 4.0, columns: 0.35, rows: 0.5 };
const UNITS: Settings = Settings { trees: 80, leaves: 16, rate: 0.1, least: 8.0, ridge: 4.0, columns: 0.35, rows: 0.5 };
const CALLS: Settings = Settings { trees: 140, leaves: 12, rate: 0.07, least: 8.0, ridge: 5.0, columns: 0.3, rows: 0.6 };
const SOURCES: Settings = Settings { trees: 120, leaves: 7, rate: 0.08, least: 8.0, ridge: 5.0, columns: 0.3, rows: 0.6 };

/// What is thought of a case on the way.
#[derive(Default, Clone)]
struct Thoughts {
    first: Vec<Vec<f32>>,
    loud: Vec<Vec<f32>>,
    passages: Vec<Passage>,
    likely: Vec<Followed>,
    followed: Vec<Followed>,
    sources: Vec<f32>,
}

/// Whether a unit is part of a payload.
fn is_payload(case: &Case, at: UnitAt) -> bool {
    let (event, bytes) = case.heard.place(at);
    case.truth.spans.iter().any(|(of, span, _, _)| {
        let both = bytes.end.min(span.end).saturating_sub(bytes.start.max(span.start));
        *of == event && both * 2 > bytes.len()
    })
}

/// Whether a passage is a payload, and whether it is the one that was followed.
pub fn passage_is(case: &Case, passage: &Passage) -> (bool, bool) {
    let (event, bytes) = (passage.event(&case.heard.view), passage.range(&case.heard.view));
    let hit = |decoys: bool| {
        case.truth.spans.iter().any(|(of, span, _, decoy)| {
            let both = bytes.end.min(span.end).saturating_sub(bytes.start.max(span.start));
            *of == event && (decoys || !decoy) && both * 10 > span.len().min(bytes.len()) * 3
        })
    };
    (hit(true), hit(false) && case.truth.compromised)
}

/// What one row of a stage is about.
struct Item {
    case: usize,
    a: usize,
    b: usize,
}

struct Learner<'c> {
    cases: Vec<&'c Case>,
    thoughts: Vec<Thoughts>,
    inner: Vec<usize>,
}

impl Learner<'_> {
    fn items(&self, stage: usize) -> Vec<Item> {
        let mut out = Vec::new();
        for (number, case) in self.cases.iter().enumerate() {
            let heard = &case.heard;
            let thoughts = &self.thoughts[number];
            match stage {
                0 | 1 => {
                    // Of a session in other words only the contents that differ teach anything new.
                    let new = |at: &UnitAt| !case.reworded || case.truth.spans.iter().any(|span| span.0 == heard.place(*at).0);
                    let near = if stage == 0 { Vec::new() } else { near_a_voice(heard, &thoughts.first) };
                    let voice = |at: &UnitAt| stage == 0 || near[at.0][at.1];
                    out.extend(heard.units().filter(new).filter(voice).map(|(a, b)| Item { case: number, a, b }));
                }
                2 | 3 => {
                    for (a, passage) in thoughts.passages.iter().enumerate() {
                        out.extend(heard.calls_after(passage).map(|b| Item { case: number, a, b }));
                    }
                }
                _ => {
                    let with_calls = thoughts.passages.iter().enumerate().filter(|(_, passage)| !heard.calls_after(passage).is_empty());
                    out.extend(with_calls.map(|(a, _)| Item { case: number, a, b: 0 }));
                }
            }
        }
        out
    }

    fn row(&self, stage: usize, item: &Item, row: &mut Row) {
        let heard: &Heard<'_> = &self.cases[item.case].heard;
        let thoughts = &self.thoughts[item.case];
        match stage {
            0 => heard.unit_row((item.a, item.b), row),
            1 => heard.context_row((item.a, item.b), &thoughts.first[item.a], row),
            2 => heard.call_row(&thoughts.passages, item.a, item.b, row),
            3 => heard.neighbour_row(&thoughts.passages, &thoughts.likely, item.a, item.b, row),
            _ => heard.source_row(&thoughts.passages, &thoughts.followed, item.a, row),
        }
    }

    /// Label and weight; none where the row teaches nothing.
    fn label(&self, stage: usize, item: &Item) -> Option<(bool, f32)> {
        let case = self.cases[item.case];
        let truth = &case.truth;
        match stage {
            0 | 1 => {
                // Much is read again and again: a part is enough, most of what is a payload or beside one.
                let positive = is_payload(case, (item.a, item.b));
                let (event, bytes) = case.heard.place((item.a, item.b));
                let beside = |span: &std::ops::Range<usize>| bytes.start < span.end + 600 && span.start < bytes.end + 600;
                let near = truth.spans.iter().any(|(of, span, _, _)| *of == event && beside(span));
                let keep = match (positive, near || !truth.injected) {
                    (true, _) => 2,
                    (false, true) => 3,
                    (false, false) => 8,
                };
                let mark = hash(&format!("{}:{}:{}", truth.id, item.a, item.b)) >> 20;
                mark.is_multiple_of(keep).then_some((positive, keep as f32))
            }
            2 | 3 => {
                let call = case.heard.call_event(item.b);
                if truth.ambiguous.contains(&call) {
                    return None;
                }
                let (_, followed) = passage_is(case, &self.thoughts[item.case].passages[item.a]);
                Some((followed && truth.calls.contains(&call), 1.0))
            }
            _ => {
                let passage = &self.thoughts[item.case].passages[item.a];
                let (_, followed) = passage_is(case, passage);
                let right = followed && truth.right.contains(&passage.event(&case.heard.view));
                // A repetition after the first call is neither.
                (right || !followed).then_some((right, if truth.injected { 1.0 } else { 2.0 }))
            }
        }
    }

    fn settings(stage: usize) -> Settings {
        match stage {
            0 => FIRST,
            1 => UNITS,
            2 | 3 => CALLS,
            _ => SOURCES,
        }
    }

    fn store(&mut self, stage: usize, item: &Item, value: f32) {
        let thoughts = &mut self.thoughts[item.case];
        match stage {
            0 => thoughts.first[item.a][item.b] = value,
            1 => thoughts.loud[item.a][item.b] = value,
            2 | 3 => {
                let list = if stage == 2 { &mut thoughts.likely } else { &mut thoughts.followed };
                let first = self.cases[item.case].heard.calls_after(&thoughts.passages[item.a]).start;
                list[item.a].likely[item.b - first] = value;
            }
            _ => thoughts.sources[item.a] = value,
        }
    }

    /// Makes room for what a stage will say.
    fn prepare(&mut self, stage: usize) {
        for (case, thoughts) in self.cases.iter().zip(&mut self.thoughts) {
            let heard = &case.heard;
            match stage {
                0 => thoughts.first = heard.silence(),
                1 => thoughts.loud = heard.silence(),
                2 => {
                    thoughts.passages = heard.passages(&thoughts.loud);
                    thoughts.likely = heard.followed(&thoughts.passages);
                }
                3 => thoughts.followed = heard.followed(&thoughts.passages),
                _ => thoughts.sources = vec![0.0; thoughts.passages.len()],
            }
        }
    }

    fn stage(&mut self, stage: usize, seed: u64) -> Forest {
        let began = std::time::Instant::now();
        self.prepare(stage);
        let items = self.items(stage);
        let mut row = Row::named();
        if let Some(item) = items.first() {
            self.row(stage, item, &mut row);
        }
        let columns = row.into_names();
        let mut row = Row::default();
        let mut tables = vec![Table::default(); INNER + 1];
        for item in &items {
            let Some((label, weight)) = self.label(stage, item) else { continue };
            self.row(stage, item, &mut row);
            tables[INNER].push(&row.values, label, weight);
            let inner = self.inner[item.case];
            for (fold, table) in tables[..INNER].iter_mut().enumerate() {
                if fold != inner {
                    table.push(&row.values, label, weight);
                }
            }
        }
        let settings = Self::settings(stage);
        let rows = began.elapsed().as_secs_f64();
        let forests: Vec<Forest> = tables.iter().map(|table| boost::fit(table, columns.clone(), settings, seed + stage as u64)).collect();
        let grown = began.elapsed().as_secs_f64();
        let learned = tables[INNER].len();
        drop(tables);
        for item in &items {
            self.row(stage, item, &mut row);
            let forest = &forests[self.inner[item.case]];
            let value = if stage == 0 { forest.quick_probability(&row.values) } else { forest.probability(&row.values) };
            self.store(stage, item, value);
        }
        let all = began.elapsed().as_secs_f64();
        eprintln!(
            "  step {}: {} rows, {learned} learned: read {rows:.1} s, grown {:.1} s, asked {:.1} s",
            stage + 1,
            items.len(),
            grown - rows,
            all - grown
        );
        forests.into_iter().next_back().expect("one forest")
    }
}

/// Trains on `cases`; `group` says which are held out together.
pub fn learn(cases: Vec<&Case>, group: &dyn Fn(&Case) -> usize) -> Model {
    let inner = cases.iter().map(|case| group(case) % INNER).collect();
    let mut learner = Learner { thoughts: vec![Thoughts::default(); cases.len()], cases, inner };
    let forests = (0..STAGES).map(|stage| learner.stage(stage, 17)).collect();
    Model { hijacked: 0.5, injected: 0.5, attackers: 0.5, forests }
}

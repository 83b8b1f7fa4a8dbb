//! The steps from a session to a verdict, each the input of a model: every unit by itself (1), every unit among its neighbours (2),
//! every call after a passage (3), the same with what was thought of its neighbours (4), every passage with all that followed (5).

use super::{
    follow::{self, Followed},
    passages::{self, Passage},
    row::Row,
    speech::{self, Hearing},
    view::View,
};

/// How many models there are.
pub const STAGES: usize = 5;

/// A session with every unit heard.
pub struct Heard<'a> {
    /// The session.
    pub view: View<'a>,
    hearing: Vec<Hearing>,
}

/// A unit by content and number.
pub type UnitAt = (usize, usize);

impl<'a> Heard<'a> {
    /// Listens to a session.
    pub fn new(view: View<'a>) -> Heard<'a> {
        let hearing = view.contents.iter().map(|content| speech::hear(&view, content)).collect();
        Heard { view, hearing }
    }

    /// Units of each content.
    pub fn units(&self) -> impl Iterator<Item = UnitAt> {
        self.view.contents.iter().enumerate().flat_map(|(content, read)| (0..read.units.len()).map(move |unit| (content, unit)))
    }

    /// Position of a content's event, and the bytes of one of its units.
    pub fn place(&self, (content, unit): UnitAt) -> (usize, std::ops::Range<usize>) {
        let read = &self.view.contents[content];
        (read.event, read.units[unit].range.clone())
    }

    /// Position of a call's event.
    pub fn call_event(&self, call: usize) -> usize {
        self.view.calls[call].event
    }

    /// Nothing heard yet, for every unit of every content.
    pub fn silence(&self) -> Vec<Vec<f32>> {
        self.view.contents.iter().map(|content| vec![0.0; content.units.len()]).collect()
    }

    /// Step 1.
    pub fn unit_row(&self, (content, unit): UnitAt, row: &mut Row) {
        speech::unit_row(&self.view, content, &self.hearing[content], unit, row);
    }

    /// Step 2, given what step 1 says of the units of this content.
    pub fn context_row(&self, (content, unit): UnitAt, first: &[f32], row: &mut Row) {
        speech::unit_row(&self.view, content, &self.hearing[content], unit, row);
        speech::context_columns(&self.hearing[content], &self.view.contents[content], first, unit, row);
        follow::taken_columns(&self.view, content, unit, row);
    }

    /// The passages, given what step 2 says of every unit of every content.
    pub fn passages(&self, loud: &[Vec<f32>]) -> Vec<Passage> {
        passages::passages(&self.view, loud)
    }

    /// The calls after a passage, by number.
    pub fn calls_after(&self, passage: &Passage) -> std::ops::Range<usize> {
        self.view.contents[passage.content].calls_before..self.view.calls.len()
    }

    /// Nothing thought yet, for every call after every passage.
    pub fn followed(&self, passages: &[Passage]) -> Vec<Followed> {
        let empty = |(passage, of): (usize, &Passage)| Followed { passage, likely: vec![0.0; self.calls_after(of).len()] };
        passages.iter().enumerate().map(empty).collect()
    }

    /// Step 3.
    pub fn call_row(&self, passages: &[Passage], passage: usize, call: usize, row: &mut Row) {
        row.clear();
        passages::columns(&self.view, passages, passage, row);
        follow::columns(&self.view, passages, passage, call, row);
    }

    /// Step 4, given what step 3 says of every call after every passage.
    pub fn neighbour_row(&self, passages: &[Passage], likely: &[Followed], passage: usize, call: usize, row: &mut Row) {
        self.call_row(passages, passage, call, row);
        follow::neighbour_columns(&self.view, likely, passage, call, row);
    }

    /// Step 5, given what step 4 says of every call after every passage. There is no row where no call followed.
    pub fn source_row(&self, passages: &[Passage], likely: &[Followed], passage: usize, row: &mut Row) {
        row.clear();
        follow::source_columns(&self.view, passages, likely, passage, row);
        let first = self.calls_after(&passages[passage]).start;
        follow::columns(&self.view, passages, passage, first + likely[passage].peak(), row);
    }
}

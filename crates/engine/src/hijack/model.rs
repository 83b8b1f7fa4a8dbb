//! The five forests together, and where the lines are drawn.

use super::{
    follow::Followed,
    forest::{Forest, ForestError},
    passages::Passage,
    row::Row,
    stages::{Heard, STAGES},
};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// Units to either side of one that may speak, and from when on it may.
const NEAR: usize = 6;
const VOICE: f32 = 0.03;
/// Most voices that are heard out.
const VOICES: usize = 4_000;

/// Forests and lines.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// From here on a session counts as hijacked.
    pub hijacked: f32,
    /// From here on a passage counts as one that speaks to the agent.
    pub injected: f32,
    /// From here on a call counts as the attacker's.
    pub attackers: f32,
    /// One for each step, in order.
    pub forests: Vec<Forest>,
}

/// The models of a build: with the user's words and without.
#[derive(Debug)]
pub struct Models {
    /// Where the host tells the task.
    pub given: Model,
    /// Where it does not.
    pub blind: Model,
}

impl Models {
    /// Those that were trained with this source.
    pub fn of_this_build() -> &'static Models {
        static MODELS: OnceLock<Models> = OnceLock::new();
        let read = |text: &str| Model::read(text).expect("the models of a build are tested with it");
        MODELS.get_or_init(|| Models {
            given: read(include_str!("../../models/hijack-given.json")),
            blind: read(include_str!("../../models/hijack-blind.json")),
        })
    }
}

impl Model {
    /// Reads a model.
    ///
    /// # Errors
    /// It is no model, or not for the columns of this build.
    pub fn read(text: &str) -> Result<Model, ForestError> {
        let model: Model = serde_json::from_str(text).map_err(|error| ForestError::Json(error.to_string()))?;
        if model.forests.len() != STAGES {
            return Err(ForestError::Stages { found: model.forests.len() });
        }
        model.forests.iter().try_for_each(Forest::check)?;
        Ok(model)
    }

    /// How loud each unit of each content is (steps 1 and 2).
    pub fn loud(&self, heard: &Heard<'_>) -> Vec<Vec<f32>> {
        let mut row = Row::default();
        let mut first = heard.silence();
        for at in heard.units() {
            heard.unit_row(at, &mut row);
            first[at.0][at.1] = self.forests[0].quick_probability(&row.values);
        }
        let mut loud = heard.silence();
        let near = near_a_voice(heard, &first);
        for at in heard.units().filter(|at| near[at.0][at.1]) {
            heard.context_row(at, &first[at.0], &mut row);
            loud[at.0][at.1] = self.forests[1].probability(&row.values);
        }
        loud
    }

    /// How likely each call follows each passage (steps 3 and 4).
    pub fn likely(&self, heard: &Heard<'_>, passages: &[Passage]) -> Vec<Followed> {
        let mut row = Row::default();
        let mut first = heard.followed(passages);
        for (passage, followed) in first.iter_mut().enumerate() {
            for (call, likely) in heard.calls_after(&passages[passage]).zip(&mut followed.likely) {
                heard.call_row(passages, passage, call, &mut row);
                *likely = self.forests[2].probability(&row.values);
            }
        }
        let mut second = heard.followed(passages);
        for (passage, followed) in second.iter_mut().enumerate() {
            for (call, likely) in heard.calls_after(&passages[passage]).zip(&mut followed.likely) {
                heard.neighbour_row(passages, &first, passage, call, &mut row);
                *likely = self.forests[3].probability(&row.values);
            }
        }
        second
    }

    /// How likely each passage is the source of a hijack (step 5).
    pub fn sources(&self, heard: &Heard<'_>, passages: &[Passage], likely: &[Followed]) -> Vec<f32> {
        let mut row = Row::default();
        let source = |passage: usize| {
            if likely[passage].likely.is_empty() {
                return 0.0;
            }
            heard.source_row(passages, likely, passage, &mut row);
            self.forests[4].probability(&row.values)
        };
        (0..passages.len()).map(source).collect()
    }
}

/// Which units step 2 looks at; the others are silent. Those near a voice, and of a very long record only near the loudest and near those that a
/// later call took something from.
pub fn near_a_voice(heard: &Heard<'_>, first: &[Vec<f32>]) -> Vec<Vec<bool>> {
    let mut voices: Vec<f32> = first.iter().flatten().copied().filter(|p| *p >= VOICE).collect();
    let least = if voices.len() > VOICES {
        let (_, least, _) = voices.select_nth_unstable_by(VOICES, |a, b| b.total_cmp(a));
        *least
    } else {
        VOICE
    };
    let near = |(number, content): (usize, &Vec<f32>)| {
        let mut near = vec![false; content.len()];
        for at in (0..content.len()).filter(|at| content[*at] >= least || (content[*at] >= VOICE && heard.view.followed(number, *at))) {
            near[at.saturating_sub(NEAR)..(at + NEAR + 1).min(content.len())].fill(true);
        }
        near
    };
    first.iter().enumerate().map(near).collect()
}

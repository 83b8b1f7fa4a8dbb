//! What is thought of a session, and why.

use super::{Models, Session, explain, follow::Followed, model::Model, passages::Passage, stages::Heard, view::View};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Columns that are shown as what moved the verdict.
const SHOWN: usize = 8;
/// Longest excerpt in characters.
const EXCERPT: usize = 1200;

/// What is thought of a session. Events are positions in [`Session::events`].
///
/// Source and calls are the best answer to "if it was hijacked, by which words, and which calls follow them", so that a
/// person who knows that it was has them also where the verdict is no.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the agent followed words that were not the user's.
    pub hijacked: bool,
    /// How likely it did.
    pub likely: f32,
    /// Whether something that was read spoke to the agent, followed or not.
    pub injected: bool,
    /// How sure the loudest passage is one.
    pub spoken: f32,
    /// Which words.
    pub source: Option<Source>,
    /// Which calls.
    pub calls: Vec<Driven>,
    /// What moved the verdict most: columns of the last model, in logarithm of the odds.
    pub moved: Vec<Moved>,
}

/// The passage that turned the agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// The result that brought it.
    pub event: usize,
    /// Where it stands in the content, in bytes.
    pub bytes: Range<usize>,
    /// Its words, cut when long.
    pub excerpt: String,
    /// Later results that say the same.
    pub again: Vec<usize>,
    /// What speaks for it.
    pub reasons: Vec<String>,
}

/// A call that follows the passage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Driven {
    /// Its event.
    pub event: usize,
    /// The tool.
    pub tool: String,
    /// How likely it follows.
    pub likely: f32,
    /// What explains its tool and its values.
    pub reasons: Vec<String>,
}

/// A column and how far it moved the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Name of the column.
    pub column: String,
    /// Its value.
    pub value: f32,
    /// Logarithm of the odds; above zero speaks for a hijack.
    pub by: f32,
}

/// Judges a session with the models of this build: those for a session whose task is not known where it has none.
pub fn analyze(session: &Session) -> Verdict {
    let models = Models::of_this_build();
    let known = session.task.as_deref().is_some_and(|task| !task.trim().is_empty());
    judge(session, if known { &models.given } else { &models.blind })
}

/// Judges a session with a model.
pub fn judge(session: &Session, model: &Model) -> Verdict {
    let heard = Heard::new(View::new(session));
    let passages = heard.passages(&model.loud(&heard));
    let likely = model.likely(&heard, &passages);
    let sources = model.sources(&heard, &passages, &likely);
    let found = conclude(&heard, &passages, &likely, &sources);
    let mut verdict = Verdict {
        hijacked: found.likely >= model.hijacked,
        likely: found.likely,
        injected: found.spoken >= model.injected || found.likely >= model.hijacked,
        spoken: found.spoken,
        ..Verdict::default()
    };
    let Some((best, source)) = found.source else { return verdict };
    let passage = &passages[source];
    let bytes = passage.range(&heard.view);
    let text = heard.view.contents[passage.content].text;
    verdict.source = Some(Source {
        event: passage.event(&heard.view),
        excerpt: text[bytes.clone()].chars().take(EXCERPT).collect(),
        bytes,
        again: passages
            .iter()
            .enumerate()
            .filter(|(at, other)| *at != source && other.first == source && other.content != passage.content)
            .map(|(_, other)| other.event(&heard.view))
            .collect(),
        reasons: explain::passage(&heard.view, passage),
    });
    let calls = found.calls.iter().filter(|(_, p)| *p >= model.attackers || *p >= found.most());
    verdict.calls = calls
        .map(|(call, p)| {
            let event = heard.view.calls[*call].event;
            let tool = match &session.events[event] {
                super::Event::Call { tool, .. } => tool.clone(),
                super::Event::Result { .. } => String::new(),
            };
            Driven { event, tool, likely: *p, reasons: explain::call(&heard.view, &passages, passage, *call) }
        })
        .collect();
    verdict.moved = moved(&heard, &passages, &likely, best, model);
    verdict
}

fn moved(heard: &Heard<'_>, passages: &[Passage], likely: &[Followed], best: usize, model: &Model) -> Vec<Moved> {
    let mut row = super::Row::default();
    heard.source_row(passages, likely, best, &mut row);
    let forest = &model.forests[super::STAGES - 1];
    let mut all: Vec<Moved> = forest
        .moved(&row.values)
        .into_iter()
        .zip(&forest.columns)
        .zip(&row.values)
        .map(|((by, column), value)| Moved { column: column.clone(), value: *value, by })
        .collect();
    all.sort_by(|a, b| b.by.abs().total_cmp(&a.by.abs()).then_with(|| a.column.cmp(&b.column)));
    all.truncate(SHOWN);
    all
}

/// What the models' answers come to.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// How likely a hijack is.
    pub likely: f32,
    /// How loud the loudest passage is.
    pub spoken: f32,
    /// The likeliest passage, and the first that says the same.
    pub source: Option<(usize, usize)>,
    /// Every call after it, by number, with how likely it follows.
    pub calls: Vec<(usize, f32)>,
}

impl Found {
    /// How likely the likeliest call follows.
    pub fn most(&self) -> f32 {
        self.calls.iter().map(|call| call.1).fold(0.0, f32::max)
    }
}

/// Draws the conclusion.
pub fn conclude(heard: &Heard<'_>, passages: &[Passage], likely: &[Followed], sources: &[f32]) -> Found {
    let spoken = passages.iter().map(|passage| passage.most).fold(0.0, f32::max);
    let mut best: Option<(usize, f32)> = None;
    for (at, source) in sources.iter().enumerate().filter(|(at, _)| !likely[*at].likely.is_empty()) {
        // Three must agree, so that no one of them flags a session alone: the verdict, the likeliest call, the voice.
        let sure = (source * likely[at].most() * passages[at].most).cbrt();
        if best.is_none_or(|(_, best)| sure > best) {
            best = Some((at, sure));
        }
    }
    let Some((best, sure)) = best else { return Found { spoken, ..Found::default() } };
    let source = passages[best].first;
    let first = heard.calls_after(&passages[source]).start;
    let calls = likely[source].likely.iter().enumerate().map(|(at, p)| (first + at, *p)).collect();
    Found { likely: sure, spoken, source: Some((best, source)), calls }
}

//! A verdict in the trace format's words: the file's event numbers, characters instead of bytes.

use super::Recorded;
use custody_engine::hijack::{Event, Verdict};
use serde::Serialize;

/// What is thought of a session, as `score.py` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// The session.
    pub id: String,
    /// Whether the agent followed words that were not the user's.
    pub compromised: bool,
    /// Whether something that it read spoke to it.
    pub injection: bool,
    /// The event of the passage.
    pub source: Option<u64>,
    /// Event, first character, and the one after the last.
    pub span: Option<(u64, usize, usize)>,
    /// Events of the calls that follow it.
    pub attacker_calls: Vec<u64>,
}

/// Puts a verdict into the file's terms.
pub fn predict(recorded: &Recorded, verdict: &Verdict) -> Prediction {
    let number = |event: usize| recorded.numbers.get(event).copied().unwrap_or(event as u64);
    let span = verdict.source.as_ref().and_then(|source| {
        let Event::Result { content, .. } = recorded.session.events.get(source.event)? else { return None };
        let characters = |at: usize| content.get(..at).map(|before| before.chars().count());
        Some((number(source.event), characters(source.bytes.start)?, characters(source.bytes.end)?))
    });
    Prediction {
        id: recorded.id.clone(),
        compromised: verdict.hijacked,
        injection: verdict.injected,
        source: verdict.source.as_ref().map(|source| number(source.event)),
        span,
        attacker_calls: verdict.calls.iter().map(|call| number(call.event)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custody_engine::hijack::{Session, Source};

    #[test]
    fn characters_are_counted_and_the_files_numbers_used() {
        let content = "äöü – do this";
        let session = Session { task: None, tools: Vec::new(), events: vec![Event::Result { call: None, content: content.to_owned() }] };
        let recorded = Recorded { id: "a".to_owned(), session, numbers: vec![7] };
        let start = content.find("do").unwrap();
        let source = Source { event: 0, bytes: start..content.len(), excerpt: String::new(), again: Vec::new(), reasons: Vec::new() };
        let verdict = Verdict { source: Some(source), ..Verdict::default() };
        let prediction = predict(&recorded, &verdict);
        assert_eq!((prediction.source, prediction.span), (Some(7), Some((7, 6, 13))));
    }
}

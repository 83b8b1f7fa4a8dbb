//! What a batch of messages adds to the tables, written with a few statements however many they are.

use super::{
    Result,
    apply::{detail, word},
    corrections::{self, Corrections},
};
use custody_model::*;
use sqlx::{SqliteConnection, query};
use std::collections::BTreeMap;

/// Collected from the messages of one batch.
#[derive(Default)]
pub(super) struct Messages {
    sessions: BTreeMap<String, Delta>,
    leaves: Vec<Leaf>,
    calls: Vec<Call>,
    /// Calls and their answers.
    answered: BTreeMap<i64, i64>,
    /// What became of a call after its own entry: overtaken by a freeze, or held and then answered. The last word counts.
    outcomes: BTreeMap<i64, (String, Option<String>)>,
}

/// `leaf`, `session`, `server`, `tool`, `outcome`, `reason`, `at`, `recorded`.
type Call = (i64, Option<String>, String, Option<String>, String, Option<String>, String, Option<String>);

/// `session`, `leaf`, `recorded`, `asked`, `at`, `denied`.
type Leaf = (String, i64, Option<String>, Option<i64>, String, bool);

/// What a session's row grows by.
#[derive(Default)]
struct Delta {
    last: String,
    messages: i64,
    calls: i64,
    denied: i64,
}

impl Messages {
    /// Takes a message. Gives its session, if it is the first of it in this batch.
    pub fn add(&mut self, open: &OpenEntry, message: &Message, corrections: &Corrections) -> Option<String> {
        let at = open.entry.at.to_string();
        let leaf = open.leaf.0.cast_signed();
        let denied = message.direction == Direction::ToServer && message.outcome == Outcome::Denied;
        let calls =
            message.direction == Direction::ToServer && message.answers.is_none() && message.method.as_deref() == Some("tools/call");
        let asked = message.answers.map(|call| call.0.cast_signed());
        let (session, recorded) = corrections.place(open.entry.session, asked.unwrap_or(leaf));
        let mut first = None;
        if let Some(id) = &session {
            self.leaves.push((id.clone(), leaf, recorded.clone(), asked, at.clone(), denied));
            let delta = self.sessions.entry(id.clone()).or_default();
            first = (delta.messages == 0).then(|| id.clone());
            delta.last.clone_from(&at);
            delta.messages += 1;
            delta.calls += i64::from(calls);
            delta.denied += i64::from(denied);
        }
        let reason = message.reason.as_ref().map(reason_words);
        match (message.direction, asked) {
            (Direction::ToAgent, Some(call)) => drop(self.answered.insert(call, leaf)),
            (Direction::ToAgent, None) => {}
            (Direction::ToServer, Some(call)) => drop(self.outcomes.insert(call, (word(&message.outcome), reason))),
            (Direction::ToServer, None) if calls => {
                let tool = message.tool.as_ref().map(|tool| tool.0.clone()).or_else(|| detail::<MessageDetail>(open).and_then(|d| d.tool));
                self.calls.push((leaf, session, message.server.0.clone(), tool, word(&message.outcome), reason, at, recorded));
            }
            (Direction::ToServer, None) => {}
        }
        first
    }

    /// Writes everything, calls before what became of them.
    pub async fn write(self, db: &mut SqliteConnection, corrections: &Corrections) -> Result<()> {
        let inserts = [
            (
                "INSERT OR IGNORE INTO leaves (session, leaf, recorded, asked, at, denied, message)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, 1 FROM json_each(?)",
                rows(&self.leaves),
            ),
            (
                "INSERT OR REPLACE INTO calls (leaf, session, server, tool, outcome, reason, at, recorded)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
                 FROM json_each(?)",
                rows(&self.calls),
            ),
            (
                "UPDATE calls SET answered = rows.value ->> 1 FROM json_each(?) AS rows WHERE leaf = rows.value ->> 0",
                rows(&self.answered.into_iter().collect::<Vec<_>>()),
            ),
            (
                "UPDATE calls SET outcome = rows.value ->> 1 ->> 0, reason = rows.value ->> 1 ->> 1 FROM json_each(?) AS rows
                 WHERE leaf = rows.value ->> 0",
                rows(&self.outcomes.into_iter().collect::<Vec<_>>()),
            ),
        ];
        for (statement, rows) in inserts {
            if let Some(rows) = rows {
                query(statement).bind(rows).execute(&mut *db).await?;
            }
        }
        for (session, delta) in &self.sessions {
            query("UPDATE sessions SET last = ?, messages = messages + ?, calls = calls + ?, denied = denied + ? WHERE id = ?")
                .bind(&delta.last)
                .bind(delta.messages)
                .bind(delta.calls)
                .bind(delta.denied)
                .bind(session)
                .execute(&mut *db)
                .await?;
            if corrections.mentions(session) {
                corrections::refresh_end(db, session).await?;
            }
        }
        Ok(())
    }
}

/// Rows as one JSON text; `None` when there are none.
fn rows<T: serde::Serialize>(rows: &[T]) -> Option<String> {
    (!rows.is_empty()).then(|| serde_json::to_string(rows).expect("rows are plain data"))
}

fn reason_words(reason: &DenyReason) -> String {
    match reason {
        DenyReason::Policy(policy) => format!("policy {policy}"),
        DenyReason::PolicyError(policy) => format!("policy error {policy}"),
        other => word(other),
    }
}

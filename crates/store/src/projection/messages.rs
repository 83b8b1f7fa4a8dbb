//! What a batch of messages adds to the tables, written with a few statements however many they are.

use super::{
    Result,
    apply::{detail, word},
    corrections::{self, Corrections},
};
use custody_model::*;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, query, query::Query, sqlite::SqliteArguments};
use std::{collections::BTreeMap, fmt::Write as _};

/// Rows that one statement takes at most. Fewer are written by powers of two, so that there are few different statements.
const ROWS: usize = 256;

/// Collected from the messages of one batch.
#[derive(Default)]
pub(super) struct Messages {
    sessions: BTreeMap<String, Delta>,
    leaves: Vec<Leaf>,
    calls: Vec<Call>,
    /// Calls and their answers.
    answered: BTreeMap<i64, i64>,
    /// What became of a call after its own entry: overtaken by a freeze, or held and then answered. The last word counts.
    outcomes: BTreeMap<i64, (&'static str, Option<String>)>,
}

/// A row of `calls`.
struct Call {
    leaf: i64,
    session: Option<String>,
    server: String,
    tool: Option<String>,
    outcome: &'static str,
    reason: Option<String>,
    at: String,
    recorded: Option<String>,
    answered: Option<i64>,
    /// The tool's name stands in the sealed part only.
    sealed: bool,
}

/// A row of `leaves`.
struct Leaf {
    session: String,
    leaf: i64,
    recorded: Option<String>,
    asked: Option<i64>,
    at: String,
    denied: bool,
}

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
            self.leaves.push(Leaf { session: id.clone(), leaf, recorded: recorded.clone(), asked, at: at.clone(), denied });
            let delta = self.sessions.entry(id.clone()).or_default();
            first = (delta.messages == 0).then(|| id.clone());
            delta.last.clone_from(&at);
            delta.messages += 1;
            delta.calls += i64::from(calls);
            delta.denied += i64::from(denied);
        }
        let reason = message.reason.as_ref().map(reason_words);
        match (message.direction, asked) {
            (Direction::ToAgent, Some(call)) => match self.calls.binary_search_by_key(&call, |known| known.leaf) {
                Ok(at) => self.calls[at].answered = Some(leaf),
                Err(_) => drop(self.answered.insert(call, leaf)),
            },
            (Direction::ToAgent, None) => {}
            (Direction::ToServer, Some(call)) => drop(self.outcomes.insert(call, (outcome_word(message.outcome), reason))),
            (Direction::ToServer, None) if calls => {
                let tool = message.tool.as_ref().map(|tool| tool.0.clone()).or_else(|| detail::<MessageDetail>(open).and_then(|d| d.tool));
                let (server, outcome) = (message.server.0.clone(), outcome_word(message.outcome));
                let sealed = message.tool.is_none();
                self.calls.push(Call { leaf, session, server, tool, outcome, reason, at, recorded, answered: None, sealed });
            }
            (Direction::ToServer, None) => {}
        }
        first
    }

    /// Writes everything, calls before what became of them.
    pub async fn write(self, db: &mut SqliteConnection, corrections: &Corrections) -> Result<()> {
        insert(
            db,
            "INSERT OR IGNORE INTO leaves (session, leaf, recorded, asked, at, denied, message) VALUES ",
            "(?, ?, ?, ?, ?, ?, 1)",
            self.leaves,
            |query, row| query.bind(row.session).bind(row.leaf).bind(row.recorded).bind(row.asked).bind(row.at).bind(row.denied),
        )
        .await?;
        insert(
            db,
            "INSERT OR REPLACE INTO calls (leaf, session, server, tool, outcome, reason, at, recorded, answered, sealed) VALUES ",
            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self.calls,
            |query, row| {
                let query = query.bind(row.leaf).bind(row.session).bind(row.server).bind(row.tool).bind(row.outcome);
                query.bind(row.reason).bind(row.at).bind(row.recorded).bind(row.answered).bind(row.sealed)
            },
        )
        .await?;
        let updates = [
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
        for (statement, rows) in updates {
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

/// Writes rows with as few statements as can be.
async fn insert<R>(
    db: &mut SqliteConnection,
    into: &str,
    values: &str,
    rows: Vec<R>,
    bind: impl for<'q> Fn(Query<'q, Sqlite, SqliteArguments>, R) -> Query<'q, Sqlite, SqliteArguments>,
) -> Result<()> {
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let count = ROWS.min(1 << rows.len().ilog2());
        let mut statement = String::with_capacity(into.len() + count * (values.len() + 1));
        let _ = write!(statement, "{into}{values}");
        for _ in 1..count {
            let _ = write!(statement, ",{values}");
        }
        // Nothing but the texts of the callers above stands in it.
        let query = rows.by_ref().take(count).fold(query(AssertSqlSafe(statement)), &bind);
        query.execute(&mut *db).await?;
    }
    Ok(())
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "ALLOWED",
        Outcome::Denied => "DENIED",
        Outcome::Held => "HELD",
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

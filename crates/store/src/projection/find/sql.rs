//! From terms to a statement. Every value is bound; only texts of this file stand in it.

use super::{FindKey, FindQuery, Kind};
use sqlx::{AssertSqlSafe, Sqlite, query, query::Query, sqlite::SqliteArguments};
use std::fmt::Write as _;

/// The statement for one kind, newest first, after a place.
pub(super) fn select(find: &FindQuery, kind: Kind, after: Option<&str>, limit: i64) -> Query<'static, Sqlite, SqliteArguments> {
    let (from, order, time) = match kind {
        Kind::Session => ("SELECT s.* FROM sessions s WHERE s.shown_as IS NULL", "s.id", "s.last"),
        Kind::Finding => (
            "SELECT f.*, r.assessment AS assessment FROM findings f LEFT JOIN sessions s ON s.id = f.session
             LEFT JOIN assessments r ON r.subject = f.id WHERE 1",
            "f.leaf",
            "f.at",
        ),
        Kind::Call => ("SELECT c.*, s.principal, s.role FROM calls c LEFT JOIN sessions s ON s.id = c.session WHERE 1", "c.leaf", "c.at"),
    };
    let mut statement = from.to_owned();
    let mut values = Vec::new();
    for term in find.terms() {
        let column = match (term.key, kind) {
            (FindKey::Session, Kind::Session) => "s.id",
            (FindKey::Session, Kind::Finding) => "f.session",
            (FindKey::Session, Kind::Call) => "c.session",
            (FindKey::Principal, _) => "s.principal",
            (FindKey::Role, _) => "s.role",
            (FindKey::Task, _) => "s.task",
            // A session counts by its last message when asked for what came after, and by its first for what came before.
            (FindKey::Before, Kind::Session) => "s.started",
            (FindKey::After | FindKey::Before, _) => time,
            (FindKey::Server, _) => "c.server",
            (FindKey::Tool, _) => "c.tool",
            (FindKey::Outcome, _) => "c.outcome",
            (FindKey::Reason, _) => "c.reason",
            (FindKey::Rule, _) => "f.rule",
            (FindKey::Priority, _) => "f.priority",
            (FindKey::Incident, _) => "f.case_id",
            (FindKey::Kind, _) => continue,
        };
        let not = if term.negated { "NOT " } else { "" };
        let _ = match term.key {
            // To the second, for instants are written with as many digits as they have.
            FindKey::After => write!(statement, " AND {not}(substr({column}, 1, 19) >= ?)"),
            FindKey::Before => write!(statement, " AND {not}(substr({column}, 1, 19) < ?)"),
            _ => write!(statement, " AND {not}(coalesce({column}, '') GLOB ?)"),
        };
        values.push(match term.key {
            FindKey::After | FindKey::Before => term.value.clone(),
            // `[` begins a class of characters in SQLite's patterns, but not in ours.
            _ => term.value.replace('[', "[[]"),
        });
    }
    if after.is_some() {
        let _ = write!(statement, " AND {order} < ?");
    }
    let _ = write!(statement, " ORDER BY {order} DESC LIMIT ?");
    let bound = values.into_iter().fold(query(AssertSqlSafe(statement)), Query::bind);
    let bound = match (after, kind) {
        (None, _) => bound,
        (Some(after), Kind::Session) => bound.bind(after.to_owned()),
        (Some(after), _) => bound.bind(after.parse::<i64>().unwrap_or_default()),
    };
    bound.bind(limit)
}

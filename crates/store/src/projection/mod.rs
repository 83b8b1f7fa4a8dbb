//! Sessions, findings, cases and actions as tables; a projection of the ledger.
//!
//! Applying the same ledger always gives the same tables, at once or in pieces. What is erased in the ledger is
//! erased here by applying it anew: rows come from what can still be opened.

mod apply;
mod corrections;
mod erase;
mod find;
mod messages;
mod rebuild;
mod rows;

pub use erase::Erasable;
pub use find::{BadQuery, CallHit, Cursor, FindQuery, FindingHit, Hit, MOST_HITS, Page, find_instant};
pub use rows::*;

#[cfg(test)]
mod corrections_tests;
#[cfg(test)]
mod erase_tests;
#[cfg(test)]
mod tests;

use custody_model::*;
use jiff::Timestamp;
use sqlx::{
    Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use std::{collections::HashSet, path::Path, str::FromStr};

/// Why the projection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// SQLite says no.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("the schema: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// A row is not what this code wrote.
    #[error("table {table} has a row that cannot be read: {why}")]
    BadRow {
        /// Which table.
        table: &'static str,
        /// Why.
        why: String,
    },
    /// Entries were handed over with a gap.
    #[error("leaf {found} was handed over where leaf {expected} is next")]
    Gap {
        /// The next leaf.
        expected: u64,
        /// What came.
        found: u64,
    },
}

/// Findings with what persons said of them.
macro_rules! findings {
    () => {
        "SELECT f.*, r.assessment AS assessment FROM findings f LEFT JOIN assessments r ON r.subject = f.id "
    };
}

/// Cases, likewise.
macro_rules! cases {
    () => {
        "SELECT c.*, r.assessment AS assessment FROM cases c LEFT JOIN assessments r ON r.subject = c.id "
    };
}

/// What the canonical dump is made of.
const TABLES: &[(&str, &str)] = &[
    ("applied", "SELECT json_array(leaves) FROM applied"),
    (
        "sessions",
        "SELECT json_array(id, principal, role, task, assurance, source, allowlist, started, last, ended, why, messages, calls, denied, findings, shown_as, erased) FROM sessions ORDER BY id",
    ),
    ("leaves", "SELECT json_array(session, leaf, recorded, asked, at, message, denied, ended) FROM leaves ORDER BY session, leaf"),
    ("links", "SELECT json_array(leaf, session, recorded, at, kind, strength, link) FROM links ORDER BY leaf"),
    ("corrections", "SELECT json_array(leaf, at, kind, session, other, from_leaf, detail, undone) FROM corrections ORDER BY leaf"),
    ("calls", "SELECT json_array(leaf, session, recorded, server, tool, outcome, reason, at, answered, sealed) FROM calls ORDER BY leaf"),
    (
        "findings",
        "SELECT json_array(id, leaf, session, recorded, at, rule, priority, requirement, finding, triage, disposition, case_id, repeats) FROM findings ORDER BY id",
    ),
    ("assessments", "SELECT json_array(subject, leaf, verdict, assessment, recorded) FROM assessments ORDER BY subject"),
    ("suppressions", "SELECT json_array(id, leaf, rule, until, body, ended, hidden) FROM suppressions ORDER BY id"),
    ("cases", "SELECT json_array(id, leaf, body, recorded, opened, severity, state) FROM cases ORDER BY id"),
    ("actions", "SELECT json_array(id, leaf, at, verb, case_id, session, recorded, step, receipt) FROM actions ORDER BY id"),
    ("freezes", "SELECT json_array(action, leaf, scopes) FROM freezes ORDER BY action"),
    ("alerts", "SELECT json_array(leaf, case_id, record) FROM alerts ORDER BY leaf"),
    ("evidence", "SELECT json_array(leaf, case_id, at, digest, detail, recorded) FROM evidence ORDER BY leaf"),
    ("manifests", "SELECT json_array(server, listing, name, digest) FROM manifests ORDER BY server, listing, name"),
    ("manifest_changes", "SELECT json_array(leaf, server, listing, at, changed) FROM manifest_changes ORDER BY leaf"),
    ("rulings", "SELECT json_array(leaf, at, server, listing, ruling, definitions, detail, recorded) FROM rulings ORDER BY leaf"),
    ("principals", "SELECT json_array(name, first_seen) FROM principals ORDER BY name"),
];

type Result<T> = std::result::Result<T, ProjectionError>;

/// The tables. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Projection {
    /// For questions.
    pool: SqlitePool,
    /// One connection that writes: it keeps its pages, for nobody else changes them, and its statements.
    writer: SqlitePool,
}

impl Projection {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub async fn open(path: &Path) -> Result<Self> {
        // It holds what was unsealed: closed to others from its first byte. SQLite gives its other files the same mode.
        use std::os::unix::fs::OpenOptionsExt as _;
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // What is wiped is overwritten (R8).
            .pragma("secure_delete", "ON");
        // Connections to a file do not die: none is tried before it is used.
        let connect = |most| SqlitePoolOptions::new().max_connections(most).test_before_acquire(false).connect_with(options.clone());
        let writer = connect(1).await?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        Ok(Projection { pool: connect(3).await?, writer })
    }

    /// Closes its connections, of all clones. Returns when the files are left.
    pub async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
    }

    /// Leaves applied so far: the next one to apply has this number.
    ///
    /// # Errors
    /// [`ProjectionError`], as for every query below.
    pub async fn applied(&self) -> Result<u64> {
        let leaves: i64 = sqlx::query_scalar("SELECT leaves FROM applied").fetch_one(&self.pool).await?;
        Ok(leaves.cast_unsigned())
    }

    /// Sessions, latest first; `limit` at most.
    pub async fn sessions(&self, limit: u32) -> Result<Vec<SessionRow>> {
        let rows = sqlx::query("SELECT * FROM sessions WHERE shown_as IS NULL ORDER BY started DESC, id DESC LIMIT ?")
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(session_row).collect()
    }

    /// One session; of one that was joined to another, the other.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionRow>> {
        let id = self.shown_as(id).await?;
        let row = sqlx::query("SELECT * FROM sessions WHERE id = ?").bind(id.to_string()).fetch_optional(&self.pool).await?;
        row.as_ref().map(session_row).transpose()
    }

    /// Ids of sessions that begin with this text; two at most.
    pub async fn sessions_like(&self, prefix: &str) -> Result<Vec<SessionId>> {
        self.ids("SELECT id FROM sessions WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", prefix, "sessions").await
    }

    /// Ids of cases that begin with this text; two at most.
    pub async fn cases_like(&self, prefix: &str) -> Result<Vec<CaseId>> {
        self.ids("SELECT id FROM cases WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", prefix, "cases").await
    }

    /// Ids of actions that begin with this text; two at most.
    pub async fn actions_like(&self, prefix: &str) -> Result<Vec<ActionId>> {
        self.ids("SELECT id FROM actions WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", prefix, "actions").await
    }

    async fn ids<T: FromStr<Err: ToString>>(&self, query: &'static str, prefix: &str, table: &'static str) -> Result<Vec<T>> {
        let found: Vec<String> = sqlx::query_scalar(query).bind(prefix).fetch_all(&self.pool).await?;
        found.iter().map(|id| id.parse().map_err(|why: T::Err| bad(table, why))).collect()
    }

    /// Every entry of a session, in leaf order.
    pub async fn leaves_of(&self, session: SessionId) -> Result<Vec<LeafIndex>> {
        let session = self.shown_as(session).await?;
        let leaves: Vec<i64> = sqlx::query_scalar("SELECT leaf FROM leaves WHERE session = ? ORDER BY leaf")
            .bind(session.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(leaves.into_iter().map(|leaf| LeafIndex(leaf.cast_unsigned())).collect())
    }

    /// Tool calls of a session, in leaf order.
    pub async fn calls_of(&self, session: SessionId) -> Result<Vec<CallRow>> {
        let session = self.shown_as(session).await?;
        let rows =
            sqlx::query("SELECT * FROM calls WHERE session = ? ORDER BY leaf").bind(session.to_string()).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                Ok(CallRow {
                    leaf: leaf(row, "leaf")?,
                    session,
                    server: ServerName(row.try_get("server")?),
                    tool: row.try_get("tool")?,
                    outcome: word(row.try_get("outcome")?, "calls")?,
                    reason: row.try_get("reason")?,
                    at: time(row, "at", "calls")?,
                    answered: row.try_get::<Option<i64>, _>("answered")?.map(|l| LeafIndex(l.cast_unsigned())),
                })
            })
            .collect()
    }

    /// Findings of a session, in leaf order.
    pub async fn findings_of_session(&self, session: SessionId) -> Result<Vec<FindingRow>> {
        let session = self.shown_as(session).await?;
        let rows = sqlx::query(concat!(findings!(), "WHERE f.session = ? ORDER BY f.leaf"))
            .bind(session.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(finding_row).collect()
    }

    /// Findings of a case, in leaf order.
    pub async fn findings_of_case(&self, case: CaseId) -> Result<Vec<FindingRow>> {
        let rows =
            sqlx::query(concat!(findings!(), "WHERE f.case_id = ? ORDER BY f.leaf")).bind(case.to_string()).fetch_all(&self.pool).await?;
        rows.iter().map(finding_row).collect()
    }

    /// All findings, in leaf order.
    pub async fn findings(&self) -> Result<Vec<FindingRow>> {
        let rows = sqlx::query(concat!(findings!(), "ORDER BY f.leaf")).fetch_all(&self.pool).await?;
        rows.iter().map(finding_row).collect()
    }

    /// One finding.
    pub async fn finding(&self, id: FindingId) -> Result<Option<FindingRow>> {
        let row = sqlx::query(concat!(findings!(), "WHERE f.id = ?")).bind(id.to_string()).fetch_optional(&self.pool).await?;
        row.as_ref().map(finding_row).transpose()
    }

    /// Ids of findings that begin with this text; two at most.
    pub async fn findings_like(&self, prefix: &str) -> Result<Vec<FindingId>> {
        self.ids("SELECT id FROM findings WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", prefix, "findings").await
    }

    /// Sessions of cases that nobody called false or benign: what they did is nobody's normal behaviour.
    pub async fn sessions_to_exclude(&self) -> Result<HashSet<SessionId>> {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT c.body FROM cases c LEFT JOIN assessments r ON r.subject = c.id WHERE r.verdict IS NULL OR r.verdict = 'true'",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut sessions = HashSet::new();
        for body in rows {
            for session in json::<Case>(body, "cases")?.sessions {
                sessions.extend(self.recorded_as(session).await?);
            }
        }
        Ok(sessions)
    }

    /// Suppressions that nobody ended and whose time is not over at `now`, oldest first.
    pub async fn suppressions(&self, now: Timestamp) -> Result<Vec<Suppression>> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT body FROM suppressions WHERE ended IS NULL AND body IS NOT NULL ORDER BY leaf")
            .fetch_all(&self.pool)
            .await?;
        let all = rows.into_iter().map(|body| json::<Suppression>(body, "suppressions")).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().filter(|suppression| now < suppression.until).collect())
    }

    /// Cases in the order in which they were opened.
    pub async fn cases(&self) -> Result<Vec<CaseRow>> {
        let rows = sqlx::query(concat!(cases!(), "ORDER BY c.id")).fetch_all(&self.pool).await?;
        let mut cases: Vec<CaseRow> = rows.iter().map(case_row).collect::<Result<_>>()?;
        let is_corrected: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM corrections)").fetch_one(&self.pool).await?;
        if is_corrected {
            for row in &mut cases {
                row.case = self.corrected(row.case.clone()).await?;
            }
        }
        Ok(cases)
    }

    /// One case.
    pub async fn case(&self, id: CaseId) -> Result<Option<CaseRow>> {
        let row = sqlx::query(concat!(cases!(), "WHERE c.id = ?")).bind(id.to_string()).fetch_optional(&self.pool).await?;
        let Some(row) = row.as_ref().map(case_row).transpose()? else { return Ok(None) };
        Ok(Some(CaseRow { case: self.corrected(row.case).await?, ..row }))
    }

    /// Actions of a case, in leaf order: those that name it, and the freeze in the decision itself, which came before
    /// there was a case, by its session.
    pub async fn actions_of(&self, case: CaseId) -> Result<Vec<ActionRow>> {
        let Some(row) = self.case(case).await? else { return Ok(Vec::new()) };
        let rows = sqlx::query("SELECT * FROM actions ORDER BY leaf").fetch_all(&self.pool).await?;
        let actions: Vec<ActionRow> = rows.iter().map(action_row).collect::<Result<_>>()?;
        let belongs =
            |a: &ActionRow| a.case == Some(case) || (a.case.is_none() && a.session.is_some_and(|s| row.case.sessions.contains(&s)));
        Ok(actions.into_iter().filter(belongs).collect())
    }

    /// One action.
    pub async fn action(&self, id: ActionId) -> Result<Option<ActionRow>> {
        let row = sqlx::query("SELECT * FROM actions WHERE id = ?").bind(id.to_string()).fetch_optional(&self.pool).await?;
        row.as_ref().map(action_row).transpose()
    }

    /// Freezes in force.
    pub async fn active_freezes(&self) -> Result<Vec<FreezeRow>> {
        let rows = sqlx::query("SELECT * FROM freezes ORDER BY leaf").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                Ok(FreezeRow { action: parsed(row.try_get("action")?, "freezes")?, scopes: json(row.try_get("scopes")?, "freezes")? })
            })
            .collect()
    }

    /// Alerts of a case, in leaf order.
    pub async fn alerts_of(&self, case: CaseId) -> Result<Vec<AlertRecord>> {
        let found: Vec<String> = sqlx::query_scalar("SELECT record FROM alerts WHERE case_id = ? AND record IS NOT NULL ORDER BY leaf")
            .bind(case.to_string())
            .fetch_all(&self.pool)
            .await?;
        found.into_iter().map(|text| json(text, "alerts")).collect()
    }

    /// Evidence that was exported for a case, in leaf order.
    pub async fn evidence_of(&self, case: CaseId) -> Result<Vec<EvidenceRow>> {
        let rows =
            sqlx::query("SELECT * FROM evidence WHERE case_id = ? ORDER BY leaf").bind(case.to_string()).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let detail: Option<String> = row.try_get("detail")?;
                Ok(EvidenceRow {
                    leaf: leaf(row, "leaf")?,
                    case,
                    at: time(row, "at", "evidence")?,
                    digest: parsed(row.try_get("digest")?, "evidence")?,
                    detail: detail.map(|d| json(d, "evidence")).transpose()?,
                })
            })
            .collect()
    }

    /// What each server has listed, as last seen.
    pub async fn manifests(&self) -> Result<Vec<ManifestRow>> {
        let rows = sqlx::query("SELECT * FROM manifests ORDER BY server, listing, name").fetch_all(&self.pool).await?;
        let mut manifests: Vec<ManifestRow> = Vec::new();
        for row in &rows {
            let (server, listing): (String, String) = (row.try_get("server")?, row.try_get("listing")?);
            let definition = (row.try_get("name")?, parsed(row.try_get("digest")?, "manifests")?);
            match manifests.last_mut().filter(|m| m.server.0 == server && m.listing == listing) {
                Some(manifest) => manifest.definitions.push(definition),
                None => manifests.push(ManifestRow { server: ServerName(server), listing, definitions: vec![definition] }),
            }
        }
        Ok(manifests)
    }

    /// What was decided about definitions, in leaf order.
    pub async fn rulings(&self) -> Result<Vec<RulingRow>> {
        let rows = sqlx::query("SELECT * FROM rulings ORDER BY leaf").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let detail: Option<String> = row.try_get("detail")?;
                Ok(RulingRow {
                    leaf: leaf(row, "leaf")?,
                    at: time(row, "at", "rulings")?,
                    server: ServerName(row.try_get("server")?),
                    listing: row.try_get("listing")?,
                    ruling: word(row.try_get("ruling")?, "rulings")?,
                    definitions: json(row.try_get("definitions")?, "rulings")?,
                    detail: detail.map(|detail| json(detail, "rulings")).transpose()?,
                })
            })
            .collect()
    }

    /// When a server's definitions last differed from those seen before; `None`: never.
    pub async fn last_manifest_change(&self, server: Option<&ServerName>) -> Result<Option<Timestamp>> {
        let Some(server) = server else { return Ok(None) };
        let found: Option<String> = sqlx::query_scalar("SELECT at FROM manifest_changes WHERE server = ? ORDER BY leaf DESC LIMIT 1")
            .bind(server.as_str())
            .fetch_optional(&self.pool)
            .await?;
        found.map(|at| parsed(at, "manifest_changes")).transpose()
    }

    /// When a principal's first session began.
    pub async fn principal_first_seen(&self, principal: &PrincipalName) -> Result<Option<Timestamp>> {
        let found: Option<String> = sqlx::query_scalar("SELECT first_seen FROM principals WHERE name = ?")
            .bind(principal.as_str())
            .fetch_optional(&self.pool)
            .await?;
        found.map(|at| parsed(at, "principals")).transpose()
    }

    /// Every row of every table, sorted: the same for the same ledger, however it was applied.
    pub async fn dump(&self) -> Result<String> {
        let mut dump = String::new();
        for (table, query) in TABLES {
            let rows: Vec<String> = sqlx::query_scalar(*query).fetch_all(&self.pool).await?;
            for row in rows {
                dump.push_str(table);
                dump.push(' ');
                dump.push_str(&row);
                dump.push('\n');
            }
        }
        Ok(dump)
    }
}

fn bad(table: &'static str, why: impl ToString) -> ProjectionError {
    ProjectionError::BadRow { table, why: why.to_string() }
}

fn parsed<T: FromStr<Err: ToString>>(text: String, table: &'static str) -> Result<T> {
    text.parse().map_err(|why: T::Err| bad(table, why))
}

fn json<T: serde::de::DeserializeOwned>(text: String, table: &'static str) -> Result<T> {
    serde_json::from_str(&text).map_err(|why| bad(table, why))
}

/// A value that serialises as one word.
fn word<T: serde::de::DeserializeOwned>(text: String, table: &'static str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|why| bad(table, why))
}

fn leaf(row: &SqliteRow, column: &str) -> Result<LeafIndex> {
    Ok(LeafIndex(row.try_get::<i64, _>(column)?.cast_unsigned()))
}

fn time(row: &SqliteRow, column: &str, table: &'static str) -> Result<Timestamp> {
    parsed(row.try_get(column)?, table)
}

fn session_row(row: &SqliteRow) -> Result<SessionRow> {
    let count = |column: &str| -> Result<u64> { Ok(row.try_get::<i64, _>(column)?.cast_unsigned()) };
    let allowlist: Option<String> = row.try_get("allowlist")?;
    let ended: Option<String> = row.try_get("ended")?;
    Ok(SessionRow {
        id: parsed(row.try_get("id")?, "sessions")?,
        principal: row.try_get::<Option<String>, _>("principal")?.map(PrincipalName),
        role: row.try_get::<Option<String>, _>("role")?.map(RoleName),
        task: row.try_get::<Option<String>, _>("task")?.map(TaskName),
        assurance: row.try_get::<Option<String>, _>("assurance")?.map(|a| word(a, "sessions")).transpose()?,
        source: row.try_get("source")?,
        allowlist: allowlist.map(|a| json(a, "sessions")).transpose()?,
        started: time(row, "started", "sessions")?,
        last: time(row, "last", "sessions")?,
        ended: ended.map(|e| parsed(e, "sessions")).transpose()?,
        why: row.try_get("why")?,
        messages: count("messages")?,
        calls: count("calls")?,
        denied: count("denied")?,
        findings: count("findings")?,
    })
}

fn finding_row(row: &SqliteRow) -> Result<FindingRow> {
    let finding: Option<String> = row.try_get("finding")?;
    let triage: Option<String> = row.try_get("triage")?;
    let finding: Option<Finding> = finding.map(|f| json(f, "findings")).transpose()?;
    Ok(FindingRow {
        id: parsed(row.try_get("id")?, "findings")?,
        leaf: leaf(row, "leaf")?,
        session: row.try_get::<Option<String>, _>("session")?.map(|s| parsed(s, "findings")).transpose()?,
        at: time(row, "at", "findings")?,
        rule: RuleId(row.try_get("rule")?),
        priority: word(row.try_get("priority")?, "findings")?,
        family: finding.as_ref().map(|f| f.family),
        requirement: row.try_get("requirement")?,
        finding,
        triage: triage.map(|t| json(t, "findings")).transpose()?,
        case: row.try_get::<Option<String>, _>("case_id")?.map(|c| parsed(c, "findings")).transpose()?,
        repeats: row.try_get::<i64, _>("repeats")?.cast_unsigned(),
        assessment: assessment(row)?,
    })
}

fn assessment(row: &SqliteRow) -> Result<Option<Assessment>> {
    row.try_get::<Option<String>, _>("assessment")?.map(|text| json(text, "assessments")).transpose()
}

fn case_row(row: &SqliteRow) -> Result<CaseRow> {
    Ok(CaseRow { leaf: leaf(row, "leaf")?, case: json(row.try_get("body")?, "cases")?, assessment: assessment(row)? })
}

fn action_row(row: &SqliteRow) -> Result<ActionRow> {
    let step: Option<String> = row.try_get("step")?;
    let receipt: Option<String> = row.try_get("receipt")?;
    Ok(ActionRow {
        id: parsed(row.try_get("id")?, "actions")?,
        leaf: leaf(row, "leaf")?,
        at: time(row, "at", "actions")?,
        verb: ActionName(row.try_get("verb")?),
        case: row.try_get::<Option<String>, _>("case_id")?.map(|c| parsed(c, "actions")).transpose()?,
        session: row.try_get::<Option<String>, _>("session")?.map(|s| parsed(s, "actions")).transpose()?,
        step: step.map(|s| json(s, "actions")).transpose()?,
        receipt: receipt.map(|r| json(r, "actions")).transpose()?,
    })
}

//! Sessions as persons corrected them (R9).
//!
//! The ledger names the session that an entry was recorded in, for ever. Where it is shown follows from the corrections in
//! force, in leaf order: a join shows one session with another, a split shows what was recorded between two leaves as a
//! session of its own. One that was taken back counts as never made. So corrections can be undone exactly, in any order, and
//! a projection made anew is the same.

use super::{CorrectionRow, LinkRow, Projection, Result, json, leaf, parsed, time, word};
use custody_model::*;
use sqlx::{Row, SqliteConnection, query, sqlite::SqliteRow};
use std::collections::BTreeSet;

/// Tables that show what belongs to a session, and what their place in the ledger is: an answer belongs to its call.
const SHOWN: [(&str, &str); 5] =
    [("leaves", "coalesce(asked, leaf)"), ("calls", "leaf"), ("findings", "leaf"), ("actions", "leaf"), ("links", "leaf")];

/// The corrections in force, in leaf order.
#[derive(Debug, Default)]
pub(super) struct Corrections(Vec<Correction>);

#[derive(Debug)]
struct Correction {
    leaf: i64,
    join: bool,
    /// Which one goes on.
    session: String,
    /// Joined to it, or split from it.
    other: String,
    /// A split: from which entry on.
    from: i64,
}

impl Corrections {
    pub async fn load(db: &mut SqliteConnection) -> Result<Corrections> {
        let rows = query("SELECT * FROM corrections WHERE undone IS NULL AND kind <> 'part' ORDER BY leaf").fetch_all(db).await?;
        let read = |row: &SqliteRow| {
            Ok(Correction {
                leaf: row.try_get("leaf")?,
                join: row.try_get::<String, _>("kind")? == "join",
                session: row.try_get("session")?,
                other: row.try_get("other")?,
                from: row.try_get::<Option<i64>, _>("from_leaf")?.unwrap_or_default(),
            })
        };
        Ok(Corrections(rows.iter().map(read).collect::<Result<_>>()?))
    }

    /// Where an entry is shown that was recorded in a session. `place`: its leaf, or that of the call it answers.
    pub fn shown(&self, recorded: &str, place: i64) -> String {
        let mut session = recorded;
        for correction in &self.0 {
            if correction.join && session == correction.other {
                session = &correction.session;
            } else if !correction.join && session == correction.session && (correction.from..correction.leaf).contains(&place) {
                session = &correction.other;
            }
        }
        session.to_owned()
    }

    /// Where an entry is shown, and the session it was recorded in where that is another one.
    pub fn place(&self, recorded: Option<SessionId>, place: i64) -> (Option<String>, Option<String>) {
        let Some(recorded) = recorded.map(|recorded| recorded.to_string()) else { return (None, None) };
        let shown = self.shown(&recorded, place);
        let elsewhere = (shown != recorded).then_some(recorded);
        (Some(shown), elsewhere)
    }

    /// Whether one in force names this session.
    pub fn mentions(&self, session: &str) -> bool {
        self.0.iter().any(|correction| correction.session == session || correction.other == session)
    }
}

/// Applies a correction: a join, or a split from `from` on. Either may take an earlier one back.
pub(super) async fn apply(db: &mut SqliteConnection, open: &OpenEntry, other: SessionId, from: Option<LeafIndex>) -> Result<()> {
    let Some(session) = open.entry.session.map(|session| session.to_string()) else { return Ok(()) };
    let other = other.to_string();
    let leaf = open.leaf.0.cast_signed();
    let from = from.map(|from| from.0.cast_signed());
    let mut kind = if from.is_some() { "split" } else { "join" };
    // A split at the entry of a join takes that join back; a join with what a split made takes the split back.
    match from {
        Some(from) => {
            let undone = query(
                "UPDATE corrections SET undone = ? WHERE leaf = ? AND kind = 'join' AND session = ? AND other = ? AND undone IS NULL",
            )
            .bind(leaf)
            .bind(from)
            .bind(&session)
            .bind(&other)
            .execute(&mut *db)
            .await?;
            if undone.rows_affected() > 0 {
                kind = "part";
                query("UPDATE corrections SET undone = NULL WHERE undone = ? AND kind = 'split'").bind(from).execute(&mut *db).await?;
            }
        }
        None => {
            query("UPDATE corrections SET undone = ? WHERE kind = 'split' AND session = ? AND other = ? AND undone IS NULL")
                .bind(leaf)
                .bind(&session)
                .bind(&other)
                .execute(&mut *db)
                .await?;
        }
    }
    query("INSERT OR REPLACE INTO corrections VALUES (?, ?, ?, ?, ?, ?, ?, NULL)")
        .bind(leaf)
        .bind(open.entry.at.to_string())
        .bind(kind)
        .bind(&session)
        .bind(&other)
        .bind(from)
        .bind(open.detail.as_ref().map(ToString::to_string))
        .execute(&mut *db)
        .await?;
    if kind == "split" {
        query(
            "INSERT OR IGNORE INTO sessions (id, principal, role, task, assurance, source, allowlist, started, last)
             SELECT ?, principal, role, task, assurance, source, allowlist, started, last FROM sessions WHERE id = ?",
        )
        .bind(&other)
        .bind(&session)
        .execute(&mut *db)
        .await?;
    }
    show_anew(db, &session, &other).await
}

/// Shows everything anew that was recorded in the sessions that corrections tie to these two.
async fn show_anew(db: &mut SqliteConnection, session: &str, other: &str) -> Result<()> {
    let pairs = query("SELECT session, other FROM corrections").fetch_all(&mut *db).await?;
    let pairs: Vec<(String, String)> =
        pairs.iter().map(|row| Ok((row.try_get("session")?, row.try_get("other")?))).collect::<Result<_>>()?;
    let mut tied = BTreeSet::from([session.to_owned(), other.to_owned()]);
    while let Some((a, b)) = pairs.iter().find(|(a, b)| tied.contains(a) != tied.contains(b)) {
        tied.extend([a.clone(), b.clone()]);
    }
    let corrections = Corrections::load(&mut *db).await?;
    for (table, place) in SHOWN {
        for id in &tied {
            let back = format!("UPDATE {table} SET session = recorded, recorded = NULL WHERE session = ? AND recorded IS NOT NULL");
            query(sqlx::AssertSqlSafe(back)).bind(id).execute(&mut *db).await?;
        }
        for correction in corrections.0.iter().filter(|correction| tied.contains(&correction.session)) {
            let show = format!("UPDATE {table} SET recorded = coalesce(recorded, session), session = ?1 WHERE session = ?2");
            match correction.join {
                true => query(sqlx::AssertSqlSafe(show)).bind(&correction.session).bind(&correction.other).execute(&mut *db).await?,
                false => {
                    let part = format!("{show} AND {place} >= ?3 AND {place} < ?4");
                    let part = query(sqlx::AssertSqlSafe(part)).bind(&correction.other).bind(&correction.session);
                    part.bind(correction.from).bind(correction.leaf).execute(&mut *db).await?
                }
            };
        }
    }
    for id in &tied {
        refresh(db, &corrections, id).await?;
    }
    Ok(())
}

/// Computes the row of a corrected session from what is shown with it.
async fn refresh(db: &mut SqliteConnection, corrections: &Corrections, id: &str) -> Result<()> {
    let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM leaves WHERE session = ?").bind(id).fetch_one(&mut *db).await?;
    let shown = corrections.shown(id, i64::MAX);
    let shown_as = (entries == 0 && shown != id).then_some(shown);
    query(
        "UPDATE sessions SET shown_as = ?2,
            started = coalesce((SELECT at FROM leaves WHERE session = ?1 AND at IS NOT NULL ORDER BY leaf LIMIT 1), started),
            last = coalesce((SELECT at FROM leaves WHERE session = ?1 AND message = 1 ORDER BY leaf DESC LIMIT 1), started),
            messages = (SELECT count(*) FROM leaves WHERE session = ?1 AND message = 1),
            denied = (SELECT count(*) FROM leaves WHERE session = ?1 AND denied = 1),
            calls = (SELECT count(*) FROM calls WHERE session = ?1),
            findings = (SELECT count(*) FROM findings WHERE session = ?1)
         WHERE id = ?1",
    )
    .bind(id)
    .bind(shown_as)
    .execute(&mut *db)
    .await?;
    refresh_end(db, id).await
}

/// A session of several ended when the last of them did: an end that another's message follows is none. One that was joined
/// did not end by it.
pub(super) async fn refresh_end(db: &mut SqliteConnection, id: &str) -> Result<()> {
    let end = query(
        "SELECT leaf, at, ended, coalesce(recorded, session) AS whose FROM leaves
         WHERE session = ? AND ended IS NOT NULL AND ended <> 'joined' ORDER BY leaf DESC LIMIT 1",
    )
    .bind(id)
    .fetch_optional(&mut *db)
    .await?;
    let mut over: Option<(String, String)> = None;
    if let Some(end) = end {
        let (leaf, whose): (i64, String) = (end.try_get("leaf")?, end.try_get("whose")?);
        let goes_on: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM leaves WHERE session = ? AND leaf > ? AND message = 1 AND coalesce(recorded, session) <> ?)",
        )
        .bind(id)
        .bind(leaf)
        .bind(whose)
        .fetch_one(&mut *db)
        .await?;
        if !goes_on {
            over = Some((end.try_get("at")?, end.try_get("ended")?));
        }
    }
    let (at, why) = over.unzip();
    query("UPDATE sessions SET ended = ?, why = ? WHERE id = ?").bind(at).bind(why).bind(id).execute(db).await?;
    Ok(())
}

impl Projection {
    /// The session that this one is shown with: itself, unless it was joined to another.
    pub async fn shown_as(&self, session: SessionId) -> Result<SessionId> {
        let shown: Option<Option<String>> =
            sqlx::query_scalar("SELECT shown_as FROM sessions WHERE id = ?").bind(session.to_string()).fetch_optional(&self.pool).await?;
        shown.flatten().map_or(Ok(session), |shown| parsed(shown, "sessions"))
    }

    /// The sessions that the ledger names in what is shown as this one, and this one.
    pub async fn recorded_as(&self, session: SessionId) -> Result<Vec<SessionId>> {
        let shown = self.shown_as(session).await?;
        let rows: Vec<String> = sqlx::query_scalar("SELECT DISTINCT coalesce(recorded, session) FROM leaves WHERE session = ?")
            .bind(shown.to_string())
            .fetch_all(&self.pool)
            .await?;
        let mut ids = BTreeSet::from([session, shown]);
        for row in rows {
            ids.insert(parsed(row, "leaves")?);
        }
        Ok(ids.into_iter().collect())
    }

    /// Whether an entry is shown with a session, and whether any comes before it there.
    pub async fn stands_in(&self, session: SessionId, leaf: LeafIndex) -> Result<Option<bool>> {
        let session = session.to_string();
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM leaves WHERE session = ? AND leaf = ?)")
            .bind(&session)
            .bind(leaf.0.cast_signed())
            .fetch_one(&self.pool)
            .await?;
        let later: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM leaves WHERE session = ? AND leaf < ?)")
            .bind(&session)
            .bind(leaf.0.cast_signed())
            .fetch_one(&self.pool)
            .await?;
        Ok(there.then_some(later))
    }

    /// The corrections that name a session or what is shown with it, in leaf order.
    pub async fn corrections_of(&self, session: SessionId) -> Result<Vec<CorrectionRow>> {
        let ids = self.recorded_as(session).await?;
        let all = query("SELECT * FROM corrections ORDER BY leaf").fetch_all(&self.pool).await?;
        all.iter()
            .map(|row| {
                let index = |column: &str| -> Result<Option<LeafIndex>> {
                    Ok(row.try_get::<Option<i64>, _>(column)?.map(|leaf| LeafIndex(leaf.cast_unsigned())))
                };
                let detail: Option<String> = row.try_get("detail")?;
                Ok(CorrectionRow {
                    leaf: leaf(row, "leaf")?,
                    at: time(row, "at", "corrections")?,
                    kind: row.try_get("kind")?,
                    session: parsed(row.try_get("session")?, "corrections")?,
                    other: parsed(row.try_get("other")?, "corrections")?,
                    from: index("from_leaf")?,
                    detail: detail.map(|detail| json(detail, "corrections")).transpose()?,
                    undone: index("undone")?,
                })
            })
            .filter(|row: &Result<CorrectionRow>| row.as_ref().map_or(true, |row| ids.contains(&row.session) || ids.contains(&row.other)))
            .collect()
    }

    /// What ties a session together, in leaf order.
    pub async fn links_of(&self, session: SessionId) -> Result<Vec<LinkRow>> {
        let shown = self.shown_as(session).await?;
        let rows = query("SELECT * FROM links WHERE session = ? ORDER BY leaf").bind(shown.to_string()).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let link: Option<String> = row.try_get("link")?;
                Ok(LinkRow {
                    leaf: leaf(row, "leaf")?,
                    at: time(row, "at", "links")?,
                    kind: word(row.try_get("kind")?, "links")?,
                    strength: word(row.try_get("strength")?, "links")?,
                    link: link.map(|link| json(link, "links")).transpose()?,
                })
            })
            .collect()
    }

    /// The sessions of a case as they are shown now: where its findings are, else where its sessions went.
    pub(super) async fn corrected(&self, mut case: Case) -> Result<Case> {
        let mut db = self.pool.acquire().await?;
        let corrections = Corrections::load(&mut db).await?;
        let mut sessions = Vec::new();
        for session in &case.sessions {
            let id = session.to_string();
            let mut shown: Vec<String> = Vec::new();
            if corrections.mentions(&id) {
                shown = sqlx::query_scalar("SELECT session FROM findings WHERE case_id = ? AND coalesce(recorded, session) = ? GROUP BY session ORDER BY min(leaf)")
                    .bind(case.id.to_string())
                    .bind(&id)
                    .fetch_all(&mut *db)
                    .await?;
            }
            if shown.is_empty() {
                shown.push(corrections.shown(&id, i64::MAX));
            }
            for id in shown {
                let id = parsed(id, "cases")?;
                if !sessions.contains(&id) {
                    sessions.push(id);
                }
            }
        }
        case.sessions = sessions;
        Ok(case)
    }
}

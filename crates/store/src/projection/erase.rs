//! Forgetting what a destroyed key sealed (R8).
//!
//! What is wiped does not depend on whether it could be opened when it was applied: so a projection that knew it and one that is
//! made anew afterwards are the same.

use super::{Projection, Result};
use custody_model::*;
use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection, query};

/// Listings whose names can identify people; they are sealed.
const PRIVATE: &str = "listing LIKE 'resources/%'";

/// Everything that came from the sealed parts of a session. Neutral facts stay.
pub(super) async fn forget(db: &mut SqliteConnection, session: SessionId, at: Timestamp) -> Result<()> {
    let session = session.to_string();
    let recorded = "coalesce(recorded, session) = ?1";
    let statements = [
        "UPDATE calls SET tool = NULL WHERE sealed AND ".to_owned() + recorded,
        "UPDATE findings SET finding = NULL, triage = NULL WHERE ".to_owned() + recorded,
        "UPDATE actions SET step = NULL, receipt = NULL WHERE ".to_owned() + recorded,
        "UPDATE links SET link = NULL WHERE ".to_owned() + recorded,
        "UPDATE corrections SET detail = NULL WHERE session = ?1".to_owned(),
        "UPDATE assessments SET assessment = NULL WHERE recorded = ?1".to_owned(),
        "UPDATE evidence SET detail = NULL WHERE recorded = ?1".to_owned(),
        "UPDATE rulings SET detail = NULL WHERE recorded = ?1".to_owned(),
        // Who else listed the same can not be told from the rows; the next listing says it again.
        format!("DELETE FROM manifests WHERE {PRIVATE} AND ?1 IS NOT NULL"),
        format!("DELETE FROM manifest_changes WHERE {PRIVATE} AND ?1 IS NOT NULL"),
    ];
    for statement in statements {
        // Nothing but the texts above stands in it.
        query(sqlx::AssertSqlSafe(statement)).bind(&session).execute(&mut *db).await?;
    }
    query("UPDATE sessions SET principal = NULL, role = NULL, task = NULL, assurance = NULL, source = NULL, allowlist = NULL, erased = ? WHERE id = ?")
        .bind(at.to_string())
        .bind(&session)
        .execute(&mut *db)
        .await?;
    query("DELETE FROM principals").execute(&mut *db).await?;
    query("INSERT INTO principals SELECT principal, min(started) FROM sessions WHERE principal IS NOT NULL GROUP BY principal")
        .execute(&mut *db)
        .await?;
    let cases = query("SELECT id FROM cases WHERE recorded = ?").bind(&session).fetch_all(&mut *db).await?;
    for case in cases {
        forget_case(db, &case.try_get::<String, _>("id")?).await?;
    }
    Ok(())
}

/// Leaves of a case what stands in the clear: its id, when it was opened, severity and state.
pub(super) async fn forget_case(db: &mut SqliteConnection, id: &str) -> Result<()> {
    let row = query("SELECT opened, severity, state FROM cases WHERE id = ?").bind(id).fetch_one(&mut *db).await?;
    let (opened, severity, state): (String, String, String) = (row.try_get("opened")?, row.try_get("severity")?, row.try_get("state")?);
    let body = json!({
        "id": id, "opened": opened, "state": state, "severity": severity,
        // Nothing in the clear says of which kind it was.
        "incident_type": IncidentType::MaliciousAgentBehavior,
        "triage": Triage { disposition: Disposition::Escalate, path: vec!["erased".to_owned()] },
        "findings": [], "sessions": [], "scopes": [], "clocks": [], "source": null,
    });
    query("UPDATE cases SET body = ? WHERE id = ?").bind(body.to_string()).bind(id).execute(&mut *db).await?;
    Ok(())
}

/// What decides whether a session's content may go, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasable {
    /// The session.
    pub session: SessionId,
    /// Its last message.
    pub last: Timestamp,
    /// Whether something was found in it.
    pub findings: bool,
    /// Its cases.
    pub cases: Vec<(CaseId, CaseState)>,
}

impl Projection {
    /// Sessions whose content was not erased, of one principal if one is given, oldest first.
    pub async fn erasable(&self, principal: Option<&PrincipalName>) -> Result<Vec<Erasable>> {
        let rows = query("SELECT id, last, findings FROM sessions WHERE erased IS NULL AND shown_as IS NULL AND (?1 IS NULL OR principal = ?1) ORDER BY id")
            .bind(principal.map(PrincipalName::as_str))
            .fetch_all(&self.pool)
            .await?;
        let mut cases: std::collections::HashMap<SessionId, Vec<(CaseId, CaseState)>> = Default::default();
        for row in self.cases().await? {
            for session in &row.case.sessions {
                cases.entry(*session).or_default().push((row.case.id, row.case.state));
            }
        }
        rows.iter()
            .map(|row| {
                let session: SessionId = super::parsed(row.try_get("id")?, "sessions")?;
                let last = super::time(row, "last", "sessions")?;
                let findings = row.try_get::<i64, _>("findings")? > 0;
                Ok(Erasable { session, last, findings, cases: cases.remove(&session).unwrap_or_default() })
            })
            .collect()
    }

    /// Since when a session's content is erased.
    pub async fn erased(&self, session: SessionId) -> Result<Option<Timestamp>> {
        let at: Option<Option<String>> =
            sqlx::query_scalar("SELECT erased FROM sessions WHERE id = ?").bind(session.to_string()).fetch_optional(&self.pool).await?;
        at.flatten().map(|at| super::parsed(at, "sessions")).transpose()
    }

    /// Overwrites what is left of wiped rows in the database's own files. `false`: somebody still reads an older state.
    pub async fn scrub(&self) -> Result<bool> {
        let busy: i64 = query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.writer).await?.try_get(0)?;
        Ok(busy == 0)
    }
}

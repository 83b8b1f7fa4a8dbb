//! Search over sessions, findings and calls.
//!
//! A query is a row of terms, all of which must hold: `tool:send_* outcome:denied after:2h`, a bare word, or either with `-`
//! before it. What is looked at is bounded by pages; each says where the next one begins.

mod parse;
mod sql;

use parse::FindKey;
pub use parse::{BadQuery, FindQuery, instant as find_instant};

use super::{Projection, Result, SessionRow, finding_row, session_row};
use custody_model::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, sqlite::SqliteRow};
use std::str::FromStr;

/// Hits of one page at most.
pub const MOST_HITS: usize = 1_000;
/// Rows that are read at once where words are compared after reading.
const AT_ONCE: i64 = 500;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Hit {
    /// A session.
    Session(Box<SessionRow>),
    /// A finding.
    Finding(FindingHit),
    /// A tool call.
    Call(CallHit),
}

/// A tool call with who made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct CallHit {
    pub leaf: LeafIndex,
    pub at: Timestamp,
    pub session: Option<SessionId>,
    pub principal: Option<PrincipalName>,
    pub role: Option<RoleName>,
    pub server: ServerName,
    pub tool: Option<String>,
    pub outcome: Outcome,
    pub reason: Option<String>,
}

/// A finding in a few words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the model")]
pub struct FindingHit {
    pub id: FindingId,
    pub leaf: LeafIndex,
    pub at: Timestamp,
    pub session: Option<SessionId>,
    pub principal: Option<PrincipalName>,
    pub rule: RuleId,
    pub priority: Priority,
    pub requirement: String,
    pub case: Option<CaseId>,
    pub server: Option<ServerName>,
    pub tool: Option<String>,
    /// Why it was raised, as it may be shown; `None`: erased.
    pub why: Option<String>,
}

/// Some hits, newest first of each kind: sessions, then findings, then calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The hits.
    pub hits: Vec<Hit>,
    /// Where the next page begins; `None`: these were the last.
    pub next: Option<String>,
}

/// What kinds of things there are, in the order in which they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Session,
    Finding,
    Call,
}

const KINDS: [Kind; 3] = [Kind::Session, Kind::Finding, Kind::Call];

/// Where a page begins: after this row of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    kind: Kind,
    /// Of a session its id, else the leaf.
    after: Option<String>,
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Cursor, &'static str> {
        let bad = "not the `next` of a page";
        let (kind, after) = text.split_once('.').ok_or(bad)?;
        let kind = match kind {
            "session" => Kind::Session,
            "finding" => Kind::Finding,
            "call" => Kind::Call,
            _ => return Err(bad),
        };
        let valid = match kind {
            _ if after.is_empty() => true,
            Kind::Session => after.parse::<SessionId>().is_ok(),
            Kind::Finding | Kind::Call => after.parse::<i64>().is_ok(),
        };
        valid.then(|| Cursor { kind, after: Some(after.to_owned()).filter(|after| !after.is_empty()) }).ok_or(bad)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Session => "session",
            Kind::Finding => "finding",
            Kind::Call => "call",
        };
        write!(f, "{kind}.{}", self.after.as_deref().unwrap_or_default())
    }
}

impl Projection {
    /// A page of what a query finds, `limit` hits at most. `visible`: a text as it is shown, redacted; bare words are looked for in
    /// what is shown, so that nobody finds out by asking what nobody is shown.
    ///
    /// # Errors
    /// [`super::ProjectionError`].
    pub async fn find(
        &self,
        query: &FindQuery,
        from: Option<Cursor>,
        limit: usize,
        visible: &(dyn Fn(&str) -> String + Sync),
    ) -> Result<Page> {
        let limit = limit.clamp(1, MOST_HITS);
        let mut hits = Vec::new();
        let mut cursor = from.unwrap_or(Cursor { kind: Kind::Session, after: None });
        let first = cursor.kind;
        for kind in KINDS.into_iter().skip_while(|kind| *kind != first) {
            if cursor.kind != kind {
                cursor = Cursor { kind, after: None };
            }
            if !query.is_about(kind) {
                continue;
            }
            loop {
                let rows = sql::select(query, kind, cursor.after.as_deref(), AT_ONCE).fetch_all(&self.pool).await?;
                let last = (rows.len() as i64) < AT_ONCE;
                for row in &rows {
                    if hits.len() == limit {
                        return Ok(Page { hits, next: Some(cursor.to_string()) });
                    }
                    let (hit, place) = hit(kind, row)?;
                    cursor.after = Some(place);
                    let hit = shown(hit, visible);
                    if query.words().all(|(negated, word)| negated != words(&hit).to_lowercase().contains(word)) {
                        hits.push(hit);
                    }
                }
                if last {
                    break;
                }
            }
        }
        Ok(Page { hits, next: None })
    }
}

fn hit(kind: Kind, row: &SqliteRow) -> Result<(Hit, String)> {
    Ok(match kind {
        Kind::Session => {
            let row = session_row(row)?;
            let place = row.id.to_string();
            (Hit::Session(Box::new(row)), place)
        }
        Kind::Finding => {
            let row = finding_row(row)?;
            let (principal, server, tool, why) = match row.finding {
                Some(finding) => (finding.principal, finding.server, finding.tool, Some(finding.why)),
                None => Default::default(),
            };
            let place = row.leaf.0.to_string();
            let hit = FindingHit {
                id: row.id,
                leaf: row.leaf,
                at: row.at,
                session: row.session,
                principal,
                rule: row.rule,
                priority: row.priority,
                requirement: row.requirement,
                case: row.case,
                server,
                tool,
                why,
            };
            (Hit::Finding(hit), place)
        }
        Kind::Call => {
            let session: Option<String> = row.try_get("session")?;
            let hit = CallHit {
                leaf: super::leaf(row, "leaf")?,
                at: super::time(row, "at", "calls")?,
                session: session.map(|id| super::parsed(id, "calls")).transpose()?,
                principal: row.try_get::<Option<String>, _>("principal")?.map(PrincipalName),
                role: row.try_get::<Option<String>, _>("role")?.map(RoleName),
                server: ServerName(row.try_get("server")?),
                tool: row.try_get("tool")?,
                outcome: super::word(row.try_get("outcome")?, "calls")?,
                reason: row.try_get("reason")?,
            };
            let place = hit.leaf.0.to_string();
            (Hit::Call(hit), place)
        }
    })
}

/// With what agents, servers and documents may have chosen as it may be shown.
fn shown(mut hit: Hit, visible: &(dyn Fn(&str) -> String + Sync)) -> Hit {
    let texts: Vec<&mut String> = match &mut hit {
        Hit::Session(row) => row.source.iter_mut().collect(),
        Hit::Finding(row) => row.tool.iter_mut().chain(&mut row.why).collect(),
        Hit::Call(row) => row.tool.iter_mut().collect(),
    };
    for text in texts {
        *text = visible(text);
    }
    hit
}

/// The words of a hit in which bare words are looked for.
fn words(hit: &Hit) -> String {
    let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
    let parts = match hit {
        Hit::Session(row) => vec![
            row.id.to_string(),
            name(row.principal.as_ref().map(PrincipalName::as_str)),
            name(row.role.as_ref().map(RoleName::as_str)),
            name(row.task.as_ref().map(TaskName::as_str)),
            name(row.source.as_deref()),
        ],
        Hit::Finding(row) => vec![
            row.id.to_string(),
            row.rule.to_string(),
            row.requirement.clone(),
            name(row.principal.as_ref().map(PrincipalName::as_str)),
            name(row.server.as_ref().map(ServerName::as_str)),
            name(row.tool.as_deref()),
            name(row.why.as_deref()),
        ],
        Hit::Call(row) => vec![
            row.server.to_string(),
            name(row.tool.as_deref()),
            name(row.reason.as_deref()),
            name(row.principal.as_ref().map(PrincipalName::as_str)),
            name(row.role.as_ref().map(RoleName::as_str)),
        ],
    };
    parts.join(" ")
}

#[cfg(test)]
mod tests;

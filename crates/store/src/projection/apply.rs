//! From entries to rows, in leaf order, in one transaction a batch.
//!
//! Messages are by far the most entries. Their rows are collected and written together at the end of the batch: a statement for
//! each would cost more than recording it did.

use super::{
    Projection, ProjectionError, Result,
    corrections::{self, Corrections},
    erase,
    messages::Messages,
};
use custody_model::*;
use serde_json::Value;
use sqlx::{Sqlite, SqliteConnection, Transaction, query};

impl Projection {
    /// Whether the sealed detail of an entry says something that a table holds. Bodies never do.
    pub fn needs_detail(entry: &Entry) -> bool {
        match &entry.event {
            // A tool that no server listed stands in the sealed part only.
            Event::Message(message) => message.direction == Direction::ToServer && message.tool.is_none(),
            _ => true,
        }
    }

    /// Applies entries. Those applied before are skipped; a gap is an error.
    ///
    /// # Errors
    /// [`ProjectionError`]; then nothing of the batch is applied.
    pub async fn apply_many(&self, entries: &[OpenEntry]) -> Result<()> {
        let mut transaction: Transaction<'_, Sqlite> = self.writer.begin().await?;
        let applied: i64 = sqlx::query_scalar("SELECT leaves FROM applied").fetch_one(&mut *transaction).await?;
        let mut next = applied.cast_unsigned();
        let mut messages = Messages::default();
        let mut corrections = Corrections::load(&mut transaction).await?;
        for open in entries {
            if open.leaf.0 < next {
                continue;
            }
            if open.leaf.0 > next {
                return Err(ProjectionError::Gap { expected: next, found: open.leaf.0 });
            }
            if let (Event::KeyDestroyed { .. }, Some(session)) = (&open.entry.event, open.entry.session) {
                std::mem::take(&mut messages).write(&mut transaction, &corrections).await?;
                erase::forget(&mut transaction, session, open.entry.at).await?;
            }
            match &open.entry.event {
                Event::Message(message) => {
                    if let Some(session) = messages.add(open, message, &corrections) {
                        begin(&mut transaction, &session, &open.entry).await?;
                    }
                }
                _ => apply(&mut transaction, open, &corrections).await?,
            }
            let corrected = match open.entry.event {
                Event::SessionJoined { other } => Some((other, None)),
                Event::SessionSplit { into, from } => Some((into, Some(from))),
                _ => None,
            };
            if let Some((other, from)) = corrected {
                // It changes where all that came before is shown.
                std::mem::take(&mut messages).write(&mut transaction, &corrections).await?;
                corrections::apply(&mut transaction, open, other, from).await?;
                corrections = Corrections::load(&mut transaction).await?;
            }
            next += 1;
        }
        messages.write(&mut transaction, &corrections).await?;
        query("UPDATE applied SET leaves = ?").bind(next.cast_signed()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// The row of the entry's session, if this is the first that is heard of it.
async fn begin(db: &mut SqliteConnection, session: &str, entry: &Entry) -> Result<()> {
    let at = entry.at.to_string();
    query("INSERT OR IGNORE INTO sessions (id, started, last) VALUES (?, ?, ?)")
        .bind(session)
        .bind(&at)
        .bind(&at)
        .execute(&mut *db)
        .await?;
    Ok(())
}

async fn apply(db: &mut SqliteConnection, open: &OpenEntry, corrections: &Corrections) -> Result<()> {
    let entry = &open.entry;
    let at = entry.at.to_string();
    let leaf = open.leaf.0.cast_signed();
    let (session, recorded) = corrections.place(entry.session, leaf);
    if let Some(session) = &session {
        let ended = if let Event::SessionEnded { why } = &entry.event { Some(why) } else { None };
        query("INSERT OR IGNORE INTO leaves (session, leaf, recorded, at, ended) VALUES (?, ?, ?, ?, ?)")
            .bind(session)
            .bind(leaf)
            .bind(&recorded)
            .bind(&at)
            .bind(ended)
            .execute(&mut *db)
            .await?;
        begin(db, session, entry).await?;
    }
    match &entry.event {
        Event::SessionStarted => {
            let Some(detail) = detail::<SessionDetail>(open) else { return Ok(()) };
            let identity = &detail.identity;
            query("UPDATE sessions SET principal = ?, role = ?, task = ?, assurance = ?, source = ?, allowlist = ? WHERE id = ?")
                .bind(identity.principal.as_str())
                .bind(identity.role.as_ref().map(RoleName::as_str))
                .bind(identity.task.as_ref().map(TaskName::as_str))
                .bind(word(&identity.assurance))
                .bind(&detail.source)
                .bind(detail.allowlist.as_ref().map(text))
                .bind(&session)
                .execute(&mut *db)
                .await?;
            query("INSERT OR IGNORE INTO principals VALUES (?, ?)").bind(identity.principal.as_str()).bind(&at).execute(&mut *db).await?;
        }
        Event::SessionEnded { why } => {
            query("UPDATE sessions SET ended = ?, why = ? WHERE id = ?").bind(&at).bind(why).bind(&session).execute(&mut *db).await?;
            if let Some(session) = session.as_ref().filter(|session| corrections.mentions(session)) {
                corrections::refresh_end(db, session).await?;
            }
        }
        Event::ManifestSeen { server, listing, definitions, changed, .. } => {
            let sealed: ListingDetail = detail(open).unwrap_or_default();
            let (definitions, changed) =
                if definitions.is_empty() { (&sealed.definitions, &sealed.changed) } else { (definitions, changed) };
            let known: i64 = sqlx::query_scalar("SELECT count(*) FROM manifests WHERE server = ? AND listing = ?")
                .bind(server.as_str())
                .bind(listing)
                .fetch_one(&mut *db)
                .await?;
            if known > 0 && !changed.is_empty() {
                query("INSERT OR REPLACE INTO manifest_changes VALUES (?, ?, ?, ?, ?)")
                    .bind(leaf)
                    .bind(server.as_str())
                    .bind(listing)
                    .bind(&at)
                    .bind(text(changed))
                    .execute(&mut *db)
                    .await?;
            }
            for (name, digest) in definitions {
                query("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?)")
                    .bind(server.as_str())
                    .bind(listing)
                    .bind(name)
                    .bind(digest.to_string())
                    .execute(&mut *db)
                    .await?;
            }
        }
        Event::ManifestRuled { server, listing, ruling, definitions } => {
            query("INSERT OR REPLACE INTO rulings (leaf, at, server, listing, ruling, definitions, detail, recorded) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
                .bind(leaf)
                .bind(&at)
                .bind(server.as_str())
                .bind(listing)
                .bind(word(ruling))
                .bind(text(definitions))
                .bind(open.detail.as_ref().map(Value::to_string))
                .bind(entry.session.map(|session| session.to_string()))
                .execute(&mut *db)
                .await?;
        }
        Event::FindingRaised { finding, rule, priority, requirement, .. } => {
            query("INSERT OR IGNORE INTO findings (id, leaf, session, recorded, at, rule, priority, requirement, finding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
                .bind(finding.to_string())
                .bind(leaf)
                .bind(&session)
                .bind(&recorded)
                .bind(&at)
                .bind(rule.as_str())
                .bind(word(priority))
                .bind(requirement)
                .bind(open.detail.as_ref().map(Value::to_string))
                .execute(&mut *db)
                .await?;
            query("UPDATE sessions SET findings = findings + 1 WHERE id = ?").bind(&session).execute(&mut *db).await?;
        }
        Event::Triaged { finding, disposition, case } => {
            query("UPDATE findings SET triage = ?, disposition = ?, case_id = ? WHERE id = ?")
                .bind(open.detail.as_ref().map(Value::to_string))
                .bind(word(disposition))
                .bind(case.map(|c| c.to_string()))
                .bind(finding.to_string())
                .execute(&mut *db)
                .await?;
        }
        Event::FindingRepeated { finding, repeats } => {
            query("UPDATE findings SET repeats = max(repeats, ?) WHERE id = ?")
                .bind(i64::try_from(*repeats).unwrap_or(i64::MAX))
                .bind(finding.to_string())
                .execute(&mut *db)
                .await?;
        }
        Event::Disposed { finding, case, verdict } => {
            for subject in finding.iter().map(ToString::to_string).chain(case.iter().map(ToString::to_string)) {
                query("INSERT OR REPLACE INTO assessments (subject, leaf, verdict, assessment, recorded) VALUES (?, ?, ?, ?, ?)")
                    .bind(subject)
                    .bind(leaf)
                    .bind(word(verdict))
                    .bind(open.detail.as_ref().map(Value::to_string))
                    .bind(entry.session.map(|session| session.to_string()))
                    .execute(&mut *db)
                    .await?;
            }
        }
        Event::RuleSuppressed { suppression, rule, until } => {
            query("INSERT OR REPLACE INTO suppressions (id, leaf, rule, until, body) VALUES (?, ?, ?, ?, ?)")
                .bind(suppression.to_string())
                .bind(leaf)
                .bind(rule.as_str())
                .bind(until.to_string())
                .bind(open.detail.as_ref().map(Value::to_string))
                .execute(&mut *db)
                .await?;
        }
        Event::RuleHeard { suppression, hidden, .. } => {
            query("UPDATE suppressions SET ended = ?, hidden = ? WHERE id = ?")
                .bind(&at)
                .bind(i64::try_from(*hidden).unwrap_or(i64::MAX))
                .bind(suppression.to_string())
                .execute(&mut *db)
                .await?;
        }
        Event::CaseUpdated { case, severity, state } => {
            let case = case.to_string();
            query(
                "INSERT INTO cases (id, leaf, body, recorded, opened, severity, state) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
                 SET leaf = excluded.leaf, body = excluded.body, recorded = excluded.recorded, severity = excluded.severity, state = excluded.state",
            )
            .bind(&case)
            .bind(leaf)
            .bind(open.detail.as_ref().map(Value::to_string).unwrap_or_default())
            .bind(entry.session.map(|session| session.to_string()))
            .bind(&at)
            .bind(word(severity))
            .bind(word(state))
            .execute(&mut *db)
            .await?;
            if open.detail.is_none() {
                erase::forget_case(db, &case).await?;
            }
        }
        Event::ActionIntended { action, verb, case } => {
            query("INSERT OR IGNORE INTO actions (id, leaf, at, verb, case_id, session, recorded, step) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
                .bind(action.to_string())
                .bind(leaf)
                .bind(&at)
                .bind(verb.as_str())
                .bind(case.map(|c| c.to_string()))
                .bind(&session)
                .bind(&recorded)
                .bind(open.detail.as_ref().map(Value::to_string))
                .execute(&mut *db)
                .await?;
            // A freeze is in force from its intent on: a crash before the receipt must not thaw it.
            if let ("freeze_scope", Some(step)) = (verb.as_str(), detail::<Step>(open)) {
                query("INSERT OR REPLACE INTO freezes VALUES (?, ?, ?)")
                    .bind(action.to_string())
                    .bind(leaf)
                    .bind(text(&step.scopes))
                    .execute(&mut *db)
                    .await?;
            }
        }
        Event::ActionDone { action, verb, ok, .. } => {
            query("UPDATE actions SET receipt = ? WHERE id = ?")
                .bind(open.detail.as_ref().map(Value::to_string))
                .bind(action.to_string())
                .execute(&mut *db)
                .await?;
            if verb.as_str() == "unfreeze_scope" && *ok {
                thaw(db, *action).await?;
            }
        }
        Event::AlertSent { case, .. } => {
            query("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)")
                .bind(leaf)
                .bind(case.to_string())
                .bind(open.detail.as_ref().map(Value::to_string))
                .execute(&mut *db)
                .await?;
        }
        Event::EvidenceExported { case, digest } => {
            query("INSERT OR REPLACE INTO evidence (leaf, case_id, at, digest, detail, recorded) VALUES (?, ?, ?, ?, ?, ?)")
                .bind(leaf)
                .bind(case.to_string())
                .bind(&at)
                .bind(digest.to_string())
                .bind(open.detail.as_ref().map(Value::to_string))
                .bind(entry.session.map(|session| session.to_string()))
                .execute(&mut *db)
                .await?;
        }
        Event::SessionLinked { kind_of, strength } if session.is_some() => {
            query("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?, ?, ?)")
                .bind(leaf)
                .bind(&session)
                .bind(&recorded)
                .bind(&at)
                .bind(word(kind_of))
                .bind(word(strength))
                .bind(open.detail.as_ref().map(Value::to_string))
                .execute(&mut *db)
                .await?;
        }
        // Corrections are applied after this, for they change where other entries are shown.
        Event::SessionJoined { .. }
        | Event::SessionSplit { .. }
        | Event::LedgerCreated { .. }
        | Event::DaemonStarted { .. }
        | Event::WitnessSaid { .. }
        | Event::DaemonStopped
        | Event::KeyCreated { .. }
        | Event::KeyDestroyed { .. }
        | Event::ConfigLoaded { .. }
        | Event::SessionLinked { .. }
        | Event::ContentOpened { .. }
        | Event::Message(_)
        | Event::OperatorActed { .. }
        | Event::SessionJudged { .. }
        | Event::HostTold { .. }
        | Event::AccessRefused { .. } => {}
    }
    Ok(())
}

/// Ends the freeze that an undo takes back.
async fn thaw(db: &mut SqliteConnection, undo: ActionId) -> Result<()> {
    let step: Option<Option<String>> =
        sqlx::query_scalar("SELECT step FROM actions WHERE id = ?").bind(undo.to_string()).fetch_optional(&mut *db).await?;
    let undone = step.flatten().and_then(|text| serde_json::from_str::<Step>(&text).ok()).and_then(|step| step.undoes);
    if let Some(undone) = undone {
        query("DELETE FROM freezes WHERE action = ?").bind(undone.to_string()).execute(&mut *db).await?;
    }
    Ok(())
}

pub(super) fn detail<T: serde::de::DeserializeOwned>(open: &OpenEntry) -> Option<T> {
    open.detail.as_ref().and_then(|value| serde_json::from_value(value.clone()).ok())
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("rows are plain data")
}

/// The one word that a value serialises as.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value).expect("rows are plain data") {
        Value::String(word) => word,
        Value::Object(tagged) => tagged.get("reason").and_then(Value::as_str).unwrap_or("other").to_owned(),
        other => other.to_string(),
    }
}

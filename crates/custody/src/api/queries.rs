//! What is read from the projection, for the daemon and for the command line without one.

use super::{ApiError, CaseRow, IncidentView, SessionRow, SessionView};
use crate::core::reading;
use custody_engine::{
    host,
    investigate::{self, Judged, Known},
};
use custody_model::{CaseId, LeafIndex, OpenEntry, SessionId};
use custody_store::{
    ledger::Reader,
    projection::{Projection, ProjectionError},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Sessions that are listed at most.
const SESSIONS: u32 = 10_000;

pub(super) async fn sessions(projection: &Projection) -> Result<Vec<SessionRow>, ApiError> {
    Ok(projection.sessions(SESSIONS).await?)
}

pub(super) async fn session(projection: &Projection, reader: Reader, id: SessionId) -> Result<SessionView, ApiError> {
    let session = projection.session(id).await?.ok_or_else(|| ApiError::NotFound { what: "session".into(), id: id.to_string() })?;
    let builds = super::context::builds(projection, reader, session.id, session.principal.as_ref()).await?;
    Ok(SessionView {
        builds,
        calls: projection.calls_of(id).await?,
        findings: projection.findings_of_session(id).await?,
        links: projection.links_of(id).await?,
        corrections: projection.corrections_of(session.id).await?,
        session,
    })
}

pub(super) async fn incidents(projection: &Projection) -> Result<Vec<CaseRow>, ApiError> {
    let mut cases = projection.cases().await?;
    cases.sort_by_key(|row| std::cmp::Reverse((row.case.opened, row.case.id)));
    Ok(cases)
}

pub(super) async fn incident(projection: &Projection, reader: Reader, id: CaseId) -> Result<IncidentView, ApiError> {
    let incident = projection.case(id).await?.ok_or_else(|| ApiError::NotFound { what: "incident".into(), id: id.to_string() })?;
    let findings = projection.findings_of_case(id).await?;
    let actions = projection.actions_of(id).await?;
    let mut leaves: BTreeSet<LeafIndex> = findings.iter().map(|row| row.leaf).chain(actions.iter().map(|row| row.leaf)).collect();
    leaves.insert(incident.leaf);
    let mut shown: HashMap<LeafIndex, SessionId> = HashMap::new();
    for session in &incident.case.sessions {
        let its = projection.leaves_of(*session).await?;
        shown.extend(its.iter().map(|leaf| (*leaf, *session)));
        leaves.extend(its);
    }
    let known = known(projection).await?;
    let investigated = tokio::task::spawn_blocking(move || {
        // The newest of a large case; the evidence has all. An entry that cannot be opened any more is erased: the rest tells its part.
        let leaves: Vec<LeafIndex> = leaves.into_iter().collect();
        let mut entries = reading::newest(&leaves, |leaf| reader.open_entry(leaf).ok()).entries;
        // What a person joined is one session here, too.
        for open in &mut entries {
            open.entry.session = shown.get(&open.leaf).copied().or(open.entry.session);
        }
        let (timeline, summary) = (investigate::timeline(&entries), investigate::summary(&entries));
        let builds = host::builds(&entries);
        (timeline, summary, builds, verdicts(entries, &known))
    });
    let (timeline, summary, builds, verdicts) =
        investigated.await.map_err(|error| ApiError::Failed { message: error.to_string(), help: None })?;
    Ok(IncidentView {
        incident,
        findings,
        actions,
        alerts: projection.alerts_of(id).await?,
        evidence: projection.evidence_of(id).await?,
        timeline,
        summary,
        builds,
        verdicts,
    })
}

/// What is known of sessions beside their entries.
pub(crate) async fn known(projection: &Projection) -> Result<Known, ProjectionError> {
    let tools = projection.manifests().await?.into_iter().filter(|row| row.listing == "tools/list");
    let tools = tools.map(|row| (row.server, row.definitions.into_iter().map(|(name, _)| name).collect())).collect();
    Ok(Known { task: None, tools })
}

/// What the daemon said already; else what is to be said now.
fn verdicts(entries: Vec<OpenEntry>, known: &Known) -> Vec<Judged> {
    let mut sessions: BTreeMap<SessionId, Vec<OpenEntry>> = BTreeMap::new();
    for open in entries {
        if let Some(session) = open.entry.session {
            sessions.entry(session).or_default().push(open);
        }
    }
    sessions
        .into_iter()
        .map(|(session, entries)| investigate::kept(&entries).unwrap_or_else(|| investigate::judged(session, &entries, known)))
        .collect()
}

impl From<ProjectionError> for ApiError {
    fn from(error: ProjectionError) -> ApiError {
        let help = "stop the daemon and remove `custody.db`: it is rebuilt from the ledger at the next start".to_owned();
        ApiError::Failed { message: format!("the projection cannot be read: {error}"), help: Some(help) }
    }
}

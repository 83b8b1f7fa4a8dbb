//! What is read from the projection, for the daemon and for the command line without one.

use super::{ApiError, CaseRow, IncidentView, SessionRow, SessionView};
use custody_model::{CaseId, SessionId};
use custody_store::projection::{Projection, ProjectionError};

/// Sessions that are listed at most.
const SESSIONS: u32 = 10_000;

pub(super) async fn sessions(projection: &Projection) -> Result<Vec<SessionRow>, ApiError> {
    Ok(projection.sessions(SESSIONS).await?)
}

pub(super) async fn session(projection: &Projection, id: SessionId) -> Result<SessionView, ApiError> {
    let session = projection.session(id).await?.ok_or_else(|| ApiError::NotFound { what: "session".into(), id: id.to_string() })?;
    Ok(SessionView { session, calls: projection.calls_of(id).await?, findings: projection.findings_of_session(id).await? })
}

pub(super) async fn incidents(projection: &Projection) -> Result<Vec<CaseRow>, ApiError> {
    let mut cases = projection.cases().await?;
    cases.sort_by_key(|row| std::cmp::Reverse((row.case.opened, row.case.id)));
    Ok(cases)
}

pub(super) async fn incident(projection: &Projection, id: CaseId) -> Result<IncidentView, ApiError> {
    let incident = projection.case(id).await?.ok_or_else(|| ApiError::NotFound { what: "incident".into(), id: id.to_string() })?;
    Ok(IncidentView {
        incident,
        findings: projection.findings_of_case(id).await?,
        actions: projection.actions_of(id).await?,
        alerts: projection.alerts_of(id).await?,
        evidence: projection.evidence_of(id).await?,
        timeline: Vec::new(),
    })
}

impl From<ProjectionError> for ApiError {
    fn from(error: ProjectionError) -> ApiError {
        let help = "stop the daemon and remove `custody.db`: it is rebuilt from the ledger at the next start".to_owned();
        ApiError::Failed { message: format!("the projection cannot be read: {error}"), help: Some(help) }
    }
}

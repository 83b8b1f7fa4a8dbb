//! Evidence of a case leaves the ledger (E1, E2): the snapshot before a termination, and the export a person asks for.

use super::{Core, CoreError, contain::Frozen};
use crate::causes::chain;
use crate::preserve::{self, Bundle, ExportRequest, Snapshot};
use age::x25519::Recipient;
use custody_model::*;
use custody_store::ledger::Draft;
use std::{path::PathBuf, sync::Arc};

impl Core {
    /// Preserves what exists only while the session lives, into `evidence/<case>/snapshot-…`.
    pub(super) async fn preserve(self: &Arc<Self>, case: &Case, frozen: &Frozen) -> Snapshot {
        let failed = |why: String| Snapshot::Failed { why, at: self.now(), took_us: 0 };
        let sessions = self.recorded(case).await;
        let request = match self.prepare(case, sessions, "snapshot", None, &frozen.by, &frozen.reason) {
            Ok(request) => ExportRequest { processes: self.attachments.processes(&frozen.scopes), ..request },
            Err(why) => return failed(why.to_string()),
        };
        let signer = match self.home.read_ledger_key() {
            Ok(signer) => signer,
            Err(why) => return failed(why.to_string()),
        };
        let (reader, case) = (self.ledger.reader(), case.clone());
        let (by, reason, case_id, session) = (request.by.clone(), request.reason.clone(), case.id, case.sessions.first().copied());
        let snapshot = tokio::task::spawn_blocking(move || preserve::snapshot(&reader, &case, &request, signer.expose()));
        let snapshot = snapshot.await.unwrap_or_else(|error| failed(error.to_string()));
        if let Snapshot::Taken { bundle, .. } = &snapshot
            && let Err(error) = self.record_export(bundle, case_id, session, &by, &reason)
        {
            return failed(error.to_string());
        }
        snapshot
    }

    /// Exports the evidence of a case, and records that raw content was looked at (R8, E2). With recipients, the bundle is one
    /// file that only they can open, and lies nowhere else.
    ///
    /// # Errors
    /// [`CoreError::Unknown`]; [`CoreError::Export`] with the reason, and then no half bag is left.
    pub async fn export(
        self: &Arc<Self>,
        by: &OperatorName,
        case: CaseId,
        out: Option<PathBuf>,
        seal_to: Vec<Recipient>,
        reason: &str,
    ) -> Result<Bundle, CoreError> {
        self.settled().await;
        let row = self.projection.case(case).await?.ok_or_else(|| CoreError::Unknown { what: "case", id: case.to_string() })?;
        let sessions = self.recorded(&row.case).await;
        let request = self.prepare(&row.case, sessions, "bundle", out, by, reason)?;
        // What still runs is evidence too.
        let scopes: Vec<Scope> = row.case.scopes.iter().cloned().chain(request.sessions.iter().map(|s| Scope::Session(*s))).collect();
        let request = ExportRequest { processes: self.attachments.processes(&scopes), ..request };
        let signer = self.home.read_ledger_key()?;
        let (reader, case) = (self.ledger.reader(), row.case);
        let (case_id, session) = (case.id, case.sessions.first().copied());
        let exported = tokio::task::spawn_blocking(move || export_for(&reader, &case, request, signer.expose(), &seal_to));
        let failed = |error: &dyn std::error::Error| CoreError::Export(chain(error));
        let bundle = exported.await.map_err(|e| failed(&e))?.map_err(|e| failed(&*e))?;
        self.record_export(&bundle, case_id, session, by, reason)?;
        Ok(bundle)
    }

    /// The sessions of a case as the ledger names them: of a corrected one all, rather more than less.
    async fn recorded(&self, case: &Case) -> Vec<SessionId> {
        let mut sessions = case.sessions.clone();
        for session in &case.sessions {
            let recorded = self.projection.recorded_as(*session).await.unwrap_or_default();
            sessions.extend(recorded.into_iter().filter(|id| !case.sessions.contains(id)));
        }
        sessions
    }

    /// Everything so far signed, and a place for the bag.
    fn prepare(
        &self,
        case: &Case,
        sessions: Vec<SessionId>,
        kind: &str,
        out: Option<PathBuf>,
        by: &OperatorName,
        reason: &str,
    ) -> Result<ExportRequest, CoreError> {
        self.ledger.sync()?;
        self.ledger.checkpoint()?;
        let own = || self.home.evidence().join(case.id.to_string()).join(format!("{kind}-{}", self.now().as_millisecond()));
        let out = out.unwrap_or_else(own);
        if let Some(parent) = out.parent() {
            std::fs::create_dir_all(parent).map_err(|source| CoreError::Io {
                doing: "make",
                path: parent.display().to_string(),
                source,
            })?;
        }
        Ok(ExportRequest {
            now: self.now(),
            out,
            by: by.clone(),
            reason: reason.to_owned(),
            sessions,
            processes: Vec::new(),
            directory: self.config.evidence.directory,
        })
    }

    fn record_export(
        &self,
        bundle: &Bundle,
        case: CaseId,
        session: Option<SessionId>,
        by: &OperatorName,
        reason: &str,
    ) -> Result<(), CoreError> {
        let detail = serde_json::json!({"by": by, "reason": reason, "path": bundle.path, "items": bundle.items, "entries": bundle.entries, "opened": bundle.opened});
        let event = Event::EvidenceExported { case, digest: bundle.digest };
        self.ledger.record(Draft { at: self.now(), session, event, detail: Some(detail), body: None })?;
        Ok(())
    }
}

/// Exports, and with recipients seals what was exported.
fn export_for(
    reader: &custody_store::ledger::Reader,
    case: &Case,
    request: ExportRequest,
    signer: &str,
    seal_to: &[Recipient],
) -> Result<Bundle, Box<dyn std::error::Error + Send + Sync>> {
    if seal_to.is_empty() {
        return Ok(preserve::export(reader, case, &request, signer)?);
    }
    let out = match request.out.extension() {
        Some(extension) if extension == "age" => request.out.clone(),
        _ => PathBuf::from(format!("{}.tar.age", request.out.display())),
    };
    let parent = out.parent().unwrap_or(std::path::Path::new("."));
    // Never at a place where anybody looks for bundles, and gone when this returns.
    let aside = tempfile::Builder::new().prefix(".custody-plain-").tempdir_in(parent)?;
    let request = ExportRequest { out: aside.path().join("bundle"), ..request };
    let bundle = preserve::export(reader, case, &request, signer)?;
    preserve::seal(&bundle.path, seal_to, &out)?;
    aside.close()?;
    Ok(Bundle { path: out, ..bundle })
}

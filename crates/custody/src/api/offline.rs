//! Reading a home while no daemon runs. Nothing is appended to the ledger; the projection catches up with it.

use super::{ApiError, CaseRow, FindingRow, IncidentView, SessionRow, SessionView, Status, queries};
use crate::{
    config::{Config, Upstream},
    trust::{Clients, Home, Standing},
};
use custody_engine::detect::Silenced;
use custody_model::{CaseId, CaseState, FindingId, LeafIndex, ServerName, SessionId};
use custody_store::{
    ledger::{LedgerError, Reader},
    projection::Projection,
};
use jiff::Timestamp;
use std::{fs::File, path::Path, time::Duration};

/// Entries applied in one transaction.
const AT_ONCE: usize = 512;

/// Tries for the lock, 20 ms apart.
const PATIENCE: usize = 50;

/// A home, for reading.
pub struct Offline {
    home: Home,
    config: Config,
    projection: Projection,
    reader: Reader,
}

impl Offline {
    /// Opens a home for reading.
    ///
    /// # Errors
    /// [`ApiError::Failed`] with what to do about it.
    pub async fn open(home: &Home, config: Config) -> Result<Offline, ApiError> {
        let failed = |message: String| ApiError::Failed { message, help: None };
        crate::redact::load(config.redaction.patterns.as_deref()).map_err(failed)?;
        let identity = home.read_daemon_key().map_err(|error| failed(error.to_string()))?;
        let identity = identity.expose().parse().map_err(|why: &str| failed(format!("keys/daemon.age is no age identity: {why}")))?;
        let ledger = home.ledger();
        let reader = Reader::open(&ledger, vec![identity])?;
        // Only one process makes the projection or brings it up to date. A daemon that writes does it itself.
        let alone = tokio::task::spawn_blocking(move || lock(&ledger)).await.map_err(|error| failed(error.to_string()))?;
        let projection = Projection::open(&home.database()).await?;
        let mut next = LeafIndex(projection.applied().await?);
        while alone.is_some() {
            let from = next;
            let ahead = reader.clone();
            let part = tokio::task::spawn_blocking(move || ahead.open_entries(from).take(AT_ONCE).collect::<Result<Vec<_>, _>>())
                .await
                .map_err(|error| failed(error.to_string()))??;
            let Some(last) = part.last() else { break };
            next = LeafIndex(last.leaf.0 + 1);
            projection.apply_many(&part).await?;
        }
        Ok(Offline { home: home.clone(), config, projection, reader })
    }

    /// As [`super::Service::status`].
    ///
    /// # Errors
    /// [`ApiError::Failed`]; so for all below.
    pub async fn status(&self) -> Result<Status, ApiError> {
        let servers = self.config.servers.iter().map(|(name, server)| super::ServerStatus {
            name: ServerName(name.clone()),
            mode: server.mode,
            upstream: match server.upstream {
                Upstream::Http { .. } => "http",
                Upstream::Stdio { .. } => "stdio",
            }
            .to_owned(),
            authorization: server.authorization,
        });
        let clients = Clients::open(&self.home.clients()).map_err(|error| ApiError::Failed { message: error.to_string(), help: None })?;
        let freezes = self.projection.active_freezes().await?;
        let cases = self.projection.cases().await?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            virtual_clock: None,
            at: Timestamp::now(),
            standing: Standing::assess(&self.home, self.config.grade),
            servers: servers.collect(),
            entries: self.projection.applied().await?,
            clients: clients.records().into_iter().map(|record| record.principal).collect(),
            frozen: freezes.into_iter().flat_map(|row| row.scopes.into_iter().map(move |scope| (scope, row.action))).collect(),
            live: 0,
            open_cases: cases.iter().filter(|row| row.case.state != CaseState::Closed).count(),
            rules: None,
        })
    }

    /// As [`super::Service::rules`]: what the files say now.
    #[allow(clippy::missing_errors_doc)]
    pub async fn rules(&self) -> Result<crate::core::RulesView, ApiError> {
        let (rules, _) = crate::core::load_rules(&self.config.rules, self.config.text.expose())?;
        let silenced = self.projection.suppressions(Timestamp::now()).await?;
        Ok(crate::core::RulesView {
            digest: rules.digest(),
            since: None,
            dir: self.config.rules.dir.clone(),
            rules: crate::core::rule_rows(&rules),
            silenced: silenced.into_iter().map(|suppression| Silenced { suppression, hidden: 0 }).collect(),
            fault: None,
        })
    }

    /// As [`super::Service::sessions`].
    #[allow(clippy::missing_errors_doc)]
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, ApiError> {
        queries::sessions(&self.projection).await
    }

    /// As [`super::Service::session`]; a unique prefix is enough.
    #[allow(clippy::missing_errors_doc)]
    pub async fn session(&self, id: &str) -> Result<SessionView, ApiError> {
        let prefix = super::router::prefix("session", id, SessionId::PREFIX)?;
        let id = super::router::only("session", id, self.projection.sessions_like(&prefix).await?)?;
        queries::session(&self.projection, self.reader.clone(), id).await
    }

    /// As [`super::Service::context`] without a reason; a unique prefix is enough.
    #[allow(clippy::missing_errors_doc)]
    pub async fn context(&self, id: &str, request: &super::ContextRequest) -> Result<custody_engine::investigate::Context, ApiError> {
        let prefix = super::router::prefix("session", id, SessionId::PREFIX)?;
        let id = super::router::only("session", id, self.projection.sessions_like(&prefix).await?)?;
        let context = super::context::read(&self.projection, self.reader.clone(), id, request).await?;
        Ok(super::context::previews(context))
    }

    /// As [`super::Service::findings`].
    #[allow(clippy::missing_errors_doc)]
    pub async fn findings(&self, open: bool) -> Result<Vec<FindingRow>, ApiError> {
        super::findings::read(&self.projection, open).await
    }

    /// As [`super::Service::finding`]; a unique prefix is enough.
    #[allow(clippy::missing_errors_doc)]
    pub async fn finding(&self, id: &str) -> Result<FindingRow, ApiError> {
        let prefix = super::router::prefix("finding", id, FindingId::PREFIX)?;
        let id = super::router::only("finding", id, self.projection.findings_like(&prefix).await?)?;
        self.projection.finding(id).await?.ok_or_else(|| ApiError::NotFound { what: "finding".into(), id: id.to_string() })
    }

    /// As [`super::Service::find`].
    #[allow(clippy::missing_errors_doc)]
    pub async fn find(&self, request: super::FindRequest) -> Result<custody_store::projection::Page, ApiError> {
        super::privacy::search(&self.projection, request, Timestamp::now()).await
    }

    /// As [`super::Service::manifest`].
    #[allow(clippy::missing_errors_doc)]
    pub async fn manifest(&self) -> Result<custody_engine::manifest::View, ApiError> {
        let pins = crate::core::pins_of(&self.projection.rulings().await?);
        Ok(pins.view(Timestamp::now()))
    }

    /// As [`super::Service::incidents`].
    #[allow(clippy::missing_errors_doc)]
    pub async fn incidents(&self) -> Result<Vec<CaseRow>, ApiError> {
        queries::incidents(&self.projection).await
    }

    /// As [`super::Service::incident`]; a unique prefix is enough.
    #[allow(clippy::missing_errors_doc)]
    pub async fn incident(&self, id: &str) -> Result<IncidentView, ApiError> {
        let prefix = super::router::prefix("incident", id, CaseId::PREFIX)?;
        let id = super::router::only("incident", id, self.projection.cases_like(&prefix).await?)?;
        queries::incident(&self.projection, self.reader.clone(), id).await
    }
}

/// The ledger's lock, unless another process keeps it longer than reading takes.
fn lock(ledger: &Path) -> Option<File> {
    let file = File::open(ledger.join("ledger.json")).ok()?;
    for _ in 0..PATIENCE {
        if file.try_lock().is_ok() {
            return Some(file);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> ApiError {
        let help = match &error {
            LedgerError::Locked { .. } => "another custody process works with this home; wait for it, or stop it",
            _ => "`custody verify` names the place and the reason",
        };
        ApiError::Failed { message: format!("the ledger cannot be used: {error}"), help: Some(help.into()) }
    }
}

//! What people and scripts ask: status, and through [`Core::projection`] everything else.

use super::{Core, CoreError};
use crate::telemetry::State;
use crate::trust::Standing;
use custody_model::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of things.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Program version.
    pub version: String,
    /// What the daemon's virtual clock shows; absent with the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_clock: Option<super::ClockReading>,
    /// Now.
    pub at: Timestamp,
    /// How far the record can be trusted here (observe-grade or enforcing), and what was checked.
    pub standing: Standing,
    /// Servers with their mode.
    pub servers: Vec<ServerStatus>,
    /// Entries in the ledger.
    pub entries: u64,
    /// Adopted clients.
    pub clients: Vec<PrincipalName>,
    /// What is frozen, and by which action.
    pub frozen: Vec<(Scope, ActionId)>,
    /// Live streams, processes and shims.
    pub live: usize,
    /// Cases that are not closed.
    pub open_cases: usize,
    /// The rules in force; absent while no daemon runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<super::RulesStatus>,
}

/// One configured server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: ServerName,
    /// `observe` or `enforce`.
    pub mode: crate::config::Mode,
    /// `http` or `stdio`.
    pub upstream: String,
    /// `own`: every agent is known. `transparent`: agents authenticate to the server, and most are *unverified* here.
    #[serde(default)]
    pub authorization: crate::config::Authorization,
}

impl Core {
    /// The state of things.
    ///
    /// # Errors
    /// [`CoreError::Projection`].
    pub async fn status(&self) -> Result<Status, CoreError> {
        self.settled().await;
        let servers = self.config.servers.iter().map(|(name, server)| ServerStatus {
            name: ServerName(name.clone()),
            mode: server.mode,
            upstream: match server.upstream {
                crate::config::Upstream::Http { .. } => "http",
                crate::config::Upstream::Stdio { .. } => "stdio",
            }
            .to_owned(),
            authorization: server.authorization,
        });
        let cases = self.projection.cases().await?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            virtual_clock: self.clock.reading(),
            at: self.now(),
            standing: Standing::assess(&self.home, self.grade()),
            servers: servers.collect(),
            entries: self.ledger.size(),
            clients: self.clients.records().into_iter().map(|record| record.principal).collect(),
            frozen: self.gate.lock().scopes().flat_map(|(scope, actions)| actions.iter().map(|action| (scope.clone(), *action))).collect(),
            live: self.attachments.len(),
            open_cases: cases.iter().filter(|row| row.case.state != CaseState::Closed).count(),
            rules: Some(self.rules_status()),
        })
    }

    /// The figures, as Prometheus reads them.
    pub fn figures(&self) -> String {
        let entries = self.ledger.size();
        self.metrics.text(State {
            entries,
            behind: entries.saturating_sub(*self.applied.borrow()),
            frozen: self.gate.lock().scopes().count(),
            live: self.attachments.len(),
            held: self.held().len(),
        })
    }

    /// Whether a message that came now could be recorded.
    pub fn is_ready(&self) -> bool {
        !self.stop.is_cancelled() && self.ledger.is_usable()
    }

    fn grade(&self) -> crate::trust::Grade {
        match self.config.grade {
            crate::config::Grade::Observe => crate::trust::Grade::Observe,
            crate::config::Grade::Enforcing => crate::trust::Grade::Enforcing,
        }
    }
}

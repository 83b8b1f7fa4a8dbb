//! The daemon when one runs, else the home itself.

use super::{Failure, code, commands::Place};
use crate::{
    api::{
        ActRequest, ApiClient, CaseRow, ContainRequest, DaemonFile, ExportRequest, Exported, IncidentView, Offline, Service, SessionRow,
        SessionView, Status, UndoRequest, UnsuppressRequest, resolve_action, resolve_case, resolve_session,
    },
    core::{BaselineRequest, Core, LearnRequest, Learned, ManifestOrder, RulesView, SuppressRequest},
    trust::Home,
};
use custody_engine::detect::Silenced;
use custody_engine::manifest::{Shown, View};
use custody_model::{OperatorName, Receipt, SessionId, Suppression};
use std::sync::Arc;

/// Who answers.
pub(super) enum Backend {
    /// The daemon, over its operators' listener.
    Daemon { client: Box<ApiClient>, file: DaemonFile },
    /// Nobody runs: the home is read.
    Offline(Box<Offline>),
    /// Nobody runs: the home is opened for work, in this process, until it is closed again.
    Core { core: Arc<Core>, by: OperatorName },
}

impl Backend {
    /// For reading.
    pub async fn connect(place: &Place, home: &Home) -> Result<Backend, Failure> {
        if let Some(file) = DaemonFile::running(home) {
            let credential = place.credential(home)?;
            return Ok(Backend::Daemon { client: Box::new(ApiClient::of(&file, credential.token)?), file });
        }
        let config = place.config(home)?;
        Ok(Backend::Offline(Box::new(Offline::open(home, config).await?)))
    }

    /// For what changes state: an operator's credential is needed, with a daemon and without one.
    pub async fn connect_to_act(place: &Place, home: &Home) -> Result<Backend, Failure> {
        let (by, credential) = place.authorise(home)?;
        if let Some(file) = DaemonFile::running(home) {
            return Ok(Backend::Daemon { client: Box::new(ApiClient::of(&file, credential.token)?), file });
        }
        let core = Core::open(home, place.config(home)?).await?;
        Ok(Backend::Core { core, by })
    }

    pub fn daemon(&self) -> Option<&DaemonFile> {
        match self {
            Backend::Daemon { file, .. } => Some(file),
            Backend::Offline(_) | Backend::Core { .. } => None,
        }
    }

    pub async fn status(&self) -> Result<Status, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.status().await?,
            Backend::Offline(home) => home.status().await?,
            Backend::Core { core, .. } => Service::status(core.clone()).await?,
        })
    }

    pub async fn sessions(&self) -> Result<Vec<SessionRow>, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.sessions().await?,
            Backend::Offline(home) => home.sessions().await?,
            Backend::Core { core, .. } => Service::sessions(core.clone()).await?,
        })
    }

    pub async fn session(&self, id: &str) -> Result<SessionView, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.session(id).await?,
            Backend::Offline(home) => home.session(id).await?,
            Backend::Core { core, .. } => Service::session(core.clone(), resolve_session(core, id).await?).await?,
        })
    }

    /// The full id of a session.
    pub async fn session_id(&self, id: &str) -> Result<SessionId, Failure> {
        Ok(match id.parse() {
            Ok(id) => id,
            Err(_) => self.session(id).await?.session.id,
        })
    }

    pub async fn incidents(&self) -> Result<Vec<CaseRow>, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.incidents().await?,
            Backend::Offline(home) => home.incidents().await?,
            Backend::Core { core, .. } => Service::incidents(core.clone()).await?,
        })
    }

    pub async fn incident(&self, id: &str) -> Result<IncidentView, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.incident(id).await?,
            Backend::Offline(home) => home.incident(id).await?,
            Backend::Core { core, .. } => Service::incident(core.clone(), resolve_case(core, id).await?).await?,
        })
    }

    pub async fn manifest(&self) -> Result<View, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.manifest().await?,
            Backend::Offline(home) => home.manifest().await?,
            Backend::Core { core, .. } => Service::manifest(core.clone()).await?,
        })
    }

    pub async fn order_manifest(&self, order: ManifestOrder) -> Result<Vec<Shown>, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.order_manifest(&order).await?),
            Backend::Core { core, by } => Ok(Service::order_manifest(core.clone(), by.clone(), order).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn contain(&self, request: ContainRequest) -> Result<Vec<Receipt>, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.contain(&request).await?),
            Backend::Core { core, by } => {
                Ok(Service::contain(core.clone(), by.clone(), request.target, request.reason, request.options).await?)
            }
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn undo(&self, request: UndoRequest) -> Result<Receipt, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.undo(&request).await?),
            Backend::Core { core, by } => {
                let action = resolve_action(core, &request.action).await?;
                Ok(Service::undo(core.clone(), by.clone(), action, request.reason).await?)
            }
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn export(&self, request: ExportRequest) -> Result<Exported, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.export(&request).await?),
            Backend::Core { core, by } => {
                let case = resolve_case(core, &request.case).await?;
                Ok(Service::export(core.clone(), by.clone(), case, request).await?)
            }
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn acted(&self, request: ActRequest) -> Result<(), Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.acted(&request).await?),
            Backend::Core { core, by } => Ok(Service::acted(core.clone(), by.clone(), request.verb, request.detail).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn learn(&self, request: LearnRequest) -> Result<Learned, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.learn(&request).await?),
            Backend::Core { core, by } => Ok(Service::learn(core.clone(), by.clone(), request).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn rules(&self) -> Result<RulesView, Failure> {
        Ok(match self {
            Backend::Daemon { client, .. } => client.rules().await?,
            Backend::Offline(home) => home.rules().await?,
            Backend::Core { core, .. } => core.rules_view(),
        })
    }

    pub async fn suppress_rule(&self, request: SuppressRequest) -> Result<Suppression, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.suppress_rule(&request).await?),
            Backend::Core { core, by } => Ok(Service::suppress_rule(core.clone(), by.clone(), request).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn baseline(&self) -> Result<Option<Learned>, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.baseline().await?),
            Backend::Core { core, .. } => Ok(Service::baseline(&**core)),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn set_baseline(&self, request: BaselineRequest) -> Result<Option<Learned>, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.set_baseline(&request).await?),
            Backend::Core { core, by } => Ok(Service::set_baseline(core.clone(), by.clone(), request).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    pub async fn unsuppress_rule(&self, request: UnsuppressRequest) -> Result<Vec<Silenced>, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.unsuppress_rule(&request).await?),
            Backend::Core { core, by } => Ok(Service::unsuppress_rule(core.clone(), by.clone(), request.heard(), request.reason).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    /// Ends in order: alerts delivered or given up, everything signed and synced.
    pub async fn close(self) {
        if let Backend::Core { core, .. } = self {
            core.close().await;
        }
    }
}

pub(super) fn reading_only() -> Failure {
    Failure::new(code::OTHER, "bug", "this command opened the home for reading only", "")
}

//! Starts the agents' side and stops it in order.

use super::http::{Gateway, serve};
use super::identity::Origins;
use super::tls::{Tls, TlsError};
use crate::core::Core;
use crate::trust::loopback::{Names, RemoteAddress, check_listen};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Why the agents' side cannot start.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StartError {
    /// The address is not on this machine, and nobody allowed that.
    #[error(transparent)]
    Remote(#[from] RemoteAddress),
    /// The certificate cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    #[diagnostic(help("another program may hold it; `agents.listen` in custody.toml names the address"))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The agents' side at work.
pub struct Running {
    agents: SocketAddr,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Binds the agents' listener and serves it.
///
/// # Errors
/// [`StartError`]; then nothing is left running.
pub async fn start(core: &Arc<Core>) -> Result<Running, StartError> {
    let config = &core.config().agents;
    check_listen("agents", config.listen, config.allow_remote || config.tls.is_some())?;
    let tls = config.tls.as_ref().map(|files| Tls::load("agents", files)).transpose()?;
    let listener = TcpListener::bind(config.listen).await.map_err(|source| StartError::Listen { address: config.listen, source })?;
    let agents = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
    let origins = Origins::new(config.public_url.as_deref(), agents, &config.allowed_hosts, tls.is_some());
    let gateway = Gateway::new(core.clone(), Names::new(&config.allowed_hosts), origins);
    raise_open_files();
    let stop = CancellationToken::new();
    if let Some(tls) = &tls {
        core.spawn(tls.clone().follow(core.stopping()));
    }
    let serving = tokio::spawn(serve(gateway, listener, tls.clone(), stop.clone(), core.config().limits.drain()));
    Ok(Running { agents, tls, stop, serving })
}

/// As many open files as this account may have: each connection is one.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

impl Running {
    /// The address agents connect to.
    pub fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// Its encryption, to reload it.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Takes no more connections, lets running requests end, stops the servers that Custody started.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the agents' side did not stop in order");
        }
    }
}

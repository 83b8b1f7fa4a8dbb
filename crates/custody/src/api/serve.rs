//! Serves a router on a listener: bounded connections, bounded headers, graceful end.

use crate::gateway::tls::{self, Tls};
use axum::{Router, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 128;
/// A client that does not finish its headers is let go.
const HEADERS: Duration = Duration::from_secs(10);
/// How long open requests may take to end when the daemon stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A listener that is being served.
pub struct Listening {
    /// Its address, with the port that was taken.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Listening {
    /// Waits until the listener has ended after its token was cancelled.
    pub async fn ended(self) {
        let _ = self.task.await;
    }
}

/// Serves until `stop` is cancelled; then open requests may end within five seconds.
///
/// # Errors
/// When the listener has no address.
pub fn serve(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>, stop: CancellationToken) -> std::io::Result<Listening> {
    let address = listener.local_addr()?;
    Ok(Listening { address, task: tokio::spawn(accept(listener, router, tls, stop)) })
}

async fn accept(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                // Out of descriptors: wait until some are free, do not spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let (router, tls, stop) = (router.clone(), tls.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            let Some(stream) = tls::secure(tls.as_deref(), stream, &stop).await else { return };
            let router = TowerToHyperService::new(router);
            let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(from));
                hyper::service::Service::call(&router, request)
            });
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEADERS).serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(DRAIN, connection).await;
                }
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

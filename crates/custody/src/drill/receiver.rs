//! The far end of the alert: a real HTTP server that keeps what it is sent.

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Largest alert that is taken.
const ALERT_BYTES: usize = 1024 * 1024;

/// One request that arrived.
///
/// Its signature is checked here anew, from what the documentation says, and not by the code that made it.
#[derive(Debug, Clone)]
pub struct Received {
    /// When.
    pub at: Timestamp,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Received {
    /// Whether `Custody-Signature` is the HMAC-SHA-256 of `Custody-Timestamp`, `.` and the body under this secret.
    pub fn signed_with(&self, secret: &str) -> bool {
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(timestamp), Some(signature)) = (header("custody-timestamp"), header("custody-signature")) else { return false };
        let Some(signature) = signature.strip_prefix("v1=").and_then(|digits| hex::decode(digits).ok()) else { return false };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        mac.verify_slice(&signature).is_ok()
    }
}

type Inbox = Arc<Mutex<Vec<Received>>>;

/// The receiver, listening.
pub struct Receiver {
    address: SocketAddr,
    inbox: Inbox,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Receiver {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub async fn listen() -> io::Result<Receiver> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (inbox, stop) = (Inbox::default(), CancellationToken::new());
        let router =
            Router::new().route("/alert", post(take)).layer(axum::extract::DefaultBodyLimit::max(ALERT_BYTES)).with_state(inbox.clone());
        let stopping = stop.clone();
        let task = tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopping.cancelled_owned()).await });
        Ok(Receiver { address, inbox, stop, task })
    }

    /// Where alerts go.
    pub fn url(&self) -> String {
        format!("http://{}/alert", self.address)
    }

    /// Stops and hands over what came.
    pub async fn close(self) -> Vec<Received> {
        self.stop.cancel();
        // It ends with its last connection; what it says at the end changes nothing about what arrived.
        _ = self.task.await;
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> &'static str {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).push(Received { at: Timestamp::now(), headers, body });
    "ok"
}

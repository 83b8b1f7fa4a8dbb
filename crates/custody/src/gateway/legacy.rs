//! HTTP+SSE (revision 2024-11-05): an agent opens a stream, reads on its first event where to post, and reads its answers on the
//! stream. The address is rewritten to one of Custody's own: `/mcp/<server>/messages/<token>`.
//!
//! The stream knows itself by that first event, so nothing needs to be configured. Nothing is resumed: the revision has no such thing.

use super::events::{Piece, event_of};
use super::reply::UPSTREAM_FAILED;
use super::reply::json_rpc_error;
use crate::core::{Call, Core, Peer};
use custody_engine::wire::{self, IdKey, splice::Spliced};
use custody_model::{PrincipalName, ServerName, Shape, Splice};
use http::Uri;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;
use url::Url;

/// Name of the event that says where to post.
pub const ENDPOINT: &str = "endpoint";

/// The open streams of one server behind HTTP, by their token.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<String, Arc<Open>>>>);

/// One open stream.
pub struct Open {
    /// By which the agent's messages find it; also the protocol session of its messages.
    pub token: String,
    /// Whose it is.
    pub principal: PrincipalName,
    /// Where the server wants messages.
    pub endpoint: Uri,
    out: mpsc::Sender<Piece>,
    pending: Mutex<HashMap<IdKey, Call>>,
}

/// Keeps a stream open; dropped, it can no longer be posted to.
pub struct Registered {
    streams: Streams,
    /// The stream.
    pub open: Arc<Open>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.open.token);
    }
}

/// Why an address is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadEndpoint {
    /// It is none.
    #[error("`endpoint` is not an address")]
    NoAddress,
    /// It leads elsewhere: credentials of this server would go to another.
    #[error("`endpoint` leads to another origin")]
    OtherOrigin,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Open>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a stream whose server named `endpoint`. Its events go to `out`.
    pub fn register(&self, principal: PrincipalName, endpoint: Uri, out: mpsc::Sender<Piece>) -> Registered {
        let open = Arc::new(Open { token: fresh_token(), principal, endpoint, out, pending: Mutex::default() });
        self.lock().insert(open.token.clone(), open.clone());
        Registered { streams: self.clone(), open }
    }

    /// The stream of a token. Another principal's is as unknown as none.
    pub fn find(&self, token: &str, principal: &PrincipalName) -> Option<Arc<Open>> {
        self.lock().get(token).filter(|open| open.principal == *principal).cloned()
    }
}

impl Open {
    fn pending(&self) -> MutexGuard<'_, HashMap<IdKey, Call>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request before it is sent, so that its answer is known. `false`: too many wait.
    pub fn expect(&self, call: &Call, limit: usize) -> bool {
        let Some(id) = call.id.as_deref().filter(|_| call.is_request()) else { return true };
        let mut pending = self.pending();
        let room = pending.len() < limit;
        if room {
            pending.insert(wire::id_key(id), call.clone());
        }
        room
    }

    /// Whether a request waits for its answer.
    pub fn is_awaited(&self) -> bool {
        !self.pending().is_empty()
    }

    /// The request waits no longer: it was not sent, or refused.
    pub fn forget(&self, call: &Call) {
        if let Some(id) = call.id.as_deref().filter(|_| call.is_request()) {
            self.pending().remove(&wire::id_key(id));
        }
    }

    /// The request that a message of the server answers.
    pub fn answered(&self, message: &[u8], limits: &wire::Limits) -> Option<Call> {
        if self.pending().is_empty() {
            return None;
        }
        let frame = wire::read_frame(message, limits);
        let id = frame.id.filter(|_| matches!(frame.shape, Shape::Result | Shape::Error))?;
        self.pending().remove(&wire::id_key(id.of(message)))
    }

    /// Tells the agent something on its stream. `false`: the stream is gone.
    pub async fn tell(&self, message: &[u8]) -> bool {
        self.out.send(Piece::small(event_of(message))).await.is_ok()
    }

    /// The server's stream is over: what waits is answered.
    pub async fn fail_pending(&self, core: &Core, peer: &Peer) {
        let waiting: Vec<Call> = self.pending().drain().map(|(_, call)| call).collect();
        for call in waiting {
            let why = format!("server `{}` closed the stream before it answered", peer.server);
            let body = json_rpc_error(call.id.as_deref(), UPSTREAM_FAILED, &why, None);
            core.told(peer, Some(&call), &body);
            let _ = self.tell(&body).await;
        }
    }
}

/// Where a server wants messages, as it said on the stream that was opened at `stream`. Never at another origin.
///
/// # Errors
/// [`BadEndpoint`].
pub fn resolve(stream: &Uri, said: &[u8]) -> Result<Url, BadEndpoint> {
    let said = std::str::from_utf8(said).map_err(|_| BadEndpoint::NoAddress)?;
    let stream = Url::parse(&stream.to_string()).map_err(|_| BadEndpoint::NoAddress)?;
    let endpoint = stream.join(said).map_err(|_| BadEndpoint::NoAddress)?;
    if endpoint.origin() != stream.origin() || !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Err(BadEndpoint::OtherOrigin);
    }
    Ok(endpoint)
}

/// What the agent reads instead of the server's own address: a path at Custody, with the server's query, where clients look for the
/// session.
pub fn rewritten(server: &ServerName, token: &str, endpoint: &Url) -> Spliced {
    let query = endpoint.query().map(|query| format!("?{query}")).unwrap_or_default();
    Spliced { bytes: format!("{}{query}", path(server, token)).into_bytes(), splices: vec![Splice::Endpoint] }
}

/// Where the messages of a stream are posted.
pub fn path(server: &ServerName, token: &str) -> String {
    format!("/mcp/{server}/messages/{token}")
}

/// The event that says so.
pub fn endpoint_event(address: &[u8]) -> Vec<u8> {
    let mut event = format!("event: {ENDPOINT}\ndata: ").into_bytes();
    event.extend_from_slice(address);
    event.extend_from_slice(b"\n\n");
    event
}

/// A token that nobody guesses.
pub fn fresh_token() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(said: &str) -> Result<String, BadEndpoint> {
        let url = resolve(&Uri::from_static("http://127.0.0.1:3001/a/sse"), said.as_bytes())?;
        Ok(String::from_utf8(rewritten(&"s".into(), "t0", &url).bytes).unwrap())
    }

    #[test]
    fn an_endpoint_becomes_an_address_of_custody() {
        assert_eq!(at("/message?sessionId=7"), Ok("/mcp/s/messages/t0?sessionId=7".into()));
        assert_eq!(at("message"), Ok("/mcp/s/messages/t0".into()));
        assert_eq!(at("http://127.0.0.1:3001/m?x=1&y=\n2"), Ok("/mcp/s/messages/t0?x=1&y=2".into()));
        for elsewhere in
            ["http://127.0.0.1:3002/m", "https://127.0.0.1:3001/m", "//evil.example/m", "file:///etc/passwd", "http://u:p@127.0.0.1:3001/m"]
        {
            assert_eq!(at(elsewhere), Err(BadEndpoint::OtherOrigin), "{elsewhere}");
        }
        assert_eq!(at("http://"), Err(BadEndpoint::NoAddress));
    }

    #[test]
    fn a_stream_is_its_principals_and_ends_with_its_guard() {
        let streams = Streams::default();
        let (out, _events) = mpsc::channel(1);
        let registered = streams.register("alice".into(), Uri::from_static("http://127.0.0.1/m"), out);
        let token = registered.open.token.clone();
        assert!(streams.find(&token, &"alice".into()).is_some());
        assert!(streams.find(&token, &"mallory".into()).is_none());
        drop(registered);
        assert!(streams.find(&token, &"alice".into()).is_none());
    }
}

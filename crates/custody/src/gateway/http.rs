//! The agents' listener: `POST`, `GET` and `DELETE` on `/mcp/<server>`, `POST` on the messages address of an HTTP+SSE stream, nothing
//! else.
//!
//! One task per connection, owned by the [`TaskTracker`] of [`serve`]; streams belong to their connection.

use super::answers::Answers;
use super::coding::Coding;
use super::identity::{Identities, Origins};
use super::intake::Intake;
use super::places::{Kind, Places};
use super::reply::{self, Body};
use super::tls::{self, Tls};
use super::upstream::Upstream;
use crate::config::Limits;
use crate::core::{Core, Inbound, Peer};
use crate::trust::loopback::Names;
use bytes::Bytes;
use custody_engine::wire::splice::Spliced;
use custody_model::*;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A body of so many bytes needs no place of its own: connections are counted.
pub(super) const SMALL_BODY: usize = 64 << 10;
/// Of a body that is too large, so much is still read and thrown away: most clients see an answer only once they have sent everything.
const DISCARDED: usize = 256 << 20;

/// Everything the agents' side needs.
pub struct Gateway {
    core: Arc<Core>,
    hosts: Names,
    identities: Identities,
    upstreams: BTreeMap<ServerName, Upstream>,
    places: Places,
    /// Bytes for large bodies.
    bodies: Arc<Semaphore>,
    /// The listener is closed: what is not needed ends.
    draining: CancellationToken,
}

/// One accepted connection, and whose keys it has shown.
#[derive(Debug, Clone)]
struct Connection {
    id: ConnectionId,
    address: SocketAddr,
    principals: Arc<Mutex<BTreeSet<PrincipalName>>>,
}

/// A coded body.
pub struct Coded {
    /// `Content-Encoding`.
    pub coding: HeaderValue,
    /// The body.
    pub bytes: Bytes,
}

/// One request on its way: who, to which server, with which hints.
pub struct Exchange {
    /// Who sends, fixed for the connection.
    pub peer: Peer,
    /// Head of the request.
    pub head: Parts,
    /// `Mcp-Session-Id`, if sent.
    pub mcp_session: Option<String>,
    /// The stream of HTTP+SSE whose messages address this is.
    pub stream: Option<String>,
    /// The body as it was sent, where it was coded.
    pub coded: Option<Coded>,
    /// Cancelled at shutdown: a stream on which nothing waits ends then.
    pub draining: CancellationToken,
    /// Bytes of its body, if that is a large one.
    _room: Option<OwnedSemaphorePermit>,
}

impl Exchange {
    /// A message of this request, to be decided.
    pub fn inbound<'a>(&'a self, bytes: &'a [u8], spliced: Option<&'a Spliced>) -> Inbound<'a> {
        Inbound { peer: &self.peer, mcp_session: self.mcp_session.as_deref(), headers: Some(&self.head.headers), bytes, spliced }
    }
}

impl Gateway {
    /// Prepares the upstream of every configured server. Starts none of them.
    pub fn new(core: Arc<Core>, hosts: Names, origins: Origins) -> Arc<Self> {
        let identities = Identities::new(core.clone(), origins);
        let answers = Answers::new(&core.config().limits);
        let upstreams = core
            .config()
            .servers
            .iter()
            .map(|(name, server)| {
                let name = ServerName(name.clone());
                let upstream = Upstream::new(&name, server, core.clone(), identities.authorization(&name), &answers);
                (name, upstream)
            })
            .collect();
        let limits = &core.config().limits;
        let (places, bodies) = (Places::new(limits), Arc::new(Semaphore::new(limits.bodies_bytes)));
        Arc::new(Gateway { core, hosts, identities, upstreams, places, bodies, draining: CancellationToken::new() })
    }

    async fn handle(self: Arc<Self>, connection: &Connection, request: Request<Incoming>) -> Response<Body> {
        match self.admit(connection, request).await {
            Ok(response) | Err(response) => response,
        }
    }

    /// Address, host, credential, server: then the method's own path.
    async fn admit(self: Arc<Self>, connection: &Connection, request: Request<Incoming>) -> Result<Response<Body>, Response<Body>> {
        let (head, body) = request.into_parts();
        // What reads requests takes up to twice as much at a time.
        let limit = self.core.config().limits.header_bytes;
        if head_size(&head) > limit {
            let why = format!("the head of a request may have {limit} bytes (limits.header_bytes)");
            return Err(reply::refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &why));
        }
        if let Err(why) = self.hosts.check(&head.uri, &head.headers) {
            return Err(reply::refuse(StatusCode::FORBIDDEN, &why.to_string()));
        }
        if let Some(metadata) = self.identities.published(&head).await {
            return Ok(metadata);
        }
        let identity = self.identities.of(&head, connection.address).await?;
        connection.principals.lock().unwrap_or_else(PoisonError::into_inner).insert(identity.principal.clone());
        if let Some(intake) = Intake::of(head.uri.path()) {
            let place = self.places.take(&identity.principal, Kind::Call).map_err(|full| full.response())?;
            return Ok(place.with(self.take_in(intake, &identity, connection, &head, body).await?));
        }
        let Some((server, upstream, stream)) = self.route(head.uri.path()) else {
            return Err(reply::refuse(StatusCode::NOT_FOUND, "no such server; see `custody status`"));
        };
        let peer = Peer {
            identity,
            server: server.clone(),
            transport: if stream.is_some() { Transport::Sse } else { Transport::Http },
            connection: connection.id,
            process: None,
            source: connection.address.to_string(),
            hint: text(&head.headers, "custody-session").map(str::to_owned),
        };
        let mcp_session = text(&head.headers, "mcp-session-id").map(str::to_owned);
        let kind = if head.method == Method::GET { Kind::Stream } else { Kind::Call };
        let place = self.places.take(&peer.identity.principal, kind).map_err(|full| full.response())?;
        let exchange = Exchange { peer, head, mcp_session, stream, coded: None, draining: self.draining.clone(), _room: None };
        Ok(place.with(self.exchange(upstream, exchange, body).await?))
    }

    async fn exchange(&self, upstream: &Upstream, mut exchange: Exchange, body: Incoming) -> Result<Response<Body>, Response<Body>> {
        match exchange.head.method {
            Method::POST if exchange.stream.is_some() => {
                let bytes = self.read_message(&mut exchange, body).await?;
                upstream.post_to_stream(exchange, bytes).await
            }
            _ if exchange.stream.is_some() => Err(reply::not_allowed("POST")),
            Method::POST => {
                let bytes = self.read_message(&mut exchange, body).await?;
                upstream.post(exchange, bytes).await
            }
            Method::GET => upstream.listen(exchange).await,
            Method::DELETE => upstream.end(exchange).await,
            _ => Err(reply::not_allowed("POST, GET, DELETE")),
        }
    }

    /// What a host tells beside its messages.
    async fn take_in(
        &self,
        intake: Intake,
        identity: &Identity,
        connection: &Connection,
        head: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Response<Body>> {
        if head.method != Method::POST {
            return Err(reply::not_allowed("POST"));
        }
        let started = tokio::time::Instant::now();
        let _room = self.room_for(&body).await?;
        let within = self.core.config().limits.body().saturating_sub(started.elapsed());
        let bytes = self.read_body(body, within).await?;
        if bytes.len() > intake.limit() {
            let why = format!("at most {} bytes are taken here", intake.limit());
            return Err(reply::refuse(StatusCode::PAYLOAD_TOO_LARGE, &why));
        }
        Ok(intake.take(&self.core, identity, &connection.address.to_string(), &head.headers, bytes))
    }

    /// `/mcp/<server>`, and for HTTP+SSE `/mcp/<server>/messages/<stream>`.
    fn route(&self, path: &str) -> Option<(&ServerName, &Upstream, Option<String>)> {
        let path = path.strip_prefix("/mcp/")?;
        let (name, stream) = match path.split_once('/') {
            None => (path, None),
            Some((name, rest)) => (name, Some(rest.strip_prefix("messages/")?.to_owned())),
        };
        let (server, upstream) = self.upstreams.get_key_value(&ServerName::from(name))?;
        Some((server, upstream, stream))
    }

    /// The body without its coding.
    async fn read_message(&self, exchange: &mut Exchange, body: Incoming) -> Result<Bytes, Response<Body>> {
        let started = tokio::time::Instant::now();
        exchange._room = self.room_for(&body).await?;
        let bytes = self.read_body(body, self.core.config().limits.body().saturating_sub(started.elapsed())).await?;
        let headers = &mut exchange.head.headers;
        let limit = self.core.config().limits.frame_bytes;
        let Some(coding) = Coding::of(headers).map_err(|why| reply::not_decoded(&why))? else { return Ok(bytes) };
        let message = coding.decode(&bytes, limit).map_err(|why| reply::not_decoded(&why))?;
        // Nobody behind this sees a coded body under the name of a message.
        exchange.coded = headers.remove(header::CONTENT_ENCODING).map(|coding| Coded { coding, bytes });
        Ok(message.into())
    }

    /// Waits until a large body may be received.
    async fn room_for(&self, body: &Incoming) -> Result<Option<OwnedSemaphorePermit>, Response<Body>> {
        let limits = &self.core.config().limits;
        let most =
            body.size_hint().upper().and_then(|size| usize::try_from(size).ok()).unwrap_or(limits.frame_bytes).min(limits.frame_bytes);
        if most <= SMALL_BODY {
            return Ok(None);
        }
        let room = self.bodies.clone().acquire_many_owned(u32::try_from(most).unwrap_or(u32::MAX));
        match tokio::time::timeout(limits.body(), room).await {
            Ok(Ok(room)) => Ok(Some(room)),
            _ => Err(reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "too many large bodies are under way (limits.bodies_bytes)")),
        }
    }

    async fn read_body(&self, mut body: Incoming, within: Duration) -> Result<Bytes, Response<Body>> {
        let limit = self.core.config().limits.frame_bytes;
        let read = async {
            let read = Limited::new(&mut body, limit).collect().await;
            if read.as_ref().is_err_and(|error| error.is::<http_body_util::LengthLimitError>()) {
                discard(&mut body).await;
            }
            read
        };
        match tokio::time::timeout(within, read).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(reply::json_response(
                StatusCode::PAYLOAD_TOO_LARGE,
                reply::json_rpc_error(
                    None,
                    reply::TOO_LARGE,
                    &format!("a message may have {limit} bytes at most (limits.frame_bytes)"),
                    None,
                ),
            )),
            Ok(Err(_)) => Err(reply::refuse(StatusCode::BAD_REQUEST, "the request body broke off")),
            Err(_) => Err(reply::refuse(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time (limits.body_ms)")),
        }
    }

    /// Stops every server that Custody started itself.
    pub async fn close(&self) {
        for upstream in self.upstreams.values() {
            upstream.close().await;
        }
    }
}

/// Serves until `stop`, then lets running requests end for at most `grace`.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, tls: Option<Arc<Tls>>, stop: CancellationToken, grace: Duration) {
    let tasks = TaskTracker::new();
    let limits = gateway.core.config().limits.clone();
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { break };
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors: wait for one to come free rather than spin.
                    tracing::warn!(%error, "agents' listener cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let connection = Connection { id: ConnectionId(uuid::Uuid::now_v7()), address, principals: Arc::default() };
        let (gateway, tls, stop, protocol) = (gateway.clone(), tls.clone(), stop.clone(), protocol(&limits));
        tasks.spawn(async move {
            let Some(stream) = tls::secure(tls.as_deref(), stream, &stop).await else { return };
            let core = gateway.core.clone();
            let here = connection.clone();
            let service = hyper::service::service_fn(move |request| {
                let (gateway, here) = (gateway.clone(), here.clone());
                async move { Ok::<_, Infallible>(gateway.handle(&here, request).await) }
            });
            let serving = protocol.serve_connection(TokioIo::new(stream), service);
            let mut serving = std::pin::pin!(serving);
            let ended = tokio::select! {
                ended = serving.as_mut() => ended,
                () = stop.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended early");
            }
            for principal in &*connection.principals.lock().unwrap_or_else(PoisonError::into_inner) {
                core.connection_closed(principal, connection.id);
            }
            drop(place);
        });
    }
    // Nobody waits in its queue for what does not come.
    drop(listener);
    gateway.draining.cancel();
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
        tracing::warn!(open = tasks.len(), "connections were cut at shutdown");
    }
    gateway.close().await;
}

fn head_size(head: &Parts) -> usize {
    let address = head.uri.path_and_query().map_or(0, |address| address.as_str().len());
    head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() + address
}

/// HTTP as an agent may speak it.
fn protocol(limits: &Limits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.head()).max_headers(limits.headers).max_buf_size(limits.header_bytes);
    protocol
}

/// The value of a header, if it is text.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads on without keeping anything, for so long as it is bearable.
async fn discard(body: &mut Incoming) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DISCARDED {
            return;
        }
    }
}

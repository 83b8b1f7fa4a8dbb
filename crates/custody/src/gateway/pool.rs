//! Connections to the servers behind HTTP, each driven by whoever uses it.
//!
//! A connection with a task of its own would cost two changes of task and two channels for each call. Here the task that waits for
//! an answer polls the connection that brings it; while nobody uses it, nobody polls it, and whether its server has closed it is
//! seen when it is taken again.

use super::gated::GatedBody;
use crate::causes;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Scheme};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{Connection, SendRequest, handshake},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Connections kept for later; beyond, they are closed after use.
const KEPT: usize = 256;

type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connections to one server.
pub struct Pool {
    connector: HttpsConnector<HttpConnector>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    link: Link,
    since: Instant,
}

/// One connection, and the way to send on it.
struct Link {
    sender: SendRequest<GatedBody>,
    connection: Connection<Io, GatedBody>,
    /// Scheme, host and port.
    to: Destination,
}

#[derive(Clone, PartialEq, Eq)]
struct Destination {
    scheme: Scheme,
    authority: http::uri::Authority,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The server cannot be connected to.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection failed.
    #[error("the connection failed")]
    Connection(#[source] hyper::Error),
    /// It ended before the answer did.
    #[error("the connection was closed before there was an answer")]
    Closed,
    /// The address names no host.
    #[error("the address names no host")]
    NoHost,
}

/// The body of an answer, and the connection that it comes on: whoever reads it drives that, and gives it back by reading to the end.
pub struct Answered {
    body: Incoming,
    /// `None` when it has ended, or was given back.
    link: Option<Link>,
    pool: Arc<Pool>,
}

impl Pool {
    /// Connects at the first request.
    pub fn new() -> Arc<Pool> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(tcp);
        Arc::new(Pool { connector, idle: Mutex::default() })
    }

    /// Sends a request and waits for the head of its answer. A request that met a connection which its server had closed is sent
    /// again on another one, if nothing of it was sent.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn request(self: &Arc<Self>, mut request: Request<GatedBody>) -> Result<Response<Answered>, Unanswered> {
        let uri = std::mem::take(request.uri_mut());
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(Unanswered::NoHost) };
        let to = Destination { scheme: scheme.clone(), authority: authority.clone() };
        if !request.headers().contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, host(&uri)?);
        }
        *request.uri_mut() = uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
        loop {
            let (mut link, used) = match self.take(&to) {
                Some(link) => (link, true),
                None => (self.connect(&uri, to.clone()).await?, false),
            };
            let sending = link.sender.try_send_request(request);
            match driven(&mut link.connection, sending).await {
                Some(Ok(answer)) => {
                    let (head, body) = answer.into_parts();
                    return Ok(Response::from_parts(head, Answered { body, link: Some(link), pool: self.clone() }));
                }
                Some(Err(mut failed)) => match failed.take_message() {
                    Some(unsent) if used => request = unsent,
                    _ => return Err(Unanswered::Connection(failed.into_error())),
                },
                None => return Err(Unanswered::Closed),
            }
        }
    }

    async fn connect(&self, uri: &Uri, to: Destination) -> Result<Link, Unanswered> {
        let io = self.connector.clone().call(uri.clone()).await.map_err(Unanswered::Connect)?;
        let (sender, connection) = handshake(io).await.map_err(Unanswered::Connection)?;
        Ok(Link { sender, connection, to })
    }

    /// A connection that is still open.
    fn take(&self, to: &Destination) -> Option<Link> {
        loop {
            let mut link = {
                let mut idle = self.idle();
                let at = idle.iter().rposition(|idle| idle.link.to == *to && idle.since.elapsed() < IDLE)?;
                idle.remove(at).link
            };
            if link.is_ready() {
                return Some(link);
            }
        }
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections that nobody uses, until the pool is gone or the daemon stops.
    pub async fn expire(pool: Weak<Pool>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(IDLE) => {}
                () = stop.cancelled() => return,
            }
            let Some(pool) = pool.upgrade() else { return };
            pool.idle().retain_mut(|idle| idle.since.elapsed() < IDLE && idle.link.is_ready());
        }
    }
}

impl Link {
    /// Whether the next request may be sent. Nobody is woken later: whoever asks does not wait.
    fn is_ready(&mut self) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(&mut self.connection).poll(&mut context).is_pending() && self.sender.is_ready()
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(link) = &mut self.link
            && Pin::new(&mut link.connection).poll(context).is_ready()
        {
            // What it brought before its end is still in the body, and so is why it ended.
            self.link = None;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none()
            && let Some(mut link) = self.link.take()
            && link.is_ready()
        {
            self.pool.keep(link);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Waits for what comes over a connection, and moves the connection on meanwhile. `None`: the connection ended and brought nothing.
async fn driven<T>(connection: &mut Connection<Io, GatedBody>, wanted: impl Future<Output = T>) -> Option<T> {
    let mut wanted = pin!(wanted);
    let mut ended = false;
    poll_fn(|context| {
        if !ended {
            ended = Pin::new(&mut *connection).poll(context).is_ready();
        }
        match wanted.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if ended => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// `Host`, without a port that goes without saying.
fn host(uri: &Uri) -> Result<HeaderValue, Unanswered> {
    let host = uri.host().ok_or(Unanswered::NoHost)?;
    let usual = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let value = match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
        None => HeaderValue::try_from(host),
    };
    value.map_err(|_| Unanswered::NoHost)
}

impl Unanswered {
    /// The last cause, for people.
    pub fn why(&self) -> String {
        causes::root(self)
    }
}

//! Upstream over Streamable HTTP or HTTP+SSE: heads are filtered, bodies pass as they came.

mod batch;

pub use batch::{Asked, Told};

use super::answers::{self, Answers, Whole};
use super::bridge::modern::{self, Params};
use super::coding::{self, Coding};
use super::events::{Opening, Relay};
use super::gated::GatedBody;
use super::headers;
use super::http::{Exchange, text};
use super::identity::Authorization;
use super::legacy::{Open, Streams};
use super::pool::{Answered, Pool};
use super::reply;
use super::upstream::Answer;
use crate::core::{Call, Core, Decision, Inbound, Peer, Refusal, Returned};
use bytes::Bytes;
use custody_engine::wire::splice::Spliced;
use custody_model::{PrincipalName, SessionId, Splice};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};
use tokio_util::task::TaskTracker;

/// As a server says it of an id that it does not know.
const NO_SESSION: &str = "no such session: begin anew with `initialize`";
/// The same of a stream of HTTP+SSE.
pub const NO_STREAM: &str = "no such stream: it has ended, open another with GET";

/// A server behind HTTP.
pub struct Proxy {
    uri: Result<Uri, String>,
    headers: HeaderMap,
    authorization: Arc<Authorization>,
    pool: Arc<Pool>,
    core: Arc<Core>,
    relays: TaskTracker,
    sessions: Sessions,
    streams: Streams,
    /// Arguments that stand in headers too. `None`: the server shows each principal tools of their own.
    params: Option<Arc<Params>>,
    answers: Answers,
}

impl Proxy {
    /// Connects at the first request.
    pub fn new(
        url: &str,
        headers: &BTreeMap<String, crate::config::Secret>,
        core: Arc<Core>,
        authorization: Arc<Authorization>,
        answers: Answers,
    ) -> Self {
        let pool = Pool::new();
        core.spawn(Pool::expire(Arc::downgrade(&pool), core.stopping()));
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.expose()).ok()?)))
            .collect();
        Proxy {
            uri: url.parse().map_err(|_| url.to_owned()),
            headers,
            authorization,
            pool,
            core,
            relays: TaskTracker::new(),
            sessions: Sessions::default(),
            streams: Streams::default(),
            params: Some(Arc::default()),
            answers,
        }
    }

    /// The server shows each principal tools of their own: what one sees says nothing of another's calls.
    pub fn per_principal(mut self, is: bool) -> Self {
        self.params = self.params.filter(|_| !is);
        self
    }

    /// See [`super::upstream::Upstream::post`].
    pub async fn post(&self, exchange: Exchange, bytes: Bytes) -> Answer {
        if !self.own_session(&exchange) {
            return Err(reply::refuse(StatusCode::NOT_FOUND, NO_SESSION));
        }
        if let Some(frame) = batch::messages(&exchange, &bytes, &self.core.wire_limits()) {
            return self.post_batch(exchange, bytes, frame).await;
        }
        let coded = as_coded(&exchange);
        let inbound = exchange.inbound(&bytes, coded.as_ref());
        let permit = match self.core.to_server(inbound).await {
            Decision::Forward(permit) => *permit,
            Decision::Refuse(refusal) => return Err(reply::json_response(refusal.status, refusal.body)),
        };
        let call = permit.call().clone();
        let contradiction = |params: &Arc<Params>| params.contradiction_in(&exchange.head.headers, &bytes, &self.core.wire_limits());
        if let Some(why) = self.params.as_ref().filter(|_| call.is_request()).and_then(contradiction) {
            let body = reply::json_rpc_error(call.id.as_deref(), modern::HEADER_MISMATCH, &why, None);
            self.core.told(&exchange.peer, Some(&call), &body);
            return Err(reply::json_response(StatusCode::BAD_REQUEST, body));
        }
        let body = GatedBody::new(self.core.clone(), permit, exchange.coded.as_ref().map_or(bytes, |coded| coded.bytes.clone()));
        let gate = body.gate();
        let answer = match self.send(self.uri.clone(), Method::POST, &exchange, body).await {
            Ok(answer) => answer,
            Err(why) => {
                if let Some(refusal) = gate.overtaken() {
                    return Err(reply::json_response(refusal.status, refusal.body));
                }
                return Err(reply::json_response(StatusCode::BAD_GATEWAY, self.unreachable(&exchange.peer, &call, &why)));
            }
        };
        self.note_session(&exchange, &call, &answer);
        self.pass_on(exchange, Some(call), None, answer).await
    }

    /// Whose a protocol session is that the server takes, or hands out.
    fn note_session(&self, exchange: &Exchange, call: &Call, answer: &Response<Answered>) {
        if let Some(id) = exchange.mcp_session.as_deref().filter(|_| answer.status().is_success()) {
            self.sessions.claim(id, &exchange.peer.identity.principal);
        }
        if let Some(id) = text(answer.headers(), "mcp-session-id").filter(|_| call.initialize) {
            self.sessions.claim(id, &exchange.peer.identity.principal);
            self.core.link_mcp_session(call.session, &exchange.peer, id);
        }
    }

    /// See [`super::upstream::Upstream::post_to_stream`]. What the agent must read of a request goes out on its stream: it reads no
    /// answer to a `POST`.
    pub async fn post_to_stream(&self, exchange: Exchange, bytes: Bytes) -> Answer {
        let token = exchange.stream.as_deref().unwrap_or_default();
        let Some(open) = self.streams.find(token, &exchange.peer.identity.principal) else {
            return Err(reply::refuse(StatusCode::NOT_FOUND, NO_STREAM));
        };
        let coded = as_coded(&exchange);
        let inbound = Inbound { mcp_session: Some(token), ..exchange.inbound(&bytes, coded.as_ref()) };
        let permit = match self.core.to_server(inbound).await {
            Decision::Forward(permit) => *permit,
            Decision::Refuse(refusal) => return refused_on(&open, refusal).await,
        };
        let call = permit.call().clone();
        if !open.expect(&call, self.core.config().limits.concurrent_calls) {
            let why = "too many calls wait for this server (limits.concurrent_calls)";
            let body = reply::json_rpc_error(call.id.as_deref(), -32600, why, None);
            self.core.told(&exchange.peer, Some(&call), &body);
            return failed_on(&open, StatusCode::TOO_MANY_REQUESTS, call.is_request(), body).await;
        }
        let body = GatedBody::new(self.core.clone(), permit, exchange.coded.as_ref().map_or(bytes, |coded| coded.bytes.clone()));
        let gate = body.gate();
        let sent = self.send(Ok(open.endpoint.clone()), Method::POST, &exchange, body).await;
        if !sent.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            open.forget(&call);
        }
        match sent {
            // It answers nothing: the answer comes on the stream.
            Ok(answer) => self.pass_on(exchange, Some(Call { id: None, method: None, ..call }), None, answer).await,
            Err(why) => match gate.overtaken() {
                Some(refusal) => refused_on(&open, refusal).await,
                None => {
                    let body = self.unreachable(&exchange.peer, &call, &why);
                    failed_on(&open, StatusCode::BAD_GATEWAY, call.is_request(), body).await
                }
            },
        }
    }

    /// What an agent reads when the server does not answer at all; recorded.
    fn unreachable(&self, peer: &Peer, call: &Call, why: &str) -> Vec<u8> {
        let why = format!("server `{}` cannot be reached: {why}", peer.server);
        let body = reply::json_rpc_error(call.id.as_deref(), reply::UPSTREAM_FAILED, &why, None);
        self.core.told(peer, Some(call), &body);
        body
    }

    /// See [`super::upstream::Upstream::listen`].
    pub async fn listen(&self, exchange: Exchange) -> Answer {
        self.bodyless(Method::GET, exchange).await
    }

    /// See [`super::upstream::Upstream::end`].
    pub async fn end(&self, exchange: Exchange) -> Answer {
        self.bodyless(Method::DELETE, exchange).await
    }

    /// Another principal's protocol session is as unknown as none.
    fn own_session(&self, exchange: &Exchange) -> bool {
        let mut shown = exchange.head.headers.get_all("mcp-session-id").iter();
        shown.all(|id| self.sessions.allows(&String::from_utf8_lossy(id.as_bytes()), &exchange.peer.identity.principal))
    }

    async fn bodyless(&self, method: Method, exchange: Exchange) -> Answer {
        if !self.own_session(&exchange) {
            return Err(reply::refuse(StatusCode::NOT_FOUND, NO_SESSION));
        }
        let session =
            self.core.admit_stream(&exchange.peer, exchange.mcp_session.as_deref()).map_err(|r| reply::json_response(r.status, r.body))?;
        let ended = method == Method::DELETE;
        // Recorded before the server hears of it (promise 1), and looked at once more when it is about to.
        if ended {
            self.core.session_left(session, &exchange.peer).map_err(|r| reply::json_response(r.status, r.body))?;
        }
        // HTTP+SSE knows no protocol sessions by header.
        let opens = (!ended && exchange.mcp_session.is_none()).then_some(session);
        let answer = self.send(self.uri.clone(), method, &exchange, GatedBody::empty()).await.map_err(|why| {
            reply::refuse(StatusCode::BAD_GATEWAY, &format!("server `{}` cannot be reached: {why}", exchange.peer.server))
        })?;
        self.pass_on(exchange, None, opens, answer).await
    }

    async fn send(
        &self,
        uri: Result<Uri, String>,
        method: Method,
        exchange: &Exchange,
        body: GatedBody,
    ) -> Result<Response<Answered>, String> {
        let uri = uri.map_err(|url| format!("`{url}` is not a URL"))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = &exchange.head.headers;
        for (name, value) in headers::forwarded(headers) {
            request.headers_mut().append(name, value.clone());
        }
        request.headers_mut().insert(header::ACCEPT_ENCODING, coding::acceptable(headers));
        if let Some(coded) = &exchange.coded {
            request.headers_mut().insert(header::CONTENT_ENCODING, coded.coding.clone());
        }
        request.headers_mut().extend(self.headers.clone());
        self.authorization.apply(headers, request.headers_mut())?;
        let mut answer = self.pool.request(request).await.map_err(|error| error.why())?;
        self.authorization.answered(headers, answer.status(), answer.headers_mut())?;
        Ok(answer)
    }

    /// Records, then returns, whatever the server answered. `opens`: the session of an agent whose stream may be one of HTTP+SSE.
    async fn pass_on(&self, exchange: Exchange, call: Option<Call>, opens: Option<SessionId>, answer: Response<Answered>) -> Answer {
        let Exchange { peer, draining, .. } = exchange;
        let (head, body) = answer.into_parts();
        let mut response = returned_head(&head);
        let unreadable = |why: &dyn std::fmt::Display| {
            let why = format!("the answer of server `{}` cannot be judged: {why}", peer.server);
            let body = reply::json_rpc_error(call.as_ref().and_then(|c| c.id.as_deref()), reply::UPSTREAM_FAILED, &why, None);
            self.core.told(&peer, call.as_ref(), &body);
            reply::json_response(StatusCode::BAD_GATEWAY, body)
        };
        let coding = Coding::of(&head.headers).map_err(|why| unreadable(&why))?;
        let params = self.params.clone().filter(|_| call.as_ref().is_some_and(lists_tools));
        if is_stream(&head.headers) {
            let uri = self.uri.clone().unwrap_or_default();
            let opening = opens.map(|session| Opening { streams: self.streams.clone(), uri, session });
            response.headers_mut().remove(header::CONTENT_ENCODING);
            let relay = Relay { core: self.core.clone(), peer, call, coding, draining, opening, batch: None, params };
            *response.body_mut() = relay.start(body, &self.relays);
            return Ok(response);
        }
        let Whole { message, coded, room } = self.answers.read(body, coding).await.map_err(|why| unreadable(&why))?;
        if message.is_empty() {
            return Ok(response);
        }
        let coded = coded.map(|bytes| Spliced { bytes: bytes.into(), splices: vec![Splice::Coding] });
        let returned = self.core.to_agent_spliced(&peer, call.as_ref(), &message, coded.as_ref()).await;
        if !matches!(returned, Returned::Pass) {
            response.headers_mut().remove(header::CONTENT_ENCODING);
        }
        match (&params, &returned) {
            (Some(params), Returned::Pass) => params.learn(&message),
            (Some(params), Returned::Sanitised(body)) => params.learn(body),
            _ => {}
        }
        match returned {
            Returned::Pass => *response.body_mut() = answers::kept(coded.map_or(message, |coded| coded.bytes.into()), room),
            Returned::Sanitised(body) => *response.body_mut() = answers::kept(body.into(), room),
            Returned::Dropped => {}
            Returned::Withheld(body) => {
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *response.body_mut() = reply::full(body);
            }
            Returned::NotRecorded(body) => return Err(reply::json_response(StatusCode::SERVICE_UNAVAILABLE, body)),
        }
        Ok(response)
    }
}

/// An answer with the head that goes on, and no body yet.
fn returned_head(head: &http::response::Parts) -> Response<reply::Body> {
    let mut response = Response::new(reply::full(Bytes::new()));
    *response.status_mut() = head.status;
    for (name, value) in headers::returned(&head.headers) {
        response.headers_mut().append(name, value.clone());
    }
    response
}

fn is_stream(headers: &HeaderMap) -> bool {
    text(headers, "content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
}

fn lists_tools(call: &Call) -> bool {
    call.method.as_deref() == Some("tools/list")
}

/// A refusal, where the agent reads it.
async fn refused_on(open: &Open, refusal: Refusal) -> Answer {
    failed_on(open, refusal.status, refusal.answer, refusal.body).await
}

/// An error on the agent's stream if it waits for an answer, and else in the answer to its `POST`.
async fn failed_on(open: &Open, status: StatusCode, awaited: bool, body: Vec<u8>) -> Answer {
    match awaited && open.tell(&body).await {
        true => Ok(reply::empty(StatusCode::ACCEPTED)),
        false => Err(reply::json_response(status, body)),
    }
}

/// Whose protocol sessions are whose: the servers tell agents apart by an id that one of them could tell another.
#[derive(Default)]
struct Sessions(Mutex<SessionOwners>);

#[derive(Default)]
struct SessionOwners {
    owner: HashMap<String, PrincipalName>,
    order: VecDeque<String>,
}

impl Sessions {
    /// Ids remembered; the oldest goes first.
    const MOST: usize = 100_000;

    /// Whether the id is not another principal's.
    fn allows(&self, id: &str, principal: &PrincipalName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).owner.get(id).is_none_or(|owner| owner == principal)
    }

    /// The server gave or took this id. Whoever it is first known of has it: after a restart that is its agent.
    fn claim(&self, id: &str, principal: &PrincipalName) {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.owner.contains_key(id) {
            return;
        }
        if owners.order.len() >= Self::MOST
            && let Some(oldest) = owners.order.pop_front()
        {
            owners.owner.remove(&oldest);
        }
        owners.owner.insert(id.to_owned(), principal.clone());
        owners.order.push_back(id.to_owned());
    }
}

/// The body that goes on, where it is not the message that is judged.
fn as_coded(exchange: &Exchange) -> Option<Spliced> {
    exchange.coded.as_ref().map(|coded| Spliced { bytes: coded.bytes.to_vec(), splices: vec![Splice::Coding] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_session_is_its_first_principals() {
        let sessions = Sessions::default();
        sessions.claim("s-1", &"alice".into());
        sessions.claim("s-1", &"mallory".into());
        assert!(sessions.allows("s-1", &"alice".into()) && !sessions.allows("s-1", &"mallory".into()));
        assert!(sessions.allows("s-2", &"mallory".into()));
    }
}

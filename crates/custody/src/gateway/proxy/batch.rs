//! Batches (revision 2025-03-26) for a server behind HTTP: each message is recorded and decided by itself; those that may go on go on as
//! one batch, in the bytes they came in. Where one is denied, the array lacks it and one comma. The answers are recorded and judged one by
//! one too, and Custody's own stand among them.
//!
//! A batch whose parts cannot be told apart, that is coded, or that names a revision without batches is one message, as ever: whole or not
//! at all.

use super::Proxy;
use crate::core::{Call, Core, Decision, Peer, Permit, Returned};
use crate::gateway::bridge::batch::is_whole;
use crate::gateway::{
    answers::{self, Whole},
    coding::Coding,
    events::{Relay, event_of},
    gated::GatedBody,
    http::{Exchange, text},
    pool::Answered,
    reply::{self, Body},
    upstream::Answer,
};
use bytes::Bytes;
use custody_engine::wire::{self, Frame, IdKey};
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// From this revision on there are no batches.
const NONE_FROM: &str = "2025-06-18";

/// The messages of a request, where they are to be judged one by one.
pub fn messages(exchange: &Exchange, bytes: &[u8], limits: &wire::Limits) -> Option<Frame> {
    let array = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let none = || text(&exchange.head.headers, "mcp-protocol-version").is_some_and(|version| version >= NONE_FROM);
    if !array || exchange.coded.is_some() || none() {
        return None;
    }
    Some(wire::read_frame(bytes, limits)).filter(is_whole)
}

/// A batch that is under way: what is answered, and what answers nothing of it belongs to.
pub struct Asked {
    calls: Mutex<HashMap<IdKey, Call>>,
    any: Call,
}

/// What becomes of an answer.
pub enum Told {
    /// It goes on as it is.
    Same,
    /// This goes on.
    Changed(Vec<u8>),
    /// Nothing goes on.
    Nothing,
}

impl Proxy {
    /// See [`super::super::upstream::Upstream::post`].
    pub(super) async fn post_batch(&self, mut exchange: Exchange, bytes: Bytes, frame: Frame) -> Answer {
        let (mut permits, mut kept, mut denied) = (Vec::new(), Vec::new(), Vec::new());
        for item in &frame.items {
            let message = item.span.of(&bytes);
            match self.core.to_server(exchange.inbound(message, None)).await {
                Decision::Forward(permit) => {
                    permits.push(*permit);
                    kept.push(Some(message));
                }
                // What cannot be recorded does not go on, and nothing after it could be.
                Decision::Refuse(refusal) if refusal.status != StatusCode::OK => {
                    return Err(reply::json_response(refusal.status, refusal.body));
                }
                Decision::Refuse(refusal) => {
                    denied.push(refusal);
                    kept.push(None);
                }
            }
        }
        let own: Vec<Vec<u8>> = denied.iter().filter(|refusal| refusal.answer).map(|refusal| refusal.body.clone()).collect();
        let Some(asked) = Asked::new(&permits).map(Arc::new) else {
            let first = denied.into_iter().next().map(|refusal| refusal.body).unwrap_or_default();
            let body = if own.is_empty() { first } else { with_own(&[], &own) };
            return Err(reply::json_response(StatusCode::OK, body));
        };
        let body = if denied.is_empty() { bytes.clone() } else { rebuilt(&bytes, &frame.items, &kept).into() };
        // Its parts are told apart, so it comes plain.
        exchange.head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let initialize = permits.iter().map(Permit::call).find(|call| call.initialize).cloned();
        let body = GatedBody::several(self.core.clone(), permits, body);
        let gate = body.gate();
        let answer = match self.send(self.uri.clone(), Method::POST, &exchange, body).await {
            Ok(answer) => answer,
            Err(why) => {
                let (status, why) = match gate.overtaken() {
                    Some(refusal) => (refusal.status, "not sent: a message of the batch was stopped".to_owned()),
                    None => (StatusCode::BAD_GATEWAY, format!("server `{}` cannot be reached: {why}", exchange.peer.server)),
                };
                return Err(reply::json_response(status, asked.failed(&self.core, &exchange.peer, &why, &own)));
            }
        };
        self.note_session(&exchange, initialize.as_ref().unwrap_or(&asked.any), &answer);
        self.pass_on_batch(exchange, asked, own, answer).await
    }

    async fn pass_on_batch(&self, exchange: Exchange, asked: Arc<Asked>, own: Vec<Vec<u8>>, answer: Response<Answered>) -> Answer {
        let Exchange { peer, draining, .. } = exchange;
        let (head, body) = answer.into_parts();
        let mut response = super::returned_head(&head);
        response.headers_mut().remove(header::CONTENT_ENCODING);
        let unreadable = |why: &dyn std::fmt::Display| {
            let why = format!("the answer of server `{}` cannot be judged: {why}", peer.server);
            reply::json_response(StatusCode::BAD_GATEWAY, asked.failed(&self.core, &peer, &why, &own))
        };
        let coding = Coding::of(&head.headers).map_err(|why| unreadable(&why))?;
        if super::is_stream(&head.headers) {
            let (core, call) = (self.core.clone(), Some(asked.any.clone()));
            let relay = Relay { core, peer, call, coding, draining, opening: None, batch: Some(asked), params: None };
            *response.body_mut() = after(own, relay.start(body, &self.relays));
            return Ok(response);
        }
        let Whole { message, room, .. } = self.answers.read(body, coding).await.map_err(|why| unreadable(&why))?;
        let told = match message.is_empty() {
            true => Told::Nothing,
            false => {
                asked.pass(&self.core, &peer, &message).await.map_err(|body| reply::json_response(StatusCode::SERVICE_UNAVAILABLE, body))?
            }
        };
        let message = match told {
            Told::Same => message,
            Told::Changed(message) => message.into(),
            Told::Nothing => Bytes::new(),
        };
        // An error of HTTP is the answer to all of it.
        if own.is_empty() || !head.status.is_success() {
            *response.body_mut() = answers::kept(message, room);
            return Ok(response);
        }
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = answers::kept(with_own(&message, &own).into(), room);
        Ok(response)
    }
}

impl Asked {
    /// `None`: nothing goes on.
    fn new(permits: &[Permit]) -> Option<Asked> {
        let calls = || permits.iter().map(Permit::call);
        let first = calls().next()?;
        let mut scopes: Vec<_> = calls().flat_map(|call| call.scopes.iter().cloned()).collect();
        scopes.sort();
        scopes.dedup();
        let any =
            Call { id: None, method: None, tool: None, cursor: false, initialize: false, scopes: Arc::new(scopes.into()), ..first.clone() };
        let calls = calls().filter(|call| call.is_request()).filter_map(|call| Some((wire::id_key(call.id.as_deref()?), call.clone())));
        Some(Asked { calls: Mutex::new(calls.collect()), any })
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<IdKey, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message that is answered. `answer` is of these bytes.
    fn answered(&self, answer: &Frame, bytes: &[u8]) -> Option<Call> {
        use custody_model::Shape;
        let id = answer.id.filter(|_| matches!(answer.shape, Shape::Result | Shape::Error))?;
        self.calls().remove(&wire::id_key(id.of(bytes)))
    }

    /// Records one message of the server, or each of a batch. `Err`: it could not be recorded; the agent reads this.
    pub async fn pass(&self, core: &Core, peer: &Peer, bytes: &[u8]) -> Result<Told, Vec<u8>> {
        let frame = wire::read_frame(bytes, &core.wire_limits());
        if !is_whole(&frame) {
            let call = self.answered(&frame, bytes);
            return self.pass_one(core, peer, call, bytes).await;
        }
        let mut told = Vec::with_capacity(frame.items.len());
        for item in &frame.items {
            let call = self.answered(item, bytes);
            told.push(self.pass_one(core, peer, call, item.span.of(bytes)).await?);
        }
        if told.iter().all(|told| matches!(told, Told::Same)) {
            return Ok(Told::Same);
        }
        let with: Vec<Option<&[u8]>> = told
            .iter()
            .zip(&frame.items)
            .map(|(told, item)| match told {
                Told::Same => Some(item.span.of(bytes)),
                Told::Changed(message) => Some(message.as_slice()),
                Told::Nothing => None,
            })
            .collect();
        match with.iter().any(Option::is_some) {
            true => Ok(Told::Changed(rebuilt(bytes, &frame.items, &with))),
            false => Ok(Told::Nothing),
        }
    }

    async fn pass_one(&self, core: &Core, peer: &Peer, call: Option<Call>, bytes: &[u8]) -> Result<Told, Vec<u8>> {
        match core.to_agent(peer, call.as_ref().or(Some(&self.any)), bytes).await {
            Returned::Pass => Ok(Told::Same),
            Returned::Sanitised(message) | Returned::Withheld(message) => Ok(Told::Changed(message)),
            Returned::Dropped => Ok(Told::Nothing),
            Returned::NotRecorded(message) => Err(message),
        }
    }

    /// An error for each message that still waits, recorded, behind Custody's other answers.
    fn failed(&self, core: &Core, peer: &Peer, why: &str, own: &[Vec<u8>]) -> Vec<u8> {
        let mut waiting: Vec<Call> = self.calls().drain().map(|(_, call)| call).collect();
        waiting.sort_by_key(|call| call.leaf);
        let failed = waiting.iter().map(|call| {
            let body = reply::json_rpc_error(call.id.as_deref(), reply::UPSTREAM_FAILED, why, None);
            core.told(peer, Some(call), &body);
            body
        });
        let all: Vec<Vec<u8>> = own.iter().cloned().chain(failed).collect();
        match all.is_empty() {
            // Nothing waited.
            true => reply::json_rpc_error(None, reply::UPSTREAM_FAILED, why, None),
            false => with_own(&[], &all),
        }
    }
}

/// The array with these in place of its messages; `None`: without it and one comma. Every other byte stays.
fn rebuilt(bytes: &[u8], items: &[Frame], with: &[Option<&[u8]>]) -> Vec<u8> {
    let (Some(first), Some(last)) = (items.first(), items.last()) else { return bytes.to_vec() };
    let mut out = bytes[..first.span.start].to_vec();
    let mut before = None;
    for (nth, (item, message)) in items.iter().zip(with).enumerate() {
        let Some(message) = message else { continue };
        if before.is_some() && nth > 0 {
            out.extend_from_slice(&bytes[items[nth - 1].span.end..item.span.start]);
        }
        before = Some(nth);
        out.extend_from_slice(message);
    }
    out.extend_from_slice(&bytes[last.span.end..]);
    out
}

/// An answer and Custody's own, as one array.
fn with_own(message: &[u8], own: &[Vec<u8>]) -> Vec<u8> {
    let message = message.trim_ascii();
    let inside = message.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(message);
    let parts = [inside].into_iter().chain(own.iter().map(Vec::as_slice)).filter(|part| !part.trim_ascii().is_empty());
    let mut out = vec![b'['];
    for part in parts {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(part);
    }
    out.push(b']');
    out
}

/// First Custody's own answers, then what the server says.
fn after(own: Vec<Vec<u8>>, body: Body) -> Body {
    if own.is_empty() {
        return body;
    }
    let first = stream::iter(own.into_iter().map(|message| Ok::<_, Infallible>(http_body::Frame::data(event_of(&message).into()))));
    BodyExt::boxed(StreamBody::new(first.chain(BodyStream::new(body))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_goes_with_one_comma_and_every_other_byte_stays() {
        let batch = b" [ {\"id\":1} ,\t{\"id\":2},\n{\"id\":3} ] ";
        let frame = wire::read_frame(batch, &wire::Limits::default());
        let check = |kept: [bool; 3], expected: &str| {
            let with: Vec<_> = frame.items.iter().zip(kept).map(|(item, kept)| kept.then(|| item.span.of(batch))).collect();
            assert_eq!(String::from_utf8(rebuilt(batch, &frame.items, &with)).unwrap(), expected);
        };
        check([true; 3], " [ {\"id\":1} ,\t{\"id\":2},\n{\"id\":3} ] ");
        check([false, true, true], " [ {\"id\":2},\n{\"id\":3} ] ");
        check([true, false, true], " [ {\"id\":1},\n{\"id\":3} ] ");
        check([true, true, false], " [ {\"id\":1} ,\t{\"id\":2} ] ");
        check([false, true, false], " [ {\"id\":2} ] ");
    }

    #[test]
    fn custodys_own_answers_stand_among_the_servers() {
        let own = [b"{\"id\":2}".to_vec()];
        let check = |message: &str, expected: &str| assert_eq!(String::from_utf8(with_own(message.as_bytes(), &own)).unwrap(), expected);
        check("", "[{\"id\":2}]");
        check("[]", "[{\"id\":2}]");
        check("[{\"id\":1}]\n", "[{\"id\":1},{\"id\":2}]");
        check("{\"id\":1}", "[{\"id\":1},{\"id\":2}]");
    }
}

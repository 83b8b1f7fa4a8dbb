//! What a message shows of its session, read from the wire (R9). Believing it is the session graph's part.
//!
//! Every value here is hostile: links are few for one message, and none is longer than [`MAX_TEXT`].

use super::{Inbound, Peer};
use custody_engine::wire::{self, Frame, Span};
use custody_model::{Digest, Link, ServerName};
use http::HeaderMap;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// A longer id stands in a link by its digest.
const MAX_TEXT: usize = 256;
/// Most traces, states and tasks that one message may show: a batch has many messages.
const MAX_SHOWN: usize = 16;

/// What stands beside a message, and in it.
#[derive(Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    /// `Mcp-Session-Id`, over HTTP.
    pub mcp_session: Option<&'a str>,
    /// Head of the request, over HTTP.
    pub headers: Option<&'a HeaderMap>,
    /// The frame, and the bytes it was read from.
    pub frame: Option<(&'a Frame, &'a [u8])>,
}

impl<'a> Shown<'a> {
    /// All that a message and its request show.
    pub fn of(inbound: &Inbound<'a>, frame: &'a Frame) -> Shown<'a> {
        Shown { mcp_session: inbound.mcp_session, headers: inbound.headers, frame: Some((frame, inbound.bytes)) }
    }
}

impl Peer {
    /// The links of a message from this peer.
    pub(super) fn links(&self, shown: Shown<'_>) -> Vec<Link> {
        let mut links = Vec::with_capacity(8);
        links.extend(shown.mcp_session.map(|id| mcp_session(&self.server, id)));
        links.extend(self.process.map(Link::Process));
        links.push(Link::Connection(self.connection));
        links.extend(self.hint.as_deref().map(|hint| Link::Hint(bounded(hint))));
        let mut traces: Vec<&str> = Vec::new();
        if let Some(head) = shown.headers {
            traces.extend(head.get("traceparent").and_then(|value| value.to_str().ok()));
        }
        if let Some((frame, bytes)) = shown.frame {
            traces.extend(frame.messages().iter().filter_map(|message| message.traceparent.as_deref()).take(MAX_SHOWN));
            for message in frame.messages().iter().filter(|message| message.method.is_some()).take(MAX_SHOWN) {
                links.extend(message.request_state.map(|span| request_state(&self.server, span, bytes)));
                links.extend(message.task_id.as_deref().map(|id| task(&self.server, id)));
            }
        }
        links.extend(traces.into_iter().filter_map(trace_id).map(Link::Trace));
        links
    }
}

/// What a server's answer hands to the agent that asked, to be shown again: the state of a multi-round-trip request (2026-07-28),
/// and the id of a task (in `result` with the extension of 2026-07-28, in `result.task` in 2025-11-25).
pub(super) fn handed_out(server: &ServerName, frame: &Frame, bytes: &[u8]) -> Vec<Link> {
    let mut links = Vec::new();
    for message in frame.messages().iter().filter(|message| message.method.is_none()).take(MAX_SHOWN) {
        let Some(result) = message.result else { continue };
        links.extend(message.request_state.map(|span| request_state(server, span, bytes)));
        links.extend(made_task(result.of(bytes)).map(|id| task(server, &id)));
    }
    links
}

/// `Mcp-Session-Id` at one server.
pub(super) fn mcp_session(server: &ServerName, id: &str) -> Link {
    Link::McpSession(server.clone(), bounded(id))
}

fn task(server: &ServerName, id: &str) -> Link {
    Link::Task(server.clone(), bounded(id))
}

/// The state's own text, however it is escaped: the client may write it otherwise than the server did.
fn request_state(server: &ServerName, span: Span, bytes: &[u8]) -> Link {
    let raw = span.of(bytes);
    let text = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let digest = match text {
        Some(text) => Sha256::digest(wire::unescape(text).as_bytes()),
        None => Sha256::digest(raw),
    };
    Link::RequestState(server.clone(), Digest(digest.into()))
}

/// The task that a result made or tells of.
fn made_task(result: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Made<'a> {
        #[serde(rename = "taskId", borrow, default)]
        id: Option<Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    struct Told<'a> {
        #[serde(rename = "taskId", borrow, default)]
        id: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        task: Option<Made<'a>>,
    }
    // Most results tell of none, and reading a large one twice is not free.
    memchr::memmem::find(result, b"\"taskId\"")?;
    let told: Told<'_> = serde_json::from_slice(result).ok()?;
    told.id.or(told.task.and_then(|task| task.id)).map(Cow::into_owned)
}

/// The trace id of a W3C `traceparent` (Trace Context, section 3.2): not all zeros, of a version that exists.
fn trace_id(traceparent: &str) -> Option<String> {
    let mut parts = traceparent.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let exists = version.len() == 2 && hex(version) && !version.eq_ignore_ascii_case("ff");
    (exists && id.len() == 32 && hex(id) && id.bytes().any(|byte| byte != b'0')).then(|| id.to_ascii_lowercase())
}

fn bounded(text: &str) -> String {
    if text.len() <= MAX_TEXT { text.to_owned() } else { format!("sha256:{}", hex::encode(Sha256::digest(text))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custody_engine::wire::{Limits, read_frame};

    fn handed(text: &str) -> Vec<Link> {
        handed_out(&"files".into(), &read_frame(text.as_bytes(), &Limits::default()), text.as_bytes())
    }

    fn state(text: &str) -> Link {
        Link::RequestState("files".into(), Digest(Sha256::digest(text).into()))
    }

    #[test]
    fn answers_hand_out_states_and_tasks() {
        let task = |id: &str| Link::Task("files".into(), id.into());
        for (text, links) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"a\u0062c"}}"#, vec![state("abc")]),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"t1","status":"working"}}"#, vec![task("t1")]),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t\"2","status":"working"}}}"#, vec![task("t\"2")]),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"task":"t3","taskId":7}}"#, vec![]),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\"taskId\""}]}}"#, vec![]),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"","data":{"taskId":"t4"}}}"#, vec![]),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{"taskId":"t5"}}"#, vec![]),
            ("{", vec![]),
        ] {
            assert_eq!(handed(text), links, "{text}");
        }
    }

    #[test]
    fn long_ids_stand_by_their_digest() {
        let long = "x".repeat(1 << 20);
        let links = handed(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"taskId":"{long}","requestState":"{long}"}}}}"#));
        assert_eq!(links.len(), 2);
        assert!(links.iter().all(|link| format!("{link:?}").len() < 400));
    }

    #[test]
    fn only_a_real_trace_id_counts() {
        let id = "4BF92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")), Some(id.to_lowercase()));
        for odd in ["", "00", "00-", &format!("ff-{id}-00f067aa0ba902b7-01"), &format!("00-{}-1-1", "0".repeat(32)), "00-4bf9-1-1"] {
            assert_eq!(trace_id(odd), None, "{odd}");
        }
    }
}

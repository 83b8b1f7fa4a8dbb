//! What a frame is, as JSON-RPC and MCP see it.

use super::{
    Limits, Span,
    fault::{Fault, What},
    number::{Sort, Value, odd_number},
    scan::{Parts, Scanned, Slot, scan},
    unescape,
};
use custody_model::{DenyReason, Shape};

/// A message, or a batch of them, and where its parts lie in the bytes that were read.
///
/// Spans count from the start of those bytes, also those of batch items. A span of a string includes its quotes.
/// Where a key stands twice, the last one is told, and the duplicate is a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its shape. [`Shape::Unreadable`] when the bytes are not JSON or no message; parts that were found are still told.
    pub shape: Shape,
    /// The whole message.
    pub span: Span,
    /// The id, raw, however odd.
    pub id: Option<Span>,
    /// The method.
    pub method: Option<String>,
    /// `params`.
    pub params: Option<Span>,
    /// `params.name`: the tool or prompt.
    pub name: Option<String>,
    /// `params.uri`: the resource.
    pub uri: Option<String>,
    /// `params.arguments`.
    pub arguments: Option<Span>,
    /// `params._meta.progressToken` of a request, `params.progressToken` of `notifications/progress`.
    pub progress_token: Option<Span>,
    /// `params.requestId` of `notifications/cancelled`.
    pub cancelled: Option<Span>,
    /// The id of a `subscriptions/listen` request, as the notifications of its stream and its result carry it
    /// (revision 2026-07-28). Bridges must rewrite it like an id.
    pub subscription: Option<Span>,
    /// `_meta."io.modelcontextprotocol/protocolVersion"` (revision 2026-07-28).
    pub meta_version: Option<String>,
    /// `params.protocolVersion` of `initialize`, `result.protocolVersion` of its answer.
    pub initialize_version: Option<String>,
    /// `_meta.traceparent`.
    pub traceparent: Option<String>,
    /// What the client says of itself: `params.clientInfo`, or the `_meta` key of 2026-07-28.
    pub client_info: Option<Span>,
    /// `result.serverInfo`.
    pub server_info: Option<Span>,
    /// `requestState` of params or result (multi-round-trip requests of 2026-07-28).
    pub request_state: Option<Span>,
    /// `params.taskId`.
    pub task_id: Option<String>,
    /// `result`.
    pub result: Option<Span>,
    /// `error`.
    pub error: Option<Span>,
    /// The messages of a batch (revision 2025-03-26).
    pub items: Vec<Frame>,
    /// The first raw CR or LF inside the message: fine over HTTP, a fault over stdio (see [`Frame::check_line`]).
    pub line_break: Option<usize>,
    /// What is wrong, in order of discovery; at most 16. A batch tells those of its items too.
    pub faults: Vec<Fault>,
}

/// Reads a frame. Never fails and never panics: what is wrong is in [`Frame::faults`].
///
/// Time and memory are linear in the bytes (keys of one object cost n log n); no recursion.
pub fn read_frame(bytes: &[u8], limits: &Limits) -> Frame {
    let limit = limits.bytes.min(u32::MAX as usize);
    if bytes.len() > limit {
        let fault = Fault::malformed(limit, What::TooLarge { bytes: bytes.len(), limit });
        return Frame { faults: vec![fault], ..Frame::unreadable(bytes.len()) };
    }
    let mut scanned = scan(bytes, limits);
    let mut frames = Vec::with_capacity(scanned.messages.len());
    for parts in &scanned.messages {
        let mut frame = read_message(bytes, parts, &mut scanned.faults.0);
        frame.line_break = scanned.line_break.filter(|at| parts.span.contains(*at));
        frames.push(frame);
    }
    let mut frame = match scanned.root {
        Some(Sort::Array) => batch(bytes, frames, &mut scanned),
        Some(Sort::Object) => frames.pop().unwrap_or_else(|| Frame::unreadable(bytes.len())),
        Some(_) if scanned.json => {
            scanned.faults.add(Fault::malformed(0, What::NotAMessage));
            Frame::unreadable(bytes.len())
        }
        _ => Frame::unreadable(bytes.len()),
    };
    if !scanned.json {
        frame.shape = Shape::Unreadable;
    }
    frame.line_break = scanned.line_break;
    frame.faults = scanned.faults.0;
    frame
}

impl Frame {
    /// Why an enforcing gateway denies the frame, if it does: malformed comes before ambiguous.
    pub fn reason(&self) -> Option<DenyReason> {
        let malformed = self.faults.iter().find(|fault| matches!(fault, Fault::Malformed(_)));
        malformed.or(self.faults.first()).map(Fault::reason)
    }

    /// The fault that a line break inside a message is over stdio: a reader that also ends lines at a lone CR takes what
    /// follows for a message of its own.
    pub fn check_line(&self) -> Option<Fault> {
        self.line_break.map(|at| Fault::ambiguous(at, What::LineBreak))
    }

    /// The protocol revision that the message itself names.
    pub fn version(&self) -> Option<&str> {
        self.meta_version.as_deref().or(self.initialize_version.as_deref())
    }

    /// What the call is for: tool, prompt or resource.
    pub fn target(&self) -> Option<&str> {
        match self.method.as_deref() {
            Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => self.uri.as_deref(),
            _ => self.name.as_deref().or(self.uri.as_deref()),
        }
    }

    /// The messages: those of a batch, or the frame itself.
    pub fn messages(&self) -> &[Frame] {
        if self.shape == Shape::Batch || !self.items.is_empty() { &self.items } else { std::slice::from_ref(self) }
    }

    fn unreadable(length: usize) -> Frame {
        Frame {
            shape: Shape::Unreadable,
            span: Span { start: 0, end: length },
            id: None,
            method: None,
            params: None,
            name: None,
            uri: None,
            arguments: None,
            progress_token: None,
            cancelled: None,
            subscription: None,
            meta_version: None,
            initialize_version: None,
            traceparent: None,
            client_info: None,
            server_info: None,
            request_state: None,
            task_id: None,
            result: None,
            error: None,
            items: Vec::new(),
            line_break: None,
            faults: Vec::new(),
        }
    }
}

fn batch(bytes: &[u8], mut items: Vec<Frame>, scanned: &mut Scanned) -> Frame {
    for item in &mut items {
        item.faults = scanned.faults.0.iter().filter(|fault| item.span.contains(fault.flaw().at)).cloned().collect();
    }
    if items.is_empty() && scanned.json && scanned.faults.0.is_empty() {
        scanned.faults.add(Fault::malformed(0, What::EmptyBatch));
    }
    Frame { shape: Shape::Batch, items, ..Frame::unreadable(bytes.len()) }
}

fn read_message(bytes: &[u8], parts: &Parts, faults: &mut Vec<Fault>) -> Frame {
    let span = |slot| parts.value(slot).map(|value| value.span);
    let text = |slot| parts.value(slot).and_then(|value| text_of(bytes, value));
    let method = text(Slot::Method);
    let method_is = |name| method.as_deref() == Some(name);
    let frame = Frame {
        shape: shape(parts, &method),
        span: if parts.whole { parts.span } else { Span { start: parts.span.start, end: bytes.len() } },
        id: span(Slot::Id),
        params: span(Slot::Params),
        name: text(Slot::Name),
        uri: text(Slot::Uri),
        arguments: span(Slot::Arguments),
        progress_token: if method_is("notifications/progress") { span(Slot::ParamsProgressToken) } else { span(Slot::MetaProgressToken) },
        cancelled: if method_is("notifications/cancelled") { span(Slot::RequestId) } else { None },
        subscription: span(Slot::MetaSubscription).or(span(Slot::ResultSubscription)),
        meta_version: text(Slot::MetaVersion),
        initialize_version: if method_is("initialize") { text(Slot::ParamsVersion) } else { text(Slot::ResultVersion) },
        traceparent: text(Slot::Traceparent),
        client_info: span(Slot::MetaClientInfo).or(span(Slot::ParamsClientInfo)),
        server_info: span(Slot::ServerInfo),
        request_state: span(Slot::ParamsRequestState).or(span(Slot::ResultRequestState)),
        task_id: text(Slot::TaskId),
        result: span(Slot::Result),
        error: span(Slot::Error),
        method,
        ..Frame::unreadable(0)
    };
    if parts.whole {
        check_message(bytes, parts, &frame, faults);
    }
    frame
}

fn text_of(bytes: &[u8], value: Value) -> Option<String> {
    let inner = Span { start: value.span.start + 1, end: value.span.end.saturating_sub(1) };
    (value.sort == Sort::Text).then(|| unescape(inner.of(bytes)).into_owned())
}

/// A method makes a call, whatever stands beside it: what could be a call is judged as one.
fn shape(parts: &Parts, method: &Option<String>) -> Shape {
    let has = |slot| parts.value(slot).is_some();
    match method {
        Some(_) if has(Slot::Id) => Shape::Request,
        Some(_) => Shape::Notification,
        None if has(Slot::Method) => Shape::Unreadable,
        None if has(Slot::Error) => Shape::Error,
        None if has(Slot::Result) && has(Slot::Id) => Shape::Result,
        None => Shape::Unreadable,
    }
}

fn check_message(bytes: &[u8], parts: &Parts, frame: &Frame, faults: &mut Vec<Fault>) {
    let at = parts.span.start;
    let start = |slot| parts.value(slot).map_or(at, |value| value.span.start);
    let has = |slot| parts.value(slot).is_some();
    let sort = |slot| parts.value(slot).map(|value| value.sort);
    let answer = has(Slot::Result) || has(Slot::Error);
    let room = 16usize.saturating_sub(faults.len());
    let mut found = Vec::new();

    if parts.value(Slot::Jsonrpc).and_then(|value| text_of(bytes, value)).as_deref() != Some("2.0") {
        found.push(Fault::ambiguous(start(Slot::Jsonrpc), What::OddJsonrpc));
    }
    if has(Slot::Method) && frame.method.is_none() {
        found.push(Fault::malformed(start(Slot::Method), What::MethodNotText));
    } else if has(Slot::Method) && answer {
        found.push(Fault::ambiguous(start(Slot::Method), What::RequestAndResponse));
    } else if has(Slot::Result) && has(Slot::Error) {
        found.push(Fault::ambiguous(start(Slot::Error), What::ResultAndError));
    } else if has(Slot::Result) && !has(Slot::Id) {
        found.push(Fault::malformed(at, What::NoId));
    } else if !has(Slot::Method) && !answer {
        found.push(Fault::malformed(at, What::NotAMessage));
    }
    if let Some(id) = parts.value(Slot::Id)
        && let Some(how) = odd_id(bytes, id, frame.shape)
    {
        found.push(Fault::ambiguous(id.span.start, What::OddId(how)));
    }
    if !matches!(sort(Slot::Params), None | Some(Sort::Object | Sort::Null)) {
        found.push(Fault::ambiguous(start(Slot::Params), What::ParamsNotAnObject));
    }
    if !matches!(sort(Slot::Arguments), None | Some(Sort::Object | Sort::Null)) {
        found.push(Fault::ambiguous(start(Slot::Arguments), What::ArgumentsNotAnObject));
    }
    if let Some((slot, key)) = target_of(frame.method.as_deref()) {
        match sort(slot) {
            Some(Sort::Text) => {}
            Some(_) => found.push(Fault::malformed(start(slot), What::TargetNotText { key })),
            None => found.push(Fault::malformed(at, What::NoTarget { key })),
        }
    }
    faults.extend(found.into_iter().take(room.max(1)));
}

/// Which key of `params` says what a call is for.
fn target_of(method: Option<&str>) -> Option<(Slot, &'static str)> {
    match method? {
        "tools/call" | "prompts/get" => Some((Slot::Name, "name")),
        "resources/read" => Some((Slot::Uri, "uri")),
        _ => None,
    }
}

fn odd_id(bytes: &[u8], id: Value, shape: Shape) -> Option<&'static str> {
    match id.sort {
        Sort::Text => None,
        Sort::Number => odd_number(id.span.of(bytes)),
        // An error that answers an unreadable request has no other id (JSON-RPC 2.0, section 5).
        Sort::Null if shape == Shape::Error => None,
        Sort::Null => Some("null"),
        Sort::Bool => Some("a boolean"),
        Sort::Array => Some("an array"),
        Sort::Object => Some("an object"),
    }
}

//! wire → record → decide → forward, in that order and nowhere else (promises 1 and 4).
//!
//! Everything that takes time (parsing, policy, sealing) happens before the gate is taken. Under the gate: look at
//! the freeze set, append, and on a P1 freeze. So of a thousand concurrent calls none passes after the first denial.

use super::{Call, Core, Decision, Inbound, Peer, Permit, Refusal, Returned, Sending, links::Shown, manifest::Screen};
use crate::gateway::{headers, reply};
use crate::telemetry::{
    Said,
    spans::{Begun, Open},
};
use custody_engine::{
    contain::{Freeze, freeze_step},
    detect::{EventKind, Facts, FindingDraft, PolicyOutcome},
    manifest::Listing,
    policy::{Action, Query},
    wire::{self, Fault, Flaw, Frame, What, splice::Spliced},
};
use custody_model::*;
use custody_store::ledger::{Draft, LedgerError};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

/// How long the answer to a P1 waits for messages that were permitted before it and are still being written.
const HANDOVER: Duration = Duration::from_secs(1);

/// What policy and wire say of one frame, before the freeze set is asked.
struct Judged {
    reason: Option<DenyReason>,
    why: String,
    findings: Vec<FindingDraft>,
    /// A P1 of a rule in force, or a second independent signal in the session: freeze in this decision.
    freeze: bool,
    /// Whether the frame is stopped.
    stop: bool,
    /// Whether it waits for a person, being allowed otherwise.
    hold: bool,
}

impl Judged {
    fn outcome(&self) -> Outcome {
        match (self.stop, self.hold) {
            (true, _) => Outcome::Denied,
            (false, true) => Outcome::Held,
            (false, false) => Outcome::Allowed,
        }
    }
}

/// What one decision led to.
enum Decided {
    Now(Decision),
    /// Recorded as held: a person decides.
    Held {
        call: Call,
        id: DenialId,
        tool: Option<String>,
    },
}

impl Core {
    /// Records and decides one message from an agent.
    pub async fn to_server(self: &Arc<Self>, inbound: Inbound<'_>) -> Decision {
        let began = Instant::now();
        let frame = wire::read_frame(inbound.bytes, &self.limits);
        let id = frame.id.map(|span| span.of(inbound.bytes).to_vec());
        let decided = self.decide(&inbound, &frame, id.clone());
        let said = match &decided {
            Ok((Decided::Held { .. }, _)) => Said::Held,
            Ok((Decided::Now(Decision::Forward(_)), _)) => Said::Allowed,
            Ok((Decided::Now(Decision::Refuse(_)), _)) => Said::Denied,
            Err(_) => Said::Unrecorded,
        };
        self.metrics.to_server(&inbound.peer.server, said, began.elapsed());
        match decided {
            Ok((Decided::Held { call, id, tool }, _)) => self.hold(call, inbound.peer.clone(), id, tool).await,
            Ok((Decided::Now(decision), false)) => decision,
            Ok((Decided::Now(decision), true)) => {
                // The freeze is in force already; it is on disk before anybody hears of it.
                let ledger = self.ledger.clone();
                let synced = tokio::task::spawn_blocking(move || ledger.sync()).await;
                if !matches!(synced, Ok(Ok(()))) {
                    tracing::error!("a freeze is in force but could not be synced");
                }
                self.gate.sent(HANDOVER).await;
                decision
            }
            Err(error) => Decision::Refuse(self.not_recorded(id.as_deref(), &error)),
        }
    }

    /// The second value: whether this decision froze something.
    fn decide(self: &Arc<Self>, inbound: &Inbound<'_>, frame: &Frame, id: Option<Vec<u8>>) -> Result<(Decided, bool), LedgerError> {
        let peer = inbound.peer;
        let (arrived, now) = (Timestamp::now(), self.now());
        let (session, mut scopes) = self.attribute(peer, Shown::of(inbound, frame), now)?;
        self.told_in_meta(peer, session, inbound.bytes, now)?;
        let tools = frame.messages().iter().filter_map(tool_of);
        scopes.own.extend(tools.map(|tool| Scope::Tool(peer.server.clone(), ToolName(tool.to_owned()))));
        self.definition_scopes(peer, frame, &mut scopes.own);
        let scopes = Arc::new(scopes);
        let (frozen, mut epoch) = self.gate.denies(scopes.iter());
        let mut judged = self.judge(inbound, frame, session, frozen, now);
        // A P1 freezes before anything else is done, sealing included. From here on every decision of these scopes denies.
        let detected = Instant::now();
        let freeze = judged.freeze.then(|| {
            let step = freeze_step(
                ActionId(uuid::Uuid::now_v7()),
                None,
                Some(session),
                self.freeze_scopes(session, peer),
                OperatorName::from("custody"),
                judged.why.clone(),
            );
            let mut freezes = self.gate.lock();
            freezes.freeze(Freeze { action: step.id, scopes: step.scopes.clone() });
            epoch = freezes.epoch();
            (step, detected.elapsed(), self.now())
        });
        loop {
            let denial = (judged.stop || judged.hold).then(|| DenialId(uuid::Uuid::now_v7()));
            let (draft, detail) = self.message_draft(inbound, frame, session, &judged, denial, now)?;
            let prepared = self.ledger.prepare_with(draft, &detail)?;

            let freezes = self.gate.lock();
            if freezes.epoch() != epoch {
                epoch = freezes.epoch();
                let cut_off = freezes.denies(scopes.iter()).filter(|reason| freeze.is_none() && judged.reason.as_ref() != Some(reason));
                if let Some(reason) = cut_off {
                    judged.reason = Some(reason);
                    judged.stop = true;
                    judged.hold = false;
                    continue;
                }
            }
            let recorded = self.ledger.append(prepared)?;
            let call = Call {
                leaf: recorded.leaf(),
                session,
                id: id.clone(),
                method: frame.method.as_deref().map(str::to_owned),
                tool: frame.target().map(str::to_owned),
                cursor: asks_for_more(inbound.bytes, frame),
                initialize: frame.method.as_deref() == Some("initialize"),
                scopes: scopes.clone(),
                span: self.begin_span(inbound, frame, session, recorded.leaf(), (&judged, arrived)),
            };
            let findings = self.record_findings(peer, session, call.leaf, &judged.findings);
            if let Some((step, took, at)) = &freeze {
                self.record_freeze(step, *took, *at);
            }
            drop(freezes);
            for (nth, finding) in findings.into_iter().enumerate() {
                self.raise(finding, nth == 0 && freeze.is_some());
            }
            let decision = match denial {
                None => Decided::Now(Decision::Forward(Box::new(Permit { call, epoch, peer: peer.clone() }))),
                Some(id) if judged.hold => Decided::Held { call, id, tool: frame.messages().iter().find_map(tool_of).map(str::to_owned) },
                Some(denial) => Decided::Now(Decision::Refuse(Refusal {
                    status: StatusCode::OK,
                    answer: frame.shape == Shape::Request || frame.shape == Shape::Batch,
                    body: match frame.shape {
                        Shape::Batch => reply::denied_batch(frame.items.iter().filter_map(|item| awaited(item, inbound.bytes)), denial),
                        _ => reply::denied(id.as_deref(), denial),
                    },
                })),
            };
            return Ok((decision, freeze.is_some()));
        }
    }

    /// Policy, wire faults and rules on one frame.
    fn judge(&self, inbound: &Inbound<'_>, frame: &Frame, session: SessionId, frozen: Option<DenyReason>, now: Timestamp) -> Judged {
        let peer = inbound.peer;
        let enforce = self.enforces(&peer.server);
        let mut faults: Vec<Fault> = frame.faults.clone();
        if let Some(headers) = inbound.headers {
            let value = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
            faults.extend(unclear_headers(headers));
            let found = wire::check_headers(frame, value("mcp-method"), value("mcp-name"), value("mcp-protocol-version"));
            // HTTP+SSE has no such headers, whatever revision a client tries on it.
            let asked_for = |fault: &Fault| peer.transport != Transport::Sse || !matches!(fault.flaw().what, What::HeaderMissing(_));
            faults.extend(found.into_iter().filter(asked_for));
        }
        // A reader that also ends lines at a lone CR would take what follows for a message that nobody judged.
        if peer.transport == Transport::Stdio {
            faults.extend(frame.check_line());
        }
        let mut reason = None;
        let mut why = String::new();
        // A quarantine is no fault of the agent's: whatever else the call is stays to be said.
        let agent_frozen = frozen == Some(DenyReason::Frozen);
        let cut_off = frozen.is_some();
        if cut_off {
            reason = frozen;
        } else if let Some(fault) = faults.first() {
            reason = Some(fault.reason());
            why = fault.to_string();
        }
        let mut findings = Vec::new();
        for call in frame.messages() {
            // Arguments that cannot be read are a fault of the frame; here they are arguments nobody can judge.
            let arguments: Option<Value> = call.arguments.map(|span| serde_json::from_slice(span.of(inbound.bytes)).unwrap_or(Value::Null));
            let policy = self.ask_policy(peer, call, arguments.as_ref(), now);
            let arguments = arguments.unwrap_or(Value::Null);
            if reason.is_none()
                && let Some((denied, words)) = denied_by(&policy)
            {
                reason = Some(denied);
                why = words;
            }
            let (hints, listed_since) = match tool_of(call) {
                Some(tool) => self.pins().tool(&peer.server, &peer.identity.principal, tool),
                None => Default::default(),
            };
            let facts = Facts {
                event: EventKind::of(call.method.as_deref()),
                direction: Direction::ToServer,
                outcome: if reason.is_some() { Outcome::Denied } else { Outcome::Allowed },
                reason: reason.clone(),
                policy,
                enforced: enforce,
                server: peer.server.clone(),
                tool: call.target().map(str::to_owned),
                listed: tool_of(call).is_some_and(|tool| self.is_listed(&peer.server, tool)),
                method: call.method.clone(),
                identity: peer.identity.clone(),
                session: Some(session),
                faults: faults.iter().map(ToString::to_string).collect(),
                leaf: None,
                arguments,
                hints,
                listed_since,
                returned: None,
                drift: None,
                hijack: None,
                user: self.user_facts(peer, session, call, now),
            };
            findings.extend(self.detector().observe(&facts, now));
        }
        let turned = findings.iter().any(|f| f.priority == Priority::P1 && f.enforce);
        // The repeat of a P1 freezes like the first one, and is no finding of its own.
        let why_turned = findings.iter().find(|f| f.priority == Priority::P1).map(|f| f.why.clone());
        findings.retain(|finding| finding.repeats == 0);
        // Two independent signals in one session confirm an incident (T1): what triage will say is in force before the next call.
        let confirmed = self.families.lock().unwrap_or_else(PoisonError::into_inner).second(session, &findings);
        let freeze = !agent_frozen && self.automatic.freeze && (turned || confirmed);
        if freeze {
            why = why_turned.or_else(|| findings.last().map(|f| f.why.clone())).unwrap_or(why);
            reason = reason.or((!turned).then_some(DenyReason::Frozen));
        }
        // What Custody cannot read and a server could is never passed on, whatever the mode: nobody judged it.
        let hidden = hides(inbound, frame);
        if hidden && reason.is_none() {
            reason = Some(DenyReason::Ambiguous);
        }
        let stop = cut_off || freeze || hidden || (enforce && reason.is_some());
        let role = peer.identity.role.as_ref();
        // Also where a denial would only be told: a flawed frame is no way around a person.
        let hold = !stop && frame.messages().iter().filter_map(tool_of).any(|tool| self.policies.holds(role, &peer.server, tool));
        Judged { reason, why, findings, freeze, stop, hold }
    }

    fn ask_policy(&self, peer: &Peer, call: &Frame, arguments: Option<&Value>, now: Timestamp) -> PolicyOutcome {
        // Without a name nothing is asked for; the frame's faults say so.
        let Some(name) = call.target() else { return PolicyOutcome::Undeclared };
        let action = match call.method.as_deref() {
            Some("tools/call") => Action::CallTool(name),
            Some("resources/read") => Action::ReadResource(name),
            Some("prompts/get") => Action::GetPrompt(name),
            Some(method) => Action::Other(method),
            // An answer of the agent's to the server's own request.
            None => return PolicyOutcome::Undeclared,
        };
        let query = Query {
            principal: &peer.identity.principal,
            role: peer.identity.role.as_ref(),
            task: peer.identity.task.as_ref(),
            action,
            server: &peer.server,
            arguments,
            read_only_hint: false,
            now,
        };
        self.policies.decide(&query).into()
    }

    fn message_draft(
        &self,
        inbound: &Inbound<'_>,
        frame: &Frame,
        session: SessionId,
        judged: &Judged,
        denial: Option<DenialId>,
        now: Timestamp,
    ) -> Result<(Draft, MessageDetail), LedgerError> {
        let peer = inbound.peer;
        let name = frame.messages().iter().find_map(tool_of).map(str::to_owned);
        let arguments = match frame.arguments {
            Some(span) => Some(self.ledger.commitment(Some(session), span.of(inbound.bytes))?),
            None => None,
        };
        let known = frame.method.as_deref().filter(|method| wire::known_method(method));
        let detail = MessageDetail {
            method: frame.method.as_deref().filter(|_| known.is_none()).map(str::to_owned),
            tool: name.clone(),
            id: frame.id.map(|span| String::from_utf8_lossy(span.of(inbound.bytes)).into_owned()),
            arguments,
            faults: frame.faults.iter().map(ToString::to_string).collect(),
            headers: inbound.headers.map(|headers| sent_on(headers, self.passes_authorization(&inbound.peer.server))).unwrap_or_default(),
            source: Some(peer.source.clone()),
        };
        let message = Message {
            direction: Direction::ToServer,
            server: peer.server.clone(),
            transport: peer.transport,
            shape: frame.shape,
            method: known.map(str::to_owned),
            tool: name.filter(|tool| self.is_listed(&peer.server, tool)).map(ToolName),
            answers: None,
            outcome: judged.outcome(),
            reason: judged.reason.clone(),
            denial,
            spliced: inbound.spliced.map(|s| s.splices.clone()).unwrap_or_default(),
            forwarded: self.forwarded(session, inbound.spliced)?,
        };
        let body = Some(inbound.bytes.to_vec());
        Ok((Draft { at: now, session: Some(session), event: Event::Message(message), detail: None, body }, detail))
    }

    /// A span says no more than a leaf: names of the protocol, and of tools only those that were listed.
    fn begin_span(
        &self,
        inbound: &Inbound<'_>,
        frame: &Frame,
        session: SessionId,
        leaf: LeafIndex,
        (judged, at): (&Judged, Timestamp),
    ) -> Open {
        if !self.spans.are_on() {
            return Open::none();
        }
        let header = |name: &str| inbound.headers.and_then(|headers| headers.get(name)?.to_str().ok());
        self.spans.begin(&Begun {
            at,
            traceparent: frame.traceparent.as_deref().or_else(|| header("traceparent")),
            tracestate: header("tracestate"),
            method: frame.method.as_deref().filter(|method| wire::known_method(method)),
            tool: tool_of(frame).filter(|tool| self.is_listed(&inbound.peer.server, tool)),
            version: frame.version().or_else(|| header("mcp-protocol-version")),
            transport: inbound.peer.transport,
            server: &inbound.peer.server,
            session,
            leaf,
            outcome: judged.outcome(),
        })
    }

    /// The last look, when the bytes are wanted. `Err`: a freeze came first.
    pub fn redeem(&self, permit: Permit) -> Result<Sending, Refusal> {
        let Permit { call, epoch, peer } = permit;
        if let Some(sending) = self.gate.begin_sending(call.scopes.iter(), epoch) {
            return Ok(sending);
        }
        let denial = DenialId(uuid::Uuid::now_v7());
        self.resolved(&call, &peer, Outcome::Denied, Some(DenyReason::Overtaken), Some(denial));
        Err(Refusal { status: StatusCode::OK, body: reply::denied(call.id.as_deref(), denial), answer: call.id.is_some() })
    }

    /// Commitment to the forwarded bytes, when they differ from the received ones (promise 6).
    fn forwarded(&self, session: SessionId, spliced: Option<&Spliced>) -> Result<Option<Commitment>, LedgerError> {
        match spliced.filter(|s| !s.splices.is_empty()) {
            Some(spliced) => Ok(Some(self.ledger.commitment(Some(session), &spliced.bytes)?)),
            None => Ok(None),
        }
    }

    /// Records one message from a server and says what the agent may read.
    pub async fn to_agent(&self, peer: &Peer, call: Option<&Call>, bytes: &[u8]) -> Returned {
        self.to_agent_spliced(peer, call, bytes, None).await
    }

    /// As [`Core::to_agent`], where a bridge must change something on the way.
    pub async fn to_agent_spliced(&self, peer: &Peer, call: Option<&Call>, bytes: &[u8], spliced: Option<&Spliced>) -> Returned {
        let began = Instant::now();
        let (returned, froze) = self.judge_answer(peer, call, bytes, spliced);
        let said = match returned {
            Returned::Pass | Returned::Sanitised(_) => Said::Allowed,
            Returned::Dropped | Returned::Withheld(_) => Said::Denied,
            Returned::NotRecorded(_) => Said::Unrecorded,
        };
        self.metrics.to_agent(&peer.server, said, began.elapsed());
        if froze {
            // In force already; on disk before anybody hears of it.
            self.synced().await;
            self.gate.sent(HANDOVER).await;
        }
        returned
    }

    /// The second value: whether something was quarantined.
    fn judge_answer(&self, peer: &Peer, call: Option<&Call>, bytes: &[u8], spliced: Option<&Spliced>) -> (Returned, bool) {
        // A coding changes nothing in the message: what is judged is what was in it.
        let (coded, spliced) = match spliced {
            Some(coded) if coded.splices == [Splice::Coding] => (Some(coded), None),
            spliced => (None, spliced),
        };
        let frame = wire::read_frame(bytes, &self.limits);
        let now = self.now();
        let id = frame.id.map(|span| span.of(bytes).to_vec());
        let matches_id = |call: &&Call| spliced.is_some() || id.is_none() || call.id == id || frame.shape == Shape::Error;
        let answered = call.filter(|_| matches!(frame.shape, Shape::Result | Shape::Error)).filter(matches_id);
        let (session, scopes) = match call {
            Some(call) => (call.session, call.scopes.clone()),
            None => match self.attribute(peer, Shown::default(), now) {
                Ok((session, scopes)) => (session, Arc::new(scopes)),
                Err(error) => return (Returned::NotRecorded(self.not_recorded(id.as_deref(), &error).body), false),
            },
        };
        let told_id = if spliced.is_some() { call.and_then(|call| call.id.clone()) } else { id.clone() };
        let (frozen, _) = self.gate.denies(scopes.iter());
        let told = spliced.map_or(bytes, |spliced| spliced.bytes.as_slice());
        let reread;
        let told_frame = match spliced {
            // Only what could be a listing is read again.
            Some(_) if answered.is_none_or(|call| call.lists()) => {
                reread = wire::read_frame(told, &self.limits);
                &reread
            }
            _ => &frame,
        };
        let screen = frozen.is_none().then(|| self.screen(peer, session, call, answered, (told, told_frame), now));
        let withheld = frozen.is_some() || screen.as_ref().is_some_and(|screen| screen.withheld);
        let sanitised = screen.as_ref().and_then(|screen| screen.sanitised.clone());
        let denial = withheld.then(|| DenialId(uuid::Uuid::now_v7()));
        // What is sent instead of a coded answer is not coded.
        let coded = coded.filter(|_| sanitised.is_none());
        let mut splices = spliced.or(coded).map(|s| s.splices.clone()).unwrap_or_default();
        splices.extend(sanitised.is_some().then_some(Splice::Sanitised));
        if withheld {
            splices = vec![Splice::Withheld];
        }
        let forwarded = match &sanitised {
            Some(bytes) => self.ledger.commitment(Some(session), bytes).map(Some),
            None => self.forwarded(session, spliced.or(coded)),
        };
        let unrecorded = |error: &LedgerError, screen: Option<Screen<'_>>| {
            if let Some(screen) = screen {
                screen.abandon();
            }
            (Returned::NotRecorded(self.not_recorded(id.as_deref(), error).body), false)
        };
        let forwarded = match forwarded {
            Ok(forwarded) => forwarded,
            Err(error) => return unrecorded(&error, screen),
        };
        let known = frame.method.as_deref().filter(|method| wire::known_method(method));
        let message = Message {
            direction: Direction::ToAgent,
            server: peer.server.clone(),
            transport: peer.transport,
            shape: frame.shape,
            method: known.map(str::to_owned).or_else(|| answered.and_then(|c| c.method.clone()).filter(|m| wire::known_method(m))),
            tool: None,
            answers: answered.map(|call| call.leaf),
            outcome: if withheld { Outcome::Denied } else { Outcome::Allowed },
            reason: frozen.or(withheld.then_some(DenyReason::Manifest)),
            denial,
            spliced: splices,
            forwarded,
        };
        let detail = MessageDetail {
            method: frame.method.as_deref().filter(|_| known.is_none()).map(str::to_owned),
            id: id.as_deref().map(|id| String::from_utf8_lossy(id).into_owned()),
            faults: frame.faults.iter().map(ToString::to_string).collect(),
            ..MessageDetail::default()
        };
        let draft = Draft { at: now, session: Some(session), event: Event::Message(message), detail: None, body: Some(bytes.to_vec()) };
        let recorded = match self.ledger.prepare_with(draft, &detail).and_then(|prepared| self.ledger.append(prepared)) {
            Ok(recorded) => recorded,
            Err(error) => return unrecorded(&error, screen),
        };
        let mut froze = false;
        if let Some(screen) = screen {
            froze = screen.froze();
            for (nth, finding) in screen.commit(recorded.leaf()).into_iter().enumerate() {
                self.raise(finding, nth == 0 && froze);
            }
        }
        if let Some(call) = answered.filter(|_| denial.is_none()) {
            self.hand_out(call.session, peer, &frame, bytes, now);
        }
        self.see_answer(peer, answered, bytes.len(), recorded.leaf(), now);
        if let Some(call) = answered {
            call.span.answered(withheld || frame.shape == Shape::Error);
        }
        let returned = match (denial, sanitised) {
            (None, None) => Returned::Pass,
            (None, Some(bytes)) => Returned::Sanitised(bytes),
            (Some(_), _) if frame.method.is_some() => Returned::Dropped,
            (Some(denial), _) => Returned::Withheld(reply::denied(told_id.as_deref(), denial)),
        };
        (returned, froze)
    }

    /// What the answer to a call, a read or a prompt adds to the account of its session (D7).
    fn see_answer(&self, peer: &Peer, call: Option<&Call>, size: usize, leaf: LeafIndex, now: Timestamp) {
        let Some((call, event)) = call.map(|call| (call, EventKind::of(call.method.as_deref()))) else { return };
        if event == EventKind::Message {
            return;
        }
        let facts = Facts {
            enforced: self.enforces(&peer.server),
            tool: call.tool.clone(),
            listed: true,
            method: call.method.clone(),
            session: Some(call.session),
            returned: Some(size as u64),
            ..Facts::new(event, Direction::ToAgent, peer.server.clone(), peer.identity.clone())
        };
        let findings = self.detector().observe(&facts, now);
        self.was_answered(peer, call.session, now);
        for finding in self.record_findings(peer, call.session, leaf, &findings) {
            self.raise(finding, false);
        }
    }

    /// Records what Custody itself told an agent instead of a server's answer.
    pub fn told(&self, peer: &Peer, call: Option<&Call>, body: &[u8]) {
        let message = Message {
            direction: Direction::ToAgent,
            server: peer.server.clone(),
            transport: peer.transport,
            shape: Shape::Error,
            method: None,
            tool: None,
            answers: call.map(|call| call.leaf),
            outcome: Outcome::Allowed,
            reason: None,
            denial: None,
            spliced: Vec::new(),
            forwarded: None,
        };
        let draft = Draft {
            at: self.now(),
            session: call.map(|call| call.session),
            event: Event::Message(message),
            detail: None,
            body: Some(body.to_vec()),
        };
        if let Err(error) = self.ledger.record(draft) {
            tracing::error!(%error, "an answer of Custody's own is not recorded");
        }
    }

    fn not_recorded(&self, id: Option<&[u8]>, error: &LedgerError) -> Refusal {
        tracing::error!(error = crate::causes::chain(error), "not recorded, so not forwarded");
        let body = reply::json_rpc_error(id, reply::NOT_RECORDED, "not forwarded: the record cannot be written", None);
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, body, answer: true }
    }
}

/// Headers that say which message this is: sent twice or as no text, two readers could read them differently.
fn unclear_headers(headers: &http::HeaderMap) -> impl Iterator<Item = Fault> {
    ["Mcp-Method", "Mcp-Name", "MCP-Protocol-Version", "Mcp-Session-Id"].into_iter().filter_map(|name| {
        let mut values = headers.get_all(name).iter();
        let unclear = values.next().is_some_and(|value| value.to_str().is_err()) || values.next().is_some();
        unclear.then_some(Fault::Ambiguous(Flaw { at: 0, what: What::HeaderUnreadable(name) }))
    })
}

/// Whether bytes that are no message here could be one to a server that decodes them first: compressed, in UTF-16 or
/// UTF-32 (which some JSON readers detect), or behind a carriage return that ends a line for some.
fn hides(inbound: &Inbound<'_>, frame: &Frame) -> bool {
    let coded =
        |headers: &http::HeaderMap| headers.get_all("content-encoding").iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"));
    let broken = || inbound.peer.transport == Transport::Stdio && frame.check_line().is_some();
    inbound.headers.is_some_and(coded) || (frame.shape == Shape::Unreadable && (inbound.bytes.contains(&0) || broken()))
}

/// Whether a listing is asked for its further pages.
fn asks_for_more(bytes: &[u8], frame: &Frame) -> bool {
    let listing = frame.method.as_deref().and_then(Listing::of_method);
    let params = || serde_json::from_slice::<Value>(frame.params?.of(bytes)).ok();
    listing.is_some() && params().is_some_and(|params| params.get("cursor").is_some_and(|cursor| !cursor.is_null()))
}

/// The id of a message that waits for an answer.
fn awaited<'a>(message: &Frame, bytes: &'a [u8]) -> Option<&'a [u8]> {
    message.id.filter(|_| message.shape == Shape::Request).map(|id| id.of(bytes))
}

/// The tool that a message calls.
fn tool_of(message: &Frame) -> Option<&str> {
    message.name.as_deref().filter(|_| message.method.as_deref() == Some("tools/call"))
}

fn denied_by(policy: &PolicyOutcome) -> Option<(DenyReason, String)> {
    match policy {
        PolicyOutcome::Allowed | PolicyOutcome::Undeclared => None,
        PolicyOutcome::Denied { policy, why } => Some((DenyReason::Policy(policy.clone()), why.clone())),
        PolicyOutcome::Error { policy, why } => Some((DenyReason::PolicyError(policy.clone()), why.clone())),
    }
}

/// The headers that would go on with a message, for the record. Of a credential that goes on, its digest.
fn sent_on(headers: &http::HeaderMap, authorization: bool) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let shown = headers.get_all(http::header::AUTHORIZATION).into_iter().filter(|_| authorization);
    let digest = |value: &http::HeaderValue| ("authorization".to_owned(), format!("sha256:{}", crate::trust::digest_of(value.as_bytes())));
    headers::forwarded(headers).map(|(name, value)| (name.to_string(), text(value))).chain(shown.map(digest)).collect()
}

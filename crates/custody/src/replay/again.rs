//! The record read once more, entry by entry: what the daemon knew when each message passed.

use crate::{
    config::{Config, Mode},
    core::{compile_policies, load_rules_text},
};
use custody_engine::{
    behavior::Baseline,
    detect::{EventKind, Facts, Heard, PolicyOutcome, Rules},
    host::{UserFacts, Watch},
    investigate::Known,
    manifest::Pins,
    policy::{Action, Policies, Query},
    wire,
};
use custody_model::*;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// Calls that wait for their answer; beyond, the oldest are taken for unanswered.
const OPEN_CALLS: usize = 100_000;

/// What an entry means for a replay.
pub enum Again {
    /// A message, as the detector saw it. More than one in a batch.
    Messages(Vec<Facts>),
    /// A message that cannot be read any more.
    Erased,
    /// The daemon started: what it had in memory is gone.
    Started,
    /// Other rules are in force from here on; `Err`: the record does not have all of them.
    Rules(Box<Result<Rules, String>>),
    /// Another baseline is in force.
    Baseline(Option<Arc<Baseline>>),
    /// A rule is silenced.
    Silenced(Suppression),
    /// A rule is heard again.
    Heard(Heard),
    /// A freeze was taken back: what was raised is forgotten.
    Undone,
    /// A session was judged.
    Judged {
        /// Which.
        session: SessionId,
        /// Whose.
        identity: Identity,
        /// The last entry that was looked at.
        upto: LeafIndex,
    },
    /// A finding. `None`: erased.
    Found(Option<Box<Finding>>),
    /// Nothing that decides.
    Nothing,
}

/// What is known at a place of the record.
#[derive(Default)]
pub struct Memory {
    /// Policies that are asked instead of those of the record.
    pub policies: Option<Policies>,
    /// Those of the record, where the record and the files beside it still say all of them.
    own: Option<Policies>,
    /// Where the configuration of the record lay.
    base: PathBuf,
    /// What of the record's versions is not at hand.
    pub gaps: BTreeSet<String>,
    identities: HashMap<SessionId, Identity>,
    pins: Pins,
    open: HashMap<LeafIndex, (EventKind, Option<String>, Option<String>)>,
    /// Entries of each session, for verdicts.
    leaves: HashMap<SessionId, Vec<LeafIndex>>,
    tools: BTreeMap<ServerName, BTreeSet<String>>,
    frozen: HashMap<ActionId, Vec<Scope>>,
    undoes: HashMap<ActionId, ActionId>,
    modes: BTreeMap<String, custody_engine::detect::RuleMode>,
    config: Option<Config>,
    /// What hooks told, and in which clients one is installed, by file.
    watch: Option<Watch>,
    hooks: BTreeMap<String, String>,
}

impl Memory {
    /// Nothing is known yet.
    pub fn with(policies: Option<Policies>, base: PathBuf) -> Memory {
        Memory { policies, base, ..Memory::default() }
    }

    /// What one entry says, in leaf order.
    pub fn read(&mut self, open: &OpenEntry) -> Again {
        if let Some(session) = open.entry.session {
            self.leaves.entry(session).or_default().push(open.leaf);
        }
        match &open.entry.event {
            Event::SessionStarted => {
                if let (Some(watch), Some(session)) = (&mut self.watch, open.entry.session) {
                    watch.began(session);
                }
                if let (Some(session), Some(detail)) = (open.entry.session, detail::<SessionDetail>(open)) {
                    self.identities.insert(session, detail.identity);
                }
                Again::Nothing
            }
            Event::SessionJoined { other } => {
                let moved = self.leaves.remove(other).unwrap_or_default();
                if let Some(leaves) = open.entry.session.and_then(|session| self.leaves.get_mut(&session)) {
                    leaves.extend(moved);
                    leaves.sort_unstable();
                }
                Again::Nothing
            }
            Event::ManifestRuled { server, listing, ruling, definitions } => {
                self.pins.apply(server, listing, *ruling, definitions, detail(open).as_ref(), open.entry.at);
                Again::Nothing
            }
            Event::ManifestSeen { server, listing, definitions, .. } if listing == "tools/list" => {
                self.tools.insert(server.clone(), definitions.iter().map(|(name, _)| name.clone()).collect());
                Again::Nothing
            }
            Event::SessionEnded { .. } => {
                if let (Some(watch), Some(session)) = (&mut self.watch, open.entry.session) {
                    watch.ended(session);
                }
                Again::Nothing
            }
            Event::HostTold { source: HostSource::ClaudeCode, word } => {
                if let (Some(watch), Some(session)) = (&mut self.watch, open.entry.session) {
                    watch.told(session, *word, open.entry.at);
                }
                Again::Nothing
            }
            Event::OperatorActed { verb } if verb == "install_hook" || verb == "remove_hook" => {
                let said = open.detail.as_ref().map(|detail| &detail["detail"]);
                if let Some(file) = said.and_then(|said| said["file"].as_str()) {
                    self.hooks.remove(file);
                    let client = said.and_then(|said| said["client"].as_str()).filter(|_| verb == "install_hook");
                    self.hooks.extend(client.map(|client| (file.to_owned(), client.to_owned())));
                }
                Again::Nothing
            }
            Event::DaemonStarted { .. } => {
                let idle = self.config.as_ref().map(|config| config.sessions.idle()).unwrap_or(Duration::from_secs(1800));
                self.watch = Some(Watch::since(open.entry.at, SignedDuration::try_from(idle).unwrap_or(SignedDuration::MAX)));
                Again::Started
            }
            Event::ConfigLoaded { what, digest } => self.loaded(open, what, *digest),
            Event::RuleSuppressed { .. } => detail(open).map_or(Again::Nothing, Again::Silenced),
            Event::RuleHeard { suppression, .. } => Again::Heard(Heard::Id(*suppression)),
            Event::ActionIntended { action, verb, .. } => {
                if let Some(step) = detail::<Step>(open) {
                    if verb.as_str() == "freeze_scope" {
                        self.frozen.insert(*action, step.scopes);
                    } else if let Some(undone) = step.undoes {
                        self.undoes.insert(*action, undone);
                    }
                }
                Again::Nothing
            }
            Event::ActionDone { action, verb, ok: true, .. } if verb.as_str() == "unfreeze_scope" => {
                if let Some(undone) = self.undoes.remove(action) {
                    self.frozen.remove(&undone);
                }
                Again::Undone
            }
            Event::SessionJudged { upto, .. } => {
                match open.entry.session.and_then(|session| Some((session, self.identities.get(&session)?))) {
                    Some((session, identity)) => Again::Judged { session, identity: identity.clone(), upto: *upto },
                    None => Again::Erased,
                }
            }
            Event::FindingRaised { .. } => Again::Found(detail(open).map(Box::new)),
            Event::Message(message) => self.message(open, message),
            _ => Again::Nothing,
        }
    }

    /// The entries of a session up to now, and what is known beside them.
    pub fn session(&self, session: SessionId) -> (Vec<LeafIndex>, Known) {
        let tools = self.tools.iter().map(|(server, tools)| (server.clone(), tools.iter().cloned().collect())).collect();
        (self.leaves.get(&session).cloned().unwrap_or_default(), Known { task: None, tools })
    }

    fn loaded(&mut self, open: &OpenEntry, what: &str, digest: Digest) -> Again {
        let said = |name: &str| open.detail.as_ref().and_then(|detail| detail.get(name));
        let text = said("text").and_then(Value::as_str);
        match what {
            "config" => {
                // Secrets of the environment are nobody's business here; whatever they are, the rest says the same.
                let parsed = text.and_then(|text| Config::parse(text, "custody.toml", &self.base, &|_| Some("erased".to_owned())).ok());
                self.modes = parsed.as_ref().map(|config| config.rules.modes.clone()).unwrap_or_default();
                self.config = parsed;
                Again::Nothing
            }
            "policies" => {
                let own = self.config.as_ref().and_then(|config| compile_policies(config).ok());
                self.own = own.filter(|policies| policies.digest() == digest);
                if self.own.is_none() {
                    self.gaps.insert(format!(
                        "policies of entry {}: configuration or Cedar files are not at hand as they were; what the record says that they denied is used",
                        open.leaf
                    ));
                }
                Again::Nothing
            }
            "rules" => {
                if let Some(modes) = said("modes").and_then(|modes| serde_json::from_value(modes.clone()).ok()) {
                    self.modes = modes;
                }
                let Some(text) = text else { return Again::Rules(Box::new(Err("their text is erased".to_owned()))) };
                let loaded = load_rules_text(text, &self.modes).map_err(|fault| fault.to_string());
                Again::Rules(Box::new(loaded.and_then(|rules| match rules.digest() == digest {
                    true => Ok(rules),
                    false => Err(format!("their text gives digest {}, and {digest} was in force", rules.digest())),
                })))
            }
            "baseline" => {
                let baseline: Option<Baseline> = said("baseline").and_then(|baseline| serde_json::from_value(baseline.clone()).ok());
                Again::Baseline(baseline.map(Arc::new))
            }
            _ => Again::Nothing,
        }
    }

    fn message(&mut self, open: &OpenEntry, message: &Message) -> Again {
        // What became of a held call or of a permit is no message of its own.
        if message.direction == Direction::ToServer && message.answers.is_some() {
            return Again::Nothing;
        }
        let Some(session) = open.entry.session else { return Again::Nothing };
        let Some(identity) = self.identities.get(&session).cloned() else { return Again::Erased };
        let enforced = self.config.as_ref().and_then(|config| config.servers.get(message.server.as_str()));
        let facts = Facts {
            enforced: enforced.is_some_and(|server| server.mode == Mode::Enforce),
            session: Some(session),
            leaf: Some(open.leaf),
            ..Facts::new(EventKind::Message, message.direction, message.server.clone(), identity)
        };
        match message.direction {
            Direction::ToAgent => {
                // What Custody itself answered has no method of a call.
                let Some((event, tool, method)) =
                    message.answers.filter(|_| message.method.is_some()).and_then(|leaf| self.open.remove(&leaf))
                else {
                    return Again::Nothing;
                };
                let returned = open.entry.body.as_ref().map_or(0, |body| body.size);
                Again::Messages(vec![Facts { event, tool, method, listed: true, returned: Some(returned), ..facts }])
            }
            Direction::ToServer => match open.body.as_deref() {
                Some(bytes) => Again::Messages(self.asked(open, message, bytes, &facts)),
                None => Again::Erased,
            },
        }
    }

    /// As `core::decide` makes them.
    fn asked(&mut self, open: &OpenEntry, message: &Message, bytes: &[u8], about: &Facts) -> Vec<Facts> {
        let said: MessageDetail = detail(open).unwrap_or_default();
        let frame = wire::read_frame(bytes, &wire::Limits::default());
        let mut faults = said.faults;
        faults.extend(header_faults(&said.headers, &frame, message.transport).into_iter().map(|fault| fault.to_string()));
        faults.extend(frame.check_line().filter(|_| message.transport == Transport::Stdio).map(|fault| fault.to_string()));
        // Frozen by this very decision, it was judged while it was free.
        let cut_off = |reason: &DenyReason| matches!(reason, DenyReason::Frozen | DenyReason::Quarantined);
        let recorded = message.reason.clone().filter(|reason| !cut_off(reason) || self.is_frozen(about, message));
        let mut reason = recorded.clone().filter(|reason| !matches!(reason, DenyReason::Policy(_) | DenyReason::PolicyError(_)));
        let mut all = Vec::new();
        for call in frame.messages() {
            let event = EventKind::of(call.method.as_deref());
            let arguments: Option<Value> = call.arguments.map(|span| serde_json::from_slice(span.of(bytes)).unwrap_or(Value::Null));
            let policy = match self.policies.as_ref().or(self.own.as_ref()) {
                Some(policies) => ask(policies, about, call, arguments.as_ref(), open.entry.at),
                None => outcome_of(recorded.as_ref()),
            };
            if reason.is_none() {
                reason = match &policy {
                    PolicyOutcome::Denied { policy, .. } => Some(DenyReason::Policy(policy.clone())),
                    PolicyOutcome::Error { policy, .. } => Some(DenyReason::PolicyError(policy.clone())),
                    PolicyOutcome::Allowed | PolicyOutcome::Undeclared => None,
                };
            }
            let tool = call.target().map(str::to_owned);
            let (hints, listed_since) = match (event, &tool) {
                (EventKind::ToolInvoked, Some(tool)) => self.pins.tool(&about.server, &about.identity.principal, tool),
                _ => Default::default(),
            };
            if event != EventKind::Message {
                if self.open.len() >= OPEN_CALLS {
                    self.open.clear();
                }
                self.open.insert(open.leaf, (event, tool.clone(), call.method.clone()));
            }
            all.push(Facts {
                event,
                outcome: if reason.is_some() { Outcome::Denied } else { Outcome::Allowed },
                reason: reason.clone(),
                policy,
                listed: message.tool.is_some(),
                tool,
                method: call.method.clone(),
                faults: faults.clone(),
                arguments: arguments.unwrap_or(Value::Null),
                hints,
                listed_since,
                user: self.user(about, event, open.entry.at),
                ..about.clone()
            });
        }
        all
    }

    /// As `core::host` asks it.
    fn user(&self, about: &Facts, event: EventKind, at: Timestamp) -> Option<UserFacts> {
        let hooked = event == EventKind::ToolInvoked && self.hooks.values().any(|client| *client == about.identity.principal.0);
        self.watch.as_ref().filter(|_| hooked)?.user(about.session?, at)
    }

    fn is_frozen(&self, about: &Facts, message: &Message) -> bool {
        let names = |scope: &Scope| match scope {
            Scope::Session(session) => Some(*session) == about.session,
            Scope::Principal(principal) => *principal == about.identity.principal,
            Scope::Server(server) => *server == message.server,
            Scope::Tool(server, _) | Scope::Prompt(server, _) | Scope::Resource(server, _) => *server == message.server,
            Scope::For(principal, _) => *principal == about.identity.principal,
            Scope::Process(_) | Scope::Connection(_) => false,
        };
        self.frozen.values().flatten().any(names)
    }
}

/// Headers that say another message than the body, or that two readers read differently, as `core::decide` looks at them.
fn header_faults(headers: &[(String, String)], frame: &wire::Frame, transport: Transport) -> Vec<wire::Fault> {
    let all = |name: &str| {
        headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let first = |name: &str| all(name).first().copied().filter(|value| !value.contains('\u{fffd}'));
    let unclear = ["Mcp-Method", "Mcp-Name", "MCP-Protocol-Version", "Mcp-Session-Id"].into_iter().filter_map(|name| {
        let values = all(name);
        let unclear = values.len() > 1 || values.first().is_some_and(|value| value.contains('\u{fffd}'));
        unclear.then_some(wire::Fault::Ambiguous(wire::Flaw { at: 0, what: wire::What::HeaderUnreadable(name) }))
    });
    let mut faults: Vec<wire::Fault> = match transport {
        Transport::Stdio => Vec::new(),
        Transport::Http | Transport::Sse => unclear.collect(),
    };
    if transport != Transport::Stdio {
        let found = wire::check_headers(frame, first("mcp-method"), first("mcp-name"), first("mcp-protocol-version"));
        let asked_for = |fault: &wire::Fault| transport != Transport::Sse || !matches!(fault.flaw().what, wire::What::HeaderMissing(_));
        faults.extend(found.into_iter().filter(asked_for));
    }
    faults
}

/// What the record says that the policies said.
fn outcome_of(reason: Option<&DenyReason>) -> PolicyOutcome {
    match reason {
        Some(DenyReason::Policy(policy)) => PolicyOutcome::Denied { policy: policy.clone(), why: String::new() },
        Some(DenyReason::PolicyError(policy)) => PolicyOutcome::Error { policy: policy.clone(), why: String::new() },
        _ => PolicyOutcome::Allowed,
    }
}

fn ask(policies: &Policies, about: &Facts, call: &wire::Frame, arguments: Option<&Value>, now: jiff::Timestamp) -> PolicyOutcome {
    let Some(name) = call.target() else { return PolicyOutcome::Undeclared };
    let action = match call.method.as_deref() {
        Some("tools/call") => Action::CallTool(name),
        Some("resources/read") => Action::ReadResource(name),
        Some("prompts/get") => Action::GetPrompt(name),
        Some(method) => Action::Other(method),
        None => return PolicyOutcome::Undeclared,
    };
    let query = Query {
        principal: &about.identity.principal,
        role: about.identity.role.as_ref(),
        task: about.identity.task.as_ref(),
        action,
        server: &about.server,
        arguments,
        read_only_hint: false,
        now,
    };
    policies.decide(&query).into()
}

pub fn detail<T: serde::de::DeserializeOwned>(open: &OpenEntry) -> Option<T> {
    serde_json::from_value(open.detail.clone()?).ok()
}

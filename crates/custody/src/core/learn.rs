//! What roles usually do: learned from the record, put in force by an operator (D17).
//!
//! The baseline in force lies in the home (`baseline.json`); each change of it is an entry with its text, and findings name
//! its digest.

use super::{Core, CoreError};
use crate::trust::{Home, write_private};
use custody_engine::{
    behavior::{Baseline, LearnOptions, Learner},
    detect::{EventKind, Facts},
    manifest::Pins,
    wire,
};
use custody_model::*;
use custody_store::ledger::{Draft, Reader};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Calls that wait for their answer while a ledger is read; beyond, the oldest are taken for unanswered.
const OPEN_CALLS: usize = 100_000;

/// `POST /api/v1/learn`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearnRequest {
    /// Only what happened since then; `None`: all that is remembered.
    pub since: Option<Timestamp>,
    /// After so many days a session weighs half; `None`: 14.
    pub half_life_days: Option<f64>,
    /// Whether it is put in force at once.
    pub apply: bool,
}

/// `POST /api/v1/baseline`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineRequest {
    /// What is to be in force; `None`: nothing.
    pub baseline: Option<Baseline>,
    /// Join it with the one in force.
    #[serde(default)]
    pub merge: bool,
    /// Why.
    pub reason: String,
}

/// A baseline, and whether it is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Its name in findings.
    pub name: String,
    /// Its digest in findings.
    pub digest: Digest,
    /// Whether it is in force.
    pub in_force: bool,
    /// All of it.
    pub baseline: Baseline,
}

impl Learned {
    fn new(baseline: Baseline, in_force: bool) -> Learned {
        Learned { name: baseline.name(), digest: baseline.digest(), in_force, baseline }
    }
}

/// The baseline in force, with its digest.
#[derive(Default)]
pub(super) struct InForce(Mutex<Option<(Arc<Baseline>, Digest)>>);

impl InForce {
    /// What the home says.
    pub fn read(home: &Home) -> Result<InForce, CoreError> {
        let path = home.baseline();
        let broken = |faults: String| CoreError::Loading { what: "baseline", faults: format!("{}: {faults}", path.display()) };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(InForce::default()),
            Err(source) => return Err(CoreError::Io { doing: "read", path: path.display().to_string(), source }),
        };
        let baseline: Baseline = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        baseline.check().map_err(|error| broken(error.to_string()))?;
        let digest = baseline.digest();
        Ok(InForce(Mutex::new(Some((Arc::new(baseline), digest)))))
    }

    pub fn get(&self) -> Option<(Arc<Baseline>, Digest)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, baseline: Option<(Arc<Baseline>, Digest)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = baseline;
    }
}

impl Core {
    /// The baseline in force.
    pub fn baseline(&self) -> Option<Learned> {
        self.baseline.get().map(|(baseline, _)| Learned::new((*baseline).clone(), true))
    }

    /// Learns from the ledger. Sessions of incidents are left out, unless a person said that it was none.
    ///
    /// # Errors
    /// When ledger or projection cannot be read; with `apply`, as [`Core::set_baseline`].
    pub async fn learn(&self, by: &OperatorName, request: LearnRequest) -> Result<Learned, CoreError> {
        self.settled().await;
        let excluded = self.projection.sessions_to_exclude().await?;
        let reader = self.ledger.reader();
        let options = LearnOptions { half_life_days: request.half_life_days.unwrap_or(LearnOptions::default().half_life_days) };
        let (since, now) = (request.since, self.now());
        let read = tokio::task::spawn_blocking(move || read_ledger(&reader, options, excluded, since, now)).await;
        let baseline = read.map_err(|error| CoreError::Export(error.to_string()))??;
        if request.apply {
            let request = BaselineRequest { baseline: Some(baseline), merge: false, reason: "learned".to_owned() };
            return self.set_baseline(by, request).map(|learned| learned.expect("a baseline was set"));
        }
        Ok(Learned::new(baseline, false))
    }

    /// Puts a baseline in force, or none. Recorded before it takes effect.
    ///
    /// # Errors
    /// [`CoreError::Loading`] when it is none; [`CoreError::Ledger`] and [`CoreError::Io`] when it cannot be kept.
    pub fn set_baseline(&self, by: &OperatorName, request: BaselineRequest) -> Result<Option<Learned>, CoreError> {
        let baseline = match (request.baseline, self.baseline.get()) {
            (Some(new), Some((old, _))) if request.merge => {
                new.check().map_err(|error| CoreError::Loading { what: "baseline", faults: error.to_string() })?;
                let (mut later, earlier) = if new.learned >= old.learned { (new, (*old).clone()) } else { ((*old).clone(), new) };
                later.merge(&earlier);
                Some(later)
            }
            (new, _) => new,
        };
        if let Some(baseline) = &baseline {
            baseline.check().map_err(|error| CoreError::Loading { what: "baseline", faults: error.to_string() })?;
        }
        let path = self.home.baseline();
        let io = |doing, source| CoreError::Io { doing, path: path.display().to_string(), source };
        let digest = baseline.as_ref().map_or(Digest([0; 32]), Baseline::digest);
        let detail = json!({"by": by, "reason": request.reason, "baseline": baseline});
        self.ledger.record(Draft {
            at: self.now(),
            session: None,
            event: Event::ConfigLoaded { what: "baseline".to_owned(), digest },
            detail: Some(detail),
            body: None,
        })?;
        match &baseline {
            Some(baseline) => {
                let text = serde_json::to_vec(baseline).expect("a baseline is plain data");
                write_private(&path, &text).map_err(|source| io("write", source))?;
            }
            None => match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", source)),
                _ => {}
            },
        }
        let shared = baseline.clone().map(Arc::new);
        self.detector().behavior().set_baseline(shared.clone());
        self.baseline.set(shared.map(|baseline| (baseline, digest)));
        Ok(baseline.map(|baseline| Learned::new(baseline, true)))
    }
}

/// Everything that a ledger teaches.
fn read_ledger(
    reader: &Reader,
    options: LearnOptions,
    excluded: HashSet<SessionId>,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<Baseline, CoreError> {
    let mut learner = Learner::new(options);
    learner.leave_out(excluded);
    let mut replay = Replay::default();
    for entry in reader.open_entries(LeafIndex(0)) {
        let entry = entry?;
        let at = entry.entry.at;
        for facts in replay.facts(&entry) {
            if since.is_none_or(|since| at >= since) {
                learner.observe(&facts, at);
            }
        }
    }
    Ok(learner.finish(now))
}

/// Makes facts of entries again, as they were when the messages passed.
#[derive(Default)]
pub struct Replay {
    identities: HashMap<SessionId, Identity>,
    pins: Pins,
    open: HashMap<LeafIndex, (EventKind, Option<String>)>,
}

impl Replay {
    /// The facts of one entry, in leaf order. What was erased teaches nothing.
    pub fn facts(&mut self, entry: &OpenEntry) -> Vec<Facts> {
        if let Event::ManifestRuled { server, listing, ruling, definitions } = &entry.entry.event {
            self.pins.apply(server, listing, *ruling, definitions, detail(entry).as_ref(), entry.entry.at);
        }
        let Some(session) = entry.entry.session else { return Vec::new() };
        match &entry.entry.event {
            Event::SessionStarted => {
                if let Some(detail) = detail::<SessionDetail>(entry) {
                    self.identities.insert(session, detail.identity);
                }
                Vec::new()
            }
            Event::SessionEnded { .. } => Vec::new(),
            Event::Message(message) => match self.identities.get(&session).cloned() {
                Some(identity) => self.message(entry, session, identity, message),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn message(&mut self, entry: &OpenEntry, session: SessionId, identity: Identity, message: &Message) -> Vec<Facts> {
        let facts = Facts {
            outcome: message.outcome,
            reason: message.reason.clone(),
            listed: message.tool.is_some(),
            method: message.method.clone(),
            session: Some(session),
            leaf: Some(entry.leaf),
            ..Facts::new(EventKind::Message, message.direction, message.server.clone(), identity)
        };
        let bytes = entry.body.as_deref().unwrap_or_default();
        if message.direction == Direction::ToAgent {
            let Some((event, tool)) = message.answers.and_then(|leaf| self.open.remove(&leaf)) else { return Vec::new() };
            return vec![Facts { event, tool, returned: Some(bytes.len() as u64), ..facts }];
        }
        let frame = wire::read_frame(bytes, &wire::Limits::default());
        let mut all = Vec::new();
        for call in frame.messages() {
            let event = EventKind::of(call.method.as_deref());
            if event == EventKind::Message {
                continue;
            }
            let tool = call.target().map(str::to_owned);
            let arguments = call.arguments.and_then(|span| serde_json::from_slice(span.of(bytes)).ok()).unwrap_or(Value::Null);
            if self.open.len() >= OPEN_CALLS {
                self.open.clear();
            }
            self.open.insert(entry.leaf, (event, tool.clone()));
            let (hints, listed_since) = match (event, &tool) {
                (EventKind::ToolInvoked, Some(tool)) => self.pins.tool(&facts.server, &facts.identity.principal, tool),
                _ => Default::default(),
            };
            all.push(Facts { event, tool, arguments, hints, listed_since, ..facts.clone() });
        }
        all
    }
}

fn detail<T: serde::de::DeserializeOwned>(entry: &OpenEntry) -> Option<T> {
    serde_json::from_value(entry.detail.clone()?).ok()
}

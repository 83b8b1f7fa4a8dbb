//! One daemon: ledger, decisions, the incident pipeline.
//!
//! The ledger is the truth. Decisions happen in [`decide`], one at a time under the [`gate`];
//! everything slower (triage, case, snapshot, termination, alerts) happens in the pipeline, in the order of findings.

mod alarm;
mod assess;
mod attach;
mod clock;
mod contain;
mod copies;
mod correct;
mod decide;
mod erase;
mod errors;
mod evidence;
mod families;
mod gate;
mod held;
mod host;
mod identity;
mod incident;
mod learn;
mod links;
mod manifest;
mod open;
mod peer;
pub(crate) mod reading;
mod rebuild;
mod room;
mod rules;
mod sessions;
mod stamps;
mod verdict;
mod view;
mod witnesses;

pub use attach::Attached;
pub use clock::{Clock, ClockReading};
pub use contain::{ContainOptions, ContainTarget};
pub use erase::{EraseTarget, Erased, Kept};
pub use errors::CoreError;
pub use gate::Sending;
pub use held::HeldCall;
pub use host::HostMessage;
pub use identity::UNVERIFIED;
pub use learn::{BaselineRequest, LearnRequest, Learned, Replay};
pub use manifest::{ManifestAct, ManifestOrder, pins_of};
pub use open::compile_policies;
pub use peer::{Call, Decision, Inbound, Peer, Permit, Refusal, Returned, Scopes};
pub use rebuild::{Rebuilt, rebuild};
pub use rules::{
    Reloaded, RuleRow, RulesFault, RulesStatus, RulesView, SuppressRequest, load as load_rules, load_text as load_rules_text, read_rules,
    rows as rule_rows,
};
pub use verdict::facts_of as verdict_facts;
pub use view::{ServerStatus, Status};

use crate::alerts::Outbox;
use crate::config::{Config, Mode};
use crate::telemetry::{Metrics, spans::Spans};
use crate::trust::{Clients, Home};
use attach::Attachments;
use custody_engine::{contain::Automatic, detect::Detector, manifest::Pins, policy::Policies, session::SessionGraph, wire};
use custody_model::*;
use custody_store::{
    ledger::{Draft, Ledger, Recorded},
    projection::Projection,
};
use gate::Gate;
use manifest::{Listings, Walks};
use serde::Serialize;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Findings waiting for triage at most; beyond, whoever raises one waits.
const FINDINGS_WAITING: usize = 1024;

/// How long anybody waits for the projection.
const SETTLED: Duration = Duration::from_secs(5);

/// A home that is open for work.
pub struct Core {
    home: Home,
    clock: Clock,
    config: Config,
    limits: wire::Limits,
    automatic: Automatic,
    alert: bool,
    clients: Clients,
    ledger: Ledger,
    projection: Projection,
    /// Leaves the projection has applied.
    applied: watch::Receiver<u64>,
    /// Somebody waits for the projection.
    hurry: Arc<Notify>,
    gate: Gate,
    graph: Mutex<SessionGraph>,
    policies: Policies,
    detector: Mutex<Detector>,
    rules: Mutex<rules::InForce>,
    decided_by: DecidedBy,
    baseline: learn::InForce,
    families: Mutex<families::Families>,
    /// Freezes whose incident was told and preserved.
    answered: Mutex<std::collections::HashSet<ActionId>>,
    listings: Mutex<Listings>,
    pins: Mutex<Pins>,
    walks: Mutex<Walks>,
    attachments: Attachments,
    waiting: held::Waiting,
    verdicts: verdict::Waiting,
    watch: Mutex<custody_engine::host::Watch>,
    heard: host::Heard,
    outbox: Outbox,
    metrics: Metrics,
    spans: Spans,
    raised: mpsc::Sender<incident::Job>,
    refused: Mutex<u64>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Core {
    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What a frame may cost.
    pub fn wire_limits(&self) -> wire::Limits {
        self.limits
    }

    /// The adopted clients' keys.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The projection; follows the ledger by milliseconds.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// Who a principal is in the configuration. A task hint only chooses among the tasks of the role.
    pub fn identify(&self, principal: &PrincipalName, task_hint: Option<&str>) -> Identity {
        let client = self.config.clients.get(principal.as_str());
        let role = client.and_then(|client| client.role.clone());
        let hinted = task_hint
            .filter(|task| role.as_ref().and_then(|role| self.config.roles.get(role)).is_some_and(|role| role.tasks.contains_key(*task)));
        let task = hinted.map(str::to_owned).or_else(|| client.and_then(|client| client.task.clone()));
        Identity { principal: principal.clone(), assurance: Assurance::ClientKey, role: role.map(RoleName), task: task.map(TaskName) }
    }

    /// Whether policy denials of this server hold.
    fn enforces(&self, server: &ServerName) -> bool {
        self.config.servers.get(server.as_str()).is_some_and(|server| server.mode == Mode::Enforce)
    }

    fn detector(&self) -> MutexGuard<'_, Detector> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server has listed this tool, or the configuration names it. Only then may the name stand in a leaf.
    fn is_listed(&self, server: &ServerName, tool: &str) -> bool {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).lists(server, tool)
    }

    /// Appends an entry of Custody's own; a failure is logged, for nothing is forwarded on the strength of it.
    fn note<D: Serialize>(&self, session: Option<SessionId>, event: Event, detail: Option<D>) -> Option<Recorded> {
        let detail = detail.map(|d| serde_json::to_value(d).expect("details are plain data"));
        match self.ledger.record(Draft { at: self.now(), session, event, detail, body: None }) {
            Ok(recorded) => Some(recorded),
            Err(error) => {
                tracing::error!(%error, "an entry of Custody's own is not recorded");
                None
            }
        }
    }

    /// Counts a refused credential; an entry each 100, and each first of a burst (promise 7, bounded).
    pub fn access_refused(&self, listener: &str, from: &str) {
        let count = {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused += 1;
            *refused
        };
        self.metrics.refused(listener);
        tracing::warn!(listener, %from, "a request without a valid credential was refused");
        if count == 1 || count.is_multiple_of(100) {
            let event = Event::AccessRefused {
                listener: listener.to_owned(),
                count: match count {
                    1 => 1,
                    100 => 99,
                    _ => 100,
                },
            };
            self.note(None, event, Some(serde_json::json!({ "from": from })));
        }
    }

    /// Registers a stream or process that a termination must end.
    pub fn attach(&self, peer: &Peer, session: Option<SessionId>, process: Option<ProcessRef>) -> Attached {
        self.attachments.attach(peer, session, process)
    }

    /// Runs a task that [`Core::close`] waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Cancelled when the daemon stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Reads the ledger, with the daemon's eyes.
    pub fn reader(&self) -> custody_store::ledger::Reader {
        self.ledger.reader()
    }

    /// Waits until the projection has caught up with everything recorded so far. Not for ever: when it cannot, what is
    /// known must do, for containment and alerts do not depend on a database.
    pub async fn settled(&self) {
        let size = self.ledger.size();
        let mut applied = self.applied.clone();
        if *applied.borrow_and_update() >= size {
            return;
        }
        self.hurry.notify_one();
        if tokio::time::timeout(SETTLED, applied.wait_for(|applied| *applied >= size)).await.is_err() {
            tracing::error!(size, applied = *self.applied.borrow(), "the projection is behind the ledger; going on without it");
        }
    }
}

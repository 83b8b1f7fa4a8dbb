//! Opening a home: ledger, projection, freezes, policies, rules; and closing it again.

use super::{
    Clock, Core, CoreError, FINDINGS_WAITING, attach::Attachments, copies, gate::Gate, incident::Job, manifest::Listings, stamps, witnesses,
};
use crate::alerts::{Channel, ChannelConfig, Outbox, http::Endpoint};
use crate::config::{Automatic as Act, Config, Durability, LedgerCopy};
use crate::telemetry::{
    Metrics,
    spans::{self, Spans},
};
use crate::trust::{Clients, Home};
use custody_engine::{
    contain::{Automatic, Freeze},
    detect::Detector,
    host::Watch,
    policy::Policies,
    session::{SessionGraph, SessionLimits},
    wire,
};
use custody_model::*;
use custody_store::{
    ledger::{self, Disk, Ledger, LedgerKeys, LedgerOptions, Quota, Reader, Recovery, Storage},
    projection::Projection,
};
use jiff::SignedDuration;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    path::Path,
    sync::{Arc, Mutex, Weak},
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Entries applied to the projection in one transaction.
const APPLIED_AT_ONCE: usize = 2048;
/// Between two transactions, unless somebody waits for what was recorded: one for every message would cost more than the message.
const PACE: std::time::Duration = std::time::Duration::from_millis(250);
/// Between two looks whether so much was recorded that it must not wait any longer.
const LOOK: std::time::Duration = std::time::Duration::from_millis(25);
/// Between two attempts of a projection that fails.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

impl Core {
    /// Opens a home for work. Only one process can, at a time.
    ///
    /// # Errors
    /// [`CoreError`], with what to do about it.
    pub async fn open(home: &Home, config: Config) -> Result<Arc<Core>, CoreError> {
        Core::open_at(home, config, Clock::System).await
    }

    /// As [`Core::open`], with a clock of its own.
    ///
    /// # Errors
    /// As [`Core::open`].
    pub async fn open_at(home: &Home, config: Config, clock: Clock) -> Result<Arc<Core>, CoreError> {
        let quota = match config.ledger.quota_bytes {
            Some(limit) => Some(quota(&home.ledger(), limit)?),
            None => None,
        };
        let options = LedgerOptions {
            storage: quota.clone().map_or_else(|| Arc::new(Disk) as Arc<dyn Storage>, |quota| Arc::new(quota)),
            durability: match config.ledger.durability {
                Durability::Default => ledger::Durability::Default,
                Durability::Strict => ledger::Durability::Strict,
            },
            sync_ms: config.ledger.sync_ms,
            checkpoint_ms: config.ledger.checkpoint_ms,
            daemon_key_days: config.ledger.daemon_key_days,
            copies: config
                .ledger
                .copies
                .iter()
                .filter_map(|copy| if let LedgerCopy::File { path } = copy { Some(path.clone()) } else { None })
                .collect(),
            ..LedgerOptions::default()
        };
        let keys = LedgerKeys::parse(
            home.read_ledger_key()?.expose(),
            &home.read_operators()?.recipients(),
            Some(home.read_daemon_key()?.expose()),
        )?;
        let (ledger, recovery) = Ledger::open(&home.ledger(), keys, options)?;
        let projection = Projection::open(&home.database()).await?;
        let policies = compile_policies(&config)?;
        let rules_seen = super::rules::print(config.rules.dir.as_deref());
        let (rules, rules_text) = super::rules::load(&config.rules, config.text.expose())?;
        let baseline = super::learn::InForce::read(home)?;
        let decided_by =
            DecidedBy { engine: env!("CARGO_PKG_VERSION").to_owned(), rules: rules.digest(), policies: policies.digest(), baseline: None };
        let clients = Clients::open(&home.clients())?;
        let outbox_core: Arc<Mutex<Weak<Core>>> = Arc::default();
        let recorder = outbox_core.clone();
        let outbox = Outbox::start(channels(&config)?, move |mut record: AlertRecord| {
            let core = recorder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).upgrade();
            if let Some(core) = core {
                // The signature in the request is of the machine's time; the record is of the daemon's.
                record.at = core.now();
                let event = Event::AlertSent { case: record.case, channel: record.channel.clone(), ok: record.ok };
                core.note(None, event, Some(&record));
                if record.ok && core.raised.try_send(Job::Informed { case: record.case, at: record.at }).is_err() {
                    tracing::warn!(case.id = %record.case, "the clock of an alert that arrived is not stopped: too much to do");
                }
            }
        });
        let metrics = Metrics::new(config.servers.keys().cloned().map(ServerName));
        let collector = config.telemetry.otlp.as_deref().map(collector).transpose()?;
        let (spans, waiting) = match &collector {
            Some(_) => {
                let (spans, waiting) = Spans::on(metrics.spans_dropped());
                (spans, Some(waiting))
            }
            None => (Spans::off(), None),
        };
        crate::redact::load(config.redaction.patterns.as_deref())
            .map_err(|faults| CoreError::Loading { what: "redaction patterns", faults })?;
        let webhooks = copies::webhooks(&config.ledger.copies)?;
        let authority = config.ledger.timestamps.as_ref().map(stamps::open).transpose()?;
        let round = witnesses::open(home, &config.ledger.witnesses, ledger.reader())?;
        catch_up(&ledger, &ledger.reader(), &projection).await?;
        let freezes = projection.active_freezes().await?.into_iter().map(|row| Freeze { action: row.action, scopes: row.scopes }).collect();
        let mut listings = Listings::default();
        for row in projection.manifests().await? {
            listings.restore(row.server, row.listing, row.definitions);
        }
        let pins = super::pins_of(&projection.rulings().await?);
        let (raised, jobs) = mpsc::channel(FINDINGS_WAITING);
        let (applied, applied_watch) = watch::channel(projection.applied().await?);
        let hurry = Arc::new(Notify::new());
        let mut detector = Detector::with_baseline(rules, baseline.get().map(|(baseline, _)| baseline));
        for suppression in projection.suppressions(clock.now()).await? {
            let _added = detector.silence(suppression);
        }
        let idle = SignedDuration::try_from(config.sessions.idle()).unwrap_or(SignedDuration::MAX);
        let core = Arc::new(Core {
            home: home.clone(),
            limits: wire::Limits { bytes: config.limits.frame_bytes, depth: config.limits.depth, ..wire::Limits::default() },
            automatic: Automatic {
                freeze: config.containment.automatic.contains(&Act::Freeze),
                snapshot: config.containment.automatic.contains(&Act::Snapshot),
                terminate: config.containment.automatic.contains(&Act::Terminate),
            },
            alert: config.containment.automatic.contains(&Act::Alert),
            graph: Mutex::new(SessionGraph::new(SessionLimits { idle, ..SessionLimits::default() })),
            clients,
            projection,
            applied: applied_watch,
            hurry: hurry.clone(),
            gate: Gate::restore(freezes),
            policies,
            detector: Mutex::new(detector),
            rules: super::rules::InForce::new(config.rules.clone(), rules_seen, clock.now()),
            baseline,
            decided_by,
            families: Mutex::default(),
            answered: Mutex::default(),
            listings: Mutex::new(listings),
            pins: Mutex::new(pins),
            walks: Mutex::default(),
            attachments: Attachments::default(),
            waiting: super::held::Waiting::default(),
            verdicts: super::verdict::Waiting::default(),
            watch: Mutex::new(Watch::since(clock.now(), idle)),
            heard: super::host::Heard::default(),
            outbox,
            metrics,
            spans,
            raised,
            refused: Mutex::new(0),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            ledger,
            config,
            clock,
        });
        *outbox_core.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::downgrade(&core);
        core.tasks.spawn(follow(core.ledger.clone(), core.projection.clone(), applied, hurry, core.stop.clone()));
        core.tasks.spawn(core.clone().work(jobs));
        core.tasks.spawn(core.clone().sweep());
        core.tasks.spawn(core.clone().retain());
        core.tasks.spawn(core.clone().watch_rules());
        core.tasks.spawn(core.clone().watch_room(quota));
        core.tasks.spawn(core.clone().judge_sessions());
        for webhook in webhooks {
            core.tasks.spawn(copies::tell(webhook, core.ledger.watch_checkpoints(), core.stop.clone()));
        }
        if let (Some(endpoint), Some(timestamps)) = (authority, &core.config.ledger.timestamps) {
            let every = std::time::Duration::from_secs(timestamps.every_minutes * 60);
            core.tasks.spawn(core.clone().stamp(endpoint, every, core.ledger.watch_checkpoints()));
        }
        if let Some(round) = round {
            core.tasks.spawn(core.clone().ask_witnesses(round, core.ledger.watch_checkpoints()));
        }
        if let Some((endpoint, waiting)) = collector.zip(waiting) {
            core.tasks.spawn(spans::send(endpoint, waiting, core.metrics.spans_dropped(), core.stop.clone()));
        }
        core.started(&recovery, &rules_text);
        Ok(core)
    }

    fn started(&self, recovery: &Recovery, rules_text: &str) {
        let clock = self.clock.reading().map(|reading| json!({"virtual_clock": reading, "started": jiff::Timestamp::now()}));
        self.note(None, Event::DaemonStarted { version: env!("CARGO_PKG_VERSION").to_owned(), recovered: recovery.bytes() }, clock);
        let config = self.config.text.expose();
        self.note(None, Event::ConfigLoaded { what: "config".to_owned(), digest: sha256(config) }, Some(json!({"text": config})));
        let policies = self.policies.cedar_text();
        self.note(
            None,
            Event::ConfigLoaded { what: "policies".to_owned(), digest: self.decided_by.policies },
            Some(json!({"text": policies})),
        );
        self.note(None, Event::ConfigLoaded { what: "rules".to_owned(), digest: self.decided_by.rules }, Some(json!({"text": rules_text})));
    }

    /// Ends in order: findings worked through, alerts delivered or given up, everything applied, signed and synced.
    pub async fn close(self: Arc<Self>) {
        self.judge_at_last().await;
        self.quiet().await;
        self.outbox.drain(std::time::Duration::from_secs(5)).await;
        self.quiet().await;
        self.tell_last_repeats();
        self.note(None, Event::DaemonStopped, None::<()>);
        self.settled().await;
        // Signed before the copies and the witnesses are told for the last time, so that they are told of everything.
        let ledger = self.ledger.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || ledger.checkpoint()).await {
            tracing::error!(%error, "the last checkpoint could not be signed");
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let ledger = self.ledger.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || ledger.close()).await {
            tracing::error!(%error, "the ledger was not closed in order");
        }
        self.projection.close().await;
    }
}

fn quota(ledger: &Path, limit: u64) -> Result<Quota, CoreError> {
    Quota::new(ledger, limit).map_err(|source| CoreError::Io { doing: "read", path: ledger.display().to_string(), source })
}

/// Where spans go: `/v1/traces` of the configured base address.
fn collector(base: &str) -> Result<Endpoint, CoreError> {
    let name = "telemetry.otlp".to_owned();
    let url = Some(format!("{}/v1/traces", base.trim_end_matches('/')));
    let config = ChannelConfig { name: name.clone(), kind: "webhook".to_owned(), url, ..ChannelConfig::default() };
    Endpoint::open(&config).map_err(|error| CoreError::Alerts { channel: name, why: error.to_string() })
}

fn channels(config: &Config) -> Result<Vec<Channel>, CoreError> {
    let open = |(name, channel): (&String, &crate::config::AlertChannel)| {
        Channel::open(&ChannelConfig::of(name, channel))
            .map_err(|error| CoreError::Alerts { channel: name.clone(), why: error.to_string() })
    };
    config.alerts.iter().map(open).collect()
}

fn sha256(text: &str) -> Digest {
    Digest(Sha256::digest(text).into())
}

/// The policies of a configuration, with the Cedar files that it names.
///
/// # Errors
/// Every fault, with file and line.
pub fn compile_policies(config: &Config) -> Result<Policies, CoreError> {
    let files = read_dir(config.policies.dir.as_deref(), "cedar")?;
    Policies::compile(&config.policy_source(files)).map_err(|faults| CoreError::Loading { what: "policies", faults: lines(&faults) })
}

pub(super) fn lines(faults: &[impl ToString]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The files of one ending in a directory, sorted by name.
fn read_dir(dir: Option<&Path>, ending: &str) -> Result<Vec<(String, String)>, CoreError> {
    let Some(dir) = dir else { return Ok(Vec::new()) };
    let failed = |path: &Path, source| CoreError::Io { doing: "read", path: path.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| failed(dir, e))? {
        let path = entry.map_err(|e| failed(dir, e))?.path();
        if path.extension().is_some_and(|e| e == ending) {
            let text = std::fs::read_to_string(&path).map_err(|e| failed(&path, e))?;
            files.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text));
        }
    }
    files.sort();
    Ok(files)
}

/// Applies what the ledger has and the projection lacks.
async fn catch_up(ledger: &Ledger, reader: &Reader, projection: &Projection) -> Result<u64, CoreError> {
    let mut from = projection.applied().await?;
    while from < ledger.size() {
        let newest = ledger.take_newest(LeafIndex(from), APPLIED_AT_ONCE);
        let reader = reader.clone();
        let batch = if newest.is_empty() || newest.iter().any(|(_, entry)| Projection::needs_detail(entry) && entry.detail.is_some()) {
            let read = move || match newest.is_empty() {
                true => reader.detailed_entries(LeafIndex(from), Projection::needs_detail).take(APPLIED_AT_ONCE).collect(),
                false => detailed(&reader, newest),
            };
            tokio::task::spawn_blocking(read).await.expect("reading does not panic")?
        } else {
            detailed(&reader, newest)?
        };
        if batch.is_empty() {
            break;
        }
        projection.apply_many(&batch).await?;
        from += batch.len() as u64;
    }
    Ok(from)
}

fn detailed(reader: &Reader, entries: Vec<(LeafIndex, Arc<Entry>)>) -> Result<Vec<OpenEntry>, ledger::LedgerError> {
    let open = |(leaf, entry)| reader.detailed(leaf, Arc::unwrap_or_clone(entry), Projection::needs_detail);
    entries.into_iter().map(open).collect()
}

/// Keeps the projection behind the ledger by some milliseconds, and at once when told to `hurry`, until told to stop.
async fn follow(ledger: Ledger, projection: Projection, applied: watch::Sender<u64>, hurry: Arc<Notify>, stop: CancellationToken) {
    let mut grown = ledger.watch();
    // Kept: it remembers where the last segment's lines begin.
    let reader = ledger.reader();
    loop {
        // Before the look: what is recorded during it is seen at the next.
        grown.borrow_and_update();
        let pace = match catch_up(&ledger, &reader, &projection).await {
            Ok(size) => {
                applied.send_replace(size);
                PACE
            }
            Err(error) => {
                tracing::error!(%error, "the projection falls behind the ledger");
                RETRY
            }
        };
        let waited = async {
            let until = tokio::time::Instant::now() + pace;
            let is_full = || pace == PACE && ledger.size().saturating_sub(*applied.borrow()) >= APPLIED_AT_ONCE as u64 / 2;
            while tokio::time::Instant::now() < until && !is_full() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = waited => {}
            () = hurry.notified(), if pace == PACE => {}
            () = stop.cancelled() => return,
        }
        if pace == PACE {
            tokio::select! {
                changed = grown.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }
}

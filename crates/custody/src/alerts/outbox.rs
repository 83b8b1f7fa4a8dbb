//! Alerts on their way: a bounded queue and a worker per channel.

use super::{Alert, Channel, deliver_until};
use custody_model::{AlertRecord, Digest};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Alerts that wait for one channel.
///
/// Policy when full: the new alert is not queued for that channel, and its record says so at once. Old alerts are kept,
/// for the first ones name the beginning of an incident; nothing ever waits for a slow receiver.
pub const WAITING: usize = 256;

type Record = Arc<dyn Fn(AlertRecord) + Send + Sync>;

/// Sends alerts without holding up whoever raises them. Each alert ends in one record per channel.
pub struct Outbox {
    lanes: Mutex<Vec<(Channel, mpsc::Sender<Arc<Alert>>)>>,
    workers: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
    record: Record,
}

impl Outbox {
    /// Starts one worker per channel. `record` is called once per alert and channel, from the workers; it must not block for long.
    ///
    /// Must be called inside a tokio runtime. Dropping the outbox without [`Outbox::drain`] abandons what waits.
    pub fn start(channels: Vec<Channel>, record: impl Fn(AlertRecord) + Send + Sync + 'static) -> Outbox {
        let record: Record = Arc::new(record);
        let (stop, stopped) = watch::channel(false);
        let mut workers = JoinSet::new();
        let mut lanes = Vec::new();
        for channel in channels {
            let (sender, queue) = mpsc::channel(WAITING);
            workers.spawn(work(channel.clone(), queue, stopped.clone(), record.clone()));
            lanes.push((channel, sender));
        }
        Outbox { lanes: Mutex::new(lanes), workers: Mutex::new(workers), stop, record }
    }

    /// Queues an alert for every channel. Never waits.
    pub fn send(&self, alert: Alert) {
        let alert = Arc::new(alert);
        // Refusals are recorded outside the lock: the callback may raise alerts of its own.
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (channel, lane) in &lanes {
            if let Err(refused) = lane.try_send(alert.clone()) {
                let why = match refused {
                    mpsc::error::TrySendError::Full(_) => format!("not sent: {WAITING} alerts are waiting for this channel"),
                    mpsc::error::TrySendError::Closed(_) => "not sent: Custody is shutting down".to_owned(),
                };
                (self.record)(unsent(channel, &alert, why));
            }
        }
    }

    /// Waits until everything is delivered or given up, at most `deadline`; what is not through by then is recorded as given up.
    /// Alerts that are sent later go to no channel.
    pub async fn drain(&self, deadline: Duration) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            self.stop.send_replace(true);
            while workers.join_next().await.is_some() {}
        }
    }
}

async fn work(channel: Channel, mut queue: mpsc::Receiver<Arc<Alert>>, stopped: watch::Receiver<bool>, record: Record) {
    while let Some(alert) = queue.recv().await {
        let mut stopped = stopped.clone();
        let stop = async move {
            // An outbox that is gone has nobody left to be given up by.
            if stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        record(deliver_until(&channel, &alert, Timestamp::now, stop).await);
    }
}

fn unsent(channel: &Channel, alert: &Alert, answer: String) -> AlertRecord {
    AlertRecord {
        case: alert.case,
        channel: channel.name().to_owned(),
        via: channel.kind().to_owned(),
        to: channel.to(),
        at: Timestamp::now(),
        attempts: 0,
        ok: false,
        answer,
        digest: Digest(Sha256::digest([]).into()),
    }
}

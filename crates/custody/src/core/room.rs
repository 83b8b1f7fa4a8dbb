//! Room for the record: an alarm before there is none, heard once, and again after there was enough in between.

use super::{Core, alarm::Alarm};
use custody_model::*;
use custody_store::ledger::Quota;
use std::{path::Path, sync::Arc, time::Duration};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// Percent in use from which somebody must act, and below which all is well again.
const LOW: u64 = 90;
const ENOUGH: u64 = 85;
/// A file system with more than this left is not short of room, whatever its percentage.
const AMPLE: u64 = 2 << 30;

const SHORT_OF_ROOM: Alarm = Alarm {
    rule: "custody-ledger-room",
    title: "The ledger is running out of room",
    requirement: "R1",
    priority: Priority::P2,
    severity: Severity::Moderate,
    incident_type: IncidentType::DenialOfService,
};

/// What is used of a place.
struct Used {
    percent: u64,
    of: String,
}

impl Core {
    /// Looks now and then how full quota and file system are, until stopped.
    pub(super) async fn watch_room(self: Arc<Self>, quota: Option<Quota>) {
        let mut told = false;
        loop {
            let fullest = [quota.as_ref().map(of_quota), of_file_system(&self.home.ledger())];
            if let Some(used) = fullest.into_iter().flatten().max_by_key(|used| used.percent) {
                if used.percent >= LOW && !told {
                    told = true;
                    let why = format!("{} % of {} is used; when it is full, nothing is forwarded any more", used.percent, used.of);
                    self.alarm(&SHORT_OF_ROOM, why).await;
                } else if used.percent < ENOUGH {
                    told = false;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }
}

fn of_quota(quota: &Quota) -> Used {
    let percent = quota.used().saturating_mul(100) / quota.limit().max(1);
    Used { percent, of: format!("the ledger's quota of {} bytes", quota.limit()) }
}

/// `None` when there is plenty left, or nobody knows.
fn of_file_system(path: &Path) -> Option<Used> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let (all, left) = (stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize));
    if left >= AMPLE || all == 0 {
        return None;
    }
    let percent = 100 - (u128::from(left) * 100 / u128::from(all)).min(100) as u64;
    Some(Used { percent, of: format!("the ledger's file system, {} MiB left,", left >> 20) })
}

//! One delivery: bounded attempts, backoff, a deadline, and a record in every case.

use super::{Alert, Channel, Neutral, channels::Refusal};
use custody_model::{AlertRecord, Digest};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Bounds of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryLimits {
    /// Attempts, the first included.
    pub attempts: u32,
    /// Of one attempt, connection and answer included.
    pub attempt_timeout: Duration,
    /// Of everything together.
    pub total: Duration,
    /// Longest pause before the second attempt; doubled for each further one.
    pub pause: Duration,
    /// Longest pause ever, whatever the receiver asks for.
    pub longest_pause: Duration,
}

impl Default for DeliveryLimits {
    /// Six attempts within a minute: a receiver that restarts is waited for, one that is gone is known to be soon.
    fn default() -> Self {
        DeliveryLimits {
            attempts: 6,
            attempt_timeout: Duration::from_secs(10),
            total: Duration::from_secs(60),
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(15),
        }
    }
}

/// Sends `alert` over `channel` and says what became of it. Never fails: a failure is a record too.
///
/// `clock` gives the instants of the signature and of the record; waiting goes by the runtime's timer.
pub async fn deliver(channel: &Channel, alert: &Alert, clock: impl Fn() -> Timestamp + Send + Sync) -> AlertRecord {
    deliver_until(channel, alert, clock, std::future::pending()).await
}

/// As [`deliver`], but given up when `stop` completes.
pub async fn deliver_until(
    channel: &Channel,
    alert: &Alert,
    clock: impl Fn() -> Timestamp + Send + Sync,
    stop: impl Future<Output = ()> + Send,
) -> AlertRecord {
    let mut record = AlertRecord {
        case: alert.case,
        channel: channel.name().to_owned(),
        via: channel.kind().to_owned(),
        to: channel.to(),
        at: clock(),
        attempts: 0,
        ok: false,
        answer: String::new(),
        digest: Digest(Sha256::digest([]).into()),
    };
    let message = match channel.sender.compose(alert) {
        Ok(message) => message,
        Err(why) => {
            record.answer = presentable(channel, &why);
            return record;
        }
    };
    record.digest = Digest(Sha256::digest(&message).into());
    let outcome = tokio::select! {
        outcome = attempts(channel, &message, &clock, &mut record.attempts) => outcome,
        () = stop => Err("given up: Custody is shutting down".to_owned()),
    };
    record.at = clock();
    record.ok = outcome.is_ok();
    let (Ok(answer) | Err(answer)) = outcome;
    record.answer = presentable(channel, &answer);
    record
}

async fn attempts(
    channel: &Channel,
    message: &[u8],
    clock: &(impl Fn() -> Timestamp + Send + Sync),
    tried: &mut u32,
) -> Result<String, String> {
    let limits = channel.limits;
    let deadline = Instant::now() + limits.total;
    loop {
        *tried += 1;
        let left = deadline.saturating_duration_since(Instant::now()).min(limits.attempt_timeout);
        let refusal = match timeout(left, channel.sender.attempt(message, clock())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(refusal)) => refusal,
            Err(_) => Refusal::passing(format!("no answer within {} ms", left.as_millis())),
        };
        if !refusal.passing || *tried >= limits.attempts {
            return Err(refusal.answer);
        }
        let pause = pause(&limits, *tried, refusal.after);
        if Instant::now() + pause >= deadline {
            return Err(format!("{} (given up: the deadline of {} ms is near)", refusal.answer, limits.total.as_millis()));
        }
        sleep(pause).await;
    }
}

/// Exponential, with full jitter over its upper half, so that channels that failed together do not return together.
fn pause(limits: &DeliveryLimits, tried: u32, asked: Option<Duration>) -> Duration {
    let most = limits.pause.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(limits.longest_pause);
    let mut random = [0; 2];
    // Without randomness there is no jitter, which is no reason not to send.
    getrandom::fill(&mut random).unwrap_or_default();
    let jittered = most / 2 + (most / 2) * u32::from(u16::from_le_bytes(random)) / u32::from(u16::MAX);
    jittered.max(asked.unwrap_or_default().min(limits.longest_pause))
}

/// An answer that may be recorded: without the channel's secrets, on one line, shortened.
fn presentable(channel: &Channel, answer: &str) -> String {
    let mut answer = answer.to_owned();
    for secret in channel.sender.secrets() {
        if !secret.is_empty() {
            answer = answer.replace(secret, "[secret]");
        }
    }
    Neutral::quote(&answer, 200).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        let limits = DeliveryLimits::default();
        for tried in 1..40 {
            let pause = pause(&limits, tried, None);
            assert!(pause >= limits.pause / 2 && pause <= limits.longest_pause, "{tried}: {pause:?}");
        }
        assert_eq!(pause(&limits, 1, Some(Duration::from_secs(86_400))), limits.longest_pause);
        assert!(pause(&limits, 1, Some(Duration::from_secs(3))) >= Duration::from_secs(3));
    }
}

//! Generic webhook: the alert as JSON, signed.
//!
//! Headers: `Custody-Timestamp` (Unix seconds of the attempt), `Custody-Delivery` (SHA-256 of the body: the same in each
//! attempt, so that a receiver can drop repetitions) and, with a secret, `Custody-Signature: v1=` and the hexadecimal
//! HMAC-SHA-256 of timestamp, `.` and body.

use super::{
    Alert,
    channels::{ChannelConfig, ChannelError, Kind, Refusal, Send},
    http::Endpoint,
};
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// `kind = "webhook"`: `url`, and optionally `secret_env` or `secret_file`, `ca_file`.
pub const KIND: Kind = Kind { name: "webhook", open };

struct Webhook {
    endpoint: Endpoint,
    secret: Option<Zeroizing<String>>,
}

fn open(config: &ChannelConfig) -> Result<Box<dyn Send>, ChannelError> {
    let secret = config.secret("secret_env", config.secret.as_ref())?;
    Ok(Box::new(Webhook { endpoint: Endpoint::open(config)?, secret }))
}

/// The value of `Custody-Signature` for one attempt.
pub fn signature(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

impl Send for Webhook {
    fn to(&self) -> String {
        self.endpoint.shown()
    }

    fn compose(&self, alert: &Alert) -> Result<Vec<u8>, String> {
        let mut body = serde_json::to_value(alert).map_err(|e| e.to_string())?;
        body["text"] = alert.text().into();
        serde_json::to_vec(&body).map_err(|e| e.to_string())
    }

    fn attempt<'a>(&'a self, message: &'a [u8], now: Timestamp) -> BoxFuture<'a, Result<String, Refusal>> {
        let timestamp = now.as_second().to_string();
        let mut headers = vec![("custody-delivery", hex::encode(Sha256::digest(message)))];
        if let Some(secret) = &self.secret {
            headers.push(("custody-signature", signature(secret.as_bytes(), &timestamp, message)));
        }
        headers.push(("custody-timestamp", timestamp));
        Box::pin(async move { self.endpoint.post(message, &headers).await })
    }

    fn secrets(&self) -> Vec<&str> {
        self.secret.iter().map(|secret| secret.as_str()).chain([self.endpoint.secret_path()]).collect()
    }
}

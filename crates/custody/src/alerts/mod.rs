//! Alert channels (N3): generic webhook, Slack-compatible webhook, SMTP.
//!
//! A channel is one file with a `KIND`, and one line in [`channels::all`]. An alert is composed once per channel, tried
//! a bounded number of times, and ends in an [`AlertRecord`](custody_model::AlertRecord) whether it arrived or not.
//! What is deliberately absent: redirects are not followed, proxies are not asked, and no channel sends raw content.

mod alert;
pub mod channels;
mod deliver;
pub(crate) mod http;
mod outbox;
pub mod slack;
pub mod smtp;
mod text;
pub mod webhook;

pub use alert::{ActionLine, Alert, DeadlineLine, FindingLine, SourceLine, Taken};
pub use channels::{Channel, ChannelConfig, ChannelError};
pub use deliver::{DeliveryLimits, deliver, deliver_until};
pub use outbox::Outbox;
pub use text::Neutral;

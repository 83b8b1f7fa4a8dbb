//! Slack-compatible incoming webhook: blocks.
//!
//! What an attacker may have chosen stands in `plain_text` elements, which know no formatting, mentions or links;
//! the `text` fallback is escaped for mrkdwn.

use super::{
    Alert,
    channels::{ChannelConfig, ChannelError, Kind, Refusal, Send},
    http::Endpoint,
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

/// `kind = "slack"`: `url`, and optionally `ca_file`. The URL is the credential.
pub const KIND: Kind = Kind { name: "slack", open };

/// Longest header and longest section that Slack takes.
const HEADER: usize = 150;
const SECTION: usize = 3000;

struct Slack {
    endpoint: Endpoint,
}

fn open(config: &ChannelConfig) -> Result<Box<dyn Send>, ChannelError> {
    if config.secret.is_some() {
        return Err(config.wrong("secret_env", "has no use here: the URL is the credential"));
    }
    Ok(Box::new(Slack { endpoint: Endpoint::open(config)? }))
}

impl Send for Slack {
    fn to(&self) -> String {
        self.endpoint.shown()
    }

    fn compose(&self, alert: &Alert) -> Result<Vec<u8>, String> {
        serde_json::to_vec(&message(alert)).map_err(|e| e.to_string())
    }

    fn attempt<'a>(&'a self, message: &'a [u8], _now: Timestamp) -> BoxFuture<'a, Result<String, Refusal>> {
        Box::pin(self.endpoint.post(message, &[]))
    }

    fn secrets(&self) -> Vec<&str> {
        // Slack's own answers never repeat the path, but what stands in for Slack might repeat a piece of it.
        self.endpoint.secret_path().split('/').filter(|part| part.len() >= 6).chain([self.endpoint.secret_path()]).collect()
    }
}

fn message(alert: &Alert) -> Value {
    let subject = alert.subject();
    let facts = [
        ("Severity", alert.severity.to_string()),
        ("Type", alert.incident_type.to_string()),
        ("Triage", alert.disposition.to_string()),
        ("State", alert.state.to_string()),
    ];
    let fields: Vec<Value> =
        facts.iter().map(|(name, value)| json!({"type": "mrkdwn", "text": format!("*{name}*\n{}", escape(value))})).collect();
    json!({
        "text": escape(&subject),
        "blocks": [
            {"type": "header", "text": plain(&subject, HEADER)},
            {"type": "section", "fields": fields},
            {"type": "section", "text": plain(&alert.text(), SECTION)},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": format!("Case `{}`", alert.case)}]},
        ],
    })
}

/// Cut by characters: Slack refuses the whole message when one text is too long.
fn plain(text: &str, most: usize) -> Value {
    json!({"type": "plain_text", "emoji": false, "text": text.chars().take(most).collect::<String>()})
}

/// The three characters that Slack wants escaped, and the four that would format.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '*' => escaped.push('\u{2217}'),
            '~' => escaped.push('\u{223c}'),
            '`' => escaped.push('\u{2018}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_and_links_do_not_survive() {
        assert_eq!(escape("<!channel> & <https://x|y> *b* `c`"), "&lt;!channel&gt; &amp; &lt;https://x|y&gt; ∗b∗ ‘c‘");
    }
}

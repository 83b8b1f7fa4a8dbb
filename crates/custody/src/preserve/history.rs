//! The chain of custody (E2): who did what, when, how, on what, with which result.

use super::items::Seen;
use custody_model::{ActionId, Event, Receipt, Step};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Steps whose receipt has not passed yet; bounded.
const WAITING: usize = 4096;

/// Turns entries into lines of the chain.
#[derive(Default)]
pub(super) struct History {
    steps: HashMap<ActionId, Step>,
}

impl History {
    /// The line for an entry, if it belongs to the chain.
    pub fn line(&mut self, seen: &Seen<'_>) -> Option<Value> {
        let detail = seen.open.detail.as_ref();
        let text = |name: &str| detail.and_then(|d| d.get(name)).and_then(Value::as_str);
        let (who, what, on, result) = match &seen.entry().event {
            Event::ActionIntended { action, verb, .. } => {
                let step: Option<Step> = detail.and_then(|d| serde_json::from_value(d.clone()).ok());
                let who = step.as_ref().map(|step| step.by.to_string());
                let on = step.as_ref().map(|step| step.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
                if let Some(step) = step.filter(|_| self.steps.len() < WAITING) {
                    self.steps.insert(*action, step);
                }
                (who, format!("{verb} intended"), on, None)
            }
            Event::ActionDone { action, verb, ok, .. } => {
                let step = self.steps.remove(action);
                let receipt: Option<Receipt> = detail.and_then(|d| serde_json::from_value(d.clone()).ok());
                let on = step.as_ref().map(|step| step.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
                let words = receipt.map(|r| r.result).unwrap_or_default();
                let result = format!("{}: {words}", if *ok { "done" } else { "failed" });
                (step.map(|step| step.by.to_string()), verb.to_string(), on, Some(result))
            }
            Event::EvidenceExported { case, digest } => {
                let who = text("by").map(str::to_owned);
                (who, "evidence exported".into(), Some(case.to_string()), Some(format!("tag manifest sha256 {digest}")))
            }
            Event::ContentOpened { leaf } => {
                let who = text("by").or(text("who")).map(str::to_owned);
                (who, "raw content opened".into(), Some(format!("entry {leaf}")), None)
            }
            Event::Disposed { finding, case, verdict } => {
                let on = case.map(|case| case.to_string()).or(finding.map(|finding| finding.to_string()));
                (text("by").map(str::to_owned), format!("disposed {verdict:?}").to_lowercase(), on, text("reason").map(str::to_owned))
            }
            Event::RuleSuppressed { rule, until, .. } => (
                text("by").map(str::to_owned),
                format!("suppressed until {until:.0}"),
                Some(rule.to_string()),
                text("reason").map(str::to_owned),
            ),
            Event::RuleHeard { rule, hidden, .. } => (
                text("by").map(str::to_owned),
                "suppression ended".into(),
                Some(rule.to_string()),
                Some(format!("{hidden} findings were hidden")),
            ),
            Event::OperatorActed { verb } => (text("by").or(text("who")).map(str::to_owned), verb.clone(), None, None),
            _ => return None,
        };
        Some(json!({
            "leaf": seen.leaf(),
            "at": seen.entry().at,
            "who": who,
            "what": what,
            "how": "custody, recorded in the ledger",
            "on": on,
            "result": result,
        }))
    }
}

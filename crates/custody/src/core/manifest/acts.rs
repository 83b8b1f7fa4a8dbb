//! What operators decide about definitions (D2): approve, reject, announce. Each is an entry before it is in force.

use super::super::{Core, CoreError};
use super::Ruled;
use custody_engine::manifest::{Listing, Shown, View};
use custody_model::*;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an operator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestAct {
    /// What waits is pinned from now on, and its quarantine lifted.
    Approve,
    /// The old pin is kept; the quarantine ends when the server lists it again.
    Reject,
    /// Changes that come within a time are approved already.
    Announce,
}

/// An operator's decision about definitions of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestOrder {
    /// What.
    pub act: ManifestAct,
    /// Which server.
    pub server: ServerName,
    /// Which definition; `None`: all.
    #[serde(default)]
    pub name: Option<String>,
    /// The change record; an approval and an announcement need one.
    #[serde(default)]
    pub change: Option<String>,
    /// For an announcement: for how long.
    #[serde(default)]
    pub minutes: Option<u32>,
    /// For an approval: the definitions that the operator has seen. Empty: whatever waits.
    #[serde(default)]
    pub digests: Vec<Digest>,
    /// Why.
    pub reason: String,
}

/// An announcement lasts no longer than this.
const LONGEST: u32 = 7 * 24 * 60;
/// A change reference is no essay.
const REFERENCE: usize = 200;

/// A decision per listing and view: its definitions, and what is lifted with it.
type Parts = BTreeMap<(Listing, Option<PrincipalName>), Vec<Shown>>;

impl Core {
    /// Every definition, what waits, and what is announced.
    pub fn manifest(&self) -> View {
        let now = self.now();
        let pins = self.pins().clone();
        pins.view(now)
    }

    /// Does what an operator decided; gives the definitions concerned as they stand now.
    ///
    /// # Errors
    /// [`CoreError::Unknown`] when nothing of that name waits, [`CoreError::Manifest`] when the order makes no sense,
    /// [`CoreError::Ledger`] when it cannot be recorded.
    pub fn order_manifest(&self, by: &OperatorName, order: &ManifestOrder) -> Result<Vec<Shown>, CoreError> {
        if !self.config.servers.contains_key(order.server.as_str()) {
            return Err(CoreError::Unknown { what: "server", id: order.server.to_string() });
        }
        let change = order.change.as_deref().map(str::trim).filter(|change| !change.is_empty());
        if order.act != ManifestAct::Reject && change.is_none() {
            return Err(CoreError::Manifest { why: "a change record is needed: `--change REF`".to_owned() });
        }
        if change.is_some_and(|change| change.len() > REFERENCE) {
            return Err(CoreError::Manifest { why: format!("a change reference has at most {REFERENCE} bytes") });
        }
        let detail = RulingDetail {
            principal: None,
            definitions: Vec::new(),
            by: by.clone(),
            change: change.map(str::to_owned),
            target: None,
            expires: None,
            reason: Some(order.reason.clone()),
        };
        match order.act {
            ManifestAct::Announce => self.announce(order, detail),
            ManifestAct::Approve => self.decide_waiting(by, order, Ruling::Approved, detail),
            ManifestAct::Reject => self.decide_waiting(by, order, Ruling::Rejected, detail),
        }
    }

    fn announce(&self, order: &ManifestOrder, detail: RulingDetail) -> Result<Vec<Shown>, CoreError> {
        let minutes = order.minutes.filter(|minutes| (1..=LONGEST).contains(minutes));
        let minutes = minutes.ok_or_else(|| CoreError::Manifest { why: format!("an announcement lasts 1 to {LONGEST} minutes") })?;
        let until = self.now().saturating_add(SignedDuration::from_mins(minutes.into()));
        let expires = Some(until.expect("a week from now is a time"));
        let detail = RulingDetail { target: order.name.clone(), expires, ..detail };
        let ruled = Ruled { server: &order.server, listing: None, ruling: Ruling::Announced, session: None, detail };
        match self.rule(&mut self.pins(), ruled) {
            true => Ok(Vec::new()),
            false => Err(CoreError::Manifest { why: "it cannot be recorded, so it is not in force".to_owned() }),
        }
    }

    fn decide_waiting(
        &self,
        by: &OperatorName,
        order: &ManifestOrder,
        ruling: Ruling,
        detail: RulingDetail,
    ) -> Result<Vec<Shown>, CoreError> {
        let mut pins = self.pins();
        let mut waiting = pins.view(self.now()).definitions;
        waiting.retain(|shown| {
            shown.server == order.server && shown.pending.is_some() && order.name.as_ref().is_none_or(|name| *name == shown.name)
        });
        if waiting.is_empty() {
            let id = order.name.as_ref().map_or_else(|| order.server.to_string(), |name| format!("{}/{name}", order.server));
            return Err(CoreError::Unknown { what: "definition that waits", id });
        }
        let unseen = |shown: &&Shown| !order.digests.is_empty() && !shown.pending.is_some_and(|digest| order.digests.contains(&digest));
        if let Some(shown) = waiting.iter().find(unseen) {
            let why = format!("{} of {} changed again since you looked; look at it anew", shown.name, shown.server);
            return Err(CoreError::Manifest { why });
        }
        let mut parts = Parts::new();
        for shown in waiting {
            parts.entry((shown.listing, shown.principal.clone())).or_default().push(shown);
        }
        let mut concerned = Vec::new();
        for ((listing, principal), group) in parts {
            let returned: Vec<&Shown> = group.iter().filter(|shown| ruling == Ruling::Rejected && shown.back).collect();
            let definitions = |of: &[&Shown]| of.iter().filter_map(|shown| decided(shown)).collect::<Vec<_>>();
            let all: Vec<&Shown> = group.iter().collect();
            let detail = RulingDetail { principal: principal.clone(), definitions: definitions(&all), ..detail.clone() };
            let back = RulingDetail { definitions: definitions(&returned), ..detail.clone() };
            let ruled = Ruled { server: &order.server, listing: Some(listing), ruling, session: None, detail };
            if !self.rule(&mut pins, ruled) {
                return Err(CoreError::Manifest { why: "it cannot be recorded, so it is not in force".to_owned() });
            }
            if !returned.is_empty() {
                let ruled = Ruled { server: &order.server, listing: Some(listing), ruling: Ruling::Returned, session: None, detail: back };
                self.rule(&mut pins, ruled);
            }
            for shown in group.iter().filter(|shown| ruling == Ruling::Approved || shown.back) {
                if let Some(action) = shown.action {
                    let scope = Core::quarantine_scope(&order.server, listing, principal.as_ref(), &shown.name);
                    self.release(action, scope, by, &order.reason);
                }
            }
            concerned.extend(group.into_iter().map(|shown| (shown.listing, shown.principal, shown.name)));
        }
        let now = pins.view(self.now()).definitions;
        let is_concerned = |shown: &Shown| {
            shown.server == order.server
                && concerned
                    .iter()
                    .any(|(listing, principal, name)| *listing == shown.listing && *principal == shown.principal && *name == shown.name)
        };
        Ok(now.into_iter().filter(is_concerned).collect())
    }
}

fn decided(shown: &Shown) -> Option<RuledDefinition> {
    Some(RuledDefinition {
        name: shown.name.clone(),
        digest: shown.pending?,
        // The entry that withheld it has it.
        text: None,
        class: shown.class,
        words: shown.words.clone(),
        action: shown.action,
    })
}

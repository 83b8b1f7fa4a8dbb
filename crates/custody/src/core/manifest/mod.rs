//! What servers list: the history of it (R4), what agents may see of it (D2), and what operators decide.
//!
//! [`history`] records every listing; [`screen`] judges it before an agent sees it; [`acts`] is the operators' part.

mod acts;
mod history;
mod screen;

pub use acts::{ManifestAct, ManifestOrder};
pub(super) use history::Listings;
pub(super) use screen::{Screen, Walks};

use super::{Core, Peer};
use crate::config::Manifest;
use custody_engine::contain::{freeze_step, thaw_step};
use custody_engine::manifest::{FirstUse, Item, Listing, Pins};
use custody_engine::triage::{ManifestChange, RECENT_CHANGE};
use custody_model::*;
use custody_store::{ledger::Draft, projection::RulingRow};
use jiff::Timestamp;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// The pins that these entries make.
pub fn pins_of(rows: &[RulingRow]) -> Pins {
    let mut pins = Pins::default();
    for row in rows {
        pins.apply(&row.server, &row.listing, row.ruling, &row.definitions, row.detail.as_ref(), row.at);
    }
    pins
}

/// What is decided about definitions of one listing.
struct Ruled<'a> {
    server: &'a ServerName,
    listing: Option<Listing>,
    ruling: Ruling,
    session: Option<SessionId>,
    detail: RulingDetail,
}

impl Core {
    pub(super) fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes of a server's definitions that triage may ask for.
    pub(super) fn manifest_changes(&self, server: &ServerName, at: Timestamp) -> Vec<ManifestChange> {
        let since = at.checked_sub(RECENT_CHANGE).unwrap_or(Timestamp::MIN);
        let changes = self.pins().delivered_changes(server, since);
        let change = |(at, reference): (Timestamp, Option<String>)| {
            let recorded = reference.is_some();
            ManifestChange { server: server.clone(), at, recorded, reference }
        };
        changes.into_iter().map(change).collect()
    }

    /// What is quarantined of a finding's server: the scopes of a case about definitions.
    pub(super) fn quarantined(&self, finding: &Finding) -> Vec<Scope> {
        let Some(server) = &finding.server else { return Vec::new() };
        let quarantines: Vec<ActionId> = self.pins().quarantines().collect();
        let freezes = self.gate.lock();
        let of_server = |scope: &Scope| {
            let inner = if let Scope::For(_, scope) = scope { scope.as_ref() } else { scope };
            matches!(inner, Scope::Server(s) | Scope::Tool(s, _) | Scope::Prompt(s, _) | Scope::Resource(s, _) if s == server)
        };
        let mut scopes: Vec<Scope> = freezes
            .scopes()
            .filter(|(scope, actions)| of_server(scope) && actions.iter().any(|action| quarantines.contains(action)))
            .map(|(scope, _)| scope.clone())
            .collect();
        scopes.sort();
        scopes
    }

    fn first_use(&self, server: &ServerName) -> FirstUse {
        self.config.servers.get(server.as_str()).map(|server| server.first_use).unwrap_or_default()
    }

    /// Whose view of a server this peer has.
    fn view_of(&self, peer: &Peer) -> Option<PrincipalName> {
        let server = self.config.servers.get(peer.server.as_str())?;
        (server.manifest == Manifest::PerPrincipal).then(|| peer.identity.principal.clone())
    }

    /// The scopes of a message that quarantines can name, besides the server and the tools it calls.
    pub(super) fn definition_scopes(&self, peer: &Peer, frame: &custody_engine::wire::Frame, scopes: &mut Vec<Scope>) {
        for message in frame.messages() {
            match (message.method.as_deref(), message.target()) {
                (Some("prompts/get"), Some(name)) => scopes.push(Scope::Prompt(peer.server.clone(), name.to_owned())),
                (Some("resources/read"), Some(address)) => scopes.push(Scope::Resource(peer.server.clone(), address.to_owned())),
                _ => {}
            }
        }
        if let Some(principal) = self.view_of(peer) {
            let shared = |scope: &&Scope| matches!(scope, Scope::Server(_) | Scope::Tool(..) | Scope::Prompt(..) | Scope::Resource(..));
            let own: Vec<Scope> =
                scopes.iter().filter(shared).map(|scope| Scope::For(principal.clone(), Box::new(scope.clone()))).collect();
            scopes.extend(own);
        }
        if frame.items.is_empty() {
            self.spare_questions(frame.method.as_deref(), scopes);
        }
    }

    /// A server that is quarantined for what it says of itself may still be asked who it is: else it could never say
    /// again what is pinned. Its answer is judged before anybody sees it.
    fn spare_questions(&self, method: Option<&str>, scopes: &mut Vec<Scope>) {
        if method.and_then(Listing::of_method) != Some(Listing::Server) {
            return;
        }
        let quarantines: Vec<ActionId> = self.pins().quarantines().collect();
        let freezes = self.gate.lock();
        scopes.retain(|scope| {
            let inner = if let Scope::For(_, scope) = scope { scope.as_ref() } else { scope };
            !matches!(inner, Scope::Server(_)) || freezes.actions(scope).iter().any(|action| !quarantines.contains(action))
        });
    }

    /// Whether a freeze bars this peer from such a message, as far as is known without a session.
    pub fn is_barred(&self, peer: &Peer, method: Option<&str>) -> bool {
        let mut scopes = peer.scopes();
        if let Some(principal) = self.view_of(peer) {
            scopes.push(Scope::For(principal, Box::new(Scope::Server(peer.server.clone()))));
        }
        self.spare_questions(method, &mut scopes);
        self.gate.look(&scopes).0.is_some()
    }

    /// The scope that quarantines a definition. `None`: there is nothing to call.
    fn quarantine_scope(server: &ServerName, listing: Listing, principal: Option<&PrincipalName>, name: &str) -> Option<Scope> {
        let scope = match listing {
            Listing::Tools => Scope::Tool(server.clone(), ToolName(name.to_owned())),
            Listing::Prompts => Scope::Prompt(server.clone(), name.to_owned()),
            Listing::Resources => Scope::Resource(server.clone(), name.to_owned()),
            Listing::Server => Scope::Server(server.clone()),
            Listing::Templates => return None,
        };
        Some(match principal {
            Some(principal) => Scope::For(principal.clone(), Box::new(scope)),
            None => scope,
        })
    }

    fn quarantine_step(&self, scope: Scope, session: SessionId, by: &OperatorName, reason: String) -> Step {
        freeze_step(ActionId(uuid::Uuid::now_v7()), None, Some(session), vec![scope], by.clone(), reason)
    }

    /// Records a decision and takes it in. `false`: it could not be recorded, and is not in force.
    fn rule(&self, pins: &mut Pins, ruled: Ruled<'_>) -> bool {
        let Ruled { server, listing, ruling, session, detail } = ruled;
        let word = listing.map_or("", Listing::as_str).to_owned();
        let private = listing.is_some_and(Listing::is_private);
        let definitions: Vec<(String, Digest)> = match private {
            true => Vec::new(),
            false => detail.definitions.iter().map(|definition| (definition.name.clone(), definition.digest)).collect(),
        };
        // Addresses can identify people, and go with what their session's key seals. All else is the server's vocabulary.
        let key = session.filter(|_| private);
        let event = Event::ManifestRuled { server: server.clone(), listing: word.clone(), ruling, definitions: definitions.clone() };
        let at = self.now();
        let sealed = serde_json::to_value(&detail).expect("details are plain data");
        match self.ledger.record(Draft { at, session: key, event, detail: Some(sealed), body: None }) {
            Ok(_) => {
                pins.apply(server, &word, ruling, &definitions, Some(&detail), at);
                true
            }
            Err(error) => {
                tracing::error!(%error, %server, ruling = ruling.as_str(), "a decision about definitions is not recorded, and not in force");
                false
            }
        }
    }

    /// Lifts a quarantine, if it is still in force: intent before, receipt after.
    fn release(&self, action: ActionId, scope: Option<Scope>, by: &OperatorName, reason: &str) {
        let in_force = self.gate.lock().scopes().any(|(_, actions)| actions.contains(&action));
        if !in_force {
            return;
        }
        let freeze = Step {
            id: action,
            case: None,
            verb: ActionName::from("freeze_scope"),
            scopes: scope.into_iter().collect(),
            session: None,
            by: by.clone(),
            reason: reason.to_owned(),
            undoable: true,
            undoes: None,
        };
        let undo = thaw_step(ActionId(uuid::Uuid::now_v7()), &freeze, by.clone(), reason.to_owned());
        if !self.intend(&undo) {
            return;
        }
        let lifted = self.gate.lock().thaw(action);
        self.done(&undo, lifted, "the quarantine is lifted".to_owned(), Duration::ZERO);
    }
}

/// As it stands in a ruling.
fn ruled_definition(item: &Item) -> RuledDefinition {
    RuledDefinition {
        name: item.name.clone(),
        digest: item.digest,
        text: (item.text.len() <= KEPT_TEXT).then(|| item.text.clone()),
        class: None,
        words: Vec::new(),
        action: None,
    }
}

/// Longest text that goes into the record of a decision; the listing itself is recorded whole in any case.
const KEPT_TEXT: usize = 64 << 10;

fn by_custody(principal: Option<PrincipalName>, definitions: Vec<RuledDefinition>) -> RulingDetail {
    RulingDetail { principal, definitions, by: OperatorName::from("custody"), change: None, target: None, expires: None, reason: None }
}

//! Manifest history: every definition that was seen, its hash, each difference (R4).

use super::super::{Core, Peer};
use custody_engine::manifest::{Item, Listing, digest};
use custody_model::*;
use custody_store::ledger::Draft;
use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

/// Definitions per server and listing as last seen.
#[derive(Default)]
pub struct Listings {
    seen: HashMap<(ServerName, String), BTreeMap<String, Digest>>,
}

/// Definitions kept per server and listing; a server that lists more is recorded, its further names not known.
const DEFINITIONS: usize = 10_000;

impl Listings {
    /// Restores what was seen before a restart.
    pub fn restore(&mut self, server: ServerName, listing: String, known: impl IntoIterator<Item = (String, Digest)>) {
        self.seen.insert((server, listing), known.into_iter().take(DEFINITIONS).collect());
    }

    /// Whether the server has listed this tool.
    pub fn lists(&self, server: &ServerName, tool: &str) -> bool {
        self.seen.get(&(server.clone(), "tools/list".to_owned())).is_some_and(|seen| seen.contains_key(tool))
    }

    /// Takes one page of a listing; returns the names that are new or changed.
    fn update(&mut self, server: &ServerName, listing: &str, page: &[Item]) -> Vec<String> {
        let seen = self.seen.entry((server.clone(), listing.to_owned())).or_default();
        let mut changed = Vec::new();
        for item in page {
            if seen.get(&item.name) == Some(&item.digest) || (seen.len() >= DEFINITIONS && !seen.contains_key(&item.name)) {
                continue;
            }
            seen.insert(item.name.clone(), item.digest);
            changed.push(item.name.clone());
        }
        changed
    }
}

impl Core {
    /// Records a listing's definitions.
    pub(super) fn see_manifest(&self, peer: &Peer, session: SessionId, listing: Listing, page: &[Item]) {
        let word = listing.as_str();
        let changed = self.listings.lock().unwrap_or_else(PoisonError::into_inner).update(&peer.server, word, page);
        let digest = digest(page);
        let definitions: Vec<(String, Digest)> = page.iter().map(|item| (item.name.clone(), item.digest)).collect();
        let recorded = match word.starts_with("resources/") {
            false => Ok((digest, ListingDetail { definitions, changed }, None)),
            // Addresses of resources can identify people: they are sealed, and what stands in the leaf tells nothing.
            true => self.ledger.commitment(Some(session), &digest.0).map(|keyed| {
                let detail = serde_json::to_value(ListingDetail { definitions, changed }).expect("details are plain data");
                (Digest(keyed.0), ListingDetail::default(), Some(detail))
            }),
        };
        let recorded = recorded.and_then(|(digest, ListingDetail { definitions, changed }, detail)| {
            let event = Event::ManifestSeen { server: peer.server.clone(), listing: word.to_owned(), digest, definitions, changed };
            self.ledger.record(Draft { at: self.now(), session: Some(session), event, detail, body: None })
        });
        if let Err(error) = recorded {
            tracing::error!(%error, "a listing is not recorded");
        }
    }
}

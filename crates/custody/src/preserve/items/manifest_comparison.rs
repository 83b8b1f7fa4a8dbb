//! Listings: the first one seen of each server is compared with the last one, definition by definition.

use super::{BagError, BagWriter, End, Item, Seen, document};
use custody_model::{Digest, Event, EvidenceItem, LeafIndex, Presence};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct ManifestComparison(BTreeMap<(String, String), Listing>);

/// Changes that are listed per server; later ones are counted.
const CHANGES: usize = 1000;

#[derive(Serialize)]
struct Listing {
    server: String,
    listing: String,
    times_seen: u64,
    first: Version,
    last: Version,
    /// Definitions that differ between the first and the last.
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    /// Every listing that differed from the one before it.
    changes: Vec<Change>,
    more_changes: u64,
}

#[derive(Clone, Serialize)]
struct Version {
    leaf: LeafIndex,
    digest: Digest,
    definitions: Vec<(String, Digest)>,
}

#[derive(Serialize)]
struct Change {
    leaf: LeafIndex,
    names: Vec<String>,
}

impl Item for ManifestComparison {
    fn item(&self) -> EvidenceItem {
        EvidenceItem::ManifestComparison
    }

    fn see(&mut self, seen: &Seen<'_>, _bag: &mut BagWriter) -> Result<(), BagError> {
        let Event::ManifestSeen { server, listing, digest, definitions, changed } = &seen.entry().event else { return Ok(()) };
        // Of resources the leaf tells nothing that could be compared.
        if listing.starts_with("resources/") {
            return Ok(());
        }
        let version = Version { leaf: seen.leaf(), digest: *digest, definitions: definitions.clone() };
        let known = self.0.entry((server.0.clone(), listing.clone())).or_insert_with(|| Listing {
            server: server.0.clone(),
            listing: listing.clone(),
            times_seen: 0,
            first: version.clone(),
            last: version.clone(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            changes: Vec::new(),
            more_changes: 0,
        });
        known.times_seen += 1;
        known.last = version;
        if !changed.is_empty() && known.changes.len() < CHANGES {
            known.changes.push(Change { leaf: seen.leaf(), names: changed.clone() });
        } else if !changed.is_empty() {
            known.more_changes += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _end: &End<'_>, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut listings: Vec<Listing> = self.0.into_values().collect();
        for listing in &mut listings {
            let first: BTreeMap<_, _> = listing.first.definitions.iter().cloned().collect();
            let last: BTreeMap<_, _> = listing.last.definitions.iter().cloned().collect();
            listing.added = last.keys().filter(|name| !first.contains_key(*name)).cloned().collect();
            listing.removed = first.keys().filter(|name| !last.contains_key(*name)).cloned().collect();
            listing.changed =
                first.iter().filter(|(name, digest)| last.get(*name).is_some_and(|d| d != *digest)).map(|(n, _)| n.clone()).collect();
        }
        document("manifest_comparison.json", &listings, bag)
    }
}

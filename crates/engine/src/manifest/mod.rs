//! What servers say of their tools, prompts, resources and themselves: read, compared, pinned (R4, D2).
//!
//! [`read`] finds the definitions in an answer and where each lies; [`diff()`] says how two differ and how dangerous that
//! looks; [`Pins`] is what agents may see, and judges each listing before an agent sees it.
//!
//! Deliberately absent: any opinion that lets an unapproved change pass. The danger class informs; every change is drift.

mod danger;
mod diff;
mod listing;
mod pins;
#[cfg(test)]
mod tests;

pub use danger::{Signals, signals};
pub use diff::{Change, ChangeKind, Diff, diff};
pub use listing::{Item, Listing, Page, Unreadable, cut, listed, read};
pub use pins::{Announcement, FirstUse, Judgement, Known, Pending, Pin, Pins, Shown, Sight, State, Verdict, View};

use custody_model::Digest;
use sha2::{Digest as _, Sha256};

/// Digest over all definitions of a listing, whatever their order.
pub fn digest(items: &[Item]) -> Digest {
    let mut digests: Vec<_> = items.iter().map(|item| item.digest).collect();
    digests.sort_unstable();
    let mut hash = Sha256::new();
    digests.iter().for_each(|digest| hash.update(digest.0));
    Digest(hash.finalize().into())
}

/// SHA-256 of a canonical text.
fn digest_of(canonical: &[u8]) -> Digest {
    Digest(Sha256::digest(canonical).into())
}

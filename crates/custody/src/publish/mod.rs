//! The ledger for others to follow: tiles over HTTP or as files (C2SP `tlog-tiles`), checkpoints for witnesses
//! (C2SP `tlog-witness`), time stamps of them (RFC 3161). Read-only, and off until it is asked for.
//!
//! What is published: checkpoints and hashes. The clear lines of entries only where the configuration says `entries = true`:
//! they name servers, tools, principals' sessions and times. What is sealed never leaves this way: packs and keys have no address.

mod cosigned;
mod export;
mod round;
mod stamp;
mod tiles;
mod witness;

pub use cosigned::Cosigned;
pub use export::{ExportError, Written, export};
pub use round::{Asked, Round, Said};
pub use stamp::{BadStamp, check as check_stamp, request as stamp_request, stored as stored_stamp};
pub use tiles::{Published, router};
pub use witness::{Keeper, KeeperError, Witnessed, witness_router};

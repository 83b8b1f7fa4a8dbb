//! Makes the ledger of a new home.

use super::{Home, HomeError};
use custody_store::ledger::{CreateOptions, Ledger};
use custody_tlog::Signer;

pub(super) fn create(home: &Home, signer: &Signer) -> Result<(), HomeError> {
    let options = CreateOptions { signer: signer.clone() };
    Ledger::create(&home.ledger(), &options).map_err(|source| HomeError::Ledger { source: Box::new(source) })
}

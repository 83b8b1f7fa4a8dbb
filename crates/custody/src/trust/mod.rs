//! Trust: the home, the operator's credential, the clients' keys, and who may knock at which listener.
//!
//! Two kinds of secret exist. An *operator token* (`cok_…`) changes state: contain, undo, export, release. A *client
//! key* (`cck_…`) names one adopted client, so that a local port is no open door and every session has a principal.
//! The daemon keeps only SHA-256 digests of both: stealing its files gives nobody a login.

pub mod clients;
mod files;
mod grade;
mod home;
mod ledger;
pub mod loopback;
pub mod operators;
mod scraper;
mod secret;

pub use clients::Clients;
pub use files::{replace_keeping_mode, write_private, write_private_new};
pub use grade::{Check, Grade, Standing};
pub use home::{Home, HomeError, InitOptions, Initialised};
pub use operators::{OperatorCredential, Operators};
pub use scraper::Scraper;
pub use secret::{Secret, digest_of};

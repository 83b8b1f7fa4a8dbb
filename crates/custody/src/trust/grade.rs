//! The two ways to run, never confused (see DESIGN, "Trust").

use super::{Clients, Home};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt as _;

pub use crate::config::Grade;

/// Mode of the home directory. In the enforcing grade others may pass through to the socket in `run`, and read nothing.
pub(super) fn directory_mode(grade: Grade) -> u32 {
    match grade {
        Grade::Observe => 0o700,
        Grade::Enforcing => 0o711,
    }
}

/// The grade as `custody.toml` writes it.
pub(super) fn grade_name(grade: Grade) -> &'static str {
    match grade {
        Grade::Observe => "observe",
        Grade::Enforcing => "enforcing",
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What should hold.
    pub what: String,
    /// Whether it does.
    pub ok: bool,
    /// What was found.
    pub found: String,
}

/// The grade that was declared, and whether the machine bears it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// As configured.
    pub declared: Grade,
    /// Whether every check of the declared grade holds.
    pub holds: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// What that means, in one sentence.
    pub meaning: String,
}

impl Standing {
    /// Looks at owners and modes of `home`, seen from this process.
    pub fn assess(home: &Home, declared: Grade) -> Standing {
        let own = rustix::process::geteuid().as_raw();
        let mut checks = vec![private_files(home)];
        let owner = std::fs::metadata(home.root()).map(|metadata| metadata.uid());
        if declared == Grade::Enforcing {
            checks.push(match &owner {
                Ok(owner) => Check {
                    what: "the daemon's account owns the home".into(),
                    ok: *owner == own,
                    found: format!("owner uid {owner}, this process uid {own}"),
                },
                Err(error) => Check { what: "the daemon's account owns the home".into(), ok: false, found: error.to_string() },
            });
            checks.push(not_a_login(owner.as_ref().ok().copied().unwrap_or(own)));
            checks.push(no_client_shares(home, owner.as_ref().ok().copied().unwrap_or(own)));
        }
        let holds = checks.iter().all(|check| check.ok);
        let meaning = match (declared, holds) {
            (Grade::Observe, true) => {
                "observe grade: the daemon runs under a user's own account, so an agent with a shell of that account could tamper with the \
                 ledger, its keys and this daemon; tampering shows only against a checkpoint that left the machine"
            }
            (Grade::Observe, false) => "observe grade, and other accounts can read the home: close it (`chmod -R go= HOME`)",
            (Grade::Enforcing, true) => {
                "enforcing grade: agents and their users have only the agents' listener, as far as owners and modes tell"
            }
            (Grade::Enforcing, false) => {
                "enforcing grade was declared, but this machine does not bear it out: treat it as observe grade until every check holds"
            }
        };
        Standing { declared, holds, checks, meaning: meaning.into() }
    }
}

/// Secrets and the ledger are closed to other accounts.
fn private_files(home: &Home) -> Check {
    let mut open = Vec::new();
    let secret = [
        home.config(),
        home.operators(),
        home.clients(),
        home.keys(),
        home.ledger_key(),
        home.daemon_key(),
        home.ledger(),
        home.database(),
    ];
    for path in secret.iter().chain([&home.operator_key()]) {
        if let Ok(metadata) = std::fs::metadata(path)
            && metadata.mode() & 0o077 != 0
        {
            let name = path.strip_prefix(home.root()).unwrap_or(path);
            open.push(format!("{} has mode {:04o}", name.display(), metadata.mode() & 0o7777));
        }
    }
    Check {
        what: "keys, configuration and ledger are closed to other accounts".into(),
        ok: open.is_empty(),
        found: if open.is_empty() { "modes 0600 and 0700".into() } else { open.join(", ") },
    }
}

/// The account is not the one a person logged in with.
fn not_a_login(owner: u32) -> Check {
    const UNSET: u32 = u32::MAX;
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse::<u32>().ok());
    let (ok, found) = match login {
        Some(login) if login == owner => (false, format!("uid {owner} is the account of this login")),
        Some(UNSET) | None => (true, "no login is recorded for this process".into()),
        Some(login) => (true, format!("login uid {login}, home's owner uid {owner}")),
    };
    Check { what: "the home's owner is not the account that is logged in".into(), ok, found }
}

/// No adopted client runs as the daemon's account.
fn no_client_shares(home: &Home, owner: u32) -> Check {
    let what = "no adopted client belongs to the daemon's account".into();
    match Clients::open(&home.clients()) {
        Ok(clients) => {
            let sharing: Vec<_> =
                clients.records().into_iter().filter(|one| one.owner == Some(owner)).map(|one| one.principal.to_string()).collect();
            let found = if sharing.is_empty() { "none does".into() } else { sharing.join(", ") };
            Check { what, ok: sharing.is_empty(), found }
        }
        Err(error) => Check { what, ok: false, found: error.to_string() },
    }
}

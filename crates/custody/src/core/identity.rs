//! Who may use which server, and what was said in a server's name.

use super::Core;
use crate::config::Authorization;
use custody_model::*;

/// Everybody whose proof Custody has not seen. No client and no issuer can be called so. One name for all of them: a freeze of
/// it is left by no new token.
pub const UNVERIFIED: &str = ":unverified";

impl Core {
    /// Whether the configuration lets a principal use a server, and with it the credential that Custody holds for it.
    pub fn may_use(&self, server: &ServerName, principal: &PrincipalName) -> bool {
        let Some(server) = self.config.servers.get(server.as_str()) else { return false };
        server.principals.is_empty() || server.principals.iter().any(|pattern| matches(pattern, principal.as_str()))
    }

    /// Whether an agent's own `Authorization` goes on to a server.
    pub fn passes_authorization(&self, server: &ServerName) -> bool {
        self.config.servers.get(server.as_str()).is_some_and(|server| server.authorization == Authorization::Transparent)
    }

    /// Somebody who showed Custody nothing.
    pub fn unverified() -> Identity {
        Identity { principal: UNVERIFIED.into(), assurance: Assurance::Unverified, role: None, task: None }
    }

    /// Notes that a server's metadata went to agents with Custody's address in place of its own.
    pub fn metadata_rewritten(&self, server: &ServerName, received: Digest, sent: Digest) {
        let detail = serde_json::json!({ "server": server, "received": received, "sent": sent });
        self.note(None, Event::OperatorActed { verb: "resource_metadata_rewritten".to_owned() }, Some(detail));
    }
}

/// `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, name, fits) in [
            ("corp:*", "corp:alice", true),
            ("corp:*", "corps:alice", false),
            ("*", "", true),
            ("alice", "alice", true),
            ("alice", "alice2", false),
            ("*:alice", "corp:alice", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}

//! Under which addresses Custody is known, and what it says of itself there: protected-resource metadata (RFC 9728) and the
//! challenge that points to them.

use super::token::Refused;
use custody_model::ServerName;
use http::HeaderValue;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Where the metadata of a protected resource lie, before its own path.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Scheme and authority of the agents' listener, as clients may know it. The first is the one it prefers.
#[derive(Debug, Clone)]
pub struct Origins(Vec<String>);

impl Origins {
    /// The published one, else the listener's address and every name that it answers to.
    pub fn new(public_url: Option<&str>, listener: SocketAddr, allowed_hosts: &[String], tls: bool) -> Origins {
        if let Some(url) = public_url {
            return Origins(vec![url.to_owned()]);
        }
        let scheme = if tls { "https" } else { "http" };
        let port = listener.port();
        let mut origins = Vec::new();
        if !listener.ip().is_unspecified() {
            origins.push(format!("{scheme}://{listener}"));
        }
        for host in allowed_hosts {
            let host = host.to_ascii_lowercase();
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
            origins.push(if has_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") });
        }
        if listener.ip().is_loopback() || listener.ip().is_unspecified() {
            origins.push(format!("{scheme}://localhost:{port}"));
            origins.push(format!("{scheme}://127.0.0.1:{port}"));
        }
        Origins(origins)
    }

    /// The one that a request came to, by its `Host`; never one that the request made up.
    pub fn of(&self, host: Option<&str>) -> &str {
        let named = host.and_then(|host| {
            let host = host.to_ascii_lowercase();
            self.0.iter().find(|origin| origin.split_once("://").is_some_and(|(_, authority)| authority == host))
        });
        named.or(self.0.first()).map_or("", String::as_str)
    }

    /// Every address of a server: what a token can be meant for.
    pub fn resources(&self, server: &ServerName) -> Vec<String> {
        self.0.iter().flat_map(|origin| [resource(origin, server), format!("{}/", resource(origin, server))]).collect()
    }
}

/// The address of a server under one origin.
pub fn resource(origin: &str, server: &ServerName) -> String {
    format!("{origin}/mcp/{server}")
}

/// RFC 9728, section 2.
pub fn metadata(origin: &str, server: &ServerName, issuers: &[&str]) -> Value {
    json!({
        "resource": resource(origin, server),
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
        "resource_name": format!("{server} (through Custody)"),
    })
}

/// `WWW-Authenticate` (RFC 6750, section 3; RFC 9728, section 5.1).
pub fn challenge(origin: &str, server: Option<&ServerName>, refused: Option<&Refused>) -> HeaderValue {
    let mut text = "Bearer realm=\"custody\"".to_owned();
    if let Some(server) = server {
        text.push_str(&format!(", resource_metadata=\"{origin}{WELL_KNOWN}/mcp/{server}\""));
    }
    if let Some(refused) = refused {
        // Claims are named by the configuration: no quotes of a client get here.
        text.push_str(&format!(", error=\"invalid_token\", error_description=\"{}\"", refused.to_string().replace(['"', '\\'], "'")));
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"custody\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_chooses_among_names_and_makes_none_up() {
        let address = "127.0.0.1:4180".parse().unwrap();
        let origins = Origins::new(None, address, &["Gate.example".into(), "gate.example:8443".into()], false);
        assert_eq!(origins.of(Some("LOCALHOST:4180")), "http://localhost:4180");
        assert_eq!(origins.of(Some("gate.example:4180")), "http://gate.example:4180");
        assert_eq!(origins.of(Some("gate.example:8443")), "http://gate.example:8443");
        assert_eq!(origins.of(Some("localhost:9999")), "http://127.0.0.1:4180");
        assert_eq!(origins.of(None), "http://127.0.0.1:4180");
        assert!(origins.resources(&"files".into()).contains(&"http://localhost:4180/mcp/files".to_owned()));
        let published = Origins::new(Some("https://custody.example"), address, &[], false);
        assert_eq!(published.of(Some("localhost:4180")), "https://custody.example");
        assert_eq!(published.resources(&"x".into()), ["https://custody.example/mcp/x", "https://custody.example/mcp/x/"]);
    }

    #[test]
    fn a_challenge_points_to_the_metadata() {
        let challenge = challenge("http://127.0.0.1:1", Some(&"files".into()), Some(&Refused::Expired));
        assert_eq!(
            challenge,
            "Bearer realm=\"custody\", resource_metadata=\"http://127.0.0.1:1/.well-known/oauth-protected-resource/mcp/files\", error=\"invalid_token\", error_description=\"expired\""
        );
    }
}

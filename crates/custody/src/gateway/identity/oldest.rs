//! Authorization of revision 2025-03-26, where a server has no metadata of its own: the authorization server is at the root of its origin,
//! with metadata (RFC 8414) or at fixed addresses. Through Custody the origin is Custody's, and serves many servers. So Custody says of a
//! *transparent* server, in the words of the later revisions, where its authorization server is. Nothing of the flow itself passes here:
//! codes, tokens and registrations go to where they went without Custody.
//!
//! Only of a server that has asked for authorization: of others there is nothing to say.

use super::fetch::{FetchError, Fetcher};
use super::published::resource;
use custody_model::ServerName;
use serde_json::{Value, json};

/// Where an authorization server's metadata lie (RFC 8414), before the path of its issuer.
pub const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";

/// Where the authorization server of an old server is.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// It says so itself.
    Metadata(Value),
    /// It says nothing: the addresses that the revision fixes.
    Fixed,
}

/// Asks the server's origin, and nothing else.
pub async fn find(origin: &str, fetcher: &Fetcher) -> Option<Found> {
    match fetcher.json(&format!("{origin}{WELL_KNOWN}")).await {
        Ok(metadata) => metadata["issuer"].is_string().then_some(Found::Metadata(metadata)),
        // What is not there is not there; of a server in trouble nobody knows.
        Err(FetchError::Status { status, .. }) if status.is_client_error() => Some(Found::Fixed),
        Err(_) => None,
    }
}

impl Found {
    /// What the server itself said.
    pub fn received(&self) -> Value {
        match self {
            Found::Metadata(metadata) => metadata.clone(),
            Found::Fixed => Value::Null,
        }
    }

    /// The metadata of the protected resource (RFC 9728) that the server does not have. The authorization server keeps its own name where
    /// it has one, so that what it signs and sends still fits.
    pub fn protected_resource(&self, to: &str, server: &ServerName) -> Value {
        let issuer = match self {
            Found::Metadata(metadata) => metadata["issuer"].clone(),
            Found::Fixed => json!(resource(to, server)),
        };
        json!({"resource": resource(to, server), "authorization_servers": [issuer]})
    }

    /// The metadata of the authorization server, under a name below Custody's origin (or that origin itself).
    pub fn authorization_server(&self, issuer: &str, origin: &str) -> Value {
        match self {
            Found::Metadata(metadata) => {
                let mut metadata = metadata.clone();
                if metadata["issuer"].as_str().is_some_and(|named| named.trim_end_matches('/') == origin) {
                    metadata["issuer"] = json!(issuer);
                }
                metadata
            }
            Found::Fixed => json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{origin}/authorize"),
                "token_endpoint": format!("{origin}/token"),
                "registration_endpoint": format!("{origin}/register"),
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_is_custodys_and_every_address_is_the_servers() {
        let found = Found::Metadata(json!({"issuer": "https://up.example/", "token_endpoint": "https://up.example/t", "x": 1}));
        let server = ServerName::from("files");
        assert_eq!(
            found.protected_resource("https://custody.example", &server),
            json!({"resource": "https://custody.example/mcp/files", "authorization_servers": ["https://up.example/"]})
        );
        assert_eq!(
            found.authorization_server("https://custody.example", "https://up.example"),
            json!({"issuer": "https://custody.example", "token_endpoint": "https://up.example/t", "x": 1})
        );
        let fixed = Found::Fixed.authorization_server("https://custody.example/mcp/files", "https://up.example");
        assert_eq!(fixed["issuer"], "https://custody.example/mcp/files");
        for (endpoint, path) in [("authorization", "authorize"), ("token", "token"), ("registration", "register")] {
            assert_eq!(fixed[format!("{endpoint}_endpoint")], format!("https://up.example/{path}"));
        }
        // Another's name stays as it is.
        let other = Found::Metadata(json!({"issuer": "https://login.example"}));
        assert_eq!(other.authorization_server("https://custody.example", "https://up.example")["issuer"], "https://login.example");
    }
}

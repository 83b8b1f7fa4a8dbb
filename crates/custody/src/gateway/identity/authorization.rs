//! What stands in `Authorization` towards a server: Custody's own credential, or what the agent sent.
//!
//! *Own audience* (the default): agents authenticate to Custody and nothing of it goes on; the credential that Custody holds
//! does. *Transparent*: the agent's `Authorization` goes on as it is, and what the server says about authorization comes back
//! with the server's own address replaced by the one that the agent knows.

use super::{
    bearer,
    fetch::{FetchError, Fetcher},
    oldest,
    published::{Origins, WELL_KNOWN, resource},
};
use crate::config::{self, SecretSource, Server};
use crate::trust::clients::KEY_PREFIX;
use custody_model::ServerName;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// So long is a credential used before its file is looked at again.
const FRESH: Duration = Duration::from_secs(1);

/// How one server is authorized.
pub enum Authorization {
    /// With Custody's credential, if it has one.
    Own(Option<Credential>),
    /// With the agent's.
    Transparent(Box<Transparent>),
}

/// A credential that Custody holds for a server.
pub struct Credential {
    source: SecretSource,
    last: Mutex<Option<(Instant, HeaderValue)>>,
}

/// A server that agents authenticate to themselves, through Custody.
pub struct Transparent {
    server: ServerName,
    url: String,
    /// Scheme and authority of the server.
    origin: String,
    published: Origins,
    /// Where the server's last challenge said that its metadata are, if it is the server itself.
    shown: Mutex<Option<String>>,
    /// Whether it has refused an agent for want of authorization.
    asked: AtomicBool,
    fetcher: Fetcher,
}

impl Authorization {
    /// As the configuration says.
    pub fn new(name: &ServerName, server: &Server, published: &Origins, fetcher: &Fetcher) -> Authorization {
        match (&server.authorization, &server.upstream) {
            (config::Authorization::Transparent, config::Upstream::Http { url, .. }) => Authorization::Transparent(Box::new(Transparent {
                server: name.clone(),
                url: url.clone(),
                origin: origin(url),
                published: published.clone(),
                shown: Mutex::default(),
                asked: AtomicBool::new(false),
                fetcher: fetcher.clone(),
            })),
            _ => Authorization::Own(server.bearer.clone().map(|source| Credential { source, last: Mutex::default() })),
        }
    }

    /// Whether agents need not say to Custody who they are.
    pub fn is_transparent(&self) -> bool {
        self.transparent().is_some()
    }

    /// The server that agents authenticate to themselves.
    pub(super) fn transparent(&self) -> Option<&Transparent> {
        match self {
            Authorization::Transparent(transparent) => Some(transparent),
            Authorization::Own(_) => None,
        }
    }

    /// Puts into a request what the server is to see.
    ///
    /// # Errors
    /// A reason for people, without any secret.
    pub fn apply(&self, from_agent: &HeaderMap, to_server: &mut HeaderMap) -> Result<(), String> {
        match self {
            Authorization::Own(None) => {}
            Authorization::Own(Some(credential)) => {
                to_server.insert(header::AUTHORIZATION, credential.value()?);
            }
            Authorization::Transparent(_) => {
                for value in from_agent.get_all(header::AUTHORIZATION).iter().filter(|value| !is_custodys(value)) {
                    to_server.append(header::AUTHORIZATION, value.clone());
                }
            }
        }
        Ok(())
    }

    /// Looks at what a server says about authorization, before the agent sees it.
    ///
    /// # Errors
    /// The server refuses Custody's own credential: no agent can mend that by showing another.
    pub fn answered(&self, from_agent: &HeaderMap, status: StatusCode, headers: &mut HeaderMap) -> Result<(), String> {
        match self {
            Authorization::Own(_) if status == StatusCode::UNAUTHORIZED => {
                Err("it does not accept the credential that Custody has for it".to_owned())
            }
            Authorization::Own(_) => Ok(()),
            Authorization::Transparent(transparent) => {
                if status == StatusCode::UNAUTHORIZED {
                    transparent.asked.store(true, Ordering::Relaxed);
                }
                if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
                    let host = from_agent.get(header::HOST).and_then(|host| host.to_str().ok());
                    transparent.rewrite(transparent.published.of(host), headers);
                }
                Ok(())
            }
        }
    }
}

/// Whether a credential is Custody's own: it never goes on.
fn is_custodys(value: &HeaderValue) -> bool {
    value.to_str().ok().and_then(bearer).is_some_and(|key| key.starts_with(KEY_PREFIX))
}

impl Credential {
    fn value(&self) -> Result<HeaderValue, String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, value)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(value.clone());
        }
        let secret = self.source.load().map_err(|error| format!("Custody has no credential for it: {error}"))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose()))
            .map_err(|_| "the credential that Custody has for it cannot stand in a header".to_owned())?;
        value.set_sensitive(true);
        *last = Some((Instant::now(), value.clone()));
        Ok(value)
    }
}

impl Transparent {
    /// Replaces the place of the metadata in each challenge by Custody's.
    fn rewrite(&self, to: &str, headers: &mut HeaderMap) {
        let mut challenges = Vec::new();
        for value in headers.get_all(header::WWW_AUTHENTICATE) {
            let new = value.to_str().ok().and_then(|text| {
                let (before, url, after) = metadata_url(text)?;
                // Another host's document is that host's to serve: it is never fetched, and its address stays.
                if origin(url) != self.origin {
                    return None;
                }
                *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.to_owned());
                HeaderValue::try_from(format!("{before}\"{to}{WELL_KNOWN}/mcp/{}\"{after}", self.server)).ok()
            });
            challenges.push(new.unwrap_or_else(|| value.clone()));
        }
        headers.remove(header::WWW_AUTHENTICATE);
        for challenge in challenges {
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
    }

    /// The server's own metadata (RFC 9728) under the address by which the agent knows it. Both, as received and as sent. Of a server
    /// that has none: what [`oldest`] finds instead.
    pub async fn metadata(&self, to: &str) -> Option<(Value, Value)> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let path = self.url.strip_prefix(&self.origin).unwrap_or_default().trim_end_matches('/');
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let places = [format!("{}{WELL_KNOWN}{path}", self.origin), format!("{}{WELL_KNOWN}", self.origin)];
        let mut none_there = true;
        for place in shown.into_iter().chain(places) {
            match self.fetcher.json(&place).await {
                Ok(received) if received.is_object() => {
                    let mut sent = received.clone();
                    if received["resource"].as_str().is_some_and(|named| self.is_own(named)) {
                        sent["resource"] = json!(resource(to, &self.server));
                    }
                    return Some((received, sent));
                }
                Ok(_) => {}
                Err(FetchError::Status { status, .. }) => none_there &= status.is_client_error(),
                Err(_) => none_there = false,
            }
        }
        // A server in trouble says nothing about what it has.
        let found = if none_there { self.oldest().await? } else { return None };
        Some((found.received(), found.protected_resource(to, &self.server)))
    }

    /// The authorization server of a server of the oldest kind, once it has asked for authorization.
    async fn oldest(&self) -> Option<oldest::Found> {
        if !self.asked.load(Ordering::Relaxed) {
            return None;
        }
        oldest::find(&self.origin, &self.fetcher).await
    }

    /// The metadata of its authorization server (RFC 8414) under Custody's name. Both, as received and as sent. `root`: for agents that know
    /// nothing but the root of an origin; else only what [`Transparent::metadata`] gives Custody's name to.
    pub async fn authorization_server(&self, to: &str, root: bool) -> Option<(Value, Value)> {
        let found = self.oldest().await?;
        let issuer = if root { to.to_owned() } else { resource(to, &self.server) };
        (root || found == oldest::Found::Fixed).then(|| (found.received(), found.authorization_server(&issuer, &self.origin)))
    }

    /// Whether a resource is this server: by its address, or by its origin, which stands for all below it.
    fn is_own(&self, named: &str) -> bool {
        let named = named.trim_end_matches('/');
        named == self.url.trim_end_matches('/') || named == self.origin
    }
}

/// Scheme and authority, as one writes them: lower case, without the usual port.
fn origin(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return String::new() };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return String::new() };
    format!("{scheme}://{authority}").to_ascii_lowercase()
}

/// `resource_metadata` in a challenge: what stands before its value, the value, and what stands behind.
fn metadata_url(challenge: &str) -> Option<(&str, &str, &str)> {
    const NAME: &str = "resource_metadata";
    let at = challenge.to_ascii_lowercase().find(NAME)? + NAME.len();
    let rest = challenge[at..].trim_start().strip_prefix('=')?.trim_start();
    let start = challenge.len() - rest.len();
    match rest.strip_prefix('"') {
        Some(quoted) => {
            let end = quoted.find('"')?;
            Some((&challenge[..start], &quoted[..end], &quoted[end + 1..]))
        }
        None => {
            let end = rest.find([',', ' ']).unwrap_or(rest.len());
            Some((&challenge[..start], &rest[..end], &rest[end..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transparent() -> Authorization {
        let server = Transparent {
            server: "files".into(),
            url: "https://up.example/v1/mcp".into(),
            origin: origin("https://up.example/v1/mcp"),
            published: Origins::new(Some("https://custody.example"), "127.0.0.1:1".parse().unwrap(), &[], true),
            shown: Mutex::default(),
            asked: AtomicBool::new(false),
            fetcher: Fetcher::new(),
        };
        Authorization::Transparent(Box::new(server))
    }

    fn challenged(challenge: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        transparent().answered(&HeaderMap::new(), StatusCode::UNAUTHORIZED, &mut headers).unwrap();
        headers[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_challenge_comes_back_to_custody_and_nothing_else_of_it_changes() {
        let ours = "https://custody.example/.well-known/oauth-protected-resource/mcp/files";
        assert_eq!(
            challenged("Bearer error=\"x\", resource_metadata=\"https://up.example/.well-known/p\", scope=\"a b\""),
            format!("Bearer error=\"x\", resource_metadata=\"{ours}\", scope=\"a b\"")
        );
        assert_eq!(
            challenged("Bearer Resource_Metadata = https://UP.example/p, scope=a"),
            format!("Bearer Resource_Metadata = \"{ours}\", scope=a")
        );
        for other in [
            "Bearer realm=\"x\"",
            "Bearer resource_metadata=\"https://evil.example/p\"",
            "Bearer resource_metadata=\"http://169.254.169.254/p\"",
            "Bearer resource_metadata=\"https://up.example.evil.example/p\"",
            "Bearer resource_metadata=\"https://up.example@evil.example/p\"",
            "Bearer resource_metadata",
            "Bearer resource_metadata=\"",
            "Basic",
        ] {
            assert_eq!(challenged(other), other);
        }
    }

    #[test]
    fn custodys_own_keys_never_go_on() {
        let mut from_agent = HeaderMap::new();
        for value in ["Bearer theirs", "Bearer cck_ours", "bearer  cck_ours", "Basic dTpw"] {
            from_agent.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        let sent = |authorization: Authorization| {
            let mut headers = HeaderMap::new();
            authorization.apply(&from_agent, &mut headers).unwrap();
            headers.get_all(header::AUTHORIZATION).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(sent(transparent()), ["Bearer theirs", "Basic dTpw"]);
        assert_eq!(sent(Authorization::Own(None)), Vec::<String>::new());
    }

    #[test]
    fn a_credential_is_read_from_its_file_and_told_to_nobody() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let own = |path: &std::path::Path| {
            Authorization::Own(Some(Credential { source: SecretSource::File(path.to_owned()), last: Mutex::default() }))
        };
        let mut headers = HeaderMap::new();
        own(file.path()).apply(&HeaderMap::new(), &mut headers).unwrap();
        assert_eq!(headers[header::AUTHORIZATION], "Bearer hunter2");
        assert!(!format!("{headers:?}").contains("hunter2"));
        std::fs::write(file.path(), "hun\nter2").unwrap();
        let why = own(file.path()).apply(&HeaderMap::new(), &mut headers).unwrap_err();
        assert!(!why.contains("ter2"), "{why}");
        assert!(own(std::path::Path::new("/nonexistent")).apply(&HeaderMap::new(), &mut headers).is_err());
        assert!(own(file.path()).answered(&headers.clone(), StatusCode::UNAUTHORIZED, &mut headers).is_err());
    }
}

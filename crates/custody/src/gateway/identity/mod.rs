//! Who an agent is: by the key of an adopted client, or by a token that a configured issuer signed for Custody
//! (`docs/identity.md`). Everything here is before the record: what is refused never was a message.

mod authorization;
mod crypto;
mod fetch;
mod keys;
mod oldest;
mod published;
mod token;

pub use authorization::Authorization;
pub use fetch::{BadAuthorities, is_safe_source};
pub use published::Origins;

use super::http::text;
use super::reply::{self, Body};
use crate::config::Issuer;
use crate::core::Core;
use crate::trust::{clients::KEY_PREFIX, digest_of};
use authorization::Transparent;
use custody_model::{Assurance, Identity, RoleName, ServerName, TaskName};
use fetch::Fetcher;
use http::{Method, Response, StatusCode, header, request::Parts};
use keys::KeySource;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use token::{Refused, Shown, Verified};

/// Where an agent shows its client key when `Authorization` is for the server.
const CLIENT_KEY: &str = "custody-key";

/// Tokens remembered as verified. When it is full, all are forgotten: each is checked again.
const REMEMBERED: usize = 4096;

/// Everything by which agents are told apart.
pub struct Identities {
    core: Arc<Core>,
    origins: Origins,
    issuers: Vec<Trusted>,
    servers: BTreeMap<ServerName, Arc<Authorization>>,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    /// Rewritten metadata that an entry tells of.
    told: Mutex<HashSet<[u8; 32]>>,
}

struct Trusted {
    name: String,
    issuer: Issuer,
    keys: KeySource,
}

#[derive(Clone)]
struct Remembered {
    verified: Arc<Verified>,
    /// Which issuer, and the version of its keys.
    by: (usize, u64),
}

impl Identities {
    /// Starts to look for the issuers' keys; the tasks are the daemon's.
    pub fn new(core: Arc<Core>, origins: Origins) -> Identities {
        crypto::install();
        let fetcher = Fetcher::new();
        let trusted = core.config().issuers.iter().map(|(name, issuer)| {
            let (keys, task) = KeySource::new(name.clone(), issuer.clone(), fetcher_of(issuer, &fetcher), core.stopping());
            core.spawn(task);
            Trusted { name: name.clone(), issuer: issuer.clone(), keys }
        });
        let issuers = trusted.collect();
        let servers = core.config().servers.iter().map(|(name, server)| {
            let name = ServerName(name.clone());
            let authorization = Arc::new(Authorization::new(&name, server, &origins, &fetcher));
            (name, authorization)
        });
        let servers = servers.collect();
        Identities { core, origins, issuers, servers, remembered: Mutex::default(), told: Mutex::default() }
    }

    /// What stands in `Authorization` towards a server.
    pub fn authorization(&self, server: &ServerName) -> Arc<Authorization> {
        self.servers.get(server).cloned().unwrap_or_else(|| Arc::new(Authorization::Own(None)))
    }

    /// The metadata of a protected resource or of its authorization server, if that is what was asked for. They are public.
    pub async fn published(&self, head: &Parts) -> Option<Response<Body>> {
        let origin = self.origins.of(text(&head.headers, "host"));
        let path = head.uri.path();
        let nothing = || Some(reply::refuse(StatusCode::NOT_FOUND, "no such resource"));
        if let Some(path) = path.strip_prefix(oldest::WELL_KNOWN) {
            let asked = if path.is_empty() { self.only() } else { path.strip_prefix("/mcp/").and_then(|name| self.transparent(name)) };
            let Some((server, transparent)) = asked.filter(|_| head.method == Method::GET) else { return nothing() };
            return match transparent.authorization_server(origin, path.is_empty()).await {
                Some(metadata) => Some(self.rewritten(server, metadata)),
                None => nothing(),
            };
        }
        let server = ServerName::from(path.strip_prefix(published::WELL_KNOWN)?.strip_prefix("/mcp/")?);
        let authorization = self.servers.get(&server).filter(|_| head.method == Method::GET);
        match authorization.map(AsRef::as_ref) {
            Some(Authorization::Transparent(transparent)) => {
                return match transparent.metadata(origin).await {
                    Some(metadata) => Some(self.rewritten(&server, metadata)),
                    None => nothing(),
                };
            }
            Some(Authorization::Own(_)) if !self.issuers.is_empty() => {}
            _ => return nothing(),
        }
        let issuers: Vec<&str> = self.issuers.iter().map(|trusted| trusted.issuer.issuer.as_str()).collect();
        let metadata = published::metadata(origin, &server, &issuers);
        Some(reply::json_response(StatusCode::OK, metadata.to_string().into_bytes()))
    }

    fn transparent(&self, name: &str) -> Option<(&ServerName, &Transparent)> {
        match self.servers.get_key_value(&ServerName::from(name)) {
            Some((name, authorization)) => authorization.transparent().map(|transparent| (name, transparent)),
            None => None,
        }
    }

    /// The server for which the root of the origin can speak: the only one there is. Of several nobody could tell which is meant, and an
    /// agent would show one server's authorization server what is another's.
    fn only(&self) -> Option<(&ServerName, &Transparent)> {
        let (name, authorization) = self.servers.iter().next().filter(|_| self.servers.len() == 1)?;
        authorization.transparent().map(|transparent| (name, transparent))
    }

    /// What a server said, as it is published here; an entry holds both digests.
    fn rewritten(&self, server: &ServerName, (received, sent): (Value, Value)) -> Response<Body> {
        let (received, sent) = (received.to_string(), sent.to_string());
        self.note_rewritten(server, &received, &sent);
        reply::json_response(StatusCode::OK, sent.into_bytes())
    }

    /// Once for each pair of texts that differ; a client that asks again and again fills no ledger.
    fn note_rewritten(&self, server: &ServerName, received: &str, sent: &str) {
        if received == sent {
            return;
        }
        let pair = mark(&format!("{received}\0{sent}"), Some(server));
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.contains(&pair) {
                return;
            }
            if told.len() >= REMEMBERED {
                told.clear();
            }
            told.insert(pair);
        }
        self.core.metadata_rewritten(server, digest_of(received.as_bytes()), digest_of(sent.as_bytes()));
    }

    /// Who sends this request, and may use the server it is for.
    ///
    /// # Errors
    /// The answer to somebody who has not shown who they are, or may not use this server.
    pub async fn of(&self, head: &Parts, from: SocketAddr) -> Result<Identity, Response<Body>> {
        // Below a server's own address stand those of its streams (2024-11-05).
        let server = head.uri.path().strip_prefix("/mcp/").and_then(|path| path.split('/').next()).map(ServerName::from);
        let server = server.filter(|server| self.servers.contains_key(server));
        let identity = match &server {
            Some(known) if self.servers[known].is_transparent() => self.through(head, known, from).await?,
            _ => self.known(head, server.as_ref(), from).await?,
        };
        match server {
            Some(server) if !self.core.may_use(&server, &identity.principal) => {
                self.core.access_refused("agents", &from.to_string());
                tracing::warn!(%from, %server, principal = %identity.principal, "a principal may not use a server (servers.NAME.principals)");
                Err(reply::refuse(StatusCode::FORBIDDEN, "this server is not for you"))
            }
            _ => Ok(identity),
        }
    }

    /// Before a transparent server: known by a client's key or a token where one is shown that Custody can check, else unverified.
    async fn through(&self, head: &Parts, server: &ServerName, from: SocketAddr) -> Result<Identity, Response<Body>> {
        let hint = text(&head.headers, "custody-task");
        let shown = text(&head.headers, "authorization").and_then(bearer);
        let key = text(&head.headers, CLIENT_KEY).or(shown.filter(|shown| shown.starts_with(KEY_PREFIX)));
        if let Some(key) = key {
            // Whoever shows a key wants to be known: a wrong one is no reason to go on as nobody.
            return match self.core.clients().authenticate(key.trim()) {
                Some(principal) => Ok(self.core.identify(&principal, hint)),
                None => {
                    self.core.access_refused("agents", &from.to_string());
                    Err(self.challenge(head, None, None))
                }
            };
        }
        if let Some(token) = shown.filter(|_| !self.issuers.is_empty())
            && let Ok((at, verified)) = self.verify(token, Some(server)).await
        {
            return Ok(self.identity(at, &verified, hint));
        }
        Ok(Core::unverified())
    }

    /// Before a server of Custody's own audience: known, or refused.
    async fn known(&self, head: &Parts, server: Option<&ServerName>, from: SocketAddr) -> Result<Identity, Response<Body>> {
        let hint = text(&head.headers, "custody-task");
        let mut credentials = head.headers.get_all(header::AUTHORIZATION).iter();
        let shown = match (credentials.next(), credentials.next()) {
            (Some(one), None) => one.to_str().ok().and_then(bearer),
            _ => None,
        };
        let refused = match shown {
            None => None,
            Some(key) if key.starts_with(KEY_PREFIX) || self.issuers.is_empty() => match self.core.clients().authenticate(key) {
                Some(principal) => return Ok(self.core.identify(&principal, hint)),
                None => None,
            },
            Some(token) => match self.verify(token, server).await {
                Ok((at, verified)) => return Ok(self.identity(at, &verified, hint)),
                Err(refused) => Some(refused),
            },
        };
        self.core.access_refused("agents", &from.to_string());
        if let Some(refused) = &refused {
            tracing::warn!(%from, why = %refused, "a token was refused");
        }
        Err(self.challenge(head, server, refused.as_ref()))
    }

    /// What a token proves for one server.
    async fn verify(&self, token: &str, server: Option<&ServerName>) -> Result<(usize, Arc<Verified>), Refused> {
        let mark = mark(token, server);
        if let Some(remembered) = self.recall(&mark).await {
            return Ok((remembered.by.0, remembered.verified));
        }
        let shown = Shown::read(token)?;
        let at = self.issuers.iter().position(|trusted| trusted.issuer.issuer == shown.issuer).ok_or(Refused::Issuer)?;
        let Trusted { name, issuer, keys } = &self.issuers[at];
        // Before the keys: a token that can never be accepted makes nobody ask the issuer.
        shown.check_algorithm(issuer)?;
        let mut known = keys.known().await;
        if !known.are_believed() || !shown.has_key(&known) {
            known = keys.newer_than(&known).await;
        }
        let audience = match (issuer.audience.is_empty(), server) {
            (false, _) => issuer.audience.clone(),
            (true, Some(server)) => self.origins.resources(server),
            (true, None) => return Err(Refused::Audience),
        };
        let verified = Arc::new(shown.verify(name, issuer, &known, &audience)?);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(mark, Remembered { verified: verified.clone(), by: (at, known.version) });
        Ok((at, verified))
    }

    /// A token that was verified before, with keys that are still the issuer's, and is still in time.
    async fn recall(&self, mark: &[u8; 32]) -> Option<Remembered> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(mark).cloned()?;
        let keys = self.issuers[remembered.by.0].keys.known().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        (keys.are_believed() && keys.version == remembered.by.1 && now <= remembered.verified.until).then_some(remembered)
    }

    /// Principal, role and task of a verified token. A role counts if it is the only one that is declared here; a task hint
    /// chooses only where the token names no task, and only among those of the role.
    fn identity(&self, issuer: usize, verified: &Verified, hint: Option<&str>) -> Identity {
        let config = self.core.config();
        let mut declared = verified.roles.iter().filter(|role| config.roles.contains_key(*role));
        let role = match (declared.next(), declared.next()) {
            (Some(role), None) => Some(role),
            // Two roles: nobody knows which one was meant, so neither is.
            (Some(_), Some(_)) => None,
            (None, _) => self.issuers[issuer].issuer.role.as_ref(),
        };
        let tasks = role.and_then(|role| config.roles.get(role)).map(|role| &role.tasks);
        let hinted = hint.filter(|task| tasks.is_some_and(|tasks| tasks.contains_key(*task)));
        let task = verified.task.clone().or_else(|| hinted.map(str::to_owned));
        Identity {
            principal: verified.principal.clone(),
            assurance: Assurance::Token,
            role: role.cloned().map(RoleName),
            task: task.map(TaskName),
        }
    }

    fn challenge(&self, head: &Parts, server: Option<&ServerName>, refused: Option<&Refused>) -> Response<Body> {
        if refused == Some(&Refused::NoKeys) {
            let mut response = reply::refuse(StatusCode::SERVICE_UNAVAILABLE, &Refused::NoKeys.to_string());
            response.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static("10"));
            return response;
        }
        let message = match (refused, self.issuers.is_empty()) {
            (Some(refused), _) => format!("the token is refused: {refused}"),
            (None, true) => "a client key is needed: `Authorization: Bearer cck_…` (see `custody adopt`)".to_owned(),
            (None, false) => "a token or a client key is needed: `Authorization: Bearer …`".to_owned(),
        };
        let mut response = reply::refuse(StatusCode::UNAUTHORIZED, &message);
        let origin = self.origins.of(text(&head.headers, "host"));
        let server = server.filter(|_| !self.issuers.is_empty());
        response.headers_mut().insert(header::WWW_AUTHENTICATE, published::challenge(origin, server, refused));
        response
    }
}

/// Whether a file holds authorities that an issuer's certificate can be believed from.
///
/// # Errors
/// See [`BadAuthorities`].
pub fn check_authorities(file: &Path) -> Result<(), BadAuthorities> {
    fetch::authorities(file).map(drop)
}

/// An issuer with authorities of its own is asked by nobody else's. They were read when the configuration was: if they cannot be any more,
/// nobody is believed.
fn fetcher_of(issuer: &Issuer, usual: &Fetcher) -> Fetcher {
    let Some(file) = &issuer.ca_file else { return usual.clone() };
    Fetcher::trusting(file).unwrap_or_else(|why| {
        tracing::error!(issuer = %issuer.issuer, file = %file.display(), %why, "the issuer's authorities are not believed");
        Fetcher::trusting_nobody()
    })
}

/// What a verified token is remembered by: never the token itself.
fn mark(token: &str, server: Option<&ServerName>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(server.map_or("", |server| server.as_str()).as_bytes());
    hash.update([0]);
    hash.update(token.as_bytes());
    hash.finalize().into()
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

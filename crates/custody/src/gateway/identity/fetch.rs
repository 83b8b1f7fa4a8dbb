//! What an issuer says of itself: its metadata and its keys, over HTTP, bounded in size and time.

use crate::config::Issuer;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, builderstates::WantsSchemes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer.
const LARGEST: usize = 1 << 20;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// Which.
        url: String,
        /// Why.
        why: String,
    },
    /// An answer that is none.
    #[error("{url} answered {status}")]
    Status {
        /// Which.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// No JSON, or too much of it.
    #[error("{url} does not answer with JSON of at most {LARGEST} bytes")]
    Malformed {
        /// Which.
        url: String,
    },
    /// The metadata are another issuer's.
    #[error("the metadata at {url} are not those of the configured issuer")]
    OtherIssuer {
        /// Which.
        url: String,
    },
    /// The metadata name no keys, or keys at a place where anybody could change them.
    #[error("the metadata at {url} name no `jwks_uri` with https")]
    NoKeys {
        /// Which.
        url: String,
    },
}

/// Asks issuers. Follows no redirection.
#[derive(Clone)]
pub struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

/// Why authorities cannot be used; behind the name of their file.
#[derive(Debug, thiserror::Error)]
pub enum BadAuthorities {
    /// It is not there, or not ours to read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// Something in it is no certificate.
    #[error("has a certificate that cannot be used: {0}")]
    Certificate(String),
    /// There is nothing in it.
    #[error("has no certificate in PEM form")]
    Empty,
}

impl Fetcher {
    /// Connects at the first question.
    pub fn new() -> Fetcher {
        Fetcher::over(HttpsConnectorBuilder::new().with_webpki_roots())
    }

    /// As [`Fetcher::new`], and believes only certificates of the authorities in a file.
    ///
    /// # Errors
    /// See [`BadAuthorities`].
    pub fn trusting(file: &Path) -> Result<Fetcher, BadAuthorities> {
        Ok(Fetcher::believing(authorities(file)?))
    }

    /// Believes no certificate.
    pub fn trusting_nobody() -> Fetcher {
        Fetcher::believing(rustls::RootCertStore::empty())
    }

    fn believing(roots: rustls::RootCertStore) -> Fetcher {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Fetcher::over(HttpsConnectorBuilder::new().with_tls_config(config))
    }

    fn over(tls: HttpsConnectorBuilder<WantsSchemes>) -> Fetcher {
        let connector = tls.https_or_http().enable_http1().build();
        Fetcher(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }

    /// The key set of an issuer (RFC 7517), as it stands there now.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn keys(&self, issuer: &Issuer) -> Result<Value, FetchError> {
        match &issuer.jwks_url {
            Some(url) => self.json(url).await,
            None => self.json(&self.keys_of(issuer).await?).await,
        }
    }

    /// `jwks_uri` of the issuer's metadata: OpenID Connect Discovery first, then RFC 8414.
    async fn keys_of(&self, issuer: &Issuer) -> Result<String, FetchError> {
        let [first, second] = metadata_urls(&issuer.issuer);
        let (url, metadata) = match self.json(&first).await {
            Ok(metadata) => (first, metadata),
            Err(_) => (second.clone(), self.json(&second).await?),
        };
        if metadata["issuer"].as_str() != Some(&issuer.issuer) {
            return Err(FetchError::OtherIssuer { url });
        }
        match metadata["jwks_uri"].as_str().filter(|keys| is_safe_source(keys)) {
            Some(keys) => Ok(keys.to_owned()),
            None => Err(FetchError::NoKeys { url }),
        }
    }

    /// One document.
    pub(super) async fn json(&self, url: &str) -> Result<Value, FetchError> {
        let unreachable = |why: String| FetchError::Unreachable { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| unreachable("not a URL".to_owned()))?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::ACCEPT, http::HeaderValue::from_static("application/json"));
        let asking = async {
            let answer = self.0.request(request).await.map_err(|error| unreachable(error.to_string()))?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status { url: url.to_owned(), status: answer.status() });
            }
            let malformed = || FetchError::Malformed { url: url.to_owned() };
            let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|_| malformed())?;
            serde_json::from_slice(&body.to_bytes()).map_err(|_| malformed())
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(unreachable(format!("no answer within {} seconds", PATIENCE.as_secs()))),
        }
    }
}

/// The certificates of a file.
pub(super) fn authorities(file: &Path) -> Result<rustls::RootCertStore, BadAuthorities> {
    let pem = std::fs::read(file)?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.map_err(|why| why.to_string()).and_then(|one| roots.add(one).map_err(|why| why.to_string()));
        added.map_err(BadAuthorities::Certificate)?;
    }
    if roots.is_empty() { Err(BadAuthorities::Empty) } else { Ok(roots) }
}

/// `https`, or `http` on this machine: whoever can change keys on their way can be anybody.
pub fn is_safe_source(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else { return false };
    let host = authority.host();
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        _ => false,
    }
}

/// Where an issuer's metadata can lie.
fn metadata_urls(issuer: &str) -> [String; 2] {
    let base = issuer.trim_end_matches('/');
    let authority_end = base.find("://").map_or(0, |at| at + 3);
    let path_at = base[authority_end..].find('/').map_or(base.len(), |at| authority_end + at);
    let (origin, path) = base.split_at(path_at);
    [format!("{base}/.well-known/openid-configuration"), format!("{origin}/.well-known/oauth-authorization-server{path}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_lie_where_the_standards_say() {
        assert_eq!(
            metadata_urls("https://login.example/tenant/"),
            [
                "https://login.example/tenant/.well-known/openid-configuration",
                "https://login.example/.well-known/oauth-authorization-server/tenant"
            ]
        );
        assert_eq!(metadata_urls("https://login.example")[1], "https://login.example/.well-known/oauth-authorization-server");
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for url in ["https://login.example/keys", "http://127.0.0.1:1/keys", "http://[::1]:1/", "http://localhost:1"] {
            assert!(is_safe_source(url), "{url}");
        }
        for url in
            ["http://login.example", "http://127.0.0.1.evil.example", "ftp://x", "https://u@x.example", "login.example", "file:///x", ""]
        {
            assert!(!is_safe_source(url), "{url}");
        }
    }
}

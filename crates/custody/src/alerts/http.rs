//! The HTTP client of the webhook channels: one request, no redirects, a bounded answer.

use super::channels::{ChannelConfig, ChannelError, Refusal};
use crate::causes::chain;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

/// Bytes of an answer that are read.
const ANSWER: usize = 4096;

/// Where to post, and over what.
pub(crate) struct Endpoint {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Endpoint {
    /// Checks `url`: `https`, or `http` to this machine; no credentials inside.
    pub(crate) fn open(config: &ChannelConfig) -> Result<Endpoint, ChannelError> {
        let text = config.needed("url", &config.url)?;
        // The text is not repeated in the error: the path of a webhook is often its credential.
        let url: Uri = text.parse().map_err(|_| config.wrong("url", "is not a URL"))?;
        let host = url.host().ok_or_else(|| config.wrong("url", "has no host"))?;
        if url.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(config.wrong("url", "has a user name or password inside; use secret_env or secret_file"));
        }
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if loopback(host) => {}
            Some("http") => return Err(config.wrong("url", "is plain http to another machine; use https")),
            _ => return Err(config.wrong("url", "must begin with https://")),
        }
        let tls = HttpsConnectorBuilder::new();
        let tls = match &config.ca_file {
            None => tls.with_webpki_roots(),
            Some(path) => tls.with_tls_config(trusting(config, path)?),
        };
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(tls.https_or_http().enable_http1().build());
        Ok(Endpoint { url, client })
    }

    /// Scheme and host: the path may be a credential.
    pub(crate) fn shown(&self) -> String {
        format!("{}://{}", self.url.scheme_str().unwrap_or_default(), self.url.authority().map_or("", |a| a.as_str()))
    }

    /// Path and query, which must not stand in a record.
    pub(super) fn secret_path(&self) -> &str {
        self.url.path_and_query().map(|p| p.as_str()).filter(|p| p.len() > 1).unwrap_or_default()
    }

    /// Posts JSON once.
    pub(crate) async fn post(&self, body: &[u8], headers: &[(&'static str, String)]) -> Result<String, Refusal> {
        self.post_as("application/json", body, headers).await
    }

    /// Posts `body` once, and gives the whole answer, which must not be longer than `limit`.
    pub(crate) async fn post_for_bytes(&self, kind: &'static str, body: &[u8], limit: usize) -> Result<Vec<u8>, Refusal> {
        let request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, kind)
            .header(header::USER_AGENT, concat!("custody/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|e| Refusal::last(e.to_string()))?;
        let response = self.client.request(request).await.map_err(|e| Refusal::passing(chain(&e)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(Refusal::passing(status.to_string()));
        }
        let whole = http_body_util::Limited::new(response.into_body(), limit).collect().await;
        whole.map(|body| body.to_bytes().to_vec()).map_err(|e| Refusal::passing(e.to_string()))
    }

    /// Posts `body` once.
    pub(crate) async fn post_as(&self, kind: &'static str, body: &[u8], headers: &[(&'static str, String)]) -> Result<String, Refusal> {
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, kind)
            .header(header::USER_AGENT, concat!("custody/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).map_err(|e| Refusal::last(e.to_string()))?;
        let response = self.client.request(request).await.map_err(|e| Refusal::passing(chain(&e)))?;
        let (status, after) = (response.status(), retry_after(&response));
        let answer = format!("{} {}", status.as_u16(), String::from_utf8_lossy(&beginning(response).await));
        if status.is_success() {
            return Ok(answer);
        }
        let passing = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY);
        Err(Refusal { answer, passing, after })
    }
}

/// Whether a host is this machine, by its literal address or the name `localhost`.
pub(super) fn loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn trusting(config: &ChannelConfig, path: &Path) -> Result<rustls::ClientConfig, ChannelError> {
    let pem = std::fs::read(path).map_err(|source| ChannelError::Unreadable { name: config.name.clone(), path: path.into(), source })?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.map_err(|e| e.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
        added.map_err(|why| config.wrong("ca_file", format!("has a certificate that can not be used: {why}")))?;
    }
    if roots.is_empty() {
        return Err(config.wrong("ca_file", "has no certificate in PEM form"));
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

async fn beginning(response: Response<hyper::body::Incoming>) -> Vec<u8> {
    let mut body = response.into_body();
    let mut read = Vec::new();
    while read.len() < ANSWER {
        match body.frame().await {
            Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..data.len().min(ANSWER)])),
            Some(Err(_)) | None => break,
        }
    }
    read
}

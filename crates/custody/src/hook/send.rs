//! One request to the agents' listener.

use crate::{adopt::hooks::HookFile, api::pinned, causes};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// Most that is read of a refusal.
const MAX_ANSWER: usize = 16 << 10;

/// Sends a message; in words why it did not arrive.
pub(super) fn send(settings: &HookFile, body: Vec<u8>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let connector = match &settings.certificate {
            Some(certificate) => {
                let tls = pinned::client(certificate)
                    .map_err(|error| format!("the certificate {} cannot be used: {error}", certificate.display()))?;
                HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build()
            }
            None => HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build(),
        };
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let request = Request::post(format!("{}/hook/claude-code", settings.url.trim_end_matches('/')))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", settings.key))
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| "its address or key is none".to_owned())?;
        let response = client
            .request(request)
            .await
            .map_err(|error| format!("Custody at {} cannot be reached: {}", settings.url, causes::chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let said = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
        let why = said["error"]["message"].as_str().unwrap_or("no reason given").chars().take(300).collect::<String>();
        Err(format!("Custody refused it: {status}, {why}"))
    })
}

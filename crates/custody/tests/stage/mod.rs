//! A gateway in this process, in front of an HTTP server that keeps what it reads and answers what it is told to.
#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use axum::{Router, extract::State, routing::any};
use bytes::Bytes;
use custody::{config::Config, core::Core, gateway, trust::*};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub struct Stage {
    _dir: TempDir,
    pub home: Home,
    pub key: Secret,
    pub core: Arc<Core>,
    pub running: gateway::Running,
    pub client: reqwest::Client,
    pub server: Server,
}

/// The HTTP server.
#[derive(Clone, Default)]
pub struct Server {
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answer: Arc<Mutex<(HeaderMap, Bytes)>>,
    held: Arc<tokio::sync::watch::Sender<bool>>,
}

impl Server {
    async fn start(&self) -> String {
        async fn take(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response<axum::body::Body> {
            server.seen.lock().unwrap().push((headers, body));
            let _ = server.held.subscribe().wait_for(|held| !held).await;
            let (headers, body) = server.answer.lock().unwrap().clone();
            let mut response = Response::new(body.into());
            *response.headers_mut() = headers;
            response
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(any(take)).with_state(self.clone());
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(axum::serve(listener, router).into_future());
        format!("http://{address}/mcp")
    }

    pub fn answers(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let name = |name: &str| HeaderName::try_from(name).unwrap();
        let headers = headers.iter().map(|(n, value)| (name(n), HeaderValue::try_from(*value).unwrap())).collect();
        *self.answer.lock().unwrap() = (headers, body.into());
    }

    /// From now on nothing is answered.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// What waits is answered.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// The last request.
    pub fn read(&self) -> (HeaderMap, Bytes) {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Stage {
    /// `extra` is added to the configuration. Nothing is frozen.
    pub async fn new(extra: &str) -> Stage {
        Stage::guarded("", "[\"alert\"]", extra).await
    }

    /// `web` is added to the HTTP server's configuration; what is done of itself.
    pub async fn guarded(web: &str, automatic: &str, extra: &str) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::init(&dir.path().join("home"), &InitOptions::default()).unwrap().home;
        let key = Clients::mint(&home.clients(), "agent".into(), None, jiff::Timestamp::now()).unwrap();
        let server = Server::default();
        let url = server.start().await;
        let text = format!(
            "version = 1\n[agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n[containment]\nautomatic = {automatic}\n[servers.web]\nurl = {url:?}\n{web}\n[servers.echo]\ncommand = \"cat\"\n{extra}"
        );
        let config = Config::parse(&text, "custody.toml", dir.path(), &|_| None).unwrap();
        let core = Core::open(&home, config).await.unwrap();
        let running = gateway::start(&core).await.unwrap();
        Stage { _dir: dir, home, key, core, running, client: reqwest::Client::new(), server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.agents())
    }

    pub fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client
            .post(self.url(path))
            .bearer_auth(self.key.expose())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body)
    }

    /// Every entry's message, oldest first, with its body.
    pub async fn messages(&self) -> Vec<(custody_model::Message, Option<Vec<u8>>)> {
        self.core.settled().await;
        let reader = self.core.ledger().reader();
        let entries = reader.open_entries(custody_model::LeafIndex(0)).map(Result::unwrap);
        let messages = entries.filter_map(|open| match &open.entry.event {
            custody_model::Event::Message(message) => Some((message.clone(), open.body)),
            _ => None,
        });
        messages.collect()
    }

    pub async fn close(self) {
        self.running.stop().await;
        self.core.close().await;
    }
}

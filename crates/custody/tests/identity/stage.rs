//! Custody in front of the practice server.

use custody::{config::Config, core::Core, gateway, trust::*};
use custody_store::projection::SessionRow;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

pub struct Stage {
    dir: TempDir,
    pub key: Secret,
    pub core: Arc<Core>,
    pub client: reqwest::Client,
    running: gateway::Running,
}

impl Stage {
    /// A home with one client, and the practice server behind stdio, enforced.
    pub async fn new(extra: &str) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("files/reports")).unwrap();
        std::fs::write(data.join("files/reports/q1.txt"), "Revenue grew.").unwrap();
        let log = dir.path().join("practice.log");
        let server = format!(
            "command = {:?}\nargs = [\"practice-server\", \"--data\", {data:?}, \"--log\", {log:?}]\nmode = \"enforce\"",
            env!("CARGO_BIN_EXE_custody")
        );
        Stage::open(dir, &server, extra).await
    }

    /// A home with one client, and the server `practice` as these lines say.
    pub async fn before(server: &str, extra: &str) -> Stage {
        Stage::open(tempfile::tempdir().unwrap(), server, extra).await
    }

    async fn open(dir: TempDir, server: &str, extra: &str) -> Stage {
        let home = Home::init(&dir.path().join("home"), &InitOptions::default()).unwrap().home;
        let key = Clients::mint(&home.clients(), "agent".into(), None, jiff::Timestamp::now()).unwrap();
        let text = format!(
            "[agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n[containment]\nautomatic = [\"alert\"]\n[servers.practice]\n{server}\n{extra}"
        );
        let config = Config::parse(&text, "custody.toml", dir.path(), &|_| None).unwrap();
        let core = Core::open(&home, config).await.unwrap();
        let running = gateway::start(&core).await.unwrap();
        Stage { dir, key, core, running, client: reqwest::Client::new() }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp/practice", self.running.agents())
    }

    pub async fn post(&self, bearer: Option<&str>, body: impl Into<String>) -> reqwest::Response {
        let request = self
            .client
            .post(self.url())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.into());
        let request = match bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// One call of a tool, in a protocol session of its own.
    pub async fn call(&self, bearer: &str, tool: &str, arguments: Value) -> (u16, Value) {
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let answer = self.post(Some(bearer), initialize.to_string()).await;
        let status = answer.status().as_u16();
        if status != 200 {
            return (status, Value::Null);
        }
        let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let send = |body: Value| {
            let request = self.client.post(self.url()).bearer_auth(bearer).header("mcp-session-id", &session);
            let request = request.header("content-type", "application/json").header("mcp-protocol-version", "2025-06-18");
            request.header("accept", "application/json, text/event-stream").body(body.to_string()).send()
        };
        send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.unwrap();
        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
        let answer = send(call).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let text = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().map_or(text.clone(), str::to_owned);
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// All lines of the ledger.
    pub fn ledger(&self) -> String {
        let files = std::fs::read_dir(self.dir.path().join("home/ledger/segments")).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    pub async fn sessions(&self) -> Vec<SessionRow> {
        self.core.settled().await;
        self.core.projection().sessions(1000).await.unwrap()
    }

    pub async fn session_of(&self, principal: &str) -> SessionRow {
        let sessions = self.sessions().await;
        let found = sessions.iter().find(|row| row.principal.as_ref().is_some_and(|name| name.as_str() == principal));
        found.unwrap_or_else(|| panic!("no session of {principal}: {sessions:?}")).clone()
    }
}

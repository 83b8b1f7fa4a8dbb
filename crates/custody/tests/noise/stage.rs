//! The agents' listener between an agent and a server that both send any bytes. Shared with the fuzz target `http`.

use custody::{
    config::Config,
    core::Core,
    gateway,
    trust::{Clients, Home, InitOptions},
};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Longer than anything here may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stage {
    agents: SocketAddr,
    key: String,
    /// What the server answers to whatever it is asked.
    answer: Arc<Mutex<Vec<u8>>>,
    core: Arc<Core>,
    running: Option<gateway::Running>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::init(&folder.path().join("home"), &InitOptions::default()).expect("a home").home;
        let key = Clients::mint(&home.clients(), "agent".into(), None, jiff::Timestamp::now()).expect("a key");
        let answer = Arc::new(Mutex::new(Vec::new()));
        let server = serve(answer.clone());
        let text = format!(
            "[agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n[containment]\nautomatic = [\"alert\"]\n\
             [limits]\nframe_bytes = 65536\nanswers_bytes = 262144\nbodies_bytes = 262144\nhead_ms = 2000\nbody_ms = 2000\n\
             [servers.web]\nurl = \"http://{server}/mcp\"\n[servers.open]\nurl = \"http://{server}/mcp\"\nauthorization = \"transparent\"\n"
        );
        let config = Config::parse(&text, "custody.toml", folder.path(), &|_| None).expect("a configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (core, running) = runtime.block_on(async {
            let core = Core::open(&home, config).await.expect("a core");
            let running = gateway::start(&core).await.expect("a gateway");
            (core, running)
        });
        let (agents, key) = (running.agents(), key.expose().to_owned());
        Stage { agents, key, answer, core, running: Some(running), runtime, _folder: folder }
    }

    /// One conversation: what the agent sends and what the server answers. `kind` says how much of both is as it should be.
    ///
    /// # Panics
    /// When what comes back is no HTTP, or does not end.
    pub fn round(&self, kind: u8, asked: &[u8], answered: &[u8]) {
        let answer = match kind & 32 {
            0 => answered.to_vec(),
            _ => {
                let form = if kind & 64 == 0 { "application/json" } else { "text/event-stream" };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {form}\r\nConnection: close\r\n\r\n");
                [head.as_bytes(), answered].concat()
            }
        };
        *self.answer.lock().expect("nobody panics") = answer;
        let said = self.converse(&self.request(kind, asked), kind % 4 >= 2);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&said));
    }

    /// It goes on serving: a call of an honest agent to an honest server.
    ///
    /// # Panics
    /// When it does not.
    pub fn still_serves(&self) {
        const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":"still","result":{}}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", ANSWER.len());
        *self.answer.lock().expect("nobody panics") = [head.as_bytes(), ANSWER].concat();
        let said = self.converse(&self.request(2, br#"{"jsonrpc":"2.0","id":"still","method":"ping"}"#), true);
        assert!(said.starts_with(b"HTTP/1.1 200") && said.ends_with(ANSWER), "{:?}", String::from_utf8_lossy(&said));
    }

    /// Stops in order.
    pub fn close(mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(async {
                running.stop().await;
                self.core.close().await;
            });
        }
    }

    /// What an agent sends: all of it, or behind a head that is right so far.
    fn request(&self, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let Stage { agents, key, .. } = self;
        let server = if kind & 8 == 0 { "web" } else { "open" };
        let method = if kind & 16 == 0 { "POST" } else { "GET" };
        let head = format!("{method} /mcp/{server} HTTP/1.1\r\nHost: {agents}\r\nAuthorization: Bearer {key}\r\n");
        let whole = format!("Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n", bytes.len());
        match kind % 4 {
            0 => bytes.to_vec(),
            1 => [head.as_bytes(), bytes].concat(),
            2 => [head.as_bytes(), whole.as_bytes(), b"\r\n", bytes].concat(),
            _ => [head.as_bytes(), whole.as_bytes(), b"Content-Encoding: gzip\r\n\r\n", bytes].concat(),
        }
    }

    /// One connection from its first byte to its last. `whole`: the request says itself where it ends; else the agent says that it sends no
    /// more, which counts as leaving.
    fn converse(&self, bytes: &[u8], whole: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.agents).expect("the listener is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let _ = stream.write_all(bytes);
        if !whole {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut said = Vec::new();
        match stream.read_to_end(&mut said) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no end within {PATIENCE:?}"),
            _ => said,
        }
    }
}

/// A server that reads something, answers with these bytes, and closes.
fn serve(answer: Arc<Mutex<Vec<u8>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut seen = [0; 4096];
                let _ = stream.set_read_timeout(Some(PATIENCE));
                if stream.read(&mut seen).is_ok_and(|count| count > 0) {
                    let bytes = answer.lock().expect("nobody panics").clone();
                    let _ = stream.write_all(&bytes);
                }
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

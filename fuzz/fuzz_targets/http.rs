//! The agents' listener between an agent and a server that both send any bytes: no panic, an answer in time, and it goes on serving.
#![no_main]

use custody::{
    config::Config,
    core::Core,
    gateway,
    trust::{Clients, Home, InitOptions},
};
use libfuzzer_sys::fuzz_target;
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    agents: SocketAddr,
    key: String,
    /// What the server answers to whatever it is asked.
    answer: Arc<Mutex<Vec<u8>>>,
    _runtime: tokio::runtime::Runtime,
    _running: gateway::Running,
    _folder: tempfile::TempDir,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::init(&folder.path().join("home"), &InitOptions::default()).expect("a home").home;
        let key = Clients::mint(&home.clients(), "agent".into(), None, jiff::Timestamp::now()).expect("a key");
        let answer = Arc::new(Mutex::new(Vec::new()));
        let server = serve(answer.clone());
        let text = format!(
            "[agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n[containment]\nautomatic = [\"alert\"]\n\
             [limits]\nframe_bytes = 65536\nhead_ms = 2000\nbody_ms = 2000\n\
             [servers.web]\nurl = \"http://{server}/mcp\"\n[servers.open]\nurl = \"http://{server}/mcp\"\nauthorization = \"transparent\"\n"
        );
        let config = Config::parse(&text, "custody.toml", folder.path(), &|_| None).expect("a configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let running = runtime.block_on(async {
            let core = Core::open(&home, config).await.expect("a core");
            gateway::start(&core).await.expect("a gateway")
        });
        let agents = running.agents();
        Stage { agents, key: key.expose().to_owned(), answer, _runtime: runtime, _running: running, _folder: folder }
    })
}

/// A server that reads something, answers with these bytes, and closes.
fn serve(answer: Arc<Mutex<Vec<u8>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut seen = [0; 4096];
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.read(&mut seen);
            let bytes = answer.lock().expect("nobody panics").clone();
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    address
}

/// What an agent sends: all of it, or a head that is right so far.
fn request(kind: u8, bytes: &[u8], stage: &Stage) -> Vec<u8> {
    let Stage { agents, key, .. } = stage;
    let server = if kind & 8 == 0 { "web" } else { "open" };
    let method = if kind & 16 == 0 { "POST" } else { "GET" };
    let head = format!("{method} /mcp/{server} HTTP/1.1\r\nHost: {agents}\r\nAuthorization: Bearer {key}\r\n");
    match kind % 4 {
        0 => bytes.to_vec(),
        1 => [head.as_bytes(), bytes].concat(),
        2 => {
            let more = format!("Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", bytes.len());
            [head.as_bytes(), more.as_bytes(), bytes].concat()
        }
        _ => {
            let more = format!("Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", bytes.len());
            [head.as_bytes(), more.as_bytes(), bytes].concat()
        }
    }
}

/// One connection from its first byte to its last. `whole`: the request says itself where it ends; else the agent says that it sends no more,
/// which counts as leaving.
fn converse(stage: &Stage, bytes: &[u8], whole: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(stage.agents).expect("the listener is there");
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

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (kind, asked, answered) = input;
    let stage = stage();
    let answer = match kind & 32 {
        0 => answered.to_vec(),
        _ => {
            let form = if kind & 64 == 0 { "application/json" } else { "text/event-stream" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {form}\r\nConnection: close\r\n\r\n");
            [head.as_bytes(), answered].concat()
        }
    };
    *stage.answer.lock().expect("nobody panics") = answer;
    let said = converse(stage, &request(kind, asked, stage), kind % 4 >= 2);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&said));
    // It goes on serving.
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    if COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 64 == 0 {
        let hello = format!("GET /mcp/none HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", stage.agents);
        let said = converse(stage, hello.as_bytes(), true);
        assert!(said.starts_with(b"HTTP/1.1 401"), "{:?}", String::from_utf8_lossy(&said));
    }
});

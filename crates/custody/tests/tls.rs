//! TLS on both listeners: a certificate made here, real clients, and certificates that change while requests run (issue 4 item 6).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod daemon;

use daemon::{Daemon, Home, initialised, text};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longer than any of these things takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Writes a new certificate and its key, each at once.
fn certificate(folder: &Path) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    for (name, pem) in [("cert.pem", cert.pem()), ("key.pem", signing_key.serialize_pem())] {
        let new = folder.join(format!("{name}.new"));
        std::fs::write(&new, pem).unwrap();
        std::fs::rename(new, folder.join(name)).unwrap();
    }
}

fn root(home: &Home) -> PathBuf {
    home.temp.path().canonicalize().unwrap()
}

/// A daemon with the practice server, encrypted on both sides.
fn encrypted() -> (Home, String, Daemon) {
    let home = initialised();
    certificate(&root(&home));
    let text = std::fs::read_to_string(home.config()).unwrap();
    let tls = format!("tls = {{ cert = {:?}, key = {:?} }}\n", root(&home).join("cert.pem"), root(&home).join("key.pem"));
    let text = text.replace("[agents]\n", &format!("[agents]\n{tls}")).replace("[operators]\n", &format!("[operators]\n{tls}"));
    std::fs::write(home.config(), text).unwrap();
    let servers =
        format!(r#"{{"mcpServers": {{"practice": {{"command": {:?}, "args": ["practice-server"]}}}}}}"#, env!("CARGO_BIN_EXE_custody"));
    std::fs::write(root(&home).join(".mcp.json"), servers).unwrap();
    let daemon = home.up();
    let client = std::fs::read_to_string(daemon.ready["client_config"].as_str().unwrap()).unwrap();
    let client: serde_json::Value = serde_json::from_str(&client).unwrap();
    let key = client["mcpServers"]["practice"]["headers"]["Authorization"].as_str().unwrap().to_owned();
    assert!(client["mcpServers"]["practice"]["url"].as_str().unwrap().starts_with("https://"), "{client}");
    (home, key, daemon)
}

async fn connected(address: &str, certificate: CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn shown(home: &Home) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(root(home).join("cert.pem")).unwrap()
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;

fn head(key: &str) -> String {
    format!(
        "POST /mcp/practice HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        PING.len()
    )
}

/// Reads until the answer holds `word`.
async fn until(stream: &mut TlsStream<TcpStream>, word: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while !text(&seen).contains(word) {
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the connection ended: {}", text(&seen));
            seen.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(LONG, reading).await.unwrap();
    text(&seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (home, key, daemon) = encrypted();
    let agents = daemon.ready["agents"].as_str().unwrap().to_owned();
    let first = shown(&home);
    // A request that is half sent when the certificate changes, on a connection that served one before.
    let mut old = connected(&agents, first.clone()).await.unwrap();
    old.write_all(format!("{}{PING}", head(&key)).as_bytes()).await.unwrap();
    assert!(until(&mut old, "protocolVersion").await.starts_with("HTTP/1.1 200"));
    old.write_all(format!("{}{}", head(&key), &PING[..20]).as_bytes()).await.unwrap();
    old.flush().await.unwrap();

    // Changed files are followed by themselves.
    certificate(&root(&home));
    let second = shown(&home);
    let deadline = Instant::now() + LONG;
    while connected(&agents, second.clone()).await.is_err() {
        assert!(Instant::now() < deadline, "the changed files are never read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(connected(&agents, first).await.is_err(), "the old one is shown no more");
    old.write_all(&PING.as_bytes()[20..]).await.unwrap();
    assert!(until(&mut old, "protocolVersion").await.contains("HTTP/1.1 200"));

    // What cannot be used leaves the one before in force, also on SIGHUP.
    std::fs::write(root(&home).join("cert.pem"), "nonsense").unwrap();
    let pid = rustix::process::Pid::from_raw(daemon.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let mut new = connected(&agents, second).await.unwrap();
    new.write_all(format!("{}{PING}", head(&key)).as_bytes()).await.unwrap();
    assert!(until(&mut new, "protocolVersion").await.starts_with("HTTP/1.1 200"));
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_in_the_clear_and_the_command_line_knows_its_daemon() {
    let (home, key, daemon) = encrypted();
    for listener in ["agents", "operators"] {
        let mut plain = TcpStream::connect(daemon.ready[listener].as_str().unwrap()).await.unwrap();
        let _ = plain.write_all(format!("{}{PING}", head(&key)).as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LONG, plain.read_to_end(&mut answer)).await.unwrap();
        assert!(!text(&answer).contains("HTTP/1.1"), "{}", text(&answer));
    }
    assert_eq!(home.json(&["status"])["daemon"]["operators"], daemon.ready["operators"]);
    // A command line that is shown another certificate sends nobody its token.
    let another = tempfile::tempdir().unwrap();
    certificate(another.path());
    std::fs::rename(root(&home).join("cert.pem"), root(&home).join("kept.pem")).unwrap();
    std::fs::copy(another.path().join("cert.pem"), root(&home).join("cert.pem")).unwrap();
    let refused = home.run(&["status"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("cannot be reached"), "{}", text(&refused.stderr));
}

#[test]
fn the_official_python_client_speaks_through_it() {
    let (home, key, daemon) = encrypted();
    let folder = std::env::var_os("CUSTODY_PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join(".peers"), PathBuf::from);
    assert!(folder.join("stamp").exists(), "the test peers are not installed in {}: run `cargo xtask peers` once", folder.display());
    let script = r#"
import asyncio, sys
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
async def main(url, key):
    http = create_mcp_http_client(headers={"Authorization": key})
    async with Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
        print(" ".join(tool.name for tool in (await client.list_tools()).tools))
asyncio.run(main(*sys.argv[1:]))
"#;
    let url = daemon.ready["servers"][0]["url"].as_str().unwrap();
    let run = |trusted: PathBuf| {
        Command::new(folder.join("venv/bin/python")).args(["-c", script, url, &key]).env("SSL_CERT_FILE", trusted).output().unwrap()
    };
    let output = run(root(&home).join("cert.pem"));
    assert!(text(&output.stdout).contains("read_file"), "{}", text(&output.stderr));
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    assert!(!run(other.path().join("cert.pem")).status.success(), "it checks the certificate");
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_starts() {
    let home = initialised();
    certificate(&root(&home));
    let folder = root(&home);
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    std::fs::write(folder.join("empty.pem"), "").unwrap();
    std::fs::copy(other.path().join("key.pem"), folder.join("other.pem")).unwrap();
    let config = std::fs::read_to_string(home.config()).unwrap();
    for (listener, cert, key, word) in [
        ("agents", "missing.pem", "key.pem", "missing.pem has no usable certificate"),
        ("operators", "cert.pem", "missing.pem", "missing.pem has no usable private key"),
        ("agents", "empty.pem", "key.pem", "empty.pem has no usable certificate"),
        ("agents", "key.pem", "key.pem", "no usable certificate"),
        ("operators", "cert.pem", "cert.pem", "no usable private key"),
        ("agents", "cert.pem", "other.pem", "cannot be used together"),
    ] {
        let tls = format!("[{listener}]\ntls = {{ cert = {:?}, key = {:?} }}\n", folder.join(cert), folder.join(key));
        std::fs::write(home.config(), config.replace(&format!("[{listener}]\n"), &tls)).unwrap();
        let (code, error) = home.fails(&["up"]);
        assert_eq!(code, 4, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(word) && message.contains(&format!("{listener}.tls")), "{message}");
    }
}

#[test]
fn other_machines_get_in_encrypted_or_by_an_express_word() {
    let home = initialised();
    certificate(&root(&home));
    let config = std::fs::read_to_string(home.config()).unwrap().replace("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\"");
    std::fs::write(home.config(), &config).unwrap();
    assert!(home.fails(&["up"]).1["message"].as_str().unwrap().contains("other machines"));
    let tls = format!("tls = {{ cert = {:?}, key = {:?} }}\n", root(&home).join("cert.pem"), root(&home).join("key.pem"));
    let config = config.replace("[agents]\n", &format!("[agents]\n{tls}")).replace("[operators]\n", &format!("[operators]\n{tls}"));
    std::fs::write(home.config(), config).unwrap();
    assert_eq!(home.up().stop(), 0);
}

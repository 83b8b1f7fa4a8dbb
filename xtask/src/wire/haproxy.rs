//! HAProxy before the echo server, once passing bytes and once reading HTTP.

use miette::miette;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{Running, failed};
use crate::step::Failure;

/// How it is had.
pub const MISSING: &str = "HAProxy is not installed, so its two rows are left out; on Debian: apt-get install haproxy";
/// Longest wait for it to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// One process with both ways.
pub struct HaProxy {
    /// Passes bytes.
    pub tcp: SocketAddr,
    /// Reads HTTP.
    pub http: SocketAddr,
    _process: Running,
}

impl HaProxy {
    /// `None` when it is not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(echo: SocketAddr, folder: &Path) -> Result<Option<HaProxy>, Failure> {
        let present = Command::new("haproxy").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !present.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let (tcp, http) = (free()?, free()?);
        let config = folder.join("haproxy.cfg");
        std::fs::write(&config, configuration(echo, tcp, http)).map_err(failed("haproxy.cfg"))?;
        let mut process = Running::start_silent(Command::new("haproxy").arg("-f").arg(&config).stdout(Stdio::null()))?;
        let until = Instant::now() + PATIENCE;
        for address in [tcp, http] {
            while TcpStream::connect(address).is_err() {
                if !process.alive() || Instant::now() > until {
                    return Err(miette!("HAProxy does not listen on {address}").into());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(Some(HaProxy { tcp, http, _process: process }))
    }
}

fn free() -> Result<SocketAddr, Failure> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(failed("a free port"))
}

fn configuration(echo: SocketAddr, tcp: SocketAddr, http: SocketAddr) -> String {
    format!(
        "global
    maxconn 2000
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen bytes
    mode tcp
    bind {tcp}
    server echo {echo}
listen http
    mode http
    option http-keep-alive
    http-reuse always
    bind {http}
    server echo {echo}
"
    )
}

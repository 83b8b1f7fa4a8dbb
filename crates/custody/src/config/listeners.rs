//! The two listeners: agents and operators never share one.

use serde::Deserialize;
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// The agents' listener. It never serves the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `Host` names accepted beside the loopback ones.
    pub allowed_hosts: Vec<String>,
    /// Whether `listen` may be reachable from other machines.
    pub allow_remote: bool,
    /// Scheme and authority under which clients know it; `None`: by its own address and names.
    pub public_url: Option<String>,
    /// Encryption; `None`: none.
    pub tls: Option<Certificate>,
}

impl Agents {
    /// Scheme, host and port under which clients of this machine reach it: the published ones, else the listener's own.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut listen = self.listen;
        // The address of every interface is none to connect to.
        if listen.ip().is_unspecified() {
            listen.set_ip(if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        self.public_url.clone().unwrap_or_else(|| format!("{scheme}://{listen}"))
    }
}

/// The operators' listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operators {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether `listen` may be reachable from other machines.
    pub allow_remote: bool,
    /// Encryption; `None`: none.
    pub tls: Option<Certificate>,
}

/// A listener's certificate and its key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate, and then those above it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Certificate {
    /// Relative paths start at `base`.
    pub(super) fn resolved(self, base: &Path) -> Certificate {
        Certificate { cert: base.join(self.cert), key: base.join(self.key) }
    }
}

impl Default for Agents {
    fn default() -> Self {
        Agents { listen: loopback(4180), allowed_hosts: Vec::new(), allow_remote: false, public_url: None, tls: None }
    }
}

impl Default for Operators {
    fn default() -> Self {
        Operators { listen: loopback(4181), allow_remote: false, tls: None }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

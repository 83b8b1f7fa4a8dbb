//! Who may knock at which listener: addresses, `Host` and `Origin`.
//!
//! A web page in the user's browser can send requests to `127.0.0.1`, and with DNS rebinding it can read the answers.
//! So both listeners answer only to names that no foreign page can claim: loopback names and those the operator allowed.

use http::{HeaderMap, Uri, header};
use std::net::{IpAddr, SocketAddr};

/// A listener was to be opened to the network without permission.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{listener}.listen = \"{address}\" can be reached from other machines")]
#[diagnostic(help(
    "use a loopback address such as 127.0.0.1, give {listener} a certificate (`tls`), or set {listener}.allow_remote = true behind a TLS proxy"
))]
pub struct RemoteAddress {
    /// `agents` or `operators`.
    pub listener: &'static str,
    /// The address.
    pub address: SocketAddr,
}

/// Checks a listen address: loopback only, unless it is encrypted or somebody said otherwise.
///
/// # Errors
/// [`RemoteAddress`].
pub fn check_listen(listener: &'static str, address: SocketAddr, allow_remote: bool) -> Result<(), RemoteAddress> {
    if allow_remote || is_loopback(address.ip()) { Ok(()) } else { Err(RemoteAddress { listener, address }) }
}

/// Why a request was refused before anything of it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Host`, several, or one that is no host name.
    #[error("the request needs exactly one valid Host header")]
    NoHost,
    /// A name that is neither loopback nor allowed.
    #[error("this listener does not answer to that Host")]
    ForeignHost,
    /// A page of a foreign origin.
    #[error("this listener does not answer to that Origin")]
    ForeignOrigin,
}

/// The names a listener answers to.
#[derive(Debug, Clone, Default)]
pub struct Names {
    allowed: Vec<Authority>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    /// Lower case, without brackets.
    host: String,
    port: Option<u16>,
}

impl Names {
    /// Loopback names, and `allowed`: `host` for any port, `host:port` for one.
    pub fn new(allowed: &[String]) -> Names {
        Names { allowed: allowed.iter().filter_map(|name| Authority::parse(name)).collect() }
    }

    /// Checks `Host` (and the authority of an absolute-form target, which must agree) and `Origin`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(one), None) => one.to_str().ok().and_then(Authority::parse).ok_or(Refusal::NoHost)?,
            _ => return Err(Refusal::NoHost),
        };
        if let Some(authority) = uri.authority()
            && Authority::parse(authority.as_str()).as_ref() != Some(&host)
        {
            return Err(Refusal::NoHost);
        }
        if !self.answers_to(&host) {
            return Err(Refusal::ForeignHost);
        }
        for origin in headers.get_all(header::ORIGIN) {
            let authority = origin.to_str().ok().and_then(origin_authority).ok_or(Refusal::ForeignOrigin)?;
            if !self.answers_to(&authority) {
                return Err(Refusal::ForeignOrigin);
            }
        }
        Ok(())
    }

    fn answers_to(&self, name: &Authority) -> bool {
        name.is_loopback()
            || self.allowed.iter().any(|allowed| allowed.host == name.host && (allowed.port.is_none() || allowed.port == name.port))
    }
}

impl Authority {
    /// `host`, `host:port`, `[v6]`, `[v6]:port`; `None` for anything else.
    fn parse(text: &str) -> Option<Authority> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
            None if rest.is_empty() => None,
            _ => return None,
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        (!host.is_empty() && host.len() <= 255 && host.bytes().all(plain)).then(|| Authority { host: host.to_ascii_lowercase(), port })
    }

    fn is_loopback(&self) -> bool {
        // No suffix match and no resolver: `127.0.0.1.evil.example` and `localhost.evil.example` are foreign names.
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback)
    }
}

/// Loopback, also in the IPv4-mapped form. The unspecified address is not: it listens everywhere.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// The authority of a serialised origin; `None` for `null` and for what is no web origin.
fn origin_authority(origin: &str) -> Option<Authority> {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))?;
    Authority::parse(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(host: &[&str], origin: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for host in host {
            headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        Names::new(&["gate.example".into(), "port.example:8443".into()]).check(&"/mcp/x".parse().unwrap(), &headers)
    }

    #[test]
    fn loopback_names_and_allowed_names_are_answered() {
        for host in ["localhost", "LOCALHOST:4180", "127.0.0.1:4180", "127.9.9.9", "[::1]:4180", "gate.example:1", "port.example:8443"] {
            assert_eq!(check(&[host], None), Ok(()), "{host}");
        }
    }

    #[test]
    fn names_that_a_foreign_page_can_claim_are_refused() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost.",
            "0.0.0.0",
            "[::]:4180",
            "2130706433",
            "0x7f.1",
            "port.example",
            "port.example:80",
        ] {
            assert_eq!(check(&[host], None), Err(Refusal::ForeignHost), "{host}");
        }
    }

    #[test]
    fn a_missing_doubled_or_broken_host_is_refused() {
        for hosts in [
            &[][..],
            &["localhost", "localhost"],
            &[""],
            &["localhost:"],
            &["localhost:x"],
            &["localhost:99999"],
            &["user@localhost"],
            &["[::1"],
            &["[localhost]"],
            &["localhost/x"],
        ] {
            assert!(check(hosts, None).is_err(), "{hosts:?}");
        }
    }

    #[test]
    fn an_absolute_target_must_agree_with_host() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:4180"));
        let names = Names::default();
        assert_eq!(names.check(&"http://evil.example/".parse().unwrap(), &headers), Err(Refusal::NoHost));
        assert_eq!(names.check(&"http://127.0.0.1:4180/".parse().unwrap(), &headers), Ok(()));
    }

    #[test]
    fn foreign_origins_are_refused() {
        for origin in ["http://localhost:6274", "https://127.0.0.1", "http://[::1]:80", "https://gate.example"] {
            assert_eq!(check(&["localhost"], Some(origin)), Ok(()), "{origin}");
        }
        for origin in
            ["null", "https://evil.example", "file://", "chrome-extension://abc", "http://localhost.evil.example", "http://localhost/x"]
        {
            assert_eq!(check(&["localhost"], Some(origin)), Err(Refusal::ForeignOrigin), "{origin}");
        }
    }

    #[test]
    fn only_loopback_is_listened_on_until_told_otherwise() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(check_listen("agents", address.parse().unwrap(), false).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:0", "[::ffff:10.0.0.1]:0"] {
            assert!(check_listen("agents", address.parse().unwrap(), false).is_err(), "{address}");
            assert!(check_listen("agents", address.parse().unwrap(), true).is_ok(), "{address}");
        }
    }
}

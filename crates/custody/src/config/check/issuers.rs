//! Issuers: addresses that cannot be listened in on, and roles that exist.

use super::{Report, raw, servers::expanded};
use crate::config::{Issuer, Role, error::nearest, issuers::Algorithm};
use std::{collections::BTreeMap, path::Path};

/// More would let a stolen token live on.
const MOST_SKEW_SECONDS: u64 = 600;

/// Types every issuer.
pub(super) fn issuers(
    raw: BTreeMap<String, raw::Issuer>,
    roles: &BTreeMap<String, Role>,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report<'_>,
) -> BTreeMap<String, Issuer> {
    let mut issuers: BTreeMap<String, Issuer> = BTreeMap::new();
    for (name, table) in raw {
        let at = |key| ["issuers".to_owned(), name.clone(), String::from(key)];
        let mut address = |key: &'static str, text: &str| {
            let path = at(key);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let url = expanded(text, &path, env, report)?;
            check_url(&url, &path, report);
            Some(url)
        };
        let Some(url) = address("issuer", &table.issuer) else { continue };
        let jwks_url = table.jwks_url.as_deref().and_then(|url| address("jwks_url", url));
        if let Some((other, _)) = issuers.iter().find(|(_, other)| other.issuer == url) {
            let what = format!("`{name}` and `{other}` are the same issuer");
            report.fault(&["issuers", &name, "issuer"], what, "taken", Some("one issuer, one name".to_owned()));
        }
        if table.algorithms.as_ref().is_some_and(Vec::is_empty) {
            report.fault(&["issuers", &name, "algorithms"], format!("issuer `{name}` has no algorithm left"), "empty", None);
        }
        for (key, claim) in
            [("principal_claim", &table.principal_claim), ("role_claim", &table.role_claim), ("task_claim", &table.task_claim)]
        {
            if claim.as_ref().is_some_and(String::is_empty) {
                report.fault(&["issuers", &name, key], "a claim needs a name", "empty", None);
            }
        }
        if table.skew_seconds > MOST_SKEW_SECONDS {
            let what = format!("a clock that is {} seconds off is no clock", table.skew_seconds);
            report.fault(&["issuers", &name, "skew_seconds"], what, "too much", Some(format!("0 to {MOST_SKEW_SECONDS}")));
        }
        if let Some(role) = table.role.as_ref().filter(|role| !roles.contains_key(*role)) {
            let known: Vec<&str> = roles.keys().map(String::as_str).collect();
            let help = match nearest(role, &known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("declare it: [roles.{role}]"),
            };
            report.fault(&["issuers", &name, "role"], format!("role `{role}` is not declared"), "no such role", Some(help));
        }
        let ca_file = table.ca_file.map(|file| base.join(file));
        if let Some(file) = &ca_file
            && let Err(why) = crate::gateway::identity::check_authorities(file)
        {
            let help = "PEM: one certificate or several, of the authorities that sign the issuer's".to_owned();
            report.fault(&["issuers", &name, "ca_file"], format!("{} {why}", file.display()), "no authorities", Some(help));
        }
        let issuer = Issuer {
            issuer: url,
            audience: table.audience.map(raw::Texts::list).unwrap_or_default(),
            algorithms: table.algorithms.unwrap_or_else(|| Algorithm::USUAL.to_vec()),
            jwks_url,
            principal_claim: table.principal_claim.unwrap_or_else(|| "sub".to_owned()),
            role_claim: table.role_claim,
            role: table.role,
            task_claim: table.task_claim,
            skew_seconds: table.skew_seconds,
            ca_file,
        };
        issuers.insert(name, issuer);
    }
    issuers
}

/// `https`, or `http` on this machine: whoever can change the keys on their way can be anybody.
fn check_url(url: &str, path: &[&str], report: &mut Report<'_>) {
    if !crate::gateway::identity::is_safe_source(url) {
        let help = "https://…, or http:// with a loopback address".to_owned();
        report.fault(path, "not an address that keys can be had from", "expected https://…", Some(help));
    }
}

/// Where clients find the agents' listener: scheme and authority, nothing behind.
pub(super) fn public_url(url: Option<String>, report: &mut Report<'_>) -> Option<String> {
    let url = url?;
    let good = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty())
            && uri.path() == "/"
            && uri.query().is_none()
            && !url.contains('#')
    });
    if !good {
        let help = "scheme, host and port, such as `https://custody.internal`".to_owned();
        report.fault(&["agents", "public_url"], "not the address of a listener", "expected https://…", Some(help));
        return None;
    }
    Some(url.trim_end_matches('/').to_ascii_lowercase())
}

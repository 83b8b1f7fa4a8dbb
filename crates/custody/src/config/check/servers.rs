//! Servers: a command or an address, never both.

use super::{Report, raw, sections::source};
use crate::config::{Authorization, Secret, Server, Upstream, expand::expand};
use std::{collections::BTreeMap, path::Path};

/// Types every server. `env` answers `${NAME}`.
pub(in crate::config) fn servers(
    raw: BTreeMap<String, raw::Server>,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report<'_>,
) -> BTreeMap<String, Server> {
    let mut servers = BTreeMap::new();
    for (name, server) in raw {
        let (mode, reads, trust_annotations) = (server.mode, server.reads.clone(), server.trust_annotations);
        let (first_use, manifest) = (server.first_use, server.manifest);
        let (authorization, principals) = (server.authorization, server.principals.clone());
        let bearer = source(["servers", &name], "bearer", server.bearer_env.clone(), server.bearer_file.clone(), base, report);
        check_authorization(&name, &server, bearer.is_some(), report);
        if let Some(upstream) = upstream(&name, server, base, env, report) {
            servers
                .insert(name, Server { upstream, mode, reads, trust_annotations, first_use, manifest, authorization, bearer, principals });
        }
    }
    servers
}

/// One credential at most, and only where there is a header to hold it.
fn check_authorization(name: &str, server: &raw::Server, bearer: bool, report: &mut Report<'_>) {
    let header = server.headers.keys().any(|header| header.eq_ignore_ascii_case("authorization"));
    let transparent = server.authorization == Authorization::Transparent;
    if server.url.is_none() && (transparent || bearer) {
        let key = if transparent { "authorization" } else { "bearer" };
        report.fault(&["servers", name, key], format!("`{key}` is for servers with a url"), "never used", None);
    }
    if transparent && (bearer || header) {
        let what = format!("server `{name}` is transparent, and has a credential of Custody's");
        let help = "agents bring their own; take the credential out, or `authorization`".to_owned();
        report.fault(&["servers", name, "authorization"], what, "one of them", Some(help));
    }
    if bearer && header {
        report.fault(&["servers", name, "headers"], format!("server `{name}` has two credentials"), "one of them", None);
    }
}

fn upstream(
    name: &str,
    server: raw::Server,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report<'_>,
) -> Option<Upstream> {
    match (server.command, server.url) {
        (Some(_), Some(_)) => {
            let help = "keep `command` for a program, or `url` for an HTTP endpoint".to_owned();
            report.fault(&["servers", name], format!("server `{name}` has both a command and a url"), "one of them, not both", Some(help));
            None
        }
        (None, None) => {
            let help = "add `command = \"…\"` for a program, or `url = \"https://…\"` for an HTTP endpoint".to_owned();
            report.fault(&["servers", name], format!("server `{name}` has neither a command nor a url"), "how is it reached?", Some(help));
            None
        }
        (Some(command), None) => {
            if command.trim().is_empty() {
                report.fault(&["servers", name, "command"], format!("server `{name}` has an empty command"), "empty", None);
            }
            if !server.headers.is_empty() {
                report.fault(&["servers", name, "headers"], "headers are for servers with a url", "never sent", None);
            }
            let env = secrets(server.env, &["servers", name, "env"], env, report);
            Some(Upstream::Stdio { command, args: server.args, env, cwd: server.cwd.map(|dir| base.join(dir)) })
        }
        (None, Some(url)) => {
            for (unused, key) in [(!server.args.is_empty(), "args"), (!server.env.is_empty(), "env"), (server.cwd.is_some(), "cwd")] {
                if unused {
                    report.fault(&["servers", name, key], format!("`{key}` is for servers with a command"), "never used", None);
                }
            }
            let url = expanded(&url, &["servers", name, "url"], env, report)?;
            check_url(&url, &["servers", name, "url"], report);
            let headers = secrets(server.headers, &["servers", name, "headers"], env, report);
            for header in headers.keys().filter(|h| http::HeaderName::from_bytes(h.as_bytes()).is_err()) {
                report.fault(&["servers", name, "headers", header], format!("`{header}` cannot be a header"), "bad name", None);
            }
            Some(Upstream::Http { url, headers })
        }
    }
}

fn secrets(
    values: BTreeMap<String, String>,
    path: &[&str],
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report<'_>,
) -> BTreeMap<String, Secret> {
    let mut secrets = BTreeMap::new();
    for (key, value) in values {
        let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
        if let Some(value) = expanded(&value, &path, env, report) {
            secrets.insert(key, Secret::new(value));
        }
    }
    secrets
}

pub(super) fn expanded(text: &str, path: &[&str], env: &dyn Fn(&str) -> Option<String>, report: &mut Report<'_>) -> Option<String> {
    match expand(text, env) {
        Ok(text) => Some(text),
        Err(variable) => {
            let help = format!("set it, or write `${{{variable}:-default}}`");
            report.fault(path, format!("environment variable `{variable}` is not set"), "needs it", Some(help));
            None
        }
    }
}

/// `http` or `https`, with a host. The address itself is not repeated in the report: it may hold a credential.
pub(super) fn check_url(url: &str, path: &[&str], report: &mut Report<'_>) {
    let good = url
        .parse::<http::Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()));
    if !good {
        report.fault(path, "not an address", "expected http://… or https://…", None);
    }
}

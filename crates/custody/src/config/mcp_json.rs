//! Servers from a generic `.mcp.json`, as other hosts write it.

use super::{Config, ConfigError, Fault, Secret, check, mask, raw};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt, path::Path, path::PathBuf};

#[derive(Deserialize)]
struct File {
    #[serde(rename = "mcpServers")]
    servers: Pairs,
}

/// Unknown keys are other hosts' business and are passed over.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type", alias = "transport")]
    transport: Option<String>,
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Members in order, duplicates kept: a map would let the last one win in silence.
struct Pairs(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of servers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

pub(super) fn parse(text: &str, name: &str, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let file: File = serde_json::from_str(text).map_err(|e| ConfigError::invalid(name, mask::json(text), vec![from_json(text, &e)]))?;
    let mut report = check::Report::json(text);
    let mut raw = BTreeMap::new();
    for (server, entry) in file.servers.0 {
        let path = ["mcpServers", server.as_str()];
        if let Some(transport @ ("ws" | "websocket")) = entry.transport.as_deref() {
            let what = format!("server `{server}` uses the transport `{transport}`, which Custody does not carry");
            report.fault(&path, what, "not supported", Some("`stdio`, `http` for Streamable HTTP, or `sse` for HTTP+SSE".to_owned()));
            continue;
        }
        let Entry { command, args, env, cwd, url, headers, .. } = entry;
        let server_table = raw::Server { command, args, env, cwd, url, headers, ..raw::Server::default() };
        if raw.insert(server.clone(), server_table).is_some() {
            report.fault(
                &path,
                format!("server `{server}` is there twice"),
                "two of them",
                Some("hosts disagree on which one counts".to_owned()),
            );
        }
    }
    check::unique_servers(raw.keys(), &mut report);
    let servers = check::servers(raw, base, env, &mut report);
    let config = Config { servers, text: Secret::new(text), ..Config::default() };
    report.finish(config).map_err(|faults| ConfigError::invalid(name, mask::json(text), faults))
}

fn from_json(text: &str, error: &serde_json::Error) -> Fault {
    let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut offset = (line_start + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let words = mask::message(&error.to_string());
    let what = words.split(" at line ").next().unwrap_or(&words).to_owned();
    Fault::new(text, offset..offset, what, "here", None)
}

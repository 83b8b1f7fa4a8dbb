//! A real OpenID provider (npm `oidc-provider`), started and stopped.

use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

/// A running provider, with clients `agent-rs256`, `agent-ps256`, `agent-es256` `agent-eddsa`, and `fixed-rs256`
/// whose tokens are always for `urn:files`.
pub struct Provider {
    pub issuer: String,
    /// Where the test itself asks it, always without TLS.
    control: String,
    child: Child,
    _stdin: ChildStdin,
    client: reqwest::Client,
}

impl Provider {
    pub fn start() -> Provider {
        Provider::with(&[])
    }

    /// Over TLS, with a certificate and its key.
    pub fn encrypted(cert: &Path, key: &Path) -> Provider {
        Provider::with(&[cert, key])
    }

    fn with(files: &[&Path]) -> Provider {
        let peers = peers();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity/provider.mjs");
        let mut child = Command::new(peers.join("npm/node_modules/.bin/node"))
            .arg(script)
            .arg(peers.join("npm/node_modules"))
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("oidc-provider starts; `cargo xtask peers` installs it");
        let [issuer, control] = ["issuer", "control"].map(|key| ready[key].as_str().unwrap().to_owned());
        let stdin = child.stdin.take().unwrap();
        Provider { issuer, control, child, _stdin: stdin, client: reqwest::Client::new() }
    }

    /// A token for one resource, by the client credentials grant.
    pub async fn token(&self, algorithm: &str, resource: &str) -> String {
        self.token_of(&format!("agent-{algorithm}"), resource).await
    }

    /// The same for one client.
    pub async fn token_of(&self, client: &str, resource: &str) -> String {
        let encoded: String = resource.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let request = self
            .client
            .post(format!("{}/token", self.control))
            .basic_auth(client, Some("not-much-of-a-secret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("grant_type=client_credentials&scope=tools&resource={encoded}"));
        let answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Signs what no provider would issue.
    pub async fn forge(&self, header: Value, claims: Value, how: &str) -> String {
        let claims: serde_json::Map<_, _> =
            claims.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
        let answer = self.ask("forge", json!({"header": header, "claims": claims, "how": how})).await;
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Gives the provider new keys; the old ones are gone.
    pub async fn rotate(&self) {
        self.ask("rotate", json!({})).await;
    }

    /// How often its keys were fetched.
    pub async fn seen(&self) -> u64 {
        self.ask("seen", json!({})).await["jwks"].as_u64().unwrap()
    }

    async fn ask(&self, what: &str, body: Value) -> Value {
        let answer = self.client.post(format!("{}/{what}", self.control)).body(body.to_string()).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder that `cargo xtask peers` fills.
pub fn peers() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = std::env::var_os("CUSTODY_PEERS").map_or_else(|| root.join(".peers"), PathBuf::from);
    assert!(folder.join("stamp").exists(), "the test peers are not installed in {}: run `cargo xtask peers` once", folder.display());
    folder
}

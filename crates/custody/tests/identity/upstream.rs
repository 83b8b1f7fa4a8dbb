//! Servers that want a credential themselves: Custody's own, or the agent's. The server is another Custody, which says whom it saw.

use super::{ROLES, issuer, provider, stage};
use custody_model::Assurance;
use provider::Provider;
use serde_json::json;
use stage::Stage;
use std::process::Command;

/// The official Python client with credentials at the issuer; prints the names of the tools.
async fn python(url: String, provider: &Provider, client: &str) -> Result<String, String> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity/client.py");
    let mut command = Command::new(provider::peers().join("venv/bin/python"));
    command.arg(script).args([&url, &provider.issuer, client]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_finds_its_token_by_itself() {
    let provider = Provider::start();
    let stage = Stage::new(&issuer(&provider, "")).await;
    let tools = python(stage.url(), &provider, "agent-rs256").await.unwrap();
    assert!(tools.contains("read_file"), "{tools}");
    assert_eq!(stage.session_of("idp:agent-rs256").await.assurance, Some(Assurance::Token));
}

#[tokio::test(flavor = "multi_thread")]
async fn custodys_credential_is_used_for_those_who_may_and_theirs_never_goes_on() {
    let provider = Provider::start();
    let server = Stage::new(ROLES).await;
    let credential = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(credential.path(), format!("{}\n", server.key.expose())).unwrap();
    let stage = Stage::before(
        &format!("url = {:?}\nbearer_file = {:?}\nprincipals = [\"agent\", \"idp:*-rs256\"]", server.url(), credential.path()),
        &issuer(&provider, ""),
    )
    .await;
    let call = json!({"path": "reports/q1.txt"});
    for (bearer, status) in [
        (stage.key.expose().to_owned(), 200),
        (provider.token("rs256", &stage.url()).await, 200),
        (provider.token("es256", &stage.url()).await, 403),
    ] {
        assert_eq!(stage.call(&bearer, "read_file", call.clone()).await.0, status);
    }
    // The server saw Custody's credential every time, and nobody else's.
    assert!(server.sessions().await.iter().all(|session| session.principal.as_ref().unwrap().as_str() == "agent"));

    // Nobody can mend Custody's credential by showing another: no 401, no way to some issuer.
    std::fs::write(credential.path(), "cck_wrong").unwrap();
    let deadline = std::time::Instant::now() + super::LONG;
    let refused = loop {
        let answer = stage.post(Some(stage.key.expose()), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
        if answer.status() == 502 {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "the changed file is never read");
    };
    assert!(refused.headers().get("www-authenticate").is_none());
    let text = refused.text().await.unwrap();
    assert!(text.contains("does not accept the credential that Custody has for it") && !text.contains("cck_wrong"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transparent_server_is_authenticated_to_through_custody() {
    let provider = Provider::start();
    let server = Stage::new(&issuer(&provider, "audience = \"urn:files\"")).await;
    let stage = Stage::before(&format!("url = {:?}\nauthorization = \"transparent\"", server.url()), "").await;

    // The server's refusal comes back, and leads to Custody.
    let answer = stage.post(None, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let at = stage.url().replace("/mcp/", "/.well-known/oauth-protected-resource/mcp/");
    assert!(challenge.contains(&format!("resource_metadata=\"{at}\"")), "{challenge}");
    let metadata = stage.client.get(&at).send().await.unwrap().text().await.unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["resource"], stage.url());
    assert_eq!(metadata["authorization_servers"], json!([provider.issuer]));

    // A client that knows nothing but the address gets through, and is nobody here and somebody there.
    let tools = python(stage.url(), &provider, "fixed-rs256").await.unwrap();
    assert!(tools.contains("read_file"), "{tools}");
    let here = stage.session_of(":unverified").await;
    assert_eq!((here.assurance, here.role), (Some(Assurance::Unverified), None));
    assert_eq!(server.session_of("idp:fixed-rs256").await.assurance, Some(Assurance::Token));

    // Whoever shows a client's key is known here too; the key does not go on.
    let token = provider.token_of("fixed-rs256", &stage.url()).await;
    let request = stage.client.post(stage.url()).bearer_auth(&token).header("custody-key", stage.key.expose());
    let request = request.header("content-type", "application/json").header("accept", "application/json, text/event-stream");
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    assert_eq!(request.body(initialize).send().await.unwrap().status(), 200);
    assert_eq!(stage.session_of("agent").await.assurance, Some(Assurance::ClientKey));
    assert_eq!(stage.post(Some(stage.key.expose()), initialize).await.status(), 401, "the key alone says nothing to the server");
    assert_eq!(stage.post(Some("cck_wrong"), initialize).await.status(), 401);

    // What is kept names the token by its digest only.
    let ledger = stage.ledger();
    assert!(ledger.contains("resource_metadata_rewritten"));
    assert!(!ledger.contains(&token));
}

//! Servers of revision 2025-03-26: no metadata of their own, the authorization server at the root of their origin.

use super::stage::Stage;
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What stands at the root of the server's origin.
#[derive(Clone)]
enum Root {
    Metadata(Value),
    Nothing,
    Trouble,
}

/// A server that refuses everybody, and its origin.
async fn old_server() -> (String, Arc<Mutex<Root>>) {
    async fn answer(State(root): State<Arc<Mutex<Root>>>, uri: axum::http::Uri) -> axum::response::Response {
        match (uri.path(), root.lock().unwrap().clone()) {
            ("/v1/mcp", _) => StatusCode::UNAUTHORIZED.into_response(),
            ("/.well-known/oauth-authorization-server", Root::Metadata(metadata)) => axum::Json(metadata).into_response(),
            (_, Root::Trouble) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
    let root = Arc::new(Mutex::new(Root::Nothing));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer).with_state(root.clone())).into_future());
    (origin, root)
}

/// A public document of Custody's.
async fn said(stage: &Stage, path: &str) -> (u16, Value) {
    let at = stage.url().replace("/mcp/practice", path);
    let answer = stage.client.get(at).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp/practice";
const ISSUER: &str = "/.well-known/oauth-authorization-server/mcp/practice";
const ROOT: &str = "/.well-known/oauth-authorization-server";

#[tokio::test(flavor = "multi_thread")]
async fn an_old_servers_authorization_server_is_found_through_custody() {
    let (origin, root) = old_server().await;
    let transparent = format!("url = \"{origin}/v1/mcp\"\nauthorization = \"transparent\"");
    let stage = Stage::before(&transparent, "").await;
    let custody = stage.url().replace("/mcp/practice", "");
    // It has not asked for anything yet.
    for path in [RESOURCE, ISSUER, ROOT] {
        assert_eq!(said(&stage, path).await.0, 404, "{path}");
    }
    assert_eq!(stage.post(None, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.status(), 401);

    // It says nothing of its authorization server: the addresses are those of the revision, at its own origin.
    let (status, resource) = said(&stage, RESOURCE).await;
    assert_eq!((status, &resource), (200, &json!({"resource": stage.url(), "authorization_servers": [stage.url()]})));
    for (path, issuer) in [(ISSUER, stage.url()), (ROOT, custody.clone())] {
        let (status, metadata) = said(&stage, path).await;
        assert_eq!((status, metadata["issuer"].as_str()), (200, Some(&*issuer)), "{path}");
        assert_eq!(metadata["authorization_endpoint"], format!("{origin}/authorize"));
        assert_eq!(metadata["token_endpoint"], format!("{origin}/token"));
        assert_eq!(metadata["registration_endpoint"], format!("{origin}/register"));
    }

    // It says where: that stays, under its own name where that can be, under Custody's at the root.
    let metadata =
        json!({"issuer": origin, "authorization_endpoint": format!("{origin}/a"), "token_endpoint": "https://x.example/t", "more": [1]});
    *root.lock().unwrap() = Root::Metadata(metadata.clone());
    assert_eq!(said(&stage, RESOURCE).await.1["authorization_servers"], json!([origin]));
    assert_eq!(said(&stage, ISSUER).await.0, 404, "the authorization server has a name of its own");
    let (_, at_root) = said(&stage, ROOT).await;
    assert_eq!(at_root["issuer"], custody);
    assert_eq!((&at_root["authorization_endpoint"], &at_root["more"]), (&metadata["authorization_endpoint"], &metadata["more"]));
    assert!(stage.ledger().contains("resource_metadata_rewritten"));

    // Of a server in trouble nobody knows what it has.
    *root.lock().unwrap() = Root::Trouble;
    for path in [RESOURCE, ISSUER, ROOT] {
        assert_eq!(said(&stage, path).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_of_an_origin_speaks_for_one_server_or_for_none() {
    let (origin, _) = old_server().await;
    let transparent = format!("url = \"{origin}/v1/mcp\"\nauthorization = \"transparent\"");
    let stage = Stage::before(&transparent, "[servers.other]\ncommand = \"cat\"\n").await;
    assert_eq!(stage.post(None, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.status(), 401);
    assert_eq!(said(&stage, RESOURCE).await.0, 200);
    assert_eq!(said(&stage, ROOT).await.0, 404, "the agent may have meant the other");
    for path in
        ["/.well-known/oauth-authorization-server/mcp/other", "/.well-known/oauth-authorization-server/other", "/authorize", "/token"]
    {
        assert!([401, 404].contains(&said(&stage, path).await.0), "{path}");
    }
}

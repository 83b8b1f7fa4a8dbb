//! Who an agent is, proven by a token of a real OpenID provider (issue 4 item 5).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "identity/encrypted.rs"]
mod encrypted;
#[path = "identity/oldest.rs"]
mod oldest;
#[path = "identity/provider.rs"]
mod provider;
#[path = "identity/stage.rs"]
mod stage;
#[path = "identity/upstream.rs"]
mod upstream;

use custody_model::Assurance;
use provider::Provider;
use serde_json::{Value, json};
use stage::Stage;
use std::time::{Duration, Instant};

/// Longer than any of these things takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

const ROLES: &str = r#"
[roles.analyst]
allow = ["practice/read_file", "practice/list_files"]
[roles.analyst.tasks.summarize]
allow = ["practice/read_file"]
[clients.agent]
role = "analyst"
"#;

fn issuer(provider: &Provider, more: &str) -> String {
    format!("{ROLES}\n[issuers.idp]\nissuer = {:?}\nrole_claim = \"roles\"\n{more}\n", provider.issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_issuer_names_the_agent_with_role_and_task() {
    let provider = Provider::start();
    let stage = Stage::new(&issuer(&provider, "task_claim = \"nested.job\"")).await;
    for algorithm in ["rs256", "ps256", "es256", "eddsa"] {
        let token = provider.token(algorithm, &stage.url()).await;
        let (status, answer) = stage.call(&token, "read_file", json!({"path": "reports/q1.txt"})).await;
        assert_eq!(status, 200, "{algorithm}: {answer}");
        assert!(answer.to_string().contains("Revenue grew."), "{algorithm}: {answer}");
        // Not in the task, though in the role.
        let (_, denied) = stage.call(&token, "list_files", json!({})).await;
        assert_eq!(denied["error"]["code"], 4030, "{algorithm}: {denied}");
    }
    for algorithm in ["rs256", "ps256", "es256", "eddsa"] {
        let session = stage.session_of(&format!("idp:agent-{algorithm}")).await;
        assert_eq!(session.assurance, Some(Assurance::Token));
        assert_eq!(session.role.unwrap().as_str(), "analyst");
        assert_eq!(session.task.unwrap().as_str(), "summarize");
    }
    // The key of an adopted client is good beside it.
    let (status, _) = stage.call(stage.key.expose(), "read_file", json!({"path": "reports/q1.txt"})).await;
    assert_eq!(status, 200);
    assert_eq!(stage.session_of("agent").await.assurance, Some(Assurance::ClientKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proves_nothing_is_refused() {
    let (provider, other) = (Provider::start(), Provider::start());
    let stage = Stage::new(&issuer(&provider, "skew_seconds = 30")).await;
    let good = provider.token("rs256", &stage.url()).await;
    assert_eq!(stage.call(&good, "read_file", json!({"path": "reports/q1.txt"})).await.0, 200);

    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": provider.issuer, "aud": stage.url(), "sub": "agent-rs256", "exp": now + 600, "roles": ["analyst"]});
    let header = json!({"alg": "RS256", "kid": "RS256-1", "typ": "at+jwt"});
    let with = |change: Value| merged(&claims, change);
    let headed = |change: Value| merged(&header, change);
    let forge = |header: Value, claims: Value, how: &'static str| provider.forge(header, claims, how);

    // What is signed by hand is accepted too, so nothing below is refused for being forged badly.
    for (header, claims) in [
        (header.clone(), claims.clone()),
        (json!({"alg": "RS256"}), with(json!({"aud": ["x", stage.url()]}))),
        (header.clone(), with(json!({"exp": now - 10, "nbf": now + 10}))),
        (headed(json!({"typ": "application/at+JWT"})), claims.clone()),
    ] {
        let token = forge(header.clone(), claims.clone(), "own").await;
        assert_eq!(stage.call(&token, "read_file", json!({"path": "reports/q1.txt"})).await.0, 200, "{header} {claims}");
    }

    let (head, tail) = good.rsplit_once('.').unwrap();
    let turned = if &tail[100..101] == "A" { "B" } else { "A" };
    let middle = good.split('.').nth(1).unwrap();
    // 342 characters are 256 bytes, 340 are 255.
    let cut = &good[..good.len() - 2];
    let foreign = other.token("rs256", &stage.url()).await;
    let elsewhere = provider.token("rs256", "http://127.0.0.1:1/mcp/practice").await;
    let own = "own";
    let refused = [
        ("expired", forge(header.clone(), with(json!({"exp": now - 60})), own).await),
        ("not valid yet", forge(header.clone(), with(json!({"nbf": now + 300})), own).await),
        ("meant for another audience", elsewhere),
        ("meant for another audience", forge(header.clone(), with(json!({"aud": [stage.url().replace("practice", "other")]})), own).await),
        ("without a usable claim `aud`", forge(header.clone(), with(json!({"aud": null})), own).await),
        ("without a usable claim `exp`", forge(header.clone(), with(json!({"exp": null})), own).await),
        ("without a usable claim `exp`", forge(header.clone(), with(json!({"exp": "tomorrow"})), own).await),
        ("without a usable claim `nbf`", forge(header.clone(), with(json!({"nbf": "now"})), own).await),
        ("without a usable claim `sub`", forge(header.clone(), with(json!({"sub": null})), own).await),
        ("without a usable claim `sub`", forge(header.clone(), with(json!({"sub": "a\"b"})), own).await),
        ("without a usable claim `sub`", forge(header.clone(), with(json!({"sub": "a".repeat(201)})), own).await),
        ("not from an issuer that is trusted here", foreign),
        (
            "not from an issuer that is trusted here",
            forge(header.clone(), with(json!({"iss": format!("{}/", provider.issuer)})), own).await,
        ),
        ("not a signed token", forge(header.clone(), with(json!({"iss": [provider.issuer]})), own).await),
        ("the signature does not fit", forge(header.clone(), claims.clone(), "other").await),
        ("the signature does not fit", forge(json!({"alg": "RS256"}), claims.clone(), "other").await),
        ("signed with a key that the issuer does not show", forge(headed(json!({"kid": "RS256-9"})), claims.clone(), own).await),
        ("signed with a key that the issuer does not show", forge(headed(json!({"kid": "PS256-1"})), claims.clone(), own).await),
        ("signed with an algorithm that is not allowed", forge(headed(json!({"alg": "none"})), claims.clone(), "none").await),
        ("signed with an algorithm that is not allowed", forge(headed(json!({"alg": "HS256"})), claims.clone(), "hmac-pem").await),
        ("signed with an algorithm that is not allowed", forge(headed(json!({"alg": "HS256"})), claims.clone(), "hmac-modulus").await),
        ("signed with an algorithm that is not allowed", forge(headed(json!({"alg": "RS384"})), claims.clone(), own).await),
        ("the signature does not fit", forge(header.clone(), claims.clone(), "hmac-pem").await),
        ("a token of another kind", forge(headed(json!({"typ": "logout+jwt"})), claims.clone(), own).await),
        ("a token of another kind", forge(headed(json!({"crit": ["exp"]})), claims.clone(), own).await),
        ("bound to a key that is not checked here", forge(header.clone(), with(json!({"cnf": {"jkt": "x"}})), own).await),
        ("the signature does not fit", format!("{head}.{}{turned}{}", &tail[..100], &tail[101..])),
        ("the signature does not fit", good.replace(middle, &encoded(&with(json!({"sub": "agent-admin"}))))),
        ("the signature does not fit", cut.to_owned()),
        ("not a signed token", head.to_owned()),
        ("not a signed token", format!("{good}.x")),
        ("not a signed token", "x".repeat(20_000)),
        ("not a signed token", "..".to_owned()),
    ];
    for (why, token) in refused {
        let answer = stage.post(Some(&token), "{}").await;
        assert_eq!(answer.status(), 401, "{why}: {token}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{why}: {challenge}");
        assert!(challenge.contains(&format!("error_description=\"{why}\"")), "{why}: {challenge}\n{token}");
        assert!(!answer.text().await.unwrap().contains(&token), "{why}");
    }
    // Two credentials at once are none.
    let twice = stage.client.post(stage.url()).bearer_auth(&good).bearer_auth(stage.key.expose()).body("{}").send().await.unwrap();
    assert_eq!(twice.status(), 401);
    // No session came of any of it.
    assert!(stage.sessions().await.iter().all(|session| session.principal.as_ref().unwrap().as_str() == "idp:agent-rs256"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_followed_while_running_and_unknown_ones_do_not_flood_the_issuer() {
    let provider = Provider::start();
    let stage = Stage::new(&issuer(&provider, "")).await;
    let old = provider.token("es256", &stage.url()).await;
    assert_eq!(stage.call(&old, "read_file", json!({"path": "reports/q1.txt"})).await.0, 200);
    provider.rotate().await;
    let new = provider.token("es256", &stage.url()).await;
    let deadline = Instant::now() + LONG;
    while stage.call(&new, "read_file", json!({"path": "reports/q1.txt"})).await.0 != 200 {
        assert!(Instant::now() < deadline, "the new key is never seen");
    }
    // With the new set the old key is gone, though its token was verified and remembered before.
    assert_eq!(stage.call(&old, "read_file", json!({"path": "reports/q1.txt"})).await.0, 401);

    let before = provider.seen().await;
    let began = Instant::now();
    let claims = json!({"iss": provider.issuer, "aud": stage.url(), "sub": "x", "exp": jiff::Timestamp::now().as_second() + 600});
    for number in 0..60 {
        let token = provider.forge(json!({"alg": "RS256", "kid": format!("no-{number}")}), claims.clone(), "own").await;
        assert_eq!(stage.post(Some(&token), "{}").await.status(), 401);
    }
    let most = 2 + began.elapsed().as_secs() / 10;
    let asked = provider.seen().await - before;
    assert!(asked <= most, "asked {asked} times in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_a_refusal_to_a_token_is_published() {
    let provider = Provider::start();
    let stage = Stage::new(&issuer(&provider, "")).await;
    let answer = stage.post(None, "{}").await;
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let at = challenge.split("resource_metadata=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(at, stage.url().replace("/mcp/", "/.well-known/oauth-protected-resource/mcp/"));
    assert!(!challenge.contains("error="), "nothing was shown, so nothing is wrong with it: {challenge}");

    let metadata: Value = serde_json::from_str(&stage.client.get(&at).send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(metadata["resource"], stage.url());
    assert_eq!(metadata["authorization_servers"], json!([provider.issuer]));
    let token = provider.token("rs256", metadata["resource"].as_str().unwrap()).await;
    assert_eq!(stage.call(&token, "read_file", json!({"path": "reports/q1.txt"})).await.0, 200);

    for (method, path, status) in [("GET", at.replace("practice", "nothing"), 404), ("POST", at.clone(), 404)] {
        let answer = stage.client.request(method.parse().unwrap(), path).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    let foreign = stage.client.get(&at).header("host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_issuers_keys_nobody_is_believed() {
    let stage = Stage::new(&format!("{ROLES}\n[issuers.gone]\nissuer = \"http://127.0.0.1:9\"\n")).await;
    let provider = Provider::start();
    let claims = json!({"iss": "http://127.0.0.1:9", "aud": stage.url(), "sub": "x", "exp": jiff::Timestamp::now().as_second() + 600});
    let token = provider.forge(json!({"alg": "RS256"}), claims, "own").await;
    assert_eq!(stage.post(Some(&token), "{}").await.status(), 503);
    let (status, _) = stage.call(stage.key.expose(), "read_file", json!({"path": "reports/q1.txt"})).await;
    assert_eq!(status, 200, "adopted clients do not need the issuer");
}

fn merged(base: &Value, change: Value) -> Value {
    let mut base = base.clone();
    for (key, value) in change.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

fn encoded(value: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(value.to_string())
}

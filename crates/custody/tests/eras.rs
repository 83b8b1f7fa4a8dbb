//! What single revisions ask, for a server behind HTTP: batches (2025-03-26), arguments in headers (2026-07-28).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stage;

use custody_model::{Direction, Outcome};
use serde_json::{Value, json};
use stage::Stage;

/// The agent may call `read` and nothing else.
const ROLE: &str = "[clients.agent]\nrole = \"reader\"\n[roles.reader]\nallow = [\"web/read\"]\n";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn call(id: u32, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0", "id":{id}, "method":"tools/call", "params":{{"name":"{tool}","arguments":{{"n":{id}0000000000000000000}}}}}}"#
    )
}

fn result(id: u32) -> String {
    format!(r#"{{"id":{id} ,"jsonrpc":"2.0","result":{{"content":[]}}}}"#)
}

async fn enforced() -> Stage {
    Stage::guarded("mode = \"enforce\"", "[\"alert\"]", ROLE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_judged_message_by_message_and_passes_as_it_is() {
    let stage = enforced().await;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let batch = format!("\r\n[ {} ,\t{notification},\n{}]\n", call(1, "read"), call(2, "read"));
    // In any order.
    let answer = format!("[{},\n {} ]", result(2), result(1));
    stage.server.answers(JSON, answer.clone());
    let got = stage.post("/mcp/web", batch.clone()).send().await.unwrap();
    assert_eq!((got.status().as_u16(), got.text().await.unwrap()), (200, answer));
    assert_eq!(stage.server.read().1, batch, "to the server");
    let messages = stage.messages().await;
    let shown: Vec<_> = messages
        .iter()
        .map(|(message, body)| (message.direction, message.answers.map(|leaf| leaf.0), String::from_utf8(body.clone().unwrap()).unwrap()))
        .collect();
    let asked = |body: &str| (Direction::ToServer, None, body.to_owned());
    assert_eq!(shown[..3], [asked(&call(1, "read")), asked(notification), asked(&call(2, "read"))]);
    // Each answer belongs to what it answers.
    let leaf = |body: &str| shown.iter().find(|(.., said)| said == body).and_then(|(_, leaf, _)| *leaf);
    let (first, second) = (leaf(&result(1)).unwrap(), leaf(&result(2)).unwrap());
    assert!(first < second);
    assert!(messages.iter().all(|(message, _)| message.outcome == Outcome::Allowed && message.spliced.is_empty()));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_only_what_is_denied_stays_behind() {
    let stage = enforced().await;
    let batch = format!("[{} , {},{}]", call(1, "read"), call(2, "wipe"), call(3, "read"));
    let by_id = |answers: &Value| {
        let mut answers: Vec<_> =
            answers.as_array().unwrap().iter().map(|one| (one["id"].as_u64().unwrap(), one["error"]["code"].as_i64())).collect();
        answers.sort();
        answers
    };
    let expected = vec![(1, None), (2, Some(4030)), (3, None)];
    stage.server.answers(JSON, format!("[{},{}]", result(1), result(3)));
    let got = stage.post("/mcp/web", batch.clone()).send().await.unwrap();
    assert_eq!(got.status(), 200);
    let text = got.text().await.unwrap();
    assert!(text.contains(&result(1)) && text.contains(&result(3)), "as they came: {text}");
    assert_eq!(by_id(&serde_json::from_str(&text).unwrap()), expected);
    assert_eq!(stage.server.read().1, format!("[{},{}]", call(1, "read"), call(3, "read")));

    // As a stream of events, some of them arrays.
    stage.server.answers(&[("content-type", "text/event-stream")], format!("id: 7\ndata: [{}]\n\ndata: {}\n\n", result(3), result(1)));
    let text = stage.post("/mcp/web", batch).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(&format!("id: 7\ndata: [{}]\n\n", result(3))), "{text}");
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let all: Vec<Value> =
        events.into_iter().flat_map(|event| if event.is_array() { event.as_array().unwrap().clone() } else { vec![event] }).collect();
    assert_eq!(by_id(&Value::Array(all)), expected);

    // Nothing of it may go on: the server hears nothing.
    let before = stage.server.count();
    let got = stage.post("/mcp/web", format!("[{},{}]", call(1, "wipe"), call(2, "wipe"))).send().await.unwrap();
    let answers: Value = serde_json::from_slice(&got.bytes().await.unwrap()).unwrap();
    assert_eq!(by_id(&answers), [(1, Some(4030)), (2, Some(4030))]);
    assert_eq!(stage.server.count(), before);

    // The agents of a server that only takes in: the denials are all there is to read.
    stage.server.answers(&[], "");
    let got = stage.post("/mcp/web", format!("[{{\"jsonrpc\":\"2.0\",\"method\":\"x/y\"}},{}]", call(2, "wipe"))).send().await.unwrap();
    let answers: Value = serde_json::from_slice(&got.bytes().await.unwrap()).unwrap();
    assert_eq!(by_id(&answers), [(2, Some(4030))]);
    stage.close().await;
}

/// Promise 4, inside of one batch: what was permitted before the offence does not go either.
#[tokio::test(flavor = "multi_thread")]
async fn a_p1_in_a_batch_stops_what_stood_before_it() {
    let stage = Stage::guarded("mode = \"enforce\"", "[\"freeze\", \"snapshot\", \"alert\"]", ROLE).await;
    stage.server.answers(JSON, "[]");
    let batch = format!("[{},{},{}]", call(1, "read"), call(2, "wipe"), call(3, "read"));
    let got = stage.post("/mcp/web", batch).send().await.unwrap();
    let text = got.text().await.unwrap();
    let answers: Value = serde_json::from_str(&text).unwrap();
    let mut ids: Vec<_> = answers.as_array().unwrap().iter().map(|one| (one["id"].as_u64().unwrap(), one["error"].is_object())).collect();
    ids.sort();
    assert_eq!(ids, [(1, true), (2, true), (3, true)], "{text}");
    assert_eq!(stage.server.count(), 0, "nothing of it reached the server");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_apart_goes_whole_or_not_at_all() {
    let stage = enforced().await;
    stage.server.answers(JSON, "[]");
    // A revision without batches: the server's to refuse, and one denial is all of it.
    let batch = format!("[{},{}]", call(1, "read"), call(2, "wipe"));
    let got = stage.post("/mcp/web", batch.clone()).header("mcp-protocol-version", "2025-06-18").send().await.unwrap();
    let answers: Value = serde_json::from_slice(&got.bytes().await.unwrap()).unwrap();
    assert_eq!(answers.as_array().unwrap().len(), 2, "{answers}");
    // Something in it is no message.
    let got = stage.post("/mcp/web", format!("[{},5]", call(1, "read"))).send().await.unwrap();
    let answers: Value = serde_json::from_slice(&got.bytes().await.unwrap()).unwrap();
    assert!(answers.to_string().contains("4030"), "{answers}");
    assert_eq!(stage.server.count(), 0);
    let allowed = format!("[{}]", call(1, "read"));
    stage.post("/mcp/web", allowed.clone()).header("mcp-protocol-version", "2025-06-18").send().await.unwrap();
    assert_eq!(stage.server.read().1, allowed);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_server_that_is_gone_each_message_that_waits_hears() {
    // Nobody listens there once the listener is dropped.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let role = ROLE.replace("web/read", "gone/read");
    let stage = Stage::new(&format!("[servers.gone]\nurl = \"http://{gone}/mcp\"\nmode = \"enforce\"\n{role}")).await;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let batch = format!("[{},{notification},{},{}]", call(1, "read"), call(2, "read"), call(3, "wipe"));
    let got = stage.post("/mcp/gone", batch).send().await.unwrap();
    assert_eq!(got.status(), 502);
    let answers: Value = serde_json::from_slice(&got.bytes().await.unwrap()).unwrap();
    let mut codes: Vec<_> = answers.as_array().unwrap().iter().map(|one| (one["id"].as_u64(), one["error"]["code"].as_i64())).collect();
    codes.sort();
    assert_eq!(codes, [(Some(1), Some(5020)), (Some(2), Some(5020)), (Some(3), Some(4030))]);
    stage.close().await;
}

const MODERN: &str = "2026-07-28";

fn modern(method: &str, params: Value) -> String {
    let mut params = params;
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": MODERN});
    json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_in_a_header_must_be_the_one_in_the_body() {
    for form in ["application/json", "text/event-stream"] {
        let stage = Stage::new("").await;
        let schema = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
        let listing = json!({"jsonrpc": "2.0", "id": 5, "result": {"tools": [{"name": "read", "inputSchema": schema}]}}).to_string();
        let answer = json!({"jsonrpc": "2.0", "id": 5, "result": {"content": []}}).to_string();
        let said = |body: &str| if form == "application/json" { body.to_owned() } else { format!("data: {body}\n\n") };
        let ask = async |body: String, method: &str, name: Option<&str>, region: Option<&str>| {
            let mut request = stage.post("/mcp/web", body).header("mcp-protocol-version", MODERN).header("mcp-method", method);
            for (header, value) in [("mcp-name", name), ("mcp-param-region", region)] {
                if let Some(value) = value {
                    request = request.header(header, value);
                }
            }
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let call = || modern("tools/call", json!({"name": "read", "arguments": {"region": "eu"}}));
        // Nobody knows yet.
        stage.server.answers(&[("content-type", form)], said(&answer));
        assert_eq!(ask(call(), "tools/call", Some("read"), Some("us")).await.0, 200);
        stage.server.answers(&[("content-type", form)], said(&listing));
        assert_eq!(ask(modern("tools/list", json!({})), "tools/list", None, None).await.0, 200);
        stage.server.answers(&[("content-type", form)], said(&answer));
        let reached = stage.server.count();
        for region in [Some("us"), None, Some("=?base64?ZXU?=")] {
            let (status, text) = ask(call(), "tools/call", Some("read"), region).await;
            let error: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((status, &error["error"]["code"], &error["id"]), (400, &json!(-32020), &json!(5)), "{region:?}: {text}");
        }
        assert_eq!(stage.server.count(), reached, "the server hears nothing of it");
        for region in ["eu", "=?base64?ZXU=?="] {
            assert_eq!(ask(call(), "tools/call", Some("read"), Some(region)).await.0, 200);
        }
        assert_eq!(stage.server.count(), reached + 2);
        stage.close().await;
    }
}

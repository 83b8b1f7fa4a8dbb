//! What passes is what was sent (promise 6), also coded, over every way that bytes take: HTTP to HTTP, HTTP+SSE to stdio, the shim.

#![allow(clippy::unwrap_used)]

mod stage;

use custody_model::{Direction, Splice};
use flate2::{Compression, write::GzEncoder};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRng, TestRunner},
};
use serde_json::Value;
use stage::Stage;
use std::{io::Write as _, process::Stdio};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// Real frames of the official servers and clients, both eras, one per line.
const CORPUS: &str = include_str!("corpus/frames.jsonl");
/// Random frames for each way.
const FRAMES: u32 = 150;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":7,"method":"x/unknown","params":{"a":1}}"#;
const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":7,"result":{"b":2}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_coded_passes_as_it_was_sent_and_is_recorded_decoded() {
    let stage = Stage::new("").await;
    let (call, answer) = (gzip(CALL), zstd::encode_all(ANSWER, 3).unwrap());
    stage.server.answers(&[("content-type", "application/json"), ("content-encoding", "zstd")], answer.clone());
    let request = stage.post("/mcp/web", call.clone()).header("content-encoding", "gzip").header("accept-encoding", "zstd, exotic");
    let got = request.send().await.unwrap();
    assert_eq!(got.headers()["content-encoding"], "zstd");
    assert_eq!(got.bytes().await.unwrap(), answer);
    let (headers, body) = stage.server.read();
    assert_eq!((headers["content-encoding"].to_str().unwrap(), headers["accept-encoding"].to_str().unwrap()), ("gzip", "zstd"));
    assert_eq!(body, call);
    let messages = stage.messages().await;
    let bodies: Vec<_> =
        messages.iter().map(|(message, body)| (message.direction, message.spliced.clone(), body.as_deref().unwrap())).collect();
    assert_eq!(bodies, [(Direction::ToServer, vec![Splice::Coding], CALL), (Direction::ToAgent, vec![Splice::Coding], ANSWER)]);

    // A coded stream is read event by event, and goes out plain.
    let events = [b"id: 1\ndata: ".as_slice(), ANSWER, b"\n\n"].concat();
    stage.server.answers(&[("content-type", "text/event-stream"), ("content-encoding", "gzip")], gzip(&events));
    let got = stage.post("/mcp/web", CALL).send().await.unwrap();
    assert!(!got.headers().contains_key("content-encoding"));
    assert_eq!(got.bytes().await.unwrap(), events);

    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_decoded_reaches_nobody() {
    let stage = Stage::new("[limits]\nframe_bytes = 100000\n").await;
    let bomb = gzip(&vec![b' '; 10 << 20]);
    let twice = [gzip(CALL), gzip(CALL)].concat();
    let coded_twice = gzip(&gzip(CALL));
    for (coding, body, status) in [
        ("gzip", bomb.clone(), 413),
        ("gzip", twice, 400),
        ("gzip", gzip(CALL)[..20].to_vec(), 400),
        ("br", CALL.to_vec(), 400),
        ("gzip, gzip", coded_twice, 415),
        ("compress", CALL.to_vec(), 415),
    ] {
        let answer = stage.post("/mcp/web", body).header("content-encoding", coding).send().await.unwrap();
        assert_eq!(answer.status(), status, "{coding}");
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    assert_eq!(stage.server.count(), 0);
    for (coding, body) in [("gzip", bomb), ("gzip", b"plain".to_vec()), ("exotic", ANSWER.to_vec())] {
        stage.server.answers(&[("content-type", "application/json"), ("content-encoding", coding)], body);
        let answer = stage.post("/mcp/web", CALL).send().await.unwrap();
        assert_eq!(answer.status(), 502);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!((answer["id"].as_i64(), answer["error"]["code"].as_i64()), (Some(7), Some(5020)), "{answer}");
    }
    stage.close().await;
}

/// White space, as JSON has it but for line breaks.
fn blank() -> impl Strategy<Value = String> {
    "[ \t]{0,3}"
}

/// Values that a re-serialising gateway would change.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[1-9][0-9]{29}",
        Just("1.0".to_owned()),
        Just("1E+02".to_owned()),
        Just("-0".to_owned()),
        Just("0.10000000000000000000000001".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just(r#""\u0041\/\u00e9é\ud83d\ude00😀""#.to_owned()),
        "\"[ -!#-\\[\\]-~]{0,12}\"",
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), blank())
                .prop_map(|(items, blank)| format!("[{blank}{}]", items.join(&format!("{blank},")))),
            (prop::collection::vec(inner, 0..4), blank()).prop_map(|(items, blank)| {
                let members: Vec<_> = items.iter().enumerate().map(|(n, item)| format!("\"k{n}\"{blank}:{item}")).collect();
                format!("{{{}}}", members.join(&format!(" ,{blank}")))
            }),
        ]
    })
}

/// A notification of an unknown method, with unknown fields in odd places.
fn notification() -> impl Strategy<Value = String> {
    let field = ("[a-z]{1,8}", value());
    (blank(), "x/[a-zA-Z/$.]{1,20}", prop::collection::vec(field, 0..4), value(), any::<bool>()).prop_map(
        |(blank, method, fields, more, first)| {
            let extra: Vec<_> = fields.iter().enumerate().map(|(n, (key, value))| format!("\"x{n}{key}\"{blank}:{blank}{value}")).collect();
            let extra = extra.join(",");
            let comma = if extra.is_empty() { "" } else { "," };
            let known = format!("\"method\":{blank}\"{method}\"{blank},\"params\":{{\"more\":{more}}},\"jsonrpc\" : \"2.0\"");
            if first { format!("{blank}{{{extra}{comma}{known}}}{blank}") } else { format!("{{{blank}{known}{comma}{extra}{blank}}}") }
        },
    )
}

/// Random frames, the same at each run.
fn frames() -> Vec<String> {
    let rng = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let random = (0..FRAMES).map(|_| notification().new_tree(&mut runner).unwrap().current());
    random.collect()
}

/// The corpus.
fn corpus() -> impl Iterator<Item = &'static str> {
    CORPUS.lines()
}

/// Whether what a frame answers is known to be a listing: those are judged, and may be cut.
fn is_listing(frame: &str) -> bool {
    let frame: Value = serde_json::from_str(frame).unwrap();
    ["tools", "prompts", "resources", "resourceTemplates", "serverInfo"].iter().any(|key| frame["result"].get(key).is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_each_byte_of_a_frame_passes_both_ways() {
    let stage = Stage::new("").await;
    let requests = frames().into_iter().chain(corpus().filter(|frame| frame.contains("\"method\"")).map(str::to_owned));
    let answers: Vec<_> = corpus().filter(|frame| frame.contains("\"result\"") && !is_listing(frame)).collect();
    assert!(answers.len() > 5);
    for (nth, request) in requests.enumerate() {
        // Line breaks are white space over HTTP, and stay.
        let request = if nth % 2 == 0 { format!("\r\n{request}\n") } else { request };
        let answer = answers[nth % answers.len()];
        stage.server.answers(&[("content-type", "application/json")], answer);
        let got = stage.post("/mcp/web", request.clone()).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(stage.server.read().1, request, "to the server");
        assert_eq!(got, answer, "to the agent");
    }
    let messages = stage.messages().await;
    assert!(messages.iter().all(|(message, _)| message.spliced.is_empty() && message.forwarded.is_none()), "and nothing was spliced");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_sse_and_pipes_each_byte_of_a_frame_passes_both_ways() {
    let stage = Stage::new("").await;
    let stream = stage.client.get(stage.url("/mcp/echo")).bearer_auth(stage.key.expose()).header("accept", "text/event-stream");
    let mut stream = stream.send().await.unwrap();
    let mut said = Vec::new();
    let mut event = async || loop {
        if let Some(end) = said.windows(2).position(|two| two == b"\n\n") {
            let rest = said.split_off(end + 2);
            let event = String::from_utf8(std::mem::replace(&mut said, rest)).unwrap();
            return event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned();
        }
        said.extend_from_slice(&stream.chunk().await.unwrap().expect("the stream goes on"));
    };
    let path = event().await;
    for (nth, frame) in frames().into_iter().enumerate() {
        let sent = if nth % 3 == 0 { format!("\n{frame}\r\n") } else { frame };
        let answer = stage.post(&path, sent.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(event().await, sent.replace(['\r', '\n'], " "), "the server is `cat`");
    }
    drop(stream);
    let messages = stage.messages().await;
    let allowed = |splices: &[Splice]| splices.iter().all(|splice| *splice == Splice::Newline);
    assert!(messages.iter().all(|(message, _)| allowed(&message.spliced)));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_shim_each_byte_of_a_frame_passes_both_ways() {
    let home = custody_home();
    let key = custody::trust::Clients::mint(&home.root.join("clients.json"), "agent".into(), None, jiff::Timestamp::now()).unwrap();
    let daemon = home.up();
    let mut shim = tokio::process::Command::new(env!("CARGO_BIN_EXE_custody"))
        .arg("--home")
        .arg(&home.root)
        .args(["stdio", "echo"])
        .env("CUSTODY_KEY", key.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shim.stdin.take().unwrap();
    let mut output = BufReader::new(shim.stdout.take().unwrap());
    let mut line = Vec::new();
    for frame in frames().into_iter().chain(corpus().filter(|frame| !frame.contains("\"result\"")).map(str::to_owned)) {
        input.write_all(format!("{frame}\n").as_bytes()).await.unwrap();
        line.clear();
        output.read_until(b'\n', &mut line).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&line), format!("{frame}\n"), "the server is `cat`");
    }
    drop(input);
    shim.wait().await.unwrap();
    assert_eq!(daemon.stop(), 0);
    assert!(home.run(&["verify"]).status.success());
}

#[path = "daemon/mod.rs"]
mod daemon;

fn custody_home() -> daemon::Home {
    let home = daemon::initialised();
    let text = std::fs::read_to_string(home.config()).unwrap().replace(r#"["freeze", "snapshot", "alert"]"#, r#"["alert"]"#);
    std::fs::write(home.config(), format!("{text}\n[servers.echo]\ncommand = \"cat\"\n")).unwrap();
    home
}

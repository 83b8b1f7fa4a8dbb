use super::*;
use custody_model::{DenyReason, Shape, Splice};
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn read(text: &str) -> Frame {
    read_frame(text.as_bytes(), &Limits::default())
}

fn faults(bytes: impl AsRef<[u8]>) -> Vec<String> {
    read_frame(bytes.as_ref(), &Limits::default()).faults.iter().map(ToString::to_string).collect()
}

fn part(text: &str, span: Option<Span>) -> &str {
    std::str::from_utf8(span.unwrap().of(text.as_bytes())).unwrap()
}

#[test]
fn a_call_of_the_newest_revision() {
    let text = r#" {"jsonrpc":"2.0","id":"a1","method":"tools/call","params":{"name":"send\u005fdata","arguments":{"to":[1,{"x":null}]},
        "_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28","traceparent":"00-ab-cd-01",
        "io.modelcontextprotocol/clientInfo":{"name":"c"}},"requestState":"s"}} "#;
    let frame = read(text);
    assert_eq!(frame.faults, []);
    assert_eq!(frame.shape, Shape::Request);
    assert_eq!(frame.target(), Some("send_data"));
    assert_eq!(part(text, frame.id), r#""a1""#);
    assert_eq!(part(text, frame.arguments), r#"{"to":[1,{"x":null}]}"#);
    assert_eq!(part(text, frame.progress_token), "7");
    assert_eq!(part(text, frame.client_info), r#"{"name":"c"}"#);
    assert_eq!(part(text, frame.request_state), r#""s""#);
    assert_eq!(frame.version(), Some("2026-07-28"));
    assert_eq!(frame.traceparent.as_deref(), Some("00-ab-cd-01"));
    assert_eq!(text.as_bytes()[frame.check_line().unwrap().flaw().at], b'\n');
}

#[test]
fn messages_of_all_shapes() {
    let shape = |text: &str| (read(text).shape, read(text).faults.len());
    assert_eq!(shape(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), (Shape::Request, 0));
    assert_eq!(shape(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), (Shape::Notification, 0));
    assert_eq!(shape(r#"{"jsonrpc":"2.0","id":"x","result":{}}"#), (Shape::Result, 0));
    assert_eq!(shape(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#), (Shape::Error, 0));
    assert_eq!(shape(r#"{"jsonrpc":"2.0","error":{}}"#), (Shape::Error, 0));
    assert_eq!(shape(r#"{"jsonrpc":"2.0","method":"x","params":null}"#), (Shape::Notification, 0));
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#;
    assert_eq!(part(cancelled, read(cancelled).cancelled), "4");
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","_meta":{"progressToken":1}}}"#;
    assert_eq!(part(progress, read(progress).progress_token), r#""t""#);
    let listening = r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#;
    assert_eq!(part(listening, read(listening).subscription), "1");
    let initialize = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","serverInfo":{"name":"s"}}}"#;
    assert_eq!(read(initialize).version(), Some("2025-11-25"));
    assert_eq!(part(initialize, read(initialize).server_info), r#"{"name":"s"}"#);
}

#[test]
fn a_batch_tells_its_messages_and_whose_fault_it_is() {
    let text = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}},{"jsonrpc":"2.0","id":null,"method":"b"}]"#;
    let frame = read(text);
    assert_eq!(frame.shape, Shape::Batch);
    assert_eq!(
        frame.items.iter().map(|item| (item.shape, item.faults.len())).collect::<Vec<_>>(),
        [(Shape::Request, 0), (Shape::Request, 1)]
    );
    assert_eq!(frame.items[0].target(), Some("a"));
    assert_eq!(part(text, Some(frame.items[1].span)), r#"{"jsonrpc":"2.0","id":null,"method":"b"}"#);
    assert_eq!(frame.reason(), Some(DenyReason::Ambiguous));
    assert_eq!(faults("[]"), ["malformed at byte 0: a batch of nothing"]);
    assert_eq!(faults("[1]"), ["malformed at byte 1: a batch item that is no message"]);
    assert_eq!(faults("[[{}]]"), ["malformed at byte 1: a batch item that is no message"]);
    let many = format!("[{}]", vec![r#"{"jsonrpc":"2.0","method":"x"}"#; 2000].join(","));
    assert_eq!(read(&many).items.len(), 1024);
    assert_eq!(read(&many).reason(), Some(DenyReason::Malformed));
}

#[test]
fn what_two_parsers_could_read_differently() {
    let call = |inside: &str| faults(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x"{inside}}}"#));
    let one = |inside: &str| {
        let found = call(inside);
        assert_eq!(found.len(), 1, "{inside}: {found:?}");
        found[0].split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(one(r#","params":{"a":{"b":[{"k":1,"\u006b":2}]}}"#), r#"the key "k" twice in one object"#);
    assert_eq!(one(r#","Method":"y""#), r#"the key "Method", which some parsers take for "method""#);
    assert_eq!(one(r#","param\u017f":{}"#), r#"the key "paramſ", which some parsers take for "params""#);
    assert_eq!(one(r#","params":{"NAME":"y"}"#), r#"the key "NAME", which some parsers take for "name""#);
    assert_eq!(one(r#","params":{"x":"\ud800"}"#), "half a surrogate pair");
    assert_eq!(
        one(r#","params":{"x":"\udc00\ud800"},"result":1"#.split(",\"result").next().unwrap().replace("\\udc00", "").as_str()),
        "half a surrogate pair"
    );
    assert_eq!(one(r#","params":{"name":"a\u0000b"}"#), "a NUL character in a name");
    assert_eq!(one(r#","params":[1]"#), "params is no object");
    assert_eq!(one(r#","params":{"arguments":"x"}"#), "params.arguments is no object");
    assert_eq!(one(r#","result":{}"#), "a method and a result or error in one message");
    assert!(call(r#","params":{"x":"\ud83d\ude00\u0000"}"#).is_empty());
    for (id, how) in [
        ("null", "null"),
        ("1.0", "a fraction or has an exponent"),
        ("1e2", "a fraction or has an exponent"),
        ("-0", "minus zero"),
        ("9007199254740993", "beyond 2^53, where parsers round"),
        ("99999999999999999999999", "beyond 2^53, where parsers round"),
        ("true", "a boolean"),
        ("[1]", "an array"),
        ("{}", "an object"),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#);
        assert_eq!(faults(&text), [format!("ambiguous at byte 22: an id that is {how}")]);
    }
    for jsonrpc in [r#""1.0""#, "2.0", "null"] {
        assert_eq!(faults(format!(r#"{{"jsonrpc":{jsonrpc},"method":"x"}}"#)), ["ambiguous at byte 11: jsonrpc is not \"2.0\""]);
    }
    assert_eq!(faults(r#"{"method":"x"}"#), ["ambiguous at byte 0: jsonrpc is not \"2.0\""]);
    assert_eq!(faults(b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"method\":\"x\"}"), ["ambiguous at byte 0: a byte order mark"]);
    assert_eq!(faults(b"{\"jsonrpc\":\"2.0\",\"method\":\"x\xff\"}"), ["ambiguous at byte 28: not UTF-8"]);
}

#[test]
fn what_no_parser_should_accept() {
    for (text, fault) in [
        ("", "malformed at byte 0: nothing but white space"),
        (" \r\n", "malformed at byte 3: nothing but white space"),
        ("{", "malformed at byte 1: ends in the middle"),
        (r#"{"jsonrpc":"2.0","method":"x"#, "malformed at byte 28: ends in the middle"),
        (r#"{"a" 1}"#, "malformed at byte 5: '1' where ':' should be"),
        (r#"{"a":1,}"#, "malformed at byte 7: '}' where a key should be"),
        ("[1,]", "malformed at byte 3: ']' where a value should be"),
        ("{]", "malformed at byte 1: ']' where a key should be"),
        ("{'a':1}", "malformed at byte 1: ''' where a key should be"),
        ("[01]", "malformed at byte 2: '1' where ',' or the end should be"),
        ("[1.]", "malformed at byte 1: a number that JSON does not have"),
        ("[NaN]", "malformed at byte 1: 'N' where a value should be"),
        ("\0{}", "malformed at byte 0: byte 0x00 where a value should be"),
        ("{\"a\":\"\n\"}", "malformed at byte 6: byte 0x0a inside a string"),
        (r#"{"a":"\x"}"#, "malformed at byte 6: an escape that JSON does not have"),
        ("5", "malformed at byte 0: JSON, but no JSON-RPC message"),
    ] {
        let frame = read(text);
        assert!(frame.faults.iter().any(|found| found.to_string() == fault), "{text:?}: {:?}", frame.faults);
        assert!(frame.shape == Shape::Unreadable || text.starts_with('['), "{text:?}");
        assert_eq!(frame.reason(), Some(DenyReason::Malformed));
    }
    let trailing = read("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\"}}{}");
    assert_eq!((trailing.shape, trailing.target()), (Shape::Unreadable, Some("a")));
    assert_eq!(faults(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#), ["malformed at byte 0: a call without params.name"]);
    assert_eq!(faults(r#"{"jsonrpc":"2.0","id":1,"method":1}"#), ["malformed at byte 33: a method that is no string"]);
    assert_eq!(faults(r#"{"jsonrpc":"2.0","result":1}"#), ["malformed at byte 0: a result without an id"]);
    assert_eq!(faults(r#"{"jsonrpc":"2.0","id":1}"#), ["malformed at byte 0: JSON, but no JSON-RPC message"]);
    let large = read_frame(&[b' '; 11], &Limits { bytes: 10, ..Limits::default() });
    assert_eq!(large.faults[0].to_string(), "malformed at byte 10: 11 bytes, 10 allowed");
}

#[test]
fn of_parts_that_stand_twice_the_last_counts_wholly() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{}},"params":{"name":"b"}}"#;
    let frame = read(text);
    assert_eq!((frame.target(), frame.arguments), (Some("b"), None));
    assert_eq!(frame.faults.len(), 1);
}

#[test]
fn a_deep_value_hides_nothing_behind_it() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{{"x":{deep}}},"name":"send_data"}}}}"#);
    let frame = read(&text);
    assert_eq!((frame.shape, frame.target()), (Shape::Request, Some("send_data")));
    assert_eq!(frame.faults[0].flaw().what, What::TooDeep { limit: 128 });
    let deeper = "[".repeat(5_000_000);
    assert_eq!(read(&deeper).reason(), Some(DenyReason::Malformed));
}

#[test]
fn fifty_megabytes_are_read_in_linear_time() {
    let limits = Limits { bytes: 64 << 20, ..Limits::default() };
    let timed = |text: String| {
        let start = Instant::now();
        let frame = read_frame(text.as_bytes(), &limits);
        assert!(frame.shape == Shape::Notification, "{:?}", frame.faults);
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        frame
    };
    let message = |params: String| format!(r#"{{"jsonrpc":"2.0","method":"x","params":{params}}}"#);
    assert_eq!(timed(message(format!(r#"{{"x":"{}"}}"#, "y".repeat(50 << 20)))).faults, []);
    let keys = (0..1 << 18).map(|n| format!("\"{n:x}\":0")).collect::<Vec<_>>().join(",");
    assert_eq!(timed(message(format!("{{{keys}}}"))).faults, []);
    // The same key again and again: the worst case of looking for duplicates.
    let same = vec!["\"a\":0"; 1 << 18].join(",");
    assert_eq!(timed(message(format!("{{{same}}}"))).faults.len(), 16);
}

#[test]
fn headers_say_what_the_body_says() {
    let call = |name: &str| {
        let name = serde_json::to_string(name).unwrap();
        read(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{name},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
        ))
    };
    let check = |frame: &Frame, method, name, version| -> Vec<String> {
        check_headers(frame, method, name, version).iter().map(|fault| fault.flaw().what.to_string()).collect()
    };
    let (method, version) = (Some("tools/call"), Some("2026-07-28"));
    assert_eq!(check(&call("foo"), method, Some("foo"), version), [""; 0]);
    assert_eq!(check(&call("Hello, 世界"), method, Some("=?base64?SGVsbG8sIOS4lueVjA==?="), version), [""; 0]);
    assert_eq!(check(&call("=?base64?literal?="), method, Some("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="), version), [""; 0]);
    assert_eq!(check(&call("foo"), method, Some("=?base64?!?="), version), ["the header Mcp-Name cannot be decoded"]);
    assert_eq!(check(&call("foo"), method, Some("bar"), version), ["the header Mcp-Name does not say what the body says"]);
    assert_eq!(check(&call("foo"), Some("Tools/call"), Some("foo"), version).len(), 1);
    assert_eq!(check(&call("foo"), None, None, None).len(), 3);
    assert_eq!(check(&call("foo"), method, Some("foo"), Some("2025-11-25")).len(), 1);
    let old = read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"foo"}}"#);
    assert_eq!(check(&old, None, None, Some("2025-11-25")), [""; 0]);
    assert_eq!(check(&old, None, Some("bar"), Some("2025-11-25")).len(), 1);
    let task = read(r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t-1"}}"#);
    assert_eq!(check(&task, Some("tasks/get"), Some("t-1"), None), [""; 0]);
    assert_eq!(check(&task, Some("tasks/get"), Some("t-2"), None).len(), 1);
    let answer = read(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(check(&answer, method, None, Some("2025-11-25")).len(), 1);
}

#[test]
fn splices_change_what_they_say_and_nothing_else() {
    let text = "{\"jsonrpc\":\"2.0\",\r\n\"id\":\"a\",\"method\":\"x\",\"params\":{\"_meta\":{\"progressToken\":\"t\"}}}";
    let bytes = text.as_bytes();
    let frame = read(text);
    let mut edits = splice::id_edits(bytes, &frame, |raw| (raw == b"\"a\"").then(|| b"17".to_vec()));
    edits.extend(splice::token_edit(bytes, &frame, |_| Some(b"18".to_vec())));
    let spliced = splice::splice(bytes, edits, true);
    assert_eq!(spliced.bytes, b"{\"jsonrpc\":\"2.0\",  \"id\":17,\"method\":\"x\",\"params\":{\"_meta\":{\"progressToken\":18}}}");
    assert_eq!(spliced.splices, [Splice::Id, Splice::ProgressToken, Splice::Newline]);
    let same = splice::splice(bytes, splice::id_edits(bytes, &frame, |raw| Some(raw.to_vec())), false);
    assert_eq!((same.bytes.as_slice(), same.splices.as_slice()), (bytes, &[][..]));
}

/// Whether serde_json takes the document, where the listed differences do not matter: it stops at depth 127, rejects lone
/// surrogates and numbers beyond f64; all three are told apart here by other means.
fn reference(bytes: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(bytes).ok()
}

fn is_json(frame: &Frame) -> bool {
    let grammar = |what: &What| {
        matches!(
            what,
            What::Empty
                | What::EndsEarly
                | What::Unexpected { .. }
                | What::ControlInString { .. }
                | What::BadEscape
                | What::BadNumber
                | What::TrailingBytes
                | What::ByteOrderMark
                | What::BadUtf8
                | What::LoneSurrogate
        )
    };
    !frame.faults.iter().any(|fault| grammar(&fault.flaw().what))
}

fn any_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[0-9a-cA-C][0-9a-f]{3}|\\\\[nrtbf/\"\\\\]|[a-z]){0,4}\"",
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec!["id", "method", "params", "name", "uri", "arguments", "_meta", "result", "error", "jsonrpc"])
                .prop_map(|key| format!("\"{key}\"")),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|members| format!("{{{}}}", members.iter().map(|(k, v)| format!("{k}\n:{v}")).collect::<Vec<_>>().join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_same_documents_and_values_as_serde_json(text in any_json()) {
        let frame = read(&text);
        let value = reference(text.as_bytes());
        prop_assert_eq!(is_json(&frame), value.is_some(), "{} {:?}", text, frame.faults);
        let Some(serde_json::Value::Object(message)) = value else { return Ok(()) };
        let at = |span: Option<Span>| span.map(|span| serde_json::from_slice::<serde_json::Value>(span.of(text.as_bytes())).unwrap());
        prop_assert_eq!(at(frame.id), message.get("id").cloned());
        prop_assert_eq!(at(frame.params), message.get("params").cloned());
        prop_assert_eq!(at(frame.result), message.get("result").cloned());
        prop_assert_eq!(at(frame.error), message.get("error").cloned());
        prop_assert_eq!(frame.method.as_deref(), message.get("method").and_then(|method| method.as_str()));
        let params = message.get("params");
        let of_params = |key: &str| params.and_then(|params| params.as_object()).and_then(|params| params.get(key));
        prop_assert_eq!(frame.name.as_deref(), of_params("name").and_then(|name| name.as_str()));
        prop_assert_eq!(frame.uri.as_deref(), of_params("uri").and_then(|uri| uri.as_str()));
        prop_assert_eq!(at(frame.arguments), of_params("arguments").cloned());
    }

    /// Fuzz smoke: damaged documents. Nothing panics, and no damage makes a different set of documents.
    #[test]
    fn damaged_documents_are_judged_as_serde_json_does(text in any_json(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4)) {
        let mut bytes = text.into_bytes();
        for (index, byte, how) in damage {
            if bytes.is_empty() { break }
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        let frame = read_frame(&bytes, &Limits::default());
        let lone = frame.faults.iter().any(|fault| fault.flaw().what == What::LoneSurrogate);
        let beyond = serde_json::from_slice::<serde_json::Value>(&bytes).is_err_and(|error| error.to_string().contains("out of range"));
        if !lone && !beyond {
            prop_assert_eq!(is_json(&frame), reference(&bytes).is_some(), "{:?} {:?}", String::from_utf8_lossy(&bytes), frame.faults);
        }
    }

    #[test]
    fn garbage_is_survived(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\u0dD8 \n\r".to_vec())], 0..200)) {
        let frame = read_frame(&bytes, &Limits { depth: 5, ..Limits::default() });
        for message in frame.messages() {
            prop_assert!(message.span.end <= bytes.len());
        }
    }

    /// Equal keys are found however they are escaped, in any object.
    #[test]
    fn a_duplicate_is_found_at_any_depth(key in "[a-z\"\\\\é😀]{1,6}", depth in 0..100usize, escape in any::<bool>()) {
        let plain = serde_json::to_string(&key).unwrap();
        let other = if escape {
            format!("\"{}\"", key.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>())
        } else {
            plain.clone()
        };
        let text = format!("{}{{{plain}:1,\"0\":2,{other}:3}}{}", "[".repeat(depth), "]".repeat(depth));
        let wrapped = format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"v":{text}}}}}"#);
        let frame = read(&wrapped);
        prop_assert_eq!(frame.faults.len(), 1);
        prop_assert_eq!(&frame.faults[0].flaw().what, &What::DuplicateKey(key));
    }
}

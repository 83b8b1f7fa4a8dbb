use super::*;
use custody_model::Shape;

fn read(text: &str) -> Frame {
    read_frame(text.as_bytes(), &Limits::default())
}

#[test]
fn a_call_of_the_newest_revision() {
    let text = r#" {"jsonrpc":"2.0","id":"a1","method":"tools/call","params":{"name":"send\u005fdata","arguments":{"to":[1,{"x":null}]},
        "_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28","traceparent":"00-ab-cd-01",
        "io.modelcontextprotocol/clientInfo":{"name":"c"}}}} "#;
    let frame = read(text);
    assert_eq!(frame.faults, []);
    assert_eq!(frame.shape, Shape::Request);
    assert_eq!(frame.target(), Some("send_data"));
    let part = |span: Option<Span>| std::str::from_utf8(span.unwrap().of(text.as_bytes())).unwrap();
    assert_eq!(part(frame.id), r#""a1""#);
    assert_eq!(part(frame.arguments), r#"{"to":[1,{"x":null}]}"#);
    assert_eq!(part(frame.progress_token), "7");
    assert_eq!(part(frame.client_info), r#"{"name":"c"}"#);
    assert_eq!(frame.version(), Some("2026-07-28"));
    assert_eq!(frame.traceparent.as_deref(), Some("00-ab-cd-01"));
    assert!(frame.check_line().is_some());
}

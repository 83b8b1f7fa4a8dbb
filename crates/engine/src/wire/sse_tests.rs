use super::sse::{EventTooLarge, SseDecoder, SseEvent};
use proptest::prelude::*;

fn all(chunks: &[&[u8]]) -> Vec<SseEvent> {
    let mut decoder = SseDecoder::new(10_000);
    let mut events: Vec<_> = chunks.iter().flat_map(|chunk| decoder.push(chunk).unwrap()).collect();
    events.extend(decoder.finish());
    events
}

fn data(events: &[SseEvent]) -> Vec<Option<&str>> {
    events.iter().map(|event| event.data.as_deref().map(|data| std::str::from_utf8(data).unwrap())).collect()
}

#[test]
fn fields_as_the_standard_reads_them() {
    let events = all(&[
        b"\xef\xbb\xbfevent: message\nid: 7\nretry: 500\ndata: a\ndata:b\ndata\n\n: ping\ndata:  two\r\n\r\nid: x\0y\nretry: 5s\n\n",
    ]);
    assert_eq!(data(&events), [Some("a\nb\n"), None, Some(" two"), None]);
    let first = &events[0];
    assert_eq!((first.event.as_deref(), first.id.as_deref(), first.retry_ms), (Some("message"), Some("7"), Some(500)));
    assert_eq!(events[1].raw, b": ping\n");
    assert_eq!((&events[3].id, events[3].retry_ms), (&None, None));
}

#[test]
fn a_comment_inside_an_event_stays_there_and_an_event_without_its_blank_line_is_left_over() {
    let events = all(&[b"data: a\n: c\ndata: b\n\ndata: rest"]);
    assert_eq!(data(&events), [Some("a\nb"), Some("rest")]);
    assert_eq!(events[1].raw, b"data: rest");
}

#[test]
fn an_event_beyond_the_limit_breaks_the_stream() {
    let mut decoder = SseDecoder::new(20);
    assert_eq!(decoder.push(b"data: short\n\n").unwrap().len(), 1);
    assert_eq!(decoder.push(b"data: much too long for it"), Err(EventTooLarge { limit: 20 }));
    assert_eq!(decoder.push(b"\n\n"), Err(EventTooLarge { limit: 20 }));
    assert_eq!(decoder.held(), 0);
}

proptest! {
    #[test]
    fn cuts_do_not_matter_and_no_byte_is_lost(chunks in prop::collection::vec("[:a \\r\\n]{0,4}|data: ?x?|\\r|\\n|id:1|event: e", 0..24)) {
        let whole = chunks.concat();
        let parts: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
        let cut = all(&parts);
        let bytewise = all(&whole.as_bytes().chunks(1).collect::<Vec<_>>());
        let uncut = all(&[whole.as_bytes()]);
        for events in [&cut, &bytewise, &uncut] {
            let raw: Vec<u8> = events.iter().flat_map(|event| event.raw.clone()).collect();
            prop_assert_eq!(raw, whole.as_bytes());
        }
        let said = |events: &[SseEvent]| -> Vec<_> {
            let mut said = Vec::new();
            for event in events {
                if event.data.is_some() { said.push((event.data.clone(), event.event.clone(), event.id.clone())); }
            }
            said
        };
        prop_assert_eq!(said(&cut), said(&uncut));
        prop_assert_eq!(said(&bytewise), said(&uncut));
    }
}

//! The raw bytes of all events are the stream, wherever it is cut, and what the events say does not depend on the cuts.
#![no_main]

use custody_engine::wire::sse::SseDecoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let read = |step: usize| {
        let mut decoder = SseDecoder::new(usize::MAX / 2);
        let mut raw = Vec::new();
        let mut said = Vec::new();
        let mut events = Vec::new();
        for chunk in bytes.chunks(step) {
            events.extend(decoder.push(chunk).expect("there is no limit"));
        }
        events.extend(decoder.finish());
        for event in events {
            raw.extend_from_slice(&event.raw);
            if event.data.is_some() {
                said.push((event.data, event.event, event.id, event.retry_ms));
            }
        }
        assert_eq!(raw, bytes);
        said
    };
    assert_eq!(read(usize::from(step) + 1), read(bytes.len().max(1)));
});

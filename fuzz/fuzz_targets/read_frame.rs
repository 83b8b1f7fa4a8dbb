//! Any bytes are a frame: no panic, spans inside the bytes, and no fault without a reason.
#![no_main]

use custody_engine::wire::{Limits, read_frame, splice};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { depth: 32, batch: 8, ..Limits::default() };
    let frame = read_frame(bytes, &limits);
    assert_eq!(frame.reason().is_some(), !frame.faults.is_empty());
    for message in frame.messages() {
        let spans = [message.id, message.params, message.arguments, message.progress_token, message.result, message.error];
        for span in spans.into_iter().flatten() {
            assert!(span.start < span.end && span.end <= bytes.len());
        }
        let same = splice::splice(bytes, splice::id_edits(bytes, message, |raw| Some(raw.to_vec())), false);
        assert_eq!(same.bytes, bytes);
        assert!(same.splices.is_empty());
    }
});

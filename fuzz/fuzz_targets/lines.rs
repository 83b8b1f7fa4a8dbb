//! Cutting the stream anywhere gives the same lines, and never more memory than the limit.
#![no_main]

use custody_engine::wire::lines::LineDecoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (limit, step, bytes) = input;
    let limit = usize::from(limit) + 1;
    let read = |step: usize| {
        let mut decoder = LineDecoder::new(limit);
        let mut lines = Vec::new();
        for chunk in bytes.chunks(step) {
            lines.extend(decoder.push(chunk));
            assert!(decoder.held() <= limit);
        }
        lines.extend(decoder.finish());
        lines
    };
    assert_eq!(read(usize::from(step) + 1), read(bytes.len().max(1)));
});

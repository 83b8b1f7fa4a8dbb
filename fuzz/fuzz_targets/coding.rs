//! Coded bodies of any bytes: never more than the limit, and the same wherever they are cut.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/custody/src/gateway/coding.rs"]
mod coding;

use coding::{Coding, Decoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (which, step, bytes) = input;
    let coding = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd][usize::from(which % 4)];
    let limit = 1 << (8 + which / 4 % 12);
    let whole = coding.decode(bytes, limit);
    let mut decoder = Decoder::new(coding, limit);
    let cut = bytes.chunks(usize::from(step) + 1).try_for_each(|piece| decoder.push(piece)).and_then(|()| decoder.finish());
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            assert!(whole.len() <= limit);
            assert_eq!(whole, cut);
        }
        (whole, cut) => assert_eq!(whole.is_err(), cut.is_err(), "{whole:?} {cut:?}"),
    }
});

//! The agents' listener between an agent and a server that both send any bytes: no panic, every connection ends, and it goes on serving.
//! `crates/custody/tests/noise.rs` does the same without an instrumented build.
#![no_main]

#[path = "../../crates/custody/tests/noise/stage.rs"]
mod stage;

use libfuzzer_sys::fuzz_target;
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    static STAGE: OnceLock<stage::Stage> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (kind, asked, answered) = input;
    let stage = STAGE.get_or_init(stage::Stage::new);
    stage.round(kind, asked, answered);
    if COUNT.fetch_add(1, Ordering::Relaxed) % 64 == 0 {
        stage.still_serves();
    }
});

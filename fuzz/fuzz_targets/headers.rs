//! Headers of any bytes beside a body of any bytes: no panic, and a call whose headers repeat it exactly is never at fault for them.
#![no_main]

use custody_engine::wire::{Limits, What, check_headers, decode_header, read_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str, &[u8])| {
    let (method, name, version, body) = input;
    let _ = decode_header(name);
    let frame = read_frame(body, &Limits { depth: 32, batch: 8, ..Limits::default() });
    let _ = check_headers(&frame, Some(method), Some(name), Some(version));
    let plain = |text: &&str| text.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) && !text.starts_with("=?");
    if let (Some(method), Some("tools/call")) = (frame.method.as_deref(), frame.method.as_deref())
        && let Some(tool) = frame.name.as_deref().filter(plain)
    {
        let version = frame.meta_version.as_deref().filter(plain);
        let faults = check_headers(&frame, Some(method), Some(tool), version);
        assert!(!faults.iter().any(|fault| matches!(fault.flaw().what, What::HeaderMismatch(name) if name != "MCP-Protocol-Version")));
    }
});

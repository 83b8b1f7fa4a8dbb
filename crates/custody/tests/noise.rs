//! Agents and servers that send anything: nothing panics, every connection ends, and honest ones are served all the while.
//!
//! The same rounds for each test run; `CUSTODY_NOISE_SECONDS` goes on with others for so long, from `CUSTODY_NOISE_SEED`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "noise/stage.rs"]
mod stage;

use stage::Stage;
use std::{
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Rounds of each test run.
const ROUNDS: u64 = 400;
/// Real frames of the official servers and clients.
const CORPUS: &str = include_str!("corpus/frames.jsonl");

/// What heads, frames and streams are made of, and what their readers stumble over.
const PIECES: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\0",
    "\u{feff}",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Encoding: gzip\r\n",
    "Content-Encoding: br\r\n",
    "Connection: upgrade\r\n",
    "Expect: 100-continue\r\n",
    "Mcp-Session-Id: a\r\n",
    "Mcp-Param-Region: =?base64?ZXU=?=\r\n",
    "Mcp-Method: tools/call\r\n",
    "MCP-Protocol-Version: 2026-07-28\r\n",
    "Last-Event-ID: 1-1\r\n",
    "WWW-Authenticate: Bearer resource_metadata=\"",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 401 Unauthorized\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "Content-Type: text/event-stream\r\n\r\n",
    "Content-Type: application/json\r\n",
    "GET /.well-known/oauth-protected-resource/mcp/open HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "event: endpoint\ndata: /messages\n\n",
    "data: ",
    "id: 1\n",
    "retry: 99999999999999999999\n",
    "[",
    "]",
    ",",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"t\",\"inputSchema\":{\"properties\":{\"r\":{\"x-mcp-header\":\"R\"}}}}]}}",
    "\"id\":1,\"id\":2,",
    "\\ud800",
];

/// Splitmix64: the same rounds from the same seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Something that begins well, and is then disturbed.
fn noise(chance: &mut Chance, frames: &[&str]) -> Vec<u8> {
    let frame = chance.one(frames).as_bytes().to_vec();
    let mut bytes = match chance.below(6) {
        0 => frame,
        1 => [b"[", frame.as_slice(), b",", chance.one(frames).as_bytes(), b"]"].concat(),
        2 => [b"id: 1\ndata: ", frame.as_slice(), b"\n\n"].concat(),
        3 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&frame).unwrap();
            gzip.finish().unwrap()
        }
        4 => (0..chance.below(8)).flat_map(|_| chance.one(PIECES).bytes()).collect(),
        _ => Vec::new(),
    };
    for _ in 0..chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            2 => drop(bytes.splice(at..at, [chance.next() as u8; 3])),
            3 => {
                let end = (at + chance.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => drop(bytes.splice(at..at, chance.one(PIECES).bytes())),
        }
    }
    bytes
}

#[test]
fn whatever_agents_and_servers_send_custody_goes_on() {
    // A task that panics takes nobody with it, and would not be noticed.
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::SeqCst);
        told(panic);
    }));
    let stage = Stage::new();
    let frames: Vec<&str> = CORPUS.lines().filter(|frame| frame.len() < 20_000).collect();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seconds, seed) = (number("CUSTODY_NOISE_SECONDS").unwrap_or(0), number("CUSTODY_NOISE_SEED").unwrap_or(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut chance, mut rounds) = (Chance(seed), 0);
    while rounds < ROUNDS || Instant::now() < until {
        let at = chance.0;
        let (kind, asked, answered) = (chance.next() as u8, noise(&mut chance, &frames), noise(&mut chance, &frames));
        let round = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.round(kind, &asked, &answered)));
        assert!(
            round.is_ok() && !PANICKED.load(Ordering::SeqCst),
            "CUSTODY_NOISE_SEED={at}: kind {kind}, {:?}, {:?}",
            asked.escape_ascii().to_string(),
            answered.escape_ascii().to_string()
        );
        if rounds % 50 == 49 {
            stage.still_serves();
        }
        rounds += 1;
    }
    println!("{rounds} rounds");
    stage.close();
    assert!(!PANICKED.load(Ordering::SeqCst));
}

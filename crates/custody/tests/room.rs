//! A full disk, as the ledger's quota: nothing is forwarded that cannot be recorded, somebody hears of it before, and it goes on by
//! itself when there is room (promise 1).
#![allow(clippy::unwrap_used)]

mod daemon;

use custody::trust::{Clients, Home as Trusted};
use custody_model::PrincipalName;
use daemon::{exchange, initialised};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// An MCP server that answers every request, and counts them.
fn server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut part = [0; 64 << 10];
            // Whole when as much as the head says came behind it.
            while let Ok(read) = stream.read(&mut part) {
                request.extend_from_slice(&part[..read]);
                let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
                let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0_usize);
                if read == 0 || request.len() >= head + 4 + length {
                    break;
                }
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let body = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    (port, count)
}

/// Text that no compression makes smaller than half.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed + 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + ((state >> 40) % 26) as u8)
    };
    (0..bytes).map(next).collect()
}

#[test]
fn a_full_quota_stops_what_cannot_be_recorded_and_room_lets_it_go_on() {
    let home = initialised();
    let (port, reached) = server();
    home.add_to_config(&format!("[servers.practice]\nurl = \"http://127.0.0.1:{port}/mcp\"\nmode = \"enforce\"\n"));
    let config = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), config.replacen("[ledger]\n", "[ledger]\nquota_bytes = 2000000\n", 1)).unwrap();
    let clients = Trusted::open(&home.root).unwrap().clients();
    let key = Clients::mint(&clients, PrincipalName("tester".into()), None, jiff::Timestamp::now()).unwrap();
    // Something else that takes room below the ledger's directory.
    let ballast = home.root.join("ledger/ballast");
    fs::write(&ballast, vec![7; 1_900_000]).unwrap();

    let daemon = home.up();
    let address = daemon.ready["agents"].as_str().unwrap().to_owned();
    let call = |n: u64, bytes: usize| {
        let text = noise(n, bytes);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{{"name":"read_file","arguments":{{"path":"{text}"}}}}}}"#
        );
        let head = format!(
            "POST /mcp/practice HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-06-18\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            key.expose(),
            body.len()
        );
        exchange(&address, (head + &body).as_bytes())
    };
    let begun = Instant::now();
    let in_time = |what: &str| {
        assert!(begun.elapsed() < Duration::from_secs(120), "not within two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    };
    // Heard before there is none: a finding and an incident.
    while !home.json(&["findings"]).to_string().contains("custody-ledger-room") {
        in_time("a finding about the room");
    }
    while home.json(&["incidents"]).as_array().unwrap().is_empty() {
        in_time("an incident about the room");
    }
    let mut n = 0;
    let body = loop {
        n += 1;
        assert!(n < 200, "the quota holds nothing back");
        let before = reached.load(Ordering::SeqCst);
        let (status, body) = call(n, 30_000);
        // The call may be the last that fits, and its answer the first that does not.
        if status != 200 && reached.load(Ordering::SeqCst) == before {
            assert_eq!(status, 503, "{body}");
            break body;
        }
    };
    assert!(body.to_string().contains("the record cannot be written"), "{body}");
    let before = reached.load(Ordering::SeqCst);
    assert_eq!(call(1000, 200_000).0, 503);
    assert_eq!(reached.load(Ordering::SeqCst), before, "it was not recorded, and it was forwarded");

    // Room comes back, and with it everything else, without a restart.
    fs::remove_file(&ballast).unwrap();
    while call(2000, 30_000).0 != 200 {
        in_time("calls pass again");
    }
    assert!(reached.load(Ordering::SeqCst) > before);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(home.json(&["verify"])["ok"], true);
}

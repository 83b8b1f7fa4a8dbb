//! Time stamps of checkpoints (RFC 3161), by a real authority: `openssl ts` behind a small listener.
#![allow(clippy::unwrap_used)]

mod daemon;

use daemon::{Home, initialised, text};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const CONFIG: &str = "[tsa]\ndefault_tsa = own\n[own]\ndir = .\nserial = serial\nsigner_cert = tsa.pem\ncerts = ca.pem\nsigner_key = tsa.key\n\
signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\nordering = yes\ntsa_name = yes\n\
[extensions]\nextendedKeyUsage = critical,timeStamping\n";

fn openssl(dir: &Path, args: &[&str]) -> Output {
    Command::new("openssl").current_dir(dir).args(args).output().unwrap()
}

/// Makes the authority's certificates.
fn authority(dir: &Path) {
    fs::write(dir.join("tsa.cnf"), CONFIG).unwrap();
    fs::write(dir.join("serial"), "01\n").unwrap();
    for args in [
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=test authority",
            "-days",
            "30",
        ][..],
        &["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=test stamps"],
        &[
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "tsa.pem",
            "-days",
            "30",
            "-extfile",
            "tsa.cnf",
            "-extensions",
            "extensions",
        ],
    ] {
        let done = openssl(dir, args);
        assert!(done.status.success(), "{args:?}: {}", text(&done.stderr));
    }
}

/// What the authority answers with.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    Honestly,
    /// The answer to an earlier request.
    Again,
}

fn answer(stream: &mut TcpStream, dir: &Path, how: Answers) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    let query = loop {
        let read = stream.read(&mut part).unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&part[..read]);
        let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let lines = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length: usize = lines.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap();
        if request.len() >= head + 4 + length {
            break request[head + 4..].to_vec();
        }
    };
    let reply = dir.join("reply");
    if how == Answers::Honestly || !reply.exists() {
        fs::write(dir.join("query"), query).unwrap();
        let done = openssl(dir, &["ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply"]);
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let reply = fs::read(reply).unwrap();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        reply.len()
    );
    let _ = stream.write_all(&reply);
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "not within two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn newest(home: &Home) -> Option<PathBuf> {
    let mut stamps: Vec<_> = fs::read_dir(home.root.join("timestamps")).ok()?.map(|item| item.unwrap().path()).collect();
    stamps.retain(|path| path.extension().is_some_and(|ending| ending == "tsr"));
    stamps.sort();
    stamps.pop()
}

#[test]
fn checkpoints_are_stamped_and_openssl_agrees() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: there is no openssl on this machine");
        return;
    }
    let home = initialised();
    let dir = home.temp.path().join("tsa");
    fs::create_dir(&dir).unwrap();
    authority(&dir);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let how = Arc::new(Mutex::new(Answers::Honestly));
    let (place, asked) = (dir.clone(), how.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let how = *asked.lock().unwrap();
            answer(&mut stream.unwrap(), &place, how);
        }
    });
    home.add_to_config(&format!("[ledger.timestamps]\nurl = \"http://{address}/tsr\"\n"));

    let daemon = home.up();
    let stamp = until("a time stamp", || newest(&home));
    assert_eq!(daemon.stop(), 0);
    let checkpoint = stamp.with_extension("checkpoint");
    let verified =
        openssl(&dir, &["ts", "-verify", "-in", stamp.to_str().unwrap(), "-data", checkpoint.to_str().unwrap(), "-CAfile", "ca.pem"]);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
    let shown = text(&home.run(&["verify"]).stdout);
    assert!(shown.contains("time stamp: the first") && shown.contains("openssl ts -verify"), "{shown}");

    // An answer to another request, played again, is refused and kept nowhere.
    let before = fs::read_dir(home.root.join("timestamps")).unwrap().count();
    *how.lock().unwrap() = Answers::Again;
    let daemon = home.up();
    until("the refusal", || home.ledger().contains("\"word\":\"refused\"").then_some(()));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(fs::read_dir(home.root.join("timestamps")).unwrap().count(), before);

    // A stamped checkpoint that this ledger no longer continues is a fault.
    let other = initialised();
    fs::create_dir(other.root.join("timestamps")).unwrap();
    fs::copy(&checkpoint, other.root.join("timestamps").join(checkpoint.file_name().unwrap())).unwrap();
    fs::copy(&stamp, other.root.join("timestamps").join(stamp.file_name().unwrap())).unwrap();
    assert_eq!(other.run(&["verify"]).status.code(), Some(1));
}

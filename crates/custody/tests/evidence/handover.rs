//! Bundles change hands: signed, sealed, and with what a server's directory held.

use super::*;
use custody::preserve::{DirectoryTake, HandOver, HandOverError, HandOverKind, HandOverRequest, SealError, hand_over, seal, unseal};
use std::io::Write as _;

fn key(name: &str, seed: u8) -> (String, String) {
    let text = Signer::encode(name, &[seed; 32]).unwrap();
    let vkey = Signer::parse(&text).unwrap().vkey().to_owned();
    (text, vkey)
}

fn given(to: &str, to_key: &str) -> HandOverRequest {
    HandOverRequest { to: Some((to.into(), to_key.into())), ..received() }
}

fn received() -> HandOverRequest {
    HandOverRequest {
        at: Timestamp::now(),
        by: None,
        to: None,
        place: "evidence room 2".into(),
        how: "by hand, sealed bag 17".into(),
        reason: "analysis".into(),
    }
}

/// From the ledger to Bo, and on to Cy.
fn chain(bundle: &Path) -> Vec<HandOver> {
    let ((bo, bo_key), (cy, cy_key)) = (key("bo@lab.example", 21), key("cy@court.example", 22));
    let by_dana = HandOverRequest { by: Some("dana".into()), ..given("Bo", &bo_key) };
    vec![
        hand_over(bundle, Some(&vkey()), &signer_text(), &by_dana).unwrap(),
        hand_over(bundle, Some(&vkey()), &bo, &received()).unwrap(),
        hand_over(bundle, None, &bo, &given("Cy", &cy_key)).unwrap(),
        hand_over(bundle, Some(&vkey()), &cy, &received()).unwrap(),
    ]
}

#[test]
fn hand_overs_form_a_chain_of_keys_that_begins_at_the_ledger() {
    let incident = Incident::new();
    let bundle = incident.export("bag").path;
    let told = chain(&bundle);
    let report = verify_bundle(&bundle, Some(&vkey()));
    assert!(report.ok, "{:?}", report.faults);
    assert_eq!(report.hand_overs, told);
    let said: Vec<_> = told.iter().map(|entry| (entry.by.as_str(), entry.kind)).collect();
    use HandOverKind::*;
    assert_eq!(said, [("dana", Given), ("bo@lab.example", Received), ("bo@lab.example", Given), ("cy@court.example", Received)]);
    assert!(told[0].result.contains("trusted") && told[2].result.contains("not compared"), "{told:?}");
    // The bag is a bag all the same.
    let validate = "import bagit, sys; bagit.Bag(sys.argv[1]).validate()";
    let out = Command::new(python()).args(["-c", validate]).arg(&bundle).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn nobody_gives_or_receives_out_of_turn_or_with_another_key() {
    let incident = Incident::new();
    let bundle = incident.export("bag").path;
    let ((bo, bo_key), (eve, eve_key)) = (key("bo@lab.example", 21), key("eve@evil.example", 66));
    let refused = |key: &str, request: &HandOverRequest| match hand_over(&bundle, None, key, request) {
        Err(HandOverError::Turn { what }) => what,
        other => panic!("{other:?}"),
    };
    assert!(refused(&eve, &given("Eve", &eve_key)).contains("with the key custody.example/evidence"));
    assert!(refused(&eve, &received()).contains("gives it on"));
    hand_over(&bundle, None, &signer_text(), &given("Bo", &bo_key)).unwrap();
    assert!(refused(&eve, &received()).contains("with the key bo@lab.example"));
    assert!(refused(&signer_text(), &given("Eve", &eve_key)).contains("signs the receipt"));
    let bad = |request: HandOverRequest| hand_over(&bundle, None, &bo, &request).unwrap_err().to_string();
    assert!(bad(HandOverRequest { place: " ".into(), ..received() }).contains("the place is empty"));
    assert!(bad(HandOverRequest { reason: "x".repeat(2001), ..received() }).contains("the reason"));
    assert!(bad(given("Cy", "no key")).contains("the receiver's key"));
    assert!(matches!(hand_over(&bundle, None, "no key", &received()), Err(HandOverError::Key { .. })));
    // Nobody signs for a bundle that is not whole.
    let log = bundle.join("data/invocation_log.jsonl");
    unlock(&log);
    fs::write(&log, "{}\n").unwrap();
    let error = hand_over(&bundle, None, &bo, &received()).unwrap_err();
    assert!(matches!(&error, HandOverError::Broken { file, .. } if file == "data/invocation_log.jsonl"), "{error}");
    assert_eq!(fs::read_dir(bundle.join("transfers")).unwrap().count(), 1);
}

#[test]
fn no_hand_over_changes_vanishes_or_moves_unnoticed() {
    let incident = Incident::new();
    let (bundle, other) = (incident.export("bag").path, incident.export("other").path);
    chain(&bundle);
    chain(&other);
    let name = |number: usize| format!("transfers/{number:04}.dsse.json");
    let fault = |file: &str| {
        let report = verify_bundle(&bundle, Some(&vkey()));
        assert!(!report.ok && report.faults.iter().any(|fault| fault.file == file), "{file}: {:?}", report.faults);
        report.faults.into_iter().find(|fault| fault.file == file).unwrap().what
    };
    for number in 1..=4 {
        let path = bundle.join(name(number));
        unlock(&path);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(37) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            fault(&name(number));
        }
        // The same place in the chain of another bundle of the same case.
        fs::copy(other.join(name(number)), &path).unwrap();
        assert!(fault(&name(number)).contains("another bundle"));
        fs::remove_file(&path).unwrap();
        if number < 4 {
            assert!(fault(&name(number)).contains("missing"));
        }
        fs::write(&path, &good).unwrap();
    }
    fs::copy(bundle.join(name(3)), bundle.join(name(5))).unwrap();
    fault(&name(5));
    fs::remove_file(bundle.join(name(5))).unwrap();
    fs::write(bundle.join("transfers/notes.txt"), "x").unwrap();
    fault("transfers/notes.txt");
    fs::remove_file(bundle.join("transfers/notes.txt")).unwrap();
    assert!(verify_bundle(&bundle, Some(&vkey())).ok);
}

#[test]
fn a_sealed_bundle_opens_for_its_recipients_only_and_is_the_same() {
    let incident = Incident::new();
    let bundle = incident.export("bag").path;
    chain(&bundle);
    let (to, stranger) = (Identity::generate(), Identity::generate());
    use age::secrecy::ExposeSecret;
    let secret = |identity: &Identity| format!("# a comment\n{}\n", identity.to_string().expose_secret());
    let sealed = incident.dir.path().join("bag.tar.age");
    seal(&bundle, &[to.to_public()], &sealed).unwrap();
    let bytes = fs::read(&sealed).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"send everyth" || window == b"tagmanifest-"));
    let opened = incident.dir.path().join("opened");
    assert!(matches!(unseal(&sealed, &secret(&stranger), &opened), Err(SealError::Closed { .. })));
    assert!(matches!(unseal(&sealed, "no key", &opened), Err(SealError::Key { .. })));
    assert!(!opened.exists());
    unseal(&sealed, &secret(&to), &opened).unwrap();
    assert_eq!(files(&opened), files(&bundle));
    for file in files(&bundle) {
        assert_eq!(fs::read(opened.join(&file)).unwrap(), fs::read(bundle.join(&file)).unwrap(), "{file}");
        assert_eq!(fs::metadata(opened.join(&file)).unwrap().permissions().mode() & 0o777, 0o400);
    }
    let report = verify_bundle(&opened, Some(&vkey()));
    assert!(report.ok && report.hand_overs.len() == 4, "{:?}", report.faults);
    assert!(unseal(&sealed, &secret(&to), &opened).unwrap_err().to_string().contains("never written over"));
    assert!(seal(&bundle, &[to.to_public()], &sealed).unwrap_err().to_string().contains("never written over"));
    // Cut anywhere, or with a byte changed, nothing comes out.
    for cut in [bytes.len() - 1, bytes.len() / 2, 100] {
        fs::write(&sealed, &bytes[..cut]).unwrap();
        assert!(unseal(&sealed, &secret(&to), &incident.dir.path().join("cut")).is_err());
    }
    let mut bad = bytes.clone();
    bad[bytes.len() / 2] ^= 1;
    fs::write(&sealed, &bad).unwrap();
    assert!(unseal(&sealed, &secret(&to), &incident.dir.path().join("cut")).is_err());
    assert!(!incident.dir.path().join("cut").exists());
}

#[test]
fn what_nobody_seals_is_not_unpacked() {
    use age::secrecy::ExposeSecret;
    use tar::EntryType::*;
    let dir = tempfile::tempdir().unwrap();
    let to = Identity::generate();
    let secret = to.to_string();
    let long = "a".repeat(99);
    let cases: [(&str, tar::EntryType, u64, &str); 14] = [
        ("../escaped", Regular, 1, "leaves the bundle"),
        ("data/../../escaped", Regular, 1, "leaves the bundle"),
        ("/tmp/escaped", Regular, 1, "leaves the bundle"),
        ("data/link", Symlink, 0, "is a link"),
        ("data/hard", Link, 0, "is a link"),
        ("data/pipe", Fifo, 0, "no plain file"),
        ("data/device", Block, 0, "no plain file"),
        ("data/hole", GNUSparse, 1, "no plain file"),
        (&long, GNULongName, 1, "no plain file"),
        ("pax", XHeader, 1, "no plain file"),
        ("data/a b", Regular, 1, "a name that Custody never writes"),
        ("data/\u{1b}[31m", Regular, 1, "a name that Custody never writes"),
        ("a/b/c/d/e/f/g/h", Regular, 1, "a name that Custody never writes"),
        ("data/twice", Regular, 1, "is there twice"),
    ];
    for (name, kind, size, why) in cases {
        let mut plain = Vec::new();
        let mut archive = tar::Builder::new(&mut plain);
        for again in 0..if name.ends_with("twice") { 2 } else { 1 } {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_mode(0o644);
            if matches!(kind, Symlink | Link) {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            archive.append(&header, &vec![b'0' + again; size as usize][..]).unwrap();
        }
        archive.finish().unwrap();
        drop(archive);
        let sealed = dir.path().join("hostile.tar.age");
        let mut file = fs::File::create(&sealed).unwrap();
        let encryptor = age::Encryptor::with_recipients([&to.to_public()].into_iter().map(|to| to as _)).unwrap();
        let mut stream = encryptor.wrap_output(&mut file).unwrap();
        stream.write_all(&plain).unwrap();
        stream.finish().unwrap();
        let error = unseal(&sealed, secret.expose_secret(), &dir.path().join("out")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(why) && text.contains("entry ") && !text.contains('\u{1b}'), "{name}: {text}");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["hostile.tar.age"], "{name}");
    }
}

#[test]
fn a_bomb_in_a_bundle_is_not_read() {
    let incident = Incident::new();
    let bundle = incident.export("bag").path;
    // Eight terabytes that nobody wrote.
    let bomb = fs::File::create(bundle.join("data/bomb")).unwrap();
    if bomb.set_len(8 << 40).is_err() {
        bomb.set_len(8 << 30).unwrap();
    }
    let report = verify_bundle(&bundle, None);
    assert!(report.faults.iter().any(|fault| fault.file == "data/bomb" && fault.what.contains("almost none")), "{:?}", report.faults);
}

/// A process that waits, in a directory of its own.
struct Waiting(std::process::Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_snapshot_takes_the_directory_of_a_server_along_and_follows_no_link() {
    let incident = Incident::new();
    let place = incident.dir.path().join("server");
    fs::create_dir_all(place.join("sub/deep")).unwrap();
    fs::write(place.join("config.json"), "{\"key\":1}").unwrap();
    fs::write(place.join("sub/deep/na\u{7}me é"), "odd").unwrap();
    fs::File::create(place.join("huge.bin")).unwrap().set_len(64 << 20).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", place.join("sub/etc")).unwrap();
    assert!(Command::new("mkfifo").arg(place.join("pipe")).status().unwrap().success());
    let child = Waiting(Command::new("sleep").arg("3600").current_dir(&place).spawn().unwrap());
    let pid = child.0.id();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let processes = vec![ProcessRef { pid, start_ticks }];
    let take = |name: &str, directory: DirectoryTake| {
        let request = ExportRequest { processes: processes.clone(), directory, ..incident.request(name) };
        let Snapshot::Taken { bundle, .. } = snapshot(&incident.reader(), &incident.case, &request, &signer_text()) else {
            panic!("not taken")
        };
        assert!(verify_bundle(&bundle.path, Some(&vkey())).ok);
        bundle.path
    };
    let bundle = take("contents", DirectoryTake::Contents);
    let text = fs::read_to_string(bundle.join(format!("data/process/{pid}/files.jsonl"))).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("{path}: {text}"));
    let config = line("config.json");
    assert_eq!((config["kind"].as_str(), config["size"].as_u64()), (Some("file"), Some(9)));
    assert_eq!(fs::read(bundle.join(config["stored"].as_str().unwrap())).unwrap(), b"{\"key\":1}");
    assert_eq!(line("link")["target"], "/etc/passwd");
    assert_eq!((line("sub/etc")["kind"].as_str(), line("pipe")["kind"].as_str()), (Some("link"), Some("pipe")));
    assert_eq!(line("sub/deep/na\\u{7}me é")["kind"], "file");
    assert!(line("huge.bin")["not_read"].as_str().unwrap().contains("longer than"));
    assert_eq!(lines.len(), 8, "{text}");
    let report: Value = serde_json::from_slice(&fs::read(bundle.join("data/completeness.json")).unwrap()).unwrap();
    assert_eq!(report["processes"][0]["directory"]["read"], 2);
    let links: Value = serde_json::from_slice(&fs::read(bundle.join(format!("data/process/{pid}/links.json"))).unwrap()).unwrap();
    assert_eq!(links["directory"].as_str().unwrap(), place.to_str().unwrap());

    let bundle = take("listing", DirectoryTake::Listing);
    let text = fs::read_to_string(bundle.join(format!("data/process/{pid}/files.jsonl"))).unwrap();
    assert!(text.contains("sha256") && !text.contains("stored") && !bundle.join(format!("data/process/{pid}/files")).exists());
    let bundle = take("off", DirectoryTake::Off);
    assert!(!bundle.join(format!("data/process/{pid}/files.jsonl")).exists());
    let report = fs::read_to_string(bundle.join("data/completeness.json")).unwrap();
    assert!(report.contains("evidence.directory"), "{report}");
}

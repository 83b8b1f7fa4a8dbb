//! Alerts over TLS, against a real mail server and a real web server with a certificate of their own (N3).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use custody::alerts::{Alert, Channel, ChannelConfig, DeliveryLimits, deliver};
use custody::config::{SecretSource, Tls};
use custody_model::*;
use jiff::Timestamp;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Makes a certificate for 127.0.0.1 in the directory given, starts a mail server with STARTTLS and a login and a web server
/// with TLS, prints their ports, and one line per message.
const RECEIVER: &str = r#"
import datetime, http.server, ipaddress, socket, ssl, sys, threading
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

folder = sys.argv[1]
now = datetime.datetime.now(datetime.timezone.utc)
day = datetime.timedelta(days=1)

def pem(key): return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
def name(text): return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
def builder(subject, key): return x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("test root")).public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)

root = ec.generate_private_key(ec.SECP256R1())
authority = builder("test root", root).add_extension(x509.BasicConstraints(True, None), True).sign(root, hashes.SHA256())
key = ec.generate_private_key(ec.SECP256R1())
names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
certificate = builder("server", key).add_extension(names, False).sign(root, hashes.SHA256())
open(folder + "/ca.pem", "wb").write(authority.public_bytes(serialization.Encoding.PEM))
open(folder + "/server.pem", "wb").write(certificate.public_bytes(serialization.Encoding.PEM) + pem(key))
stranger = builder("stranger", key).add_extension(x509.BasicConstraints(True, None), True).sign(root, hashes.SHA256())
open(folder + "/other.pem", "wb").write(stranger.public_bytes(serialization.Encoding.PEM))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/server.pem")

class Handler:
    async def handle_DATA(self, server, session, envelope):
        print("mail", session.ssl is not None, session.authenticated, flush=True)
        return "250 taken for hunter2hunter2"

def login(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"custody", b"hunter2hunter2"))

s = socket.socket(); s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]; s.close()
controller = Controller(Handler(), hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, authenticator=login, auth_required=True)
controller.start()

class Web(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        print("web", flush=True)
        self.send_response(204); self.end_headers()
    def log_message(self, *args): pass
web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
web.socket = context.wrap_socket(web.socket, server_side=True)
threading.Thread(target=web.serve_forever, daemon=True).start()
print(port, web.server_address[1], flush=True)
sys.stdin.read()
controller.stop()
"#;

/// The Python of the test peers; `cargo xtask test` installs them.
fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("CUSTODY_PEERS").map_or_else(|| root.join(".peers"), PathBuf::from);
    let python = folder.join("venv/bin/python");
    assert!(python.exists(), "the test peers are not installed (run `cargo xtask peers`): no {}", python.display());
    python
}

struct Receiver {
    dir: tempfile::TempDir,
    mail: u16,
    web: u16,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    _child: tokio::process::Child,
}

impl Receiver {
    async fn start() -> Receiver {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("password"), "hunter2hunter2\n").unwrap();
        let mut child = tokio::process::Command::new(python())
            .args(["-c", RECEIVER])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports = lines.next_line().await.unwrap().expect("the receiver starts");
        let (mail, web) = ports.split_once(' ').unwrap();
        Receiver { dir, mail: mail.parse().unwrap(), web: web.parse().unwrap(), lines, _child: child }
    }

    fn open(&self, config: ChannelConfig, authority: &str) -> Channel {
        let config = ChannelConfig { name: "tls".into(), ca_file: Some(self.dir.path().join(authority)), ..config };
        let limits = DeliveryLimits { attempts: 2, pause: Duration::from_millis(10), ..DeliveryLimits::default() };
        Channel::open(&config).unwrap().with_limits(limits)
    }

    fn mail(&self, authority: &str) -> Channel {
        let config = ChannelConfig {
            kind: "smtp".into(),
            server: Some("127.0.0.1".into()),
            port: Some(self.mail),
            from: Some("custody@corp.example".into()),
            to: vec!["on-call@corp.example".into()],
            username: Some("custody".into()),
            password: Some(SecretSource::File(self.dir.path().join("password"))),
            tls: Some(Tls::Starttls),
            ..ChannelConfig::default()
        };
        self.open(config, authority)
    }

    fn web(&self, authority: &str) -> Channel {
        let url = Some(format!("https://127.0.0.1:{}/hook", self.web));
        self.open(ChannelConfig { kind: "webhook".into(), url, ..ChannelConfig::default() }, authority)
    }
}

fn alert() -> Alert {
    let case = Case {
        id: "inc_01931b1c2d3e7f008000000000000002".parse().unwrap(),
        opened: Timestamp::now(),
        state: CaseState::Open,
        severity: Severity::High,
        incident_type: IncidentType::PromptInjection,
        triage: Triage { disposition: Disposition::Confirmed, path: vec![] },
        findings: vec![],
        sessions: vec![],
        scopes: vec![],
        clocks: vec![],
        source: None,
    };
    Alert::of_case(&case, &[], &[], Timestamp::now())
}

#[tokio::test]
async fn mail_goes_through_starttls_with_a_login_and_the_password_is_in_no_record() {
    let mut receiver = Receiver::start().await;
    let record = deliver(&receiver.mail("ca.pem"), &alert(), Timestamp::now).await;
    assert!(record.ok, "{record:?}");
    assert_eq!(receiver.lines.next_line().await.unwrap().unwrap(), "mail True True");
    assert_eq!(record.answer, "250 taken for [secret]");
    assert!(!format!("{record:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_unknown_certificate_gets_no_mail_and_no_post() {
    let receiver = Receiver::start().await;
    for channel in [receiver.mail("other.pem"), receiver.web("other.pem")] {
        let record = deliver(&channel, &alert(), Timestamp::now).await;
        assert!(!record.ok && record.answer.contains("certificate"), "{record:?}");
    }
}

#[tokio::test]
async fn a_webhook_goes_through_tls() {
    let mut receiver = Receiver::start().await;
    let record = deliver(&receiver.web("ca.pem"), &alert(), Timestamp::now).await;
    assert!(record.ok, "{record:?}");
    assert_eq!(receiver.lines.next_line().await.unwrap().unwrap(), "web");
}

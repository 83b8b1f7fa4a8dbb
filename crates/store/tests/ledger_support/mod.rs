//! A ledger in a temporary directory, with its keys.
#![allow(dead_code, reason = "each test binary uses its part")]

use age::x25519::Identity;
use custody_model::{Direction, Event, Message, Outcome, ServerName, SessionId, Shape, Transport};
use custody_store::ledger::{CreateOptions, Draft, Ledger, LedgerKeys, LedgerOptions, Reader, Recovery};
use custody_tlog::Signer;
use jiff::Timestamp;
use std::path::PathBuf;

pub const ORIGIN: &str = "custody.example/test";

pub struct Home {
    pub dir: tempfile::TempDir,
    pub responder: Identity,
    pub daemon: Identity,
}

impl Home {
    pub fn new() -> Home {
        let home = Home { dir: tempfile::tempdir().unwrap(), responder: Identity::generate(), daemon: Identity::generate() };
        Ledger::create(&home.path(), &CreateOptions { signer: signer() }).unwrap();
        home
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub fn keys(&self) -> LedgerKeys {
        LedgerKeys { signer: signer(), responders: vec![self.responder.to_public()], daemon: Some(self.daemon.clone()) }
    }

    pub fn open_with(&self, options: LedgerOptions) -> (Ledger, Recovery) {
        Ledger::open(&self.path(), self.keys(), options).unwrap()
    }

    pub fn open(&self) -> Ledger {
        self.open_with(quiet()).0
    }

    pub fn reader(&self) -> Reader {
        Reader::open(&self.path(), vec![self.responder.clone()]).unwrap()
    }
}

pub fn signer() -> Signer {
    Signer::from_seed(ORIGIN, [5; 32]).unwrap()
}

/// No background work gets in the way.
pub fn quiet() -> LedgerOptions {
    LedgerOptions { sync_ms: 3_600_000, checkpoint_ms: 3_600_000, ..LedgerOptions::default() }
}

pub fn session() -> SessionId {
    SessionId(uuid::Uuid::now_v7())
}

pub fn message() -> Event {
    Event::Message(Message {
        direction: Direction::ToServer,
        server: ServerName::from("practice"),
        transport: Transport::Http,
        shape: Shape::Request,
        method: Some("tools/call".into()),
        tool: Some("read_file".into()),
        answers: None,
        outcome: Outcome::Allowed,
        reason: None,
        denial: None,
        spliced: Vec::new(),
        forwarded: None,
    })
}

pub fn draft(session: SessionId, body: &[u8]) -> Draft {
    Draft {
        at: Timestamp::now(),
        session: Some(session),
        event: message(),
        detail: Some(serde_json::json!({"tool": "read_file", "id": body.len()})),
        body: Some(body.to_vec()),
    }
}

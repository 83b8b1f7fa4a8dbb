//! A witness of our own, for another machine (C2SP `tlog-witness`): it cosigns a log's checkpoints as long as each continues the
//! one before, and refuses every other history from then on. What it cosigned last is on disk before the answer goes out.

use crate::trust::{write_private, write_private_new};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use custody_tlog::{AddCheckpoint, BadRequest, Cosigner, Refusal, SignedCheckpoint, Verifier, consider};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Longest request: 63 hashes and a note.
const MAX_BODY: usize = 128 << 10;
/// Pairs of histories that are kept as evidence; more are only logged.
const MAX_EVIDENCE: usize = 100;

/// A witness's directory cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeeperError {
    /// A file operation failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key or a checkpoint there cannot be used.
    #[error("{} cannot be used: {what}", path.display())]
    #[diagnostic(help("a witness that lost its state must not go on under its name: restore the file, or begin in a new directory"))]
    Bad {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Another process uses it.
    #[error("{} is in use by another witness", path.display())]
    #[diagnostic(help("two witnesses on one state would cosign two histories"))]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A key of a log cannot be read.
    #[error("`{text}` is not the verifier key of a log: {what}")]
    #[diagnostic(help("`custody log status` at the log's machine prints it"))]
    Log {
        /// What was given.
        text: String,
        /// Why not.
        what: String,
    },
    /// It has no log to watch.
    #[error("no log is watched yet")]
    #[diagnostic(help("name at least one with --log VKEY; `custody log status` at the log's machine prints it"))]
    NoLog,
}

/// What a request came to.
#[derive(Debug)]
pub enum Witnessed {
    /// The cosignature's line. It is on disk.
    Cosigned(String),
    /// The log is not one of ours. 404.
    UnknownLog,
    /// Not a request. 400.
    Bad(BadRequest),
    /// Refused, and nothing changed.
    Refused(Refusal),
    /// The state could not be written: nothing was cosigned. 500.
    Failed(io::Error),
}

/// The state of a witness: its key, its logs, and the last checkpoint that it cosigned of each.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    cosigner: Cosigner,
    logs: BTreeMap<String, Mutex<Log>>,
    /// Held as long as the keeper lives.
    _lock: File,
}

#[derive(Debug)]
struct Log {
    verifier: Verifier,
    latest: Option<SignedCheckpoint>,
}

impl Keeper {
    /// Opens a witness's directory; makes it, with a new key under `name`, when there is none. `more` logs are added to those that it
    /// knows.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn open(dir: &Path, name: &str, more: &[String]) -> Result<Keeper, KeeperError> {
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| KeeperError::Io { doing, path, source }
        };
        let states = dir.join("logs");
        std::fs::create_dir_all(&states).map_err(io("make", &states))?;
        let key = dir.join("witness.key");
        if !key.exists() {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| KeeperError::Bad { path: key.clone(), what: error.to_string() })?;
            let new = Cosigner::from_seed(name, seed).map_err(|error| KeeperError::Bad { path: key.clone(), what: error.to_string() })?;
            write_private_new(&key, format!("{}\n", new.encode()).as_bytes()).map_err(io("write", &key))?;
        }
        let lock = File::open(&key).map_err(io("open", &key))?;
        lock.try_lock().map_err(|_| KeeperError::InUse { path: dir.to_owned() })?;
        let text = std::fs::read_to_string(&key).map_err(io("read", &key))?;
        let cosigner = Cosigner::parse(&text).map_err(|error| KeeperError::Bad { path: key.clone(), what: error.to_string() })?;

        let mut logs = BTreeMap::new();
        for vkey in known(&states).map_err(io("read", &states))?.iter().chain(more) {
            let parsed = Verifier::parse(vkey.trim());
            let verifier = parsed.map_err(|error| KeeperError::Log { text: vkey.clone(), what: error.to_string() })?;
            let place = state_file(&states, verifier.name());
            let key_file = place.with_extension("vkey");
            if !key_file.exists() {
                write_private_new(&key_file, format!("{}\n", verifier.vkey()).as_bytes()).map_err(io("write", &key_file))?;
            }
            let latest = match std::fs::read_to_string(&place) {
                Ok(note) => Some(read_own(&note, &verifier).map_err(|what| KeeperError::Bad { path: place.clone(), what })?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(io("read", &place)(error)),
            };
            let earlier = logs.insert(verifier.name().to_owned(), Mutex::new(Log { verifier: verifier.clone(), latest }));
            if earlier.is_some_and(|earlier| earlier.into_inner().is_ok_and(|log| log.verifier.vkey() != verifier.vkey())) {
                let what = "another key is known for this log".to_owned();
                return Err(KeeperError::Log { text: vkey.clone(), what });
            }
        }
        if logs.is_empty() {
            return Err(KeeperError::NoLog);
        }
        Ok(Keeper { dir: dir.to_owned(), cosigner, logs, _lock: lock })
    }

    /// The key that others check its cosignatures with.
    pub fn vkey(&self) -> &str {
        self.cosigner.public().vkey()
    }

    /// The logs with the size that was cosigned last.
    pub fn logs(&self) -> Vec<(String, Option<u64>)> {
        let of = |(origin, log): (&String, &Mutex<Log>)| {
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            (origin.clone(), log.latest.as_ref().map(SignedCheckpoint::size))
        };
        self.logs.iter().map(of).collect()
    }

    /// Decides one request. Blocks for a write and a sync; one request of a log at a time.
    pub fn add_checkpoint(&self, body: &str, now: u64) -> Witnessed {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(bad) => return Witnessed::Bad(bad),
        };
        let origin = &request.checkpoint.unverified().origin;
        let Some(log) = self.logs.get(origin) else { return Witnessed::UnknownLog };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(refusal) = consider(&log.verifier, log.latest.as_ref(), &request) {
            if refusal.is_misbehaviour() {
                tracing::error!(log = %origin, %refusal, "a log signed what cannot stand beside what it signed before");
                self.keep_evidence(log.latest.as_ref(), &request);
            } else {
                tracing::warn!(log = %origin, %refusal, "not cosigned");
            }
            return Witnessed::Refused(refusal);
        }
        let cosignature = self.cosigner.cosign(&request.checkpoint, now);
        let cosigned = match request.checkpoint.with(std::slice::from_ref(&cosignature)) {
            Ok(cosigned) => cosigned,
            Err(_) => return Witnessed::Bad(BadRequest { what: "too many signatures" }),
        };
        // On disk before the answer goes out: whatever happens next, it is not forgotten.
        let place = state_file(&self.dir.join("logs"), origin);
        if let Err(error) = write_private(&place, cosigned.note().as_bytes()) {
            tracing::error!(%error, path = %place.display(), "a cosignature could not be kept; nothing was cosigned");
            return Witnessed::Failed(error);
        }
        log.latest = Some(cosigned);
        Witnessed::Cosigned(cosignature.line())
    }

    /// Both notes carry the log's own signature: together they convict it.
    fn keep_evidence(&self, latest: Option<&SignedCheckpoint>, request: &AddCheckpoint) {
        let dir = self.dir.join("two-histories");
        let text = format!("{}\n{}", latest.map_or("", SignedCheckpoint::note), request.to_text());
        let name = hex::encode(&Sha256::digest(text.as_bytes())[..16]);
        let write = || {
            std::fs::create_dir_all(&dir)?;
            let path = dir.join(format!("{name}.txt"));
            if path.exists() || std::fs::read_dir(&dir)?.count() >= MAX_EVIDENCE { Ok(()) } else { write_private(&path, text.as_bytes()) }
        };
        if let Err(error) = write() {
            tracing::error!(%error, path = %dir.display(), "the two histories could not be kept");
        }
    }
}

/// One name per log, whatever the log is called.
fn state_file(states: &Path, origin: &str) -> PathBuf {
    states.join(hex::encode(Sha256::digest(origin.as_bytes())))
}

fn known(states: &Path) -> io::Result<Vec<String>> {
    let mut vkeys = Vec::new();
    for item in std::fs::read_dir(states)? {
        let path = item?.path();
        if path.extension().is_some_and(|extension| extension == "vkey") {
            vkeys.push(std::fs::read_to_string(path)?.trim().to_owned());
        }
    }
    vkeys.sort();
    Ok(vkeys)
}

fn read_own(note: &str, verifier: &Verifier) -> Result<SignedCheckpoint, String> {
    let read = SignedCheckpoint::parse(note).map_err(|error| error.to_string())?;
    verifier.verify(&read).map_err(|error| error.to_string())?;
    Ok(read)
}

/// `POST /add-checkpoint`; `GET /` says who the witness is.
pub fn witness_router(keeper: Arc<Keeper>) -> Router {
    let who = format!("{}\n", keeper.vkey());
    Router::new()
        .route("/", get(move || std::future::ready(who.clone())))
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(keeper)
}

async fn add_checkpoint(State(keeper): State<Arc<Keeper>>, body: Bytes) -> Response {
    let Ok(text) = String::from_utf8(body.to_vec()) else {
        return (StatusCode::BAD_REQUEST, "not UTF-8\n").into_response();
    };
    let now = jiff::Timestamp::now().as_second().max(0).unsigned_abs();
    let decided = tokio::task::spawn_blocking(move || keeper.add_checkpoint(&text, now)).await;
    match decided {
        Ok(Witnessed::Cosigned(line)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response(),
        Ok(Witnessed::UnknownLog) => (StatusCode::NOT_FOUND, "no such log is watched here\n").into_response(),
        Ok(Witnessed::Bad(bad)) => (StatusCode::BAD_REQUEST, format!("{bad}\n")).into_response(),
        Ok(Witnessed::Refused(Refusal::Elsewhere { size } | Refusal::SplitView { size })) => {
            (StatusCode::CONFLICT, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n")).into_response()
        }
        Ok(Witnessed::Refused(refusal)) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, format!("{refusal}\n")).into_response()
        }
        Ok(Witnessed::Failed(_)) | Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "nothing was cosigned\n").into_response(),
    }
}

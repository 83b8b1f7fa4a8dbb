//! The practice MCP server: files, a database, mail, payments and memory that really do their thing inside one directory.
//!
//! It is the upstream of the drill and of whoever wants to try Custody. Nothing in it guards anything: whatever is called runs. With
//! `--log` it is an **independent witness**: every tool call that reaches it is written down before the tool runs, by this process and
//! not by Custody. Nothing ever leaves the machine: `send_data`, `send_mail` and `make_payment` append to files.
//!
//! Protocol revisions: all that `rmcp` knows, among them 2025-06-18, 2025-11-25 and 2026-07-28, over stdio and Streamable HTTP.

mod changes;
mod log;
mod sample;
mod server;
mod tools;
mod world;

pub use changes::{Changed, Changes};
pub use log::{CallLog, LoggedCall, read_log};
pub use server::PracticeServer;
pub use tools::Profile;
pub use world::World;

use crate::causes::chain;
use rmcp::{
    ServiceExt,
    transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager},
};
use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Largest HTTP request body that is read.
const BODY_BYTES: usize = 4 * 1024 * 1024;

/// Arguments of `custody practice-server`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Directory the tools work in; made, with a few sample documents, if it does not exist
    #[arg(long, value_name = "DIR", default_value = "practice")]
    pub data: PathBuf,
    /// Write every tool call that arrives to this file, one JSON line each, before the tool runs
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Serve Streamable HTTP at /mcp on this address instead of stdio; port 0 takes a free port and prints the address
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,
    /// Which tools it has
    #[arg(long, value_enum, default_value_t)]
    pub profile: Profile,
    /// Definitions that differ, as JSON; read anew for each listing, so that they can change while the server runs
    #[arg(long, value_name = "FILE")]
    pub changes: Option<PathBuf>,
}

/// Why the practice server did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PracticeError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("cannot open the call log {}", path.display())]
    Log {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The runtime, the listener or standard output failed.
    #[error("the practice server failed")]
    Io(#[from] io::Error),
    /// The client on stdio did not speak MCP.
    #[error("the client on stdio did not open an MCP conversation")]
    Handshake(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Runs `custody practice-server` until its client hangs up (stdio) or it is told to stop (HTTP).
pub fn run(args: Args) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("custody practice-server: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn serve(args: Args) -> Result<(), PracticeError> {
    let server = open(&args)?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async move {
        match args.http {
            None => serve_stdio(server).await,
            Some(address) => {
                let listening = listen(server, address).await?;
                // Before the address is told: whoever reads it may ask for the end at once.
                let interrupted = interrupted()?;
                let mut out = io::stdout().lock();
                writeln!(out, "practice server on http://{}/mcp", listening.address)?;
                out.flush()?;
                drop(out);
                let stop = listening.stop.clone();
                tokio::spawn(async move {
                    interrupted.await;
                    stop.cancel();
                });
                listening.ended().await
            }
        }
    })
}

/// The server over `args`' directory and log, before it listens anywhere.
///
/// # Errors
/// When the directory or the log cannot be made.
pub fn open(args: &Args) -> Result<PracticeServer, PracticeError> {
    let data = |source| PracticeError::Data { path: args.data.clone(), source };
    if !args.data.exists() {
        sample::write(&args.data).map_err(data)?;
    }
    let world = World::open(&args.data).map_err(data)?;
    let log = match &args.log {
        Some(path) => Some(CallLog::open(path).map_err(|source| PracticeError::Log { path: path.clone(), source })?),
        None => None,
    };
    Ok(PracticeServer::new(world, log).with_profile(args.profile, Changes(args.changes.clone())))
}

async fn serve_stdio(server: PracticeServer) -> Result<(), PracticeError> {
    let running = server.serve(rmcp::transport::stdio()).await.map_err(|error| PracticeError::Handshake(Box::new(error)))?;
    running.waiting().await.map_err(io::Error::other)?;
    Ok(())
}

/// A practice server that listens for Streamable HTTP.
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Cancel it to stop.
    pub stop: CancellationToken,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Listening {
    /// The endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When accepting connections failed.
    pub async fn ended(self) -> Result<(), PracticeError> {
        Ok(self.task.await.map_err(io::Error::other)??)
    }
}

/// Starts to listen at `address`, path `/mcp`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn listen(server: PracticeServer, address: SocketAddr) -> Result<Listening, PracticeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| PracticeError::Listen { address, source })?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let config = StreamableHttpServerConfig::default()
        .with_max_request_body_bytes(BODY_BYTES)
        .enforce_origin_validation()
        .with_cancellation_token(stop.child_token());
    let service: StreamableHttpService<PracticeServer, LocalSessionManager> =
        StreamableHttpService::new(move || Ok(server.clone()), Default::default(), config);
    let router = axum::Router::new().route_service("/mcp", service);
    let stopping = stop.clone();
    // Answers are small: without this, each waits for the acknowledgement of the one before.
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| _ = stream.set_nodelay(true));
    let task =
        tokio::spawn(
            async move { axum::serve(listener, router).with_graceful_shutdown(async move { stopping.cancelled_owned().await }).await },
        );
    Ok(Listening { address, stop, task })
}

/// Listens for SIGTERM and SIGINT from now on; the future ends with the first of them.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

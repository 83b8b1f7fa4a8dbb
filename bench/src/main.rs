//! The two ends of `cargo xtask bench wire`: a server that does as little as a server can, and a client that asks as fast as it is
//! answered. Both speak MCP over Streamable HTTP and over stdio, in the era with sessions and in the stateless one.
//!
//! Each is one thread: what is measured is the way between them. Loopback only, bounded in connections and time.
#![forbid(unsafe_code)]

mod echo;
mod http_load;
mod message;
mod sample;
mod stdio_load;

use clap::{Parser, Subcommand};
use message::Era;
use std::{net::SocketAddr, process::ExitCode, time::Duration};

/// Echo server and load client for `cargo xtask bench wire`.
#[derive(Parser)]
#[command(name = "custody-bench", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serve one tool, `echo`, over HTTP; prints the URL when ready.
    Echo {
        /// Where; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Serve one tool, `echo`, over standard input and output.
    EchoStdio,
    /// Call the tool over HTTP and print what it took, as one line of JSON.
    Load(HttpArgs),
    /// Start a server over stdio, call the tool and print what it took.
    LoadStdio(StdioArgs),
}

/// Over HTTP.
#[derive(clap::Args)]
pub struct HttpArgs {
    /// The MCP endpoint; on this machine only.
    #[arg(long)]
    pub url: String,
    /// Sent as `Authorization: Bearer …`.
    #[arg(long, env = "CUSTODY_KEY")]
    pub key: Option<String>,
    /// Connections, each with one call under way.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Each connection says that it is a session of its own (`Custody-Session`).
    #[arg(long)]
    pub apart: bool,
    /// What is sent and for how long.
    #[command(flatten)]
    pub plan: Plan,
}

/// Over stdio.
#[derive(clap::Args)]
pub struct StdioArgs {
    /// Calls under way at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub in_flight: u16,
    /// What is sent and for how long.
    #[command(flatten)]
    pub plan: Plan,
    /// The server.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// What is sent and for how long.
#[derive(clap::Args, Clone)]
pub struct Plan {
    /// Protocol revision.
    #[arg(long, value_enum, default_value_t = Era::Stateless)]
    pub era: Era,
    /// Length of the text that is sent and comes back.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub bytes: u32,
    /// How long is measured.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub millis: u64,
    /// How long is called before that.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub warm_up: u64,
    /// Stop after so many calls of each connection.
    #[arg(long)]
    pub calls: Option<u64>,
}

impl Plan {
    /// Longest wait for one answer.
    pub const PATIENCE: Duration = Duration::from_secs(30);
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let done = match task {
        Task::EchoStdio => echo::stdio(),
        Task::Echo { listen } => on_one_thread(echo::http(listen)),
        Task::Load(args) => on_one_thread(http_load::run(args)).map(|sample| println!("{}", sample.json())),
        Task::LoadStdio(args) => stdio_load::run(&args).map(|sample| println!("{}", sample.json())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("custody-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn on_one_thread<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(work)
}

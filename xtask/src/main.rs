//! Development tasks: `cargo xtask test`, `ci`, `bench`, `conformance`, `crash`, `soak`, `peers`, `score`, `train`.

mod bench;
mod checks;
mod conformance;
mod crash;
mod hijack;
mod peers;
mod soak;
mod step;
mod test;
mod tools;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Custody's development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the test peers if needed, then run every test.
    ///
    /// What follows goes to the test runner: `cargo xtask test -p custody-tlog`, `cargo xtask test peers`.
    Test {
        /// Filters and options for `cargo nextest run`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        runner: Vec<String>,
    },
    /// Everything that must hold before a merge: fmt, clippy, deny, docs, then all tests.
    Ci,
    /// Run the benchmarks, or only those named: `cargo xtask bench ledger`.
    ///
    /// `cargo xtask bench wire` is one of its own: what a call costs direct, through HAProxy and through Custody. Only when named.
    Bench {
        /// Names of bench targets, or `wire`. None means all bench targets.
        names: Vec<String>,
        #[command(flatten)]
        wire: wire::Wire,
        /// Handed to the benchmarks after `--`, such as `cargo xtask bench detect -- --json`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run the official conformance suite against the fixture server, without Custody and through it, and compare.
    Conformance {
        /// The client role: the suite's own servers, and the official Python client.
        #[arg(long)]
        client: bool,
        /// Print the comparison as one line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Kill the ledger's writer two thousand times under load, and cut the power after any prefix of operations.
    Crash(crash::Crash),
    /// Half load for a while, then many calls at full load: is memory flat, is each call and its answer in the ledger once?
    Soak(soak::Soak),
    /// Judge the public sessions for hijacks with models that had not seen their suite or wording, and print the figures.
    Score(hijack::Score),
    /// Train the hijack models on all public sessions.
    Train(hijack::Data),
    /// Install the pinned MCP servers and clients that the tests talk to, and say where they are.
    Peers,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Test { runner } => test::run(&runner),
        Task::Ci => checks::run().and_then(|()| test::run(&[])),
        Task::Bench { names, wire, .. } if names == ["wire"] => wire::run(&wire),
        Task::Bench { wire, .. } if wire.is_set() => {
            Err(miette::miette!("these options are for `cargo xtask bench wire`; arguments for others follow `--`").into())
        }
        Task::Bench { names, arguments, .. } => bench::run(&names, &arguments),
        Task::Conformance { client, json } => conformance::run(client, json),
        Task::Crash(options) => crash::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Score(options) => hijack::score(&options),
        Task::Train(data) => hijack::train(&data),
        Task::Peers => peers::install().map(|folder| println!("{}", folder.display())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // A command that failed has spoken for itself, and its closing lines stay the last ones.
        Err(step::Failure::Command { code }) => ExitCode::from(code),
        Err(step::Failure::Said(report)) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}

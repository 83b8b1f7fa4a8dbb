//! The command line.
//!
//! Exit codes: 0 done; 1 the check failed or the action did not succeed; 2 wrong usage; 3 the daemon cannot be reached or
//! a home or credential cannot be trusted; 4 a file that people write needs correcting; 5 anything else.

mod args;
mod backend;
mod commands;
mod failure;
mod output;

pub use args::Cli;
pub use failure::{Failure, code};

use args::{Command, IncidentCommand};
use clap::Parser as _;
use output::Output;
use std::{future::Future, num::NonZeroUsize, process::ExitCode};

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; a closed pipe is not ours to report.
            let code = u8::try_from(error.exit_code()).unwrap_or(code::USAGE);
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let output = Output::new(cli.json);
    match run(cli, &output) {
        Ok(code) => code,
        Err(failure) => failure.report(cli_json(&output)),
    }
}

fn cli_json(output: &Output) -> bool {
    output.json
}

fn run(cli: Cli, output: &Output) -> Result<ExitCode, Failure> {
    let place = commands::Place { home: cli.home, operator_key: cli.operator_key };
    match cli.command {
        Command::Init(args) => commands::init::run(&place, args, output),
        Command::Up(args) => block_on_threads(args.threads, commands::up::run(&place, args, output))?,
        Command::Status => block_on(commands::status::run(&place, output))?,
        Command::Stdio(args) => Ok(crate::gateway::stdio::run_shim(&place.root()?, &args.server, args.command)),
        Command::Adopt(args) => block_on(commands::adopt::adopt(&place, args, output))?,
        Command::Release(args) => block_on(commands::adopt::release(&place, args, output))?,
        Command::Hook { command: commands::hook::HookCommand::Run { file } } => Ok(crate::hook::run(&file)),
        Command::Hook { command: commands::hook::HookCommand::ClaudeCode(args) } => {
            block_on(commands::hook::claude_code(&place, args, output))?
        }
        Command::Sessions(args) => block_on(commands::sessions::list(&place, &args, output))?,
        Command::Session { command } => block_on(commands::sessions::run(&place, command, output))?,
        Command::Context(args) => block_on(commands::context::run(&place, args, output))?,
        Command::Incidents => block_on(commands::incidents::list(&place, output))?,
        Command::Incident { command: IncidentCommand::Show { id } } => block_on(commands::incidents::show(&place, &id, output))?,
        Command::Contain(args) => block_on(commands::contain::contain(&place, args, output))?,
        Command::Undo(args) => block_on(commands::contain::undo(&place, args, output))?,
        Command::Manifest { command } => block_on(commands::manifest::run(&place, command, output))?,
        Command::Held { command } => block_on(commands::held::run(&place, command, output))?,
        Command::Learn(args) => block_on(commands::learn::learn(&place, args, output))?,
        Command::Baseline { command } => block_on(commands::learn::baseline(&place, command, output))?,
        Command::Incident { command: IncidentCommand::Dispose(args) } => block_on(commands::findings::dispose_case(&place, args, output))?,
        Command::Incident { command: IncidentCommand::Close { id, reason } } => {
            block_on(commands::findings::close_case(&place, &id, reason, output))?
        }
        Command::Findings(args) => block_on(commands::findings::list(&place, &args, output))?,
        Command::Finding { command } => block_on(commands::findings::run(&place, command, output))?,
        Command::Rules { command } => block_on(commands::rules::run(&place, command, output))?,
        Command::Evidence { command } => block_on(commands::evidence::run(&place, command, output))?,
        Command::Log { command } => block_on(commands::log::run(&place, command, output))?,
        Command::Witness(args) => block_on(commands::witness::run(&place, args, output))?,
        Command::Find(args) => block_on(commands::find::find(&place, args, output))?,
        Command::Open(args) => block_on(commands::erase::open(&place, args, output))?,
        Command::Erase(args) => block_on(commands::erase::erase(&place, args, output))?,
        Command::Rebuild(args) => block_on(commands::find::rebuild_tables(&place, args, output))?,
        Command::Verify(args) => commands::verify::run(&place, args, output),
        Command::Replay(args) => commands::replay::run(&place, args, output),
        Command::Drill(args) => Ok(crate::drill::run(&args, place.home, output.json)),
        Command::Analyze(args) => commands::analyze::run(&args, output),
        Command::Simulate(args) => commands::simulate::run(args, output),
        Command::PracticeServer(args) => Ok(crate::practice::run(args)),
        Command::Completions { shell } => commands::completions(shell, output),
    }
}

fn block_on<F: Future>(work: F) -> Result<F::Output, Failure> {
    block_on_threads(None, work)
}

/// With so many threads for tasks; as many as processors if nothing is said.
fn block_on_threads<F: Future>(threads: Option<NonZeroUsize>, work: F) -> Result<F::Output, Failure> {
    let all = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.map_or_else(all, NonZeroUsize::get))
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))?;
    let result = runtime.block_on(work);
    // Whatever still blocks (a stuck disk) does not keep the program.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    Ok(result)
}

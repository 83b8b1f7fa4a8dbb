//! `custody hook`: what the user said, what built-in tools did and when the conversation ended, told by the host (R3, D13).

use super::{super::output::plain, Failure, Output, Place, adopt::program, adopt::record};
use crate::adopt::hooks::{self, HookOptions, Which};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

#[derive(Debug, Subcommand)]
pub(in super::super) enum HookCommand {
    /// Put Custody's hook into the settings of Claude Code, or take it out again
    ClaudeCode(ClaudeCodeArgs),
    /// What the host starts for each event: reads one from standard input and tells the daemon
    #[command(hide = true)]
    Run {
        /// The hook's own file
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(in super::super) struct ClaudeCodeArgs {
    /// Take the hook out again
    #[arg(long)]
    remove: bool,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The user's settings, ~/.claude/settings.json: all projects (the default)
    #[arg(long, conflicts_with = "project")]
    user: bool,
    /// Settings of the project in this directory, .claude/settings.local.json
    #[arg(long)]
    project: bool,
    /// Another settings file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "project"])]
    settings: Option<PathBuf>,
    /// Under which name it tells [default: the name under which Claude Code was adopted]
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// How long the host waits for Custody at most, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1500, value_parser = clap::value_parser!(u64).range(50..=4000))]
    deadline: u64,
    /// Stop prompts and tools when Custody cannot be told; without it the host goes on, and the hook's log says so
    #[arg(long)]
    fail_closed: bool,
}

pub async fn claude_code(place: &Place, args: ClaudeCodeArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    place.authorise(&home)?;
    let which = match args.settings {
        Some(file) => Which::File(file),
        None if args.project => Which::Project,
        None => Which::User,
    };
    let shown = |difference: &str| {
        let lines: String = difference.lines().map(|line| format!("{}\n", plain(&line.replace('\t', "    ")))).collect();
        if lines.is_empty() { "Nothing would change.".to_owned() } else { format!("{lines}\nNothing was written.") }
    };
    if args.remove {
        let done = hooks::remove(&home, &which, args.dry_run)?;
        if let Some(difference) = &done.difference {
            output.show(&done, || shown(difference))?;
            return Ok(ExitCode::SUCCESS);
        }
        record(place, &home, "remove_hook", json!({ "file": done.path, "keys": done.keys_removed }), output).await;
        output.show(&done, || {
            let how = if done.exact { "is as it was before the hook" } else { "was changed since: only the hook was taken out" };
            format!("{} {how}\nKeys that no longer work: {}", done.path.display(), done.keys_removed)
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = HookOptions {
        which,
        client: args.client,
        program: program(),
        deadline_ms: args.deadline,
        fail_closed: args.fail_closed,
        dry_run: args.dry_run,
    };
    let done = hooks::install(&home, &options, Timestamp::now())?;
    if let Some(difference) = &done.difference {
        output.show(&done, || shown(difference))?;
        return Ok(ExitCode::SUCCESS);
    }
    record(place, &home, "install_hook", json!({ "file": done.path, "client": done.client }), output).await;
    output.show(&done, || {
        let mut text = match done.changed {
            true => format!("{} tells Custody now, as `{}`\n", done.path.display(), done.client),
            false => format!("{} tells Custody already, as `{}`; its key was made anew\n", done.path.display(), done.client),
        };
        let _ = writeln!(text, "Key and log of the hook: {}", done.file.parent().unwrap_or(&done.file).display());
        if !done.adopted {
            let _ = writeln!(
                text,
                "\nNo client of the name `{}` is adopted: what the hook tells and what the agent calls meet only under one name.\nUse `custody adopt claude-code`, or --client with the name in `custody sessions`.",
                done.client
            );
        }
        text.push_str("\nStart Claude Code again. To take the hook out: `custody hook claude-code --remove`.");
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

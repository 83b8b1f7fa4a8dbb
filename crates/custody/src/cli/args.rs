//! What can be typed.

use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// Incident response for the Model Context Protocol.
///
/// Stands between agents and MCP servers, records everything before it passes, freezes a turned agent before its next call,
/// keeps the evidence, and names the tool result that turned it.
#[derive(Debug, Parser)]
#[command(name = "custody", version, max_term_width = 110, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 the check failed or the action did not succeed; 2 wrong usage; 3 daemon not reached, or home or \
credential not trusted; 4 a file needs correcting; 5 anything else."
)]
pub struct Cli {
    /// The home: ledger, keys, configuration [default: $CUSTODY_HOME, else ~/.custody]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Write JSON with stable keys instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// The operator's credential file [default: operator.key of the home]
    #[arg(long, global = true, value_name = "FILE", env = "CUSTODY_OPERATOR_KEY")]
    pub operator_key: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a home: ledger, ledger key, operator key, configuration
    Init(InitArgs),
    /// Run the daemon until it is told to stop
    Up(UpArgs),
    /// Say how things stand: grade, servers, what is frozen
    Status,
    /// Stand in for a stdio server: what an adopted client starts. Its key is in CUSTODY_KEY
    Stdio(StdioArgs),
    /// Put Custody between a client and its MCP servers (a .mcp.json)
    Adopt(AdoptArgs),
    /// Take Custody out of a client's file again, exactly
    Release(ReleaseArgs),
    /// List sessions, newest first
    Sessions(SessionsArgs),
    /// One session
    Session {
        #[command(subcommand)]
        command: SessionCommand,
    },
    /// List incidents, newest first
    Incidents,
    /// One incident
    Incident {
        #[command(subcommand)]
        command: IncidentCommand,
    },
    /// Cut off a session, a principal, a server or a tool, at once
    Contain(ContainArgs),
    /// Undo an action
    Undo(UndoArgs),
    /// Calls that wait for a person (`hold` of a role)
    Held {
        #[command(subcommand)]
        command: HeldCommand,
    },
    /// Evidence of an incident
    Evidence {
        #[command(subcommand)]
        command: EvidenceCommand,
    },
    /// Check a home's ledger or an evidence bundle, with nothing else at hand
    Verify(VerifyArgs),
    /// Live a real incident through, on real traffic, in a home of its own
    Drill(crate::drill::Args),
    /// Run the practice MCP server
    PracticeServer(crate::practice::Args),
    /// Print a completion script for a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The daemon will have an account of its own; default is observe grade, under your own account
    #[arg(long)]
    pub enforcing: bool,
    /// Name of the first operator
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub operator: String,
    /// The agents' listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4180")]
    pub agents: SocketAddr,
    /// The operators' listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4181")]
    pub operators: SocketAddr,
    /// Name of the ledger, the first line of every checkpoint [default: a random one]
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Listen for agents here instead of where custody.toml says
    #[arg(long, value_name = "ADDRESS")]
    pub agents: Option<SocketAddr>,
    /// Listen for operators here instead of where custody.toml says
    #[arg(long, value_name = "ADDRESS")]
    pub operators: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(super) struct StdioArgs {
    /// The server, as custody.toml names it
    pub server: String,
    /// How to start it, instead of what custody.toml says
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(super) struct AdoptArgs {
    /// The client's file
    #[arg(default_value = ".mcp.json", value_name = "PATH")]
    pub path: PathBuf,
    /// Name under which its sessions are recorded [default: from the file's place]
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,
    /// Its role, for policies
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Its task, within the role
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// The client's file
    #[arg(default_value = ".mcp.json", value_name = "PATH")]
    pub path: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Identity, calls and findings of a session
    Show {
        /// Its id, or a unique prefix
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum IncidentCommand {
    /// Triage, source, timeline, actions and clocks of an incident
    Show {
        /// Its id, or a unique prefix
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ContainArgs {
    /// What kind of thing
    #[command(subcommand)]
    pub target: ContainTargetArgs,
}

/// Flags that every target takes.
#[derive(Debug, Args)]
pub(super) struct ContainFlags {
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Terminate as well, once the evidence is preserved. This cannot be undone
    #[arg(long)]
    pub terminate: bool,
    /// Terminate although the evidence could not be preserved, on this person's name. This cannot be undone
    #[arg(long, value_name = "NAME", requires = "terminate")]
    pub break_glass: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ContainTargetArgs {
    /// One session, with everything that belongs to it
    Session {
        /// Its id, or a unique prefix
        id: String,
        #[command(flatten)]
        flags: ContainFlags,
    },
    /// An adopted client, over every connection
    Principal {
        /// Its name
        id: String,
        #[command(flatten)]
        flags: ContainFlags,
    },
    /// A server, for everybody
    Server {
        /// Its name
        id: String,
        #[command(flatten)]
        flags: ContainFlags,
    },
    /// A tool, for everybody
    Tool {
        /// SERVER/TOOL
        id: String,
        #[command(flatten)]
        flags: ContainFlags,
    },
}

#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// The action's id, or a unique prefix
    pub action: String,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum HeldCommand {
    /// List them, oldest first
    List,
    /// Let one go on
    Allow {
        /// Its id, or a unique prefix
        id: String,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Deny one
    Deny {
        /// Its id, or a unique prefix
        id: String,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EvidenceCommand {
    /// Write the evidence bundle of an incident
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The incident's id, or a unique prefix
    pub incident: String,
    /// Directory to write; it must not exist [default: below `evidence` of the home]
    #[arg(long, short = 'o', value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT", default_value = "evidence export")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A home, a ledger or an evidence bundle [default: the home]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// The verifier key you kept, instead of the one that lies beside the data
    #[arg(long, value_name = "KEY")]
    pub vkey: Option<String>,
    /// A checkpoint that left the machine: the ledger must extend it
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
}

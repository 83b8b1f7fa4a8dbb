//! What can be typed.

use super::commands::{
    erase::{EraseArgs, OpenArgs},
    evidence::EvidenceCommand,
    find::{FindArgs, RebuildArgs},
};
use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

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
    /// Put Custody between a client and its MCP servers (Claude Code and Desktop, Cursor, VS Code, any .mcp.json)
    Adopt(AdoptArgs),
    /// Take Custody out of a client's file again, exactly
    Release(ReleaseArgs),
    /// Let the agent's host tell what MCP does not show: the user's words, built-in tools, the end of a conversation
    Hook {
        #[command(subcommand)]
        command: super::commands::hook::HookCommand,
    },
    /// List sessions, newest first
    Sessions(SessionsArgs),
    /// One session
    Session {
        #[command(subcommand)]
        command: SessionCommand,
    },
    /// What the model had before it after an entry, in order and with its origin, and what cannot be seen from here
    Context(super::commands::context::ContextArgs),
    /// List incidents, newest first
    Incidents,
    /// One incident
    Incident {
        #[command(subcommand)]
        command: IncidentCommand,
    },
    /// Judge the record once more, and say what is found alike, differently, only then or only now
    Replay(ReplayArgs),
    /// Cut off a session, a principal, a server or a tool, at once
    Contain(ContainArgs),
    /// Undo an action
    Undo(UndoArgs),
    /// What servers say of their tools: pinned, changed, approved
    Manifest {
        #[command(subcommand)]
        command: ManifestCommand,
    },
    /// Calls that wait for a person (`hold` of a role)
    Held {
        #[command(subcommand)]
        command: HeldCommand,
    },
    /// Learn from the record what each role usually does, and write it down for review
    Learn(LearnArgs),
    /// The learned baseline in force
    Baseline {
        #[command(subcommand)]
        command: BaselineCommand,
    },
    /// List findings, newest first
    Findings(FindingsArgs),
    /// One finding
    Finding {
        #[command(subcommand)]
        command: FindingCommand,
    },
    /// Detection rules: list, test, reload, silence for a while
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Evidence of an incident
    Evidence {
        #[command(subcommand)]
        command: EvidenceCommand,
    },
    /// The ledger as a log that others follow: serve it, export it, prove from it
    Log {
        #[command(subcommand)]
        command: super::commands::log::LogCommand,
    },
    /// Run a witness for ledgers of other machines: cosign their checkpoints, refuse any other history
    Witness(super::commands::witness::WitnessArgs),
    /// Search sessions, findings and calls: find 'tool:send_* outcome:denied after:2h'
    Find(FindArgs),
    /// Show what is sealed in an entry; the look is recorded
    Open(OpenArgs),
    /// Erase content: its keys are destroyed, the record stays and still verifies. This cannot be undone
    Erase(EraseArgs),
    /// Make the tables anew from the ledger, and say whether they are the same
    Rebuild(RebuildArgs),
    /// Check a home's ledger or an evidence bundle, with nothing else at hand
    Verify(VerifyArgs),
    /// Judge recorded sessions: was the agent turned, by which words, and which calls follow them
    Analyze(AnalyzeArgs),
    /// Live a real incident through, on real traffic, in a home of its own
    Drill(crate::drill::Args),
    /// Simulate a company's traffic with attacks in it, and see what is found, missed and false
    Simulate(SimulateArgs),
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
    /// Threads that carry messages; as many as processors without it. Fewer leave more to others on a busy machine
    #[arg(long, value_name = "N", env = "CUSTODY_THREADS")]
    pub threads: Option<NonZeroUsize>,
    /// For drills: a clock that starts now, or at START, and that an operator advances over the API
    #[arg(long, hide = true, value_name = "START", num_args = 0..=1, default_missing_value = "now")]
    pub virtual_clock: Option<Start>,
}

/// When a virtual clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With the daemon.
    Now,
    /// At this instant.
    At(jiff::Timestamp),
}

impl std::str::FromStr for Start {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Start, jiff::Error> {
        if text == "now" { Ok(Start::Now) } else { text.parse().map(Start::At) }
    }
}

#[derive(Debug, Args)]
pub(super) struct AnalyzeArgs {
    /// Sessions, one JSON object a line (docs/detection.md), also packed by gzip; - for standard input
    #[arg(value_name = "SESSIONS.jsonl")]
    pub sessions: PathBuf,
    /// Write one prediction a line here; - for standard output
    #[arg(long, value_name = "FILE", conflicts_with = "session")]
    pub predictions: Option<PathBuf>,
    /// Judge without the user's words, as where no host tells them
    #[arg(long)]
    pub blind: bool,
    /// Show one session: verdict, words and calls side by side, with reasons
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// Roles at work, each with one to six agents
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub roles: u16,
    /// Days that are judged
    #[arg(long, value_name = "D", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub days: u32,
    /// Days before them that are learned from
    #[arg(long, value_name = "D", default_value_t = 28, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub learn_days: u32,
    /// Learn once, before the judged days, and not again every night
    #[arg(long)]
    pub learn_once: bool,
    /// Rules beside the shipped ones; a file with the name of a shipped one replaces it
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// Attacks to mix in, as TOML or JSON (docs/simulate.md)
    #[arg(long, value_name = "FILE")]
    pub attacks: Option<PathBuf>,
    /// Decides everything that varies; the same seed gives the same report
    #[arg(long, value_name = "S", default_value_t = 2356)]
    pub seed: u64,
    /// Fail (exit code 1) when fewer attacks are found
    #[arg(long, value_name = "N")]
    pub require_found: Option<usize>,
    /// Fail (exit code 1) when there are more false cases
    #[arg(long, value_name = "M")]
    pub max_false: Option<usize>,
    /// Print an attack file with forty attacks, and do nothing else
    #[arg(long)]
    pub example_attacks: bool,
    /// Print the roles, tasks, principals and tools that an attack file may name, and do nothing else
    #[arg(long)]
    pub show_company: bool,
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
    /// The client's file; or claude-code, claude-desktop, cursor, vscode for the file in which it lists servers
    #[arg(default_value = ".mcp.json", value_name = "PATH")]
    pub path: PathBuf,
    /// Show how the file would differ, and change nothing
    #[arg(long)]
    pub dry_run: bool,
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
    /// The client's file; or claude-code, claude-desktop, cursor, vscode
    #[arg(default_value = ".mcp.json", value_name = "PATH")]
    pub path: PathBuf,
    /// Show how the file would differ, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Identity, links, calls and findings of a session
    Show {
        /// Its id, or a unique prefix
        id: String,
    },
    /// Say that two sessions are one agent's run. What is frozen stays frozen; `session split` takes it back
    Join {
        /// The session that goes on: its id, or a unique prefix
        id: String,
        /// The one that is shown with it from now on
        other: String,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Say that a session is two. What is frozen stays frozen; `session join` takes it back
    Split {
        /// Its id, or a unique prefix
        id: String,
        /// The first entry of the other one; the entry of a join takes that join back
        #[arg(long, value_name = "LEAF")]
        at: u64,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum IncidentCommand {
    /// Triage, source, timeline, actions and clocks of an incident
    Show {
        /// Its id, or a unique prefix
        id: String,
    },
    /// Say what it was; one that is false or benign is closed, and its sessions teach again what is normal
    Dispose(DisposeArgs),
    /// Close it. What is frozen stays frozen until it is undone
    Close {
        /// Its id, or a unique prefix
        id: String,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
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
pub(super) struct LearnArgs {
    /// Only what happened since: a time span such as 24h or 7d, or an instant [default: all that is remembered]
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// After so many days a session weighs half; after six times that it is forgotten
    #[arg(long, value_name = "DAYS", default_value_t = 14.0)]
    pub half_life_days: f64,
    /// The file to write [default: below `learned` of the home]
    #[arg(long, short = 'o', value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Put it in force at once
    #[arg(long)]
    pub apply: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum BaselineCommand {
    /// What is in force: profiles with their samples and usual values
    Show,
    /// Write it to a file, as `learn` does
    Export {
        /// The file to write
        file: PathBuf,
    },
    /// Put the baseline of a file in force
    Import {
        /// A file of `learn` or `export`
        file: PathBuf,
        /// Join it with the one in force, instead of replacing it
        #[arg(long)]
        merge: bool,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Have none in force: no rule compares with what is usual
    Clear {
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
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
pub(super) enum ManifestCommand {
    /// List definitions and how they stand; what waits for a person first
    List {
        /// Only of this server
        server: Option<String>,
    },
    /// The pinned definitions, and those that wait
    Show {
        /// The server
        server: String,
        /// Only this tool, prompt or resource; `instructions` or `serverInfo` for the server itself
        name: Option<String>,
    },
    /// Pinned against seen
    Diff {
        /// The server
        server: String,
        /// Only this definition
        name: Option<String>,
    },
    /// Approve what waits: it is pinned, and its quarantine lifted
    Approve(ApproveArgs),
    /// Keep the pinned definitions; the quarantine ends when the server lists them again
    #[command(alias = "rollback")]
    Reject {
        /// The server
        server: String,
        /// Only this definition
        name: Option<String>,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT", default_value = "the pinned definition stays")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// The server
    pub server: String,
    /// Only this definition
    pub name: Option<String>,
    /// The change record
    #[arg(long, value_name = "REF")]
    pub change: String,
    /// Announce changes before they come: within the time of --expires they are approved already
    #[arg(long)]
    pub ahead: bool,
    /// How long the announcement lasts, such as 30m, 4h or 2d
    #[arg(long, value_name = "TIME", requires = "ahead", default_value = "4h")]
    pub expires: String,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT", default_value = "approved by change record")]
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

#[derive(Debug, Args)]
pub(super) struct FindingsArgs {
    /// Only those that nobody assessed, of no incident or of one that is not closed
    #[arg(long)]
    pub open: bool,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

#[derive(Debug, Subcommand)]
pub(super) enum FindingCommand {
    /// Why it was raised, against what, how it was triaged, and how to silence its rule
    Show {
        /// Its id, or a unique prefix
        id: String,
    },
    /// Say what it was
    Dispose(DisposeArgs),
}

#[derive(Debug, Args)]
pub(super) struct DisposeArgs {
    /// Its id, or a unique prefix
    pub id: String,
    /// true: it was what it said; false: it saw what was not there; benign: it saw right, and it was legitimate
    pub verdict: VerdictArg,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// What a person says of a finding or an incident.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[allow(clippy::enum_variant_names)]
pub(super) enum VerdictArg {
    True,
    False,
    Benign,
}

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Rules in force, their modes, and what is silenced
    List,
    /// Run every rule's own cases, with no daemon
    Test {
        /// Directory of rule files, beside the shipped rules [default: the one of custody.toml]
        dir: Option<PathBuf>,
    },
    /// Say what rules would have found in the record, by day and session; nothing is written
    Backtest(BacktestArgs),
    /// Write rules for other systems: as they are (Sigma), or as Splunk searches
    Export(ExportRulesArgs),
    /// Put what custody.toml and its directory of rules say in force, whole or not at all
    Reload,
    /// Silence a rule for a while: what it would raise is counted, not told
    Suppress(SuppressArgs),
    /// Hear a silenced rule again
    Unsuppress {
        /// The rule, or the suppression's id
        which: String,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// Directory of rule files, beside the shipped rules [default: the one of custody.toml]
    pub dir: Option<PathBuf>,
    /// Only these rules, by name or its beginning
    #[arg(long = "rule", value_name = "RULE")]
    pub rules: Vec<String>,
    /// Only what happened since then: a time, or 30m, 24h, 7d ago
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ExportRulesArgs {
    /// Which rules, by name or its beginning [default: all]
    pub rules: Vec<String>,
    /// In which form
    #[arg(long, value_enum, default_value_t = RuleFormat::Sigma)]
    pub format: RuleFormat,
    /// Directory to write a file for each into; it is made [default: standard output]
    #[arg(long, short = 'o', value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RuleFormat {
    /// As they are written
    Sigma,
    /// Searches for Splunk, of rules that look at single messages
    Spl,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// A home [default: this one]
    pub path: Option<PathBuf>,
    /// Directory of rule files, beside the shipped rules [default: what the record says was in force]
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// A custody.toml, whose policies are asked again [default: what the record says that they said]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A learned baseline, as `custody learn` writes it [default: the record's]
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Only what happened since then: a time, or 30m, 24h, 7d ago
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SuppressArgs {
    /// The rule
    pub rule: String,
    /// Only of this agent
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// Only on this server
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Only for this tool
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// How long: 30m, 24h, 7d
    #[arg(long = "for", value_name = "SPAN")]
    pub span: String,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Also a rule whose findings contain an agent at once
    #[arg(long)]
    pub also_p1: bool,
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
    /// The verifier key of a witness that you trust, instead of those in custody.toml; may be given several times
    #[arg(long = "witness", value_name = "KEY")]
    pub witnesses: Vec<String>,
}

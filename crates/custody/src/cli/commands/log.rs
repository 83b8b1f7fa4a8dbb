//! `custody log`: the ledger as a log that others can follow and check.

use super::{super::output::plain, Failure, Output, Place, code};
use crate::{
    api,
    config::{Config, LedgerCopy},
    publish::{Cosigned, Published, export, router},
    trust::{Home, loopback},
};
use clap::{Args, Subcommand};
use custody_model::LeafIndex;
use custody_store::ledger::{LedgerError, Reader};
use custody_tlog::{AddCheckpoint, SignedCheckpoint, WitnessKey};
use serde_json::json;
use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Its name, key and size, and who has seen how much of it
    Status,
    /// Serve it read-only (C2SP tlog-tiles), beside a daemon or without one, until told to stop
    Serve(ServeArgs),
    /// Write it as files that any web server can publish; an earlier export there is continued
    Export(ExportArgs),
    /// Prove that an entry stands in the log (C2SP tlog-proof)
    Prove(ProveArgs),
    /// Prove that a newer checkpoint continues an older one
    Consistency(ConsistencyArgs),
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4182")]
    pub listen: SocketAddr,
    /// Show the clear lines of entries too: servers, tools, sessions, times. Without it only hashes
    #[arg(long)]
    pub entries: bool,
    /// Let other machines reach it
    #[arg(long)]
    pub allow_remote: bool,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Write the clear lines of entries too: servers, tools, sessions, times. Without it only hashes
    #[arg(long)]
    pub entries: bool,
}

#[derive(Debug, Args)]
pub struct ProveArgs {
    /// Number of the entry, from 0
    #[arg(value_name = "ENTRY")]
    pub entry: u64,
    /// Write the entry's line there too: the bytes that the proof speaks of
    #[arg(long, value_name = "FILE")]
    pub line: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ConsistencyArgs {
    /// Size of the older tree, or a file with its checkpoint
    #[arg(value_name = "OLD")]
    pub old: String,
    /// Size of the newer one: that of a checkpoint [default: the newest]
    #[arg(value_name = "NEW")]
    pub new: Option<u64>,
}

pub async fn run(place: &Place, command: LogCommand, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let reader = Reader::open(&home.ledger(), Vec::new()).map_err(ledger)?;
    match command {
        LogCommand::Status => status(&home, &place.config(&home)?, &reader, output),
        LogCommand::Serve(args) => serve(&home, &place.config(&home)?, reader, args, output).await,
        LogCommand::Export(args) => {
            let published = published(&home, &place.config(&home)?, reader, args.entries);
            let bar = output.progress("writing tiles");
            let written = export(&published, &args.dir, &|count| bar.set_message(format!("writing tiles: {count}")));
            bar.finish_and_clear();
            let written = written.map_err(|error| Failure::of(code::FAILED_CHECK, "export", error))?;
            output.show(&written, || {
                let what = if written.entries { "tiles and entry bundles" } else { "tiles" };
                format!(
                    "Wrote {} {what} to {} ({} were there): a log of {} entries",
                    written.written,
                    written.path.display(),
                    written.kept,
                    written.size
                )
            })?;
            Ok(ExitCode::SUCCESS)
        }
        LogCommand::Prove(args) => prove(&reader, &args, output),
        LogCommand::Consistency(args) => consistency(&reader, &args, output),
    }
}

fn ledger(error: LedgerError) -> Failure {
    Failure::new(code::OTHER, "ledger", crate::causes::chain(&error), "`custody verify` names what is wrong with a ledger")
}

/// What this home publishes.
pub fn published(home: &Home, config: &Config, reader: Reader, entries: bool) -> Published {
    let keys: Vec<WitnessKey> = config.ledger.witnesses.iter().map(|witness| witness.key.clone()).collect();
    Published::new(reader, entries, &home.cosigned(), &keys, config.ledger.witness_quorum)
}

fn status(home: &Home, config: &Config, reader: &Reader, output: &Output) -> Result<ExitCode, Failure> {
    let (origin, vkey) = reader.identity().map_err(ledger)?;
    let checkpoint = reader.checkpoint().map_err(ledger)?;
    let cosigned = Cosigned::read(&home.cosigned()).map_err(|error| Failure::io("read the cosigned checkpoints", &error))?;
    let seen = |key: &WitnessKey| cosigned.of(key).map(|(note, line)| (note.size(), line.time));
    let witnesses: Vec<_> = config
        .ledger
        .witnesses
        .iter()
        .map(|witness| {
            let seen = seen(&witness.key);
            let at = seen.and_then(|(_, time)| jiff::Timestamp::from_second(i64::try_from(time).ok()?).ok());
            json!({"name": witness.key.name(), "url": witness.url, "size": seen.map(|(size, _)| size), "at": at})
        })
        .collect();
    let copies: Vec<_> = config
        .ledger
        .copies
        .iter()
        .map(|copy| match copy {
            LedgerCopy::File { path } => path.display().to_string(),
            // The path of a webhook is often its credential.
            LedgerCopy::Webhook { .. } => "a webhook".to_owned(),
        })
        .collect();
    let value = json!({
        "origin": origin,
        "vkey": vkey,
        "size": checkpoint.size(),
        "root": checkpoint.root().to_string(),
        "witnesses": witnesses,
        "quorum": config.ledger.witness_quorum,
        "copies": copies,
        "tiles": config.ledger.tiles.map(|tiles| json!({"listen": tiles.listen, "entries": tiles.entries})),
    });
    output.show(&value, || {
        let mut text = format!("log      {}\nkey      {}\nsigned   {} entries\n", plain(&origin), plain(&vkey), checkpoint.size());
        let _ = match config.ledger.tiles {
            Some(tiles) => writeln!(text, "served   on {} by the daemon{}", tiles.listen, if tiles.entries { ", entries too" } else { "" }),
            None => writeln!(text, "served   by nobody ([ledger.tiles], or `custody log serve`)"),
        };
        for copy in &copies {
            let _ = writeln!(text, "copies   to {}", plain(copy));
        }
        for witness in &witnesses {
            let name = plain(witness["name"].as_str().unwrap_or_default());
            let _ = match witness["size"].as_u64() {
                Some(size) => writeln!(text, "witness  {name}: {size} entries, at {}", witness["at"].as_str().unwrap_or("an unknown time")),
                None => writeln!(text, "witness  {name}: nothing yet"),
            };
        }
        if witnesses.is_empty() {
            let _ =
                writeln!(text, "witness  none: whoever holds this machine's key can rewrite what no copy covers ([[ledger.witnesses]])");
        } else {
            let _ = writeln!(text, "quorum   {} of {}", config.ledger.witness_quorum, witnesses.len());
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(home: &Home, config: &Config, reader: Reader, args: ServeArgs, output: &Output) -> Result<ExitCode, Failure> {
    loopback::check_listen("tiles", args.listen, args.allow_remote).map_err(|error| Failure::of(code::USAGE, "remote", error))?;
    let published = published(home, config, reader, args.entries);
    let listener = TcpListener::bind(args.listen).await.map_err(|error| Failure::io(&format!("listen on {}", args.listen), &error))?;
    let stop = CancellationToken::new();
    let listening = api::serve(listener, router(published), None, stop.clone()).map_err(|error| Failure::io("serve the log", &error))?;
    let address = listening.address;
    output.show(&json!({"event": "ready", "listen": address, "entries": args.entries}), || {
        let entries = if args.entries { "with entries" } else { "hashes only" };
        format!("Serving the log on http://{address} ({entries}). Ctrl-C stops.")
    })?;
    super::until_told().await?;
    stop.cancel();
    listening.ended().await;
    Ok(ExitCode::SUCCESS)
}

fn prove(reader: &Reader, args: &ProveArgs, output: &Output) -> Result<ExitCode, Failure> {
    let leaf = LeafIndex(args.entry);
    let checkpoint = reader.checkpoint().map_err(ledger)?;
    if args.entry >= checkpoint.size() {
        let message = format!("entry {leaf} is not signed yet: the newest checkpoint signs {} entries", checkpoint.size());
        return Err(Failure::new(code::FAILED_CHECK, "unsigned", message, "a running daemon signs new entries every second"));
    }
    let (_, line) = reader.entry(leaf).map_err(ledger)?;
    let proof = reader.inclusion_proof(leaf, checkpoint.size()).map_err(ledger)?;
    // A proof that does not hold helps nobody: the files were changed.
    proof.check(checkpoint.root(), custody_tlog::leaf_hash(line.as_bytes())).map_err(|error| wrong(&error))?;
    if let Some(path) = &args.line {
        std::fs::write(path, &line).map_err(|error| Failure::io(&format!("write {}", path.display()), &error))?;
    }
    let text = proof.to_text(&checkpoint);
    let hashes: Vec<String> = proof.hashes.iter().map(ToString::to_string).collect();
    let value = json!({"leaf": leaf, "size": checkpoint.size(), "line": line, "hashes": hashes, "proof": text});
    output.show(&value, || text.clone())?;
    Ok(ExitCode::SUCCESS)
}

fn wrong(error: &custody_tlog::BadProof) -> Failure {
    Failure::new(code::FAILED_CHECK, "damaged", format!("the files do not prove it: {error}"), "`custody verify` names what was changed")
}

fn consistency(reader: &Reader, args: &ConsistencyArgs, output: &Output) -> Result<ExitCode, Failure> {
    let (old, known) = older(&args.old)?;
    let checkpoint = match args.new {
        None => reader.checkpoint().map_err(ledger)?,
        Some(size) => find(reader, size)?,
    };
    if old == 0 || old > checkpoint.size() {
        let message = format!("there is no proof from {old} to {} entries", checkpoint.size());
        let help = "the older tree has at least one entry and no more than the newer; if it has, entries were taken away";
        return Err(Failure::new(code::FAILED_CHECK, "order", message, help));
    }
    let hashes =
        if old == checkpoint.size() { Vec::new() } else { reader.consistency_proof(old, checkpoint.size()).map_err(ledger)?.hashes };
    let root = known.as_ref().map_or_else(|| reader.root(old).map_err(ledger), |known| Ok(known.root()))?;
    let proof = AddCheckpoint { old, hashes, checkpoint };
    proof.check(root).map_err(|error| match known {
        Some(_) => Failure::new(
            code::FAILED_CHECK,
            "other_history",
            format!("the first {old} entries of this log are not those of the checkpoint: history was rewritten"),
            "keep that checkpoint: it carries the log's own signature",
        ),
        None => wrong(&error),
    })?;
    let text = proof.to_text();
    let shown: Vec<String> = proof.hashes.iter().map(ToString::to_string).collect();
    let value = json!({"old": old, "old_root": root.to_string(), "new": proof.checkpoint.size(), "hashes": shown, "proof": text});
    output.show(&value, || text.clone())?;
    Ok(ExitCode::SUCCESS)
}

/// A size, or a file with a checkpoint.
fn older(text: &str) -> Result<(u64, Option<SignedCheckpoint>), Failure> {
    if let Ok(size) = text.parse() {
        return Ok((size, None));
    }
    let note = std::fs::read_to_string(Path::new(text)).map_err(|error| Failure::io(&format!("read {text}"), &error))?;
    let last = custody_tlog::notes(&note).last().unwrap_or(&note).to_owned();
    let checkpoint = SignedCheckpoint::parse(&last)
        .map_err(|error| Failure::new(code::USAGE, "checkpoint", format!("{text}: {error}"), "give a size, or a file with a checkpoint"))?;
    Ok((checkpoint.size(), Some(checkpoint)))
}

/// The checkpoint of a size.
fn find(reader: &Reader, size: u64) -> Result<SignedCheckpoint, Failure> {
    let mut next = None;
    for checkpoint in reader.checkpoints().map_err(ledger)? {
        let checkpoint = checkpoint.map_err(ledger)?;
        if checkpoint.size() == size {
            return Ok(checkpoint);
        }
        if checkpoint.size() > size {
            next = Some(checkpoint.size());
            break;
        }
    }
    let help = next.map_or_else(|| "leave it away for the newest".to_owned(), |next| format!("the next one signs {next}"));
    Err(Failure::new(code::FAILED_CHECK, "unsigned", format!("no checkpoint signs exactly {size} entries"), help))
}

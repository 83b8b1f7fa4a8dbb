//! `custody erase` and `custody open`: content goes, or is looked at (R8).

use super::{
    super::{
        backend::{Backend, reading_only},
        output::plain,
    },
    Failure, Output, Place, code,
};
use crate::{
    api::{EraseRequest, OpenRequest, Opened, erase_as, open_as},
    core::Erased,
};
use clap::{Args, Subcommand};
use custody_model::LeafIndex;
use custody_store::ledger::Reader;
use jiff::Timestamp;
use std::{fmt::Write as _, process::ExitCode};

#[derive(Debug, Args)]
pub(in crate::cli) struct EraseArgs {
    /// Whose content
    #[command(subcommand)]
    what: EraseWhat,
}

#[derive(Debug, Subcommand)]
enum EraseWhat {
    /// One session
    Session {
        /// Its id, or a unique prefix
        id: String,
        #[command(flatten)]
        flags: EraseFlags,
    },
    /// Every session of an agent
    Subject {
        /// Its name, as `custody sessions` shows it
        name: String,
        #[command(flatten)]
        flags: EraseFlags,
    },
    /// Every session whose last message is older
    Before {
        /// A span back (90d), a day (2026-11-22) or an instant
        when: String,
        #[command(flatten)]
        flags: EraseFlags,
    },
}

#[derive(Debug, Args)]
struct EraseFlags {
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OpenArgs {
    /// The entry's position in the ledger
    entry: u64,
    /// Why; it stands in the record, with your name
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(in crate::cli) async fn erase(place: &Place, args: EraseArgs, output: &Output) -> Result<ExitCode, Failure> {
    let nothing =
        |flags: EraseFlags| EraseRequest { session: None, subject: None, before: None, reason: flags.reason, dry_run: flags.dry_run };
    let request = match args.what {
        EraseWhat::Session { id, flags } => EraseRequest { session: Some(id), ..nothing(flags) },
        EraseWhat::Subject { name, flags } => EraseRequest { subject: Some(name.as_str().into()), ..nothing(flags) },
        EraseWhat::Before { when, flags } => {
            let at = custody_store::projection::find_instant(&when, Timestamp::now())
                .map_err(|what| Failure::new(code::USAGE, "usage", what, ""))?;
            EraseRequest { before: Some(at), ..nothing(flags) }
        }
    };
    let backend = Backend::connect_to_act(place, &place.open()?).await?;
    let progress = output.progress("erasing");
    let erased = backend.erase(request).await;
    progress.finish_and_clear();
    backend.close().await;
    let erased = erased?;
    output.show(&erased, || describe(&erased))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(erased: &Erased) -> String {
    let mut text = String::new();
    let verb = if erased.dry_run { "Would erase" } else { "Erased" };
    let _ = writeln!(text, "{verb} the content of {} sessions ({} keys); the log still verifies", erased.sessions.len(), erased.keys);
    for session in &erased.sessions {
        let _ = writeln!(text, "  {session}");
    }
    for kept in &erased.kept {
        let _ = writeln!(text, "  kept {}: {}", kept.session, plain(&kept.why));
    }
    if !erased.bundles.is_empty() {
        let _ = writeln!(text, "\nThese bundles hold content of them, and are yours to remove:");
        for bundle in &erased.bundles {
            let _ = writeln!(text, "  {}", plain(&bundle.display().to_string()));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// With the daemon's eyes; where its time is over, with the operator's own key, after the look is recorded.
pub(in crate::cli) async fn open(place: &Place, args: OpenArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let leaf = LeafIndex(args.entry);
    let opened = backend.open_entry(OpenRequest { leaf, reason: args.reason }).await;
    backend.close().await;
    let mut opened = opened?;
    if opened.missing.is_some()
        && let Some(own) = place.credential(&home)?.identity().ok()
        && let Some(entry) = Reader::open(&home.ledger(), vec![own]).ok().and_then(|reader| reader.open_entry(leaf).ok())
    {
        opened = Opened::of(entry);
    }
    let shown = opened.missing.is_none();
    output.show(&opened, || show(&opened))?;
    Ok(super::exit(shown))
}

fn show(opened: &Opened) -> String {
    let entry = serde_json::to_value(&opened.entry).unwrap_or_default();
    let mut text = format!("Entry {} of {}: {}\n", opened.leaf, opened.entry.at, entry["kind"].as_str().unwrap_or_default());
    if let Some(detail) = &opened.detail {
        let _ = writeln!(text, "\nDetail\n{}", lines(&format!("{detail:#}")));
    }
    if let Some(body) = &opened.body {
        let _ = writeln!(text, "\nBody\n{}", lines(body));
    }
    if let Some(body) = &opened.body_base64 {
        let _ = writeln!(text, "\nBody, base64\n{body}");
    }
    if let Some(missing) = &opened.missing {
        let _ = writeln!(text, "\nNot shown: {missing}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Hostile text for a terminal, line by line.
fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

impl Backend {
    async fn erase(&self, request: EraseRequest) -> Result<Erased, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.erase(&request).await?),
            Backend::Core { core, by } => Ok(erase_as(core, by.clone(), request).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }

    async fn open_entry(&self, request: OpenRequest) -> Result<Opened, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.open_entry(&request).await?),
            Backend::Core { core, by } => Ok(open_as(core, by.clone(), request).await?),
            Backend::Offline(_) => Err(reading_only()),
        }
    }
}

//! `custody context`: what the model had before it at one moment, and what came between two (R3).

use super::{
    super::{
        backend::{Backend, reading_only},
        output::{plain, precise, word},
    },
    Failure, Output, Place,
};
use crate::api::{ContextRequest, context_as};
use clap::Args;
use custody_engine::investigate::{Context, Piece};
use custody_model::LeafIndex;
use std::{fmt::Write as _, process::ExitCode};

#[derive(Debug, Args)]
pub(in super::super) struct ContextArgs {
    /// The session, or a unique prefix of its id
    session: String,
    /// The moment: after this entry [default: the session's last]
    #[arg(long, value_name = "ENTRY", conflicts_with = "to")]
    at: Option<u64>,
    /// Only what came after this entry
    #[arg(long, value_name = "ENTRY")]
    from: Option<u64>,
    /// And up to this one [default: the session's last]
    #[arg(long, value_name = "ENTRY", requires = "from")]
    to: Option<u64>,
    /// Show whole texts; the reason and your name stand in the record. Without it: beginnings, redacted
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub async fn run(place: &Place, args: ContextArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    let request = ContextRequest { at: args.at.or(args.to).map(LeafIndex), from: args.from.map(LeafIndex), reason: args.reason };
    let whole = request.reason.is_some();
    let backend = match whole {
        true => Backend::connect_to_act(place, &home).await?,
        false => Backend::connect(place, &home).await?,
    };
    let context = backend.context(&args.session, request).await;
    backend.close().await;
    let context = context?;
    output.show(&context, || shown(&context, whole, output))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(context: &Context, whole: bool, output: &Output) -> String {
    let mut text = match context.from {
        Some(from) => format!("What came before the model of {} from entry {from} to {}\n", context.session, context.at),
        None => format!("What the model of {} had before it after entry {}\n", context.session, context.at),
    };
    if context.pieces.is_empty() {
        text.push_str("\nNothing that is known.\n");
    } else if whole {
        for piece in &context.pieces {
            let _ = write!(text, "\n── {} ── entry {} ── {}\n", head(piece), piece.leaf, precise(piece.at));
            for line in piece.text.as_deref().unwrap_or("(not to be opened)").lines() {
                let _ = writeln!(text, "{}", plain(line));
            }
        }
    } else {
        let rows = context.pieces.iter().map(|piece| {
            let words = piece.text.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            vec![
                piece.order.to_string(),
                piece.leaf.to_string(),
                word(&piece.what),
                source(piece),
                piece.by.clone(),
                piece.tokens.to_string(),
                plain(&[words, notes(piece)].join(" ")).trim().chars().take(90).collect(),
            ]
        });
        let _ = writeln!(text, "\n{}", output.table(&["#", "ENTRY", "WHAT", "FROM", "TOLD BY", "TOKENS", "BEGINNING"], rows));
    }
    for piece in &context.gone {
        let _ = writeln!(text, "No longer in view: {} of entry {}{}", head(piece), piece.leaf, notes(piece));
    }
    let totals = context.totals.iter().map(|(what, (pieces, tokens))| format!("{} {pieces} (≈ {tokens})", word(what)));
    let _ = writeln!(text, "\nIn view: about {} tokens. {}", context.tokens, totals.collect::<Vec<_>>().join(", "));
    text.push_str("\nNot to be seen from here:\n");
    for what in &context.unseen {
        let _ = writeln!(text, "  - {}", plain(what));
    }
    if !whole {
        text.push_str("\nBeginnings are redacted. For whole texts give --reason: the look is recorded.");
    }
    text
}

fn head(piece: &Piece) -> String {
    format!("{} {}", word(&piece.what), source(piece)).trim().to_owned()
}

fn source(piece: &Piece) -> String {
    let server = piece.server.as_ref().map(|server| server.to_string());
    plain(&[server, piece.tool.clone()].into_iter().flatten().collect::<Vec<_>>().join("/"))
}

fn notes(piece: &Piece) -> String {
    let gone = piece.superseded.map(|leaf| format!("[replaced at entry {leaf}]"));
    let note = piece.note.as_ref().map(|note| format!("[{note}]"));
    gone.into_iter().chain(note).collect::<Vec<_>>().join(" ")
}

impl Backend {
    async fn context(&self, id: &str, request: ContextRequest) -> Result<Context, Failure> {
        match self {
            Backend::Daemon { client, .. } => Ok(client.context(id, &request).await?),
            Backend::Core { core, by } => Ok(context_as(core, by.clone(), id, request).await?),
            Backend::Offline(_) if request.reason.is_some() => Err(reading_only()),
            Backend::Offline(home) => Ok(home.context(id, &request).await?),
        }
    }
}

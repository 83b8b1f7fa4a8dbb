//! `custody evidence`: bundles leave the ledger, and change hands.

use super::{
    super::{backend::Backend, output::plain},
    Failure, Output, Place, code,
};
use crate::{
    api::{ActRequest, ExportRequest},
    preserve::{HandOver, HandOverError, HandOverKind, HandOverRequest, SealError, hand_over, unseal},
};
use clap::{Args, Subcommand};
use custody_model::Presence;
use custody_tlog::Signer;
use jiff::Timestamp;
use std::{
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Longest file with a key.
const KEY_FILE: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EvidenceCommand {
    /// Write the evidence bundle of an incident
    Export(ExportArgs),
    /// Give a bundle to somebody: checked, and signed onto its chain of custody
    Transfer(TransferArgs),
    /// Sign that you have a bundle that was given to you: checked, and signed onto its chain of custody
    Receive(ReceiveArgs),
    /// Make a key with which a receiver signs
    Key {
        /// Who signs with it, without spaces: a mail address, for instance
        name: String,
        /// File to write; it must not exist
        #[arg(long, short = 'o', value_name = "FILE")]
        out: PathBuf,
    },
    /// Open a bundle that was sealed to you
    Unseal {
        /// The sealed bundle
        #[arg(value_name = "FILE")]
        sealed: PathBuf,
        /// Your `age` identity file
        #[arg(long, short = 'i', value_name = "FILE")]
        identity: PathBuf,
        /// Directory to write; it must not exist
        #[arg(long, short = 'o', value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// The incident's id, or a unique prefix
    incident: String,
    /// Directory to write; it must not exist [default: below `evidence` of the home]
    #[arg(long, short = 'o', value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write one file (DIR.tar.age) that only this `age` recipient can open; may be given more than once
    #[arg(long, value_name = "age1...")]
    seal_to: Vec<String>,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT", default_value = "evidence export")]
    reason: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Circumstances {
    /// Where it is
    #[arg(long = "where", value_name = "PLACE")]
    place: String,
    /// How it goes from hand to hand
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    how: String,
    /// Why; it stands in the chain
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The ledger's verifier key, from somewhere else than the bundle
    #[arg(long, value_name = "KEY")]
    vkey: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TransferArgs {
    /// The bundle
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// Who gets it
    #[arg(long, value_name = "NAME")]
    to: String,
    /// The verifier key that the receiver signs with (`custody evidence key` prints it)
    #[arg(long, value_name = "KEY")]
    to_key: String,
    /// Your key, if you received the bundle [default: the ledger's, for who exported it]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    circumstances: Circumstances,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReceiveArgs {
    /// The bundle
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// Your key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    circumstances: Circumstances,
}

pub(in crate::cli) async fn run(place: &Place, command: EvidenceCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        EvidenceCommand::Export(args) => export(place, args, output).await,
        EvidenceCommand::Transfer(args) => transfer(place, args, output).await,
        EvidenceCommand::Receive(args) => receive(args, output),
        EvidenceCommand::Key { name, out } => make_key(&name, &out, output),
        EvidenceCommand::Unseal { sealed, identity, out } => {
            let text = read_key(&identity)?;
            let progress = output.progress("opening the bundle");
            let opened = unseal(&sealed, &text, &out);
            progress.finish_and_clear();
            opened?;
            output
                .show(&serde_json::json!({"path": out}), || format!("Opened into {}\n\nCheck it: `custody verify {0}`", out.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn export(place: &Place, args: ExportArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    // The daemon has another working directory.
    let out = args.out.map(std::path::absolute).transpose().map_err(|error| Failure::io("find the directory", &error))?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let progress = output.progress("writing the evidence bundle");
    let sealed = !args.seal_to.is_empty();
    let exported = backend.export(ExportRequest { case: args.incident, out, seal_to: args.seal_to, reason: args.reason }).await;
    progress.finish_and_clear();
    backend.close().await;
    let exported = exported?;
    output.show(&exported, || {
        let present = exported.items.iter().filter(|item| matches!(item.presence, Presence::Present { .. })).count();
        let path = exported.path.display();
        let next = match sealed {
            true => format!("Its recipients open it: `custody evidence unseal {path} -i IDENTITY -o DIR`"),
            false => format!("Check it anywhere: `custody verify {path}`"),
        };
        format!(
            "Wrote {path}\n  {present} of {} items, tag manifest sha256 {}\n\n{}\n\n{next}",
            exported.items.len(),
            exported.digest,
            super::incidents::items_table(&exported.items, output),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// With the ledger's key it is an act at the ledger, so an operator's credential is needed and an entry says so.
async fn transfer(place: &Place, args: TransferArgs, output: &Output) -> Result<ExitCode, Failure> {
    let Circumstances { place: location, how, reason, vkey } = args.circumstances;
    let mut request = HandOverRequest { at: Timestamp::now(), by: None, to: Some((args.to, args.to_key)), place: location, how, reason };
    if let Some(key) = args.key {
        let entry = hand_over(&args.bundle, vkey.as_deref(), &read_key(&key)?, &request)?;
        return show(&entry, &args.bundle, output);
    }
    let home = place.open()?;
    let (by, _) = place.authorise(&home)?;
    request.by = Some(by.to_string());
    let key = home.read_ledger_key()?;
    let own = Signer::parse(key.expose()).map_err(|_| HandOverError::Key { which: "the ledger's key" })?;
    let backend = Backend::connect_to_act(place, &home).await?;
    let entry = hand_over(&args.bundle, Some(vkey.as_deref().unwrap_or(own.vkey())), key.expose(), &request);
    let acted = match &entry {
        Ok(entry) => {
            let bundle = std::path::absolute(&args.bundle).unwrap_or_else(|_| args.bundle.clone());
            let detail = serde_json::json!({"bundle": bundle, "hand_over": entry});
            backend.acted(ActRequest { verb: "hand_over_evidence".into(), detail }).await
        }
        Err(_) => Ok(()),
    };
    backend.close().await;
    let entry = entry?;
    acted?;
    show(&entry, &args.bundle, output)
}

fn receive(args: ReceiveArgs, output: &Output) -> Result<ExitCode, Failure> {
    let Circumstances { place, how, reason, vkey } = args.circumstances;
    let request = HandOverRequest { at: Timestamp::now(), by: None, to: None, place, how, reason };
    let entry = hand_over(&args.bundle, vkey.as_deref(), &read_key(&args.key)?, &request)?;
    show(&entry, &args.bundle, output)
}

fn show(entry: &HandOver, bundle: &Path, output: &Output) -> Result<ExitCode, Failure> {
    output.show(entry, || {
        let next = match entry.kind {
            HandOverKind::Given => format!("The receiver signs for it: `custody evidence receive {} --key FILE …`", bundle.display()),
            HandOverKind::Received => format!("`custody verify {}` shows the whole chain", bundle.display()),
        };
        format!("{}\n  {}\n\n{next}", line(entry), plain(&entry.result))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One half of a hand-over on one line. Every word in it may be hostile.
pub(super) fn line(entry: &HandOver) -> String {
    let HandOver { number, at, by, to, place, how, reason, .. } = entry;
    let what = to.as_ref().map_or_else(|| "received".to_owned(), |to| format!("given to {}", plain(to)));
    format!("{number}. {at:.0} {} {what} ({}, {}): {}", plain(by), plain(place), plain(how), plain(reason))
}

fn make_key(name: &str, out: &Path, output: &Output) -> Result<ExitCode, Failure> {
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| Failure::new(code::OTHER, "io", "the operating system gave no random bytes", ""))?;
    let bad = |error: custody_tlog::BadCheckpoint| Failure::new(code::USAGE, "usage", error.to_string(), "");
    let text = zeroize::Zeroizing::new(Signer::encode(name, &seed).map_err(bad)?);
    let vkey = Signer::parse(&text).map_err(bad)?.vkey().to_owned();
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .and_then(|mut file| file.write_all(format!("{}\n", &*text).as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| Failure::io(&format!("write {}", out.display()), &error))?;
    output.show(&serde_json::json!({"path": out, "vkey": vkey}), || {
        format!("Wrote {}: keep it to yourself\n\nWho gives you a bundle names this key: {vkey}", out.display())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn read_key(path: &Path) -> Result<zeroize::Zeroizing<String>, Failure> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(KEY_FILE).read_to_string(&mut text));
    read.map_err(|error| Failure::io(&format!("read {}", path.display()), &error))?;
    Ok(text)
}

impl From<HandOverError> for Failure {
    fn from(error: HandOverError) -> Failure {
        let (code, kind) = match &error {
            HandOverError::Broken { .. } => (code::FAILED_CHECK, "broken_bundle"),
            HandOverError::Turn { .. } => (code::FAILED_CHECK, "not_your_turn"),
            HandOverError::Key { .. } => (code::BAD_FILE, "bad_key"),
            HandOverError::Words { .. } => (code::USAGE, "usage"),
            HandOverError::Bag(_) => (code::OTHER, "io"),
        };
        Failure::of(code, kind, error)
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Failure {
        let (code, kind) = match &error {
            SealError::Key { .. } => (code::BAD_FILE, "bad_key"),
            SealError::Closed { .. } => (code::FAILED_CHECK, "cannot_open"),
            SealError::Hostile { .. } => (code::FAILED_CHECK, "hostile_bundle"),
            SealError::Bag(_) => (code::OTHER, "io"),
        };
        Failure::of(code, kind, error)
    }
}

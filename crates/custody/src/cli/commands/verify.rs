//! `custody verify`: decides by content, needs nothing else.

use super::{
    super::{args::VerifyArgs, output::plain},
    Failure, Output, Place, code, exit,
};
use crate::{
    config::{Config, LedgerCopy},
    preserve::{BundleReport, verify_bundle},
    trust::Home,
};
use custody_model::LeafIndex;
use custody_store::ledger::{Progress, VerifyOptions, VerifyReport, verify};
use custody_tlog::WitnessKey;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// Faults that are shown; the JSON form has them all.
const SHOWN: usize = 20;

/// What a directory holds.
enum Content {
    /// A ledger; with the home around it, if there is one.
    Ledger { ledger: PathBuf, home: Option<Home> },
    /// An evidence bundle.
    Bundle,
}

pub fn run(place: &Place, args: VerifyArgs, output: &Output) -> Result<ExitCode, Failure> {
    let path = match args.path {
        Some(path) => path,
        None => place.root()?,
    };
    if let Some(checkpoint) = &args.checkpoint {
        // A copy that cannot be read proves nothing, and must not look as if it did.
        std::fs::File::open(checkpoint).map_err(|error| Failure::io(&format!("read {}", checkpoint.display()), &error))?;
    }
    match content(&path)? {
        Content::Ledger { ledger, home } => ledger_report(&ledger, home.as_ref(), args.vkey, args.checkpoint, &args.witnesses, output),
        Content::Bundle if args.checkpoint.is_some() => {
            let help = "a bundle brings the checkpoint that its proofs lead to; check its signature with --vkey";
            Err(Failure::new(code::USAGE, "usage", "--checkpoint is for ledgers", help))
        }
        Content::Bundle => bundle_report(&path, args.vkey.as_deref(), output),
    }
}

fn content(path: &Path) -> Result<Content, Failure> {
    std::fs::read_dir(path).map_err(|error| Failure::io(&format!("read {}", path.display()), &error))?;
    // Damage must not turn a ledger into something unknown: any of its parts will do.
    let is_ledger = |path: &Path| path.join("ledger.json").exists() || path.join("segments").is_dir();
    if path.join("bagit.txt").exists() || path.join("tagmanifest-sha256.txt").exists() || path.join("manifest-sha256.txt").exists() {
        return Ok(Content::Bundle);
    }
    if is_ledger(&path.join("ledger")) {
        return Ok(Content::Ledger { ledger: path.join("ledger"), home: Home::open(path).ok() });
    }
    if is_ledger(path) {
        return Ok(Content::Ledger { ledger: path.to_owned(), home: None });
    }
    let message = format!("{} is neither a home, nor a ledger, nor an evidence bundle", path.display());
    Err(Failure::new(code::USAGE, "unknown_content", message, "a bundle has a bagit.txt, a ledger has a ledger.json, a home has a ledger"))
}

fn ledger_report(
    ledger: &Path,
    home: Option<&Home>,
    vkey: Option<String>,
    checkpoint: Option<PathBuf>,
    trusted: &[String],
    output: &Output,
) -> Result<ExitCode, Failure> {
    let (mut witnesses, quorum) = home.map(configured_witnesses).unwrap_or_default();
    if !trusted.is_empty() {
        let parse = |key: &String| {
            let help = "a witness prints its key when it starts: NAME+8 digits+base64";
            WitnessKey::parse(key).map_err(|error| Failure::new(code::USAGE, "usage", format!("--witness {key}: {error}"), help))
        };
        witnesses = trusted.iter().map(parse).collect::<Result<_, _>>()?;
    }
    // Of fewer keys than are needed, all.
    let quorum = quorum.min(witnesses.len());
    let stamp = home.and_then(newest_stamp);
    let cosigned = home.map(Home::cosigned).filter(|path| path.exists());
    let cosigned = cosigned.into_iter().chain(stamp.as_ref().map(|stamp| stamp.checkpoint.clone())).collect();
    let bar = output.progress("checking the ledger");
    let told = bar.clone();
    let progress: Progress = Arc::new(move |entries| told.set_message(format!("checking the ledger: {entries} entries")));
    let mut copies: Vec<PathBuf> = home.map(configured_copies).unwrap_or_default();
    copies.extend(checkpoint);
    // With the daemon's key at hand, what was sealed is compared with what was committed to.
    let identities = home.and_then(|home| home.read_daemon_key().ok()).and_then(|key| key.expose().parse().ok()).into_iter().collect();
    let report = verify(ledger, &VerifyOptions { vkey, copies, cosigned, witnesses, quorum, identities, progress: Some(progress) });
    bar.finish_and_clear();
    let mut value = serde_json::to_value(&report).unwrap_or_default();
    value["kind"] = "ledger".into();
    value["timestamp"] = serde_json::to_value(&stamp).unwrap_or_default();
    output.show(&value, || describe_ledger(&report) + &stamp.map(|stamp| stamp.describe()).unwrap_or_default())?;
    Ok(exit(report.ok))
}

/// The newest time stamp that is kept beside the ledger. Its checkpoint is held against the ledger like a copy; its signature is for
/// `openssl ts -verify`.
#[derive(serde::Serialize)]
struct Stamp {
    checkpoint: PathBuf,
    response: PathBuf,
    size: u64,
    /// What the response says.
    at: Option<jiff::Timestamp>,
    /// Why it says nothing.
    fault: Option<String>,
}

fn newest_stamp(home: &Home) -> Option<Stamp> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(home.timestamps()).ok()?.flatten().map(|item| item.path()).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "tsr"));
    let response = names.into_iter().max()?;
    let checkpoint = response.with_extension("checkpoint");
    let size = response.file_stem()?.to_str()?.parse().ok()?;
    let said = match (std::fs::read(&response), std::fs::read(&checkpoint)) {
        (Ok(response), Ok(note)) => crate::publish::stored_stamp(&response, &note).map_err(|error| error.to_string()),
        (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
    };
    let (at, fault) = said.map_or_else(|why| (None, Some(why)), |at| (Some(at), None));
    Some(Stamp { checkpoint, response, size, at, fault })
}

impl Stamp {
    fn describe(&self) -> String {
        let (response, checkpoint) = (self.response.display(), self.checkpoint.display());
        match (&self.at, &self.fault) {
            (Some(at), _) => format!(
                "  time stamp: the first {} entries existed at {at}, says the authority. Its signature is not checked here:\n    openssl ts -verify -in {response} -data {checkpoint} -CAfile AUTHORITY.pem\n",
                self.size
            ),
            (None, why) => format!("  time stamp {response} cannot be used: {}\n", plain(why.as_deref().unwrap_or("no reason"))),
        }
    }
}

/// Witnesses that the configuration names, and how many it takes.
fn configured_witnesses(home: &Home) -> (Vec<WitnessKey>, usize) {
    let ledger = Config::read(&home.config()).map(|config| config.ledger).unwrap_or_default();
    (ledger.witnesses.into_iter().map(|witness| witness.key).collect(), ledger.witness_quorum)
}

/// Checkpoint copies that the configuration names, where they exist.
fn configured_copies(home: &Home) -> Vec<PathBuf> {
    let copies = Config::read(&home.config()).map(|config| config.ledger.copies).unwrap_or_default();
    let file = |copy| match copy {
        LedgerCopy::File { path } => Some(path),
        LedgerCopy::Webhook { .. } => None,
    };
    copies.into_iter().filter_map(file).filter(|path| path.exists()).collect()
}

fn describe_ledger(report: &VerifyReport) -> String {
    let mut text = String::new();
    let verdict = if report.ok { "OK" } else { "FAILED" };
    let _ = writeln!(text, "{verdict}: ledger {} in {}", plain(&report.origin), report.path.display());
    let _ = writeln!(
        text,
        "  {} entries in {} segments, {} checkpoints, {} sealed parts ({} opened and compared, {} erased){}",
        report.entries,
        report.segments,
        report.checkpoints,
        report.sealed_parts,
        report.opened_parts,
        report.erased_parts,
        if report.live { "; a daemon is writing" } else { "" },
    );
    let _ = match report.vkey_trusted {
        true => writeln!(text, "  signatures checked with the key you gave"),
        false => {
            writeln!(text, "  signatures checked with the key that lies beside the data: whoever can replace both is not noticed (--vkey)")
        }
    };
    for proven in &report.proven {
        let _ = writeln!(text, "  entries {} to {}: {}", proven.from, proven.to.0 - 1, plain(&proven.words));
    }
    for head in &report.witnessed {
        let _ = writeln!(text, "  witness {}: cosigned the first {} entries, at {} by its clock", plain(&head.name), head.size, head.at);
    }
    match report.first_uncovered {
        Some(LeafIndex(0)) if report.ok => {
            let _ = writeln!(text, "  nothing outside this machine covers any entry yet (no copy, no witness)");
        }
        Some(leaf) if report.ok => {
            let _ = writeln!(text, "  the first entry that nothing outside this machine covers yet is {leaf}");
        }
        _ => {}
    }
    for fault in report.faults.iter().take(SHOWN) {
        let _ = writeln!(text, "  FAULT {}", plain(&fault.to_string()));
    }
    more(&mut text, (report.faults.len() as u64 + report.more_faults).saturating_sub(SHOWN as u64));
    text
}

fn bundle_report(path: &Path, vkey: Option<&str>, output: &Output) -> Result<ExitCode, Failure> {
    let bar = output.progress("checking the bundle");
    let report = verify_bundle(path, vkey);
    bar.finish_and_clear();
    let mut value = serde_json::to_value(&report).unwrap_or_default();
    value["kind"] = "bundle".into();
    output.show(&value, || describe_bundle(&report, output))?;
    Ok(exit(report.ok))
}

fn describe_bundle(report: &BundleReport, output: &Output) -> String {
    let mut text = String::new();
    let verdict = if report.ok { "OK" } else { "FAILED" };
    let case = report.case.map_or_else(|| "unknown incident".into(), |case| case.to_string());
    let _ = writeln!(text, "{verdict}: evidence of {case} in {}", report.path.display());
    let _ = writeln!(text, "  {} files, {} bytes", report.files, report.bytes);
    let _ = writeln!(
        text,
        "  {} entries proven to stand in a ledger of {}; {} contents proven to be what was recorded, {} by the signature only",
        report.entries, report.ledger_size, report.proven, report.unproven
    );
    let key = report.vkey.as_deref().map_or_else(|| "none".into(), plain);
    let _ = match report.trusted {
        true => writeln!(text, "  signed with the key you gave, {key}"),
        false => writeln!(
            text,
            "  signed with {key}: compare it with the verifier key you kept (--vkey); the bundle alone cannot say whose it is"
        ),
    };
    for entry in &report.hand_overs {
        let _ = writeln!(text, "  {}", super::evidence::line(entry));
    }
    for fault in report.faults.iter().take(SHOWN) {
        let _ = writeln!(text, "  FAULT {}: {}", plain(&fault.file), plain(&fault.what));
    }
    more(&mut text, report.faults.len().saturating_sub(SHOWN) as u64);
    if report.ok {
        let _ = writeln!(text, "\n{}", super::incidents::items_table(&report.items, output));
    }
    text
}

fn more(text: &mut String, count: u64) {
    if count > 0 {
        let _ = writeln!(text, "  and {count} more; --json lists them");
    }
}

//! `custody adopt` and `custody release`.

use super::{
    super::{
        args::{AdoptArgs, ReleaseArgs},
        backend::Backend,
        output::plain,
    },
    Failure, Output, Place, code,
};
use crate::{
    adopt::{
        self, AdoptOptions,
        clients::{self, Named, Surroundings},
    },
    api::{ActRequest, DaemonFile},
    trust::Home,
};
use jiff::Timestamp;
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

const NOTHING_WRITTEN: &str = "\nNothing was written.";

pub async fn adopt(place: &Place, args: AdoptArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    place.authorise(&home)?;
    let AdoptArgs { path, client, role, task, dry_run } = args;
    let options = AdoptOptions { path: file_of(path)?, client, role, task, program: program(), dry_run };
    let done = adopt::adopt(&home, &options, Timestamp::now())?;
    if let Some(difference) = &done.difference {
        output.show(&done, || {
            let left = done.left.iter().map(|(name, why)| format!("  {} stays as it is: {}\n", plain(name), plain(why)));
            format!("{}{}{NOTHING_WRITTEN}", shown(difference), left.collect::<String>())
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if done.changed {
        let detail = json!({ "file": done.path, "client": done.client, "servers": done.servers });
        record(place, &home, "adopt_client", detail, output).await;
    }
    let restart = done.changed && DaemonFile::running(&home).is_some();
    let mut value = serde_json::to_value(&done).unwrap_or_default();
    value["restart_needed"] = restart.into();
    output.show(&value, || {
        let mut text = if done.changed {
            format!("{} now goes through Custody as `{}`\n", done.path.display(), done.client)
        } else {
            format!("{} goes through Custody already, as `{}`; nothing was changed\n", done.path.display(), done.client)
        };
        for (name, server) in &done.servers {
            let _ = writeln!(text, "  {} → [servers.{server}] of {}", plain(name), home.config().display());
        }
        for (name, why) in &done.left {
            let _ = writeln!(text, "  {} stays as it is: {}", plain(name), plain(why));
        }
        if in_repository(&done.path) {
            text.push_str("\nThe file holds this client's key and lies in a repository: do not commit it.\n");
        }
        if done.readable_by_others {
            text.push_str("\nOther accounts can read the file, and with it the client's key: consider `chmod 600`.\n");
        }
        if restart {
            text.push_str("\nThe daemon that runs does not know new servers yet: restart `custody up`.\n");
        }
        text.push_str("\nRestart the client. To take Custody out again: `custody release`.");
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn release(place: &Place, args: ReleaseArgs, output: &Output) -> Result<ExitCode, Failure> {
    let home = place.open()?;
    place.authorise(&home)?;
    let path = file_of(args.path)?;
    if args.dry_run {
        let done = adopt::show_release(&home, &path)?;
        output.show(&done, || format!("{}{NOTHING_WRITTEN}", shown(done.difference.as_deref().unwrap_or_default())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = adopt::release(&home, &path)?;
    record(place, &home, "release_client", json!({ "file": done.path, "client": done.client, "restored": done.restored }), output).await;
    output.show(&done, || {
        let mut text = match (done.present, done.exact) {
            (true, true) => format!("{} has exactly its earlier bytes again\n", done.path.display()),
            (true, false) => {
                format!("{} was changed since it was adopted: the servers of Custody were taken out, the rest stays\n", done.path.display())
            }
            (false, _) => format!("{} is gone; its earlier text is kept in the home, directory `adopted`\n", done.path.display()),
        };
        for name in &done.kept {
            let _ = writeln!(text, "  {} was changed or removed by you and stays as it is", plain(name));
        }
        let _ = write!(text, "Keys of `{}` that no longer work: {}", done.client, done.keys_removed);
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The file that is meant by the name of a client; any other path is itself.
fn file_of(path: PathBuf) -> Result<PathBuf, Failure> {
    let named = path.to_str().filter(|_| !path.exists()).zip(Surroundings::of_process());
    let Some((client, surroundings)) = named else { return Ok(path) };
    let list = |files: &[PathBuf]| files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    match clients::find(client, &surroundings) {
        Named::Unknown => Ok(path),
        Named::File(file) => Ok(file),
        Named::Nowhere(places) => {
            let help = format!("looked at {}; give the file if it is elsewhere", list(&places));
            Err(Failure::new(code::FAILED_CHECK, "not_found", format!("{client} lists no server in the usual places"), help))
        }
        Named::Several(files) => {
            let help = format!("give one of them: {}", list(&files));
            Err(Failure::new(code::USAGE, "ambiguous", format!("{client} lists servers in several files"), help))
        }
    }
}

/// A difference without control characters of its own.
fn shown(difference: &str) -> String {
    difference.lines().map(|line| format!("{}\n", plain(&line.replace('\t', "    ")))).collect()
}

/// Custody's own acts are in the ledger too (promise 7). The act itself is done: a failure to record it is said, not hidden.
pub(super) async fn record(place: &Place, home: &Home, verb: &str, detail: serde_json::Value, output: &Output) {
    let recorded = async {
        let backend = Backend::connect_to_act(place, home).await?;
        let recorded = backend.acted(ActRequest { verb: verb.into(), detail }).await;
        backend.close().await;
        recorded
    };
    if recorded.await.is_err() {
        output.remark("This could not be written into the ledger.");
    }
}

/// What the client shall start: `custody` when that is this program, else its full path.
pub(super) fn program() -> String {
    let Ok(this) = std::env::current_exe().and_then(std::fs::canonicalize) else { return "custody".into() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("custody")).find(|file| file.is_file());
    if found.and_then(|file| std::fs::canonicalize(file).ok()).as_deref() == Some(&this) {
        return "custody".into();
    }
    this.to_string_lossy().into_owned()
}

fn in_repository(file: &Path) -> bool {
    file.ancestors().skip(1).any(|directory| directory.join(".git").exists())
}

//! The test peers: real MCP servers and clients, pinned in `xtask/peers/`, installed into an ignored folder.
//!
//! Layout: `npm/node_modules/.bin/*` and `venv/bin/python`. The folder is `.peers` in the workspace's root, or `CUSTODY_PEERS`
//! (to share one between checkouts).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{Context as _, IntoDiagnostic as _, miette};

use crate::step::{self, Failure};

/// What decides whether an installed folder is still right. A change in any of them installs again.
const PINS: [(&str, &str); 3] = [
    ("package.json", include_str!("../peers/package.json")),
    ("package-lock.json", include_str!("../peers/package-lock.json")),
    ("requirements.txt", include_str!("../peers/requirements.txt")),
];

/// Installs the peers unless the stamp says that they are there. Returns their folder.
///
/// # Errors
/// When npm or Python is missing or an installation fails; nothing is stamped then.
pub fn install() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("CUSTODY_PEERS").map_or_else(|| step::root().join(".peers"), PathBuf::from);
    let stamp = folder.join("stamp");
    let wanted: String = PINS.iter().map(|(name, text)| format!("== {name}\n{text}\n")).collect();
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(folder);
    }
    let _ = fs::remove_file(&stamp);
    npm(&folder.join("npm"))?;
    pip(&folder.join("venv"))?;
    write(&stamp, &wanted)?;
    Ok(folder)
}

/// The exact versions of the lock file, without running any package's install script.
fn npm(folder: &Path) -> Result<(), Failure> {
    needed("npm", "Node.js with npm (any current version; the peers bring their own node)")?;
    fs::create_dir_all(folder).into_diagnostic().wrap_err_with(|| format!("creating {}", folder.display()))?;
    for (name, text) in PINS.iter().filter(|(name, _)| name.ends_with(".json")) {
        write(&folder.join(name), text)?;
    }
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
    step::run("test peers: npm", &mut command)
}

fn pip(folder: &Path) -> Result<(), Failure> {
    needed("python3", "Python 3.10 or newer with its venv module (Debian: python3-venv)")?;
    step::run("test peers: python venv", Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut command = Command::new(folder.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
    command.arg(step::root().join("xtask/peers/requirements.txt"));
    step::run("test peers: pip", &mut command)
}

fn needed(program: &str, what: &str) -> Result<(), Failure> {
    match Command::new(program).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(miette!(help = format!("install {what}"), "the test peers need `{program}`, which does not run here").into()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    Ok(fs::write(path, text).into_diagnostic().wrap_err_with(|| format!("writing {}", path.display()))?)
}

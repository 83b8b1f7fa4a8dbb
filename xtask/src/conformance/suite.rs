//! `@modelcontextprotocol/conformance`, run with the peers' own node, and what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// `-2026-11-21T12-10-58-371Z` at the end of a result folder's name.
const STAMP: usize = 25;

/// The suite.
pub struct Suite {
    node: PathBuf,
    program: PathBuf,
    results: PathBuf,
}

impl Suite {
    /// The suite in the folder of the test peers; what it finds is kept below `results`.
    pub fn new(peers: &Path, results: &Path) -> Suite {
        let modules = peers.join("npm/node_modules");
        Suite {
            node: modules.join(".bin/node"),
            program: modules.join("@modelcontextprotocol/conformance/dist/index.js"),
            results: results.to_owned(),
        }
    }

    /// All server scenarios of a requirement set against `url`. `name` tells this run from others.
    ///
    /// # Errors
    /// When the suite does not run or writes no results.
    pub fn server(&self, requirements: &str, name: &str, url: &str) -> io::Result<Verdicts> {
        let folder = self.folder(&format!("{requirements}-{name}"))?;
        self.run(&folder, &["server", "--url", url, "--requirements", requirements])?;
        Verdicts::read(&folder, "server-")
    }

    /// An empty folder for results.
    ///
    /// # Errors
    /// When it cannot be emptied or made.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.results.join(name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&folder)?,
        }
        Ok(folder)
    }

    /// The suite with these arguments, results to `folder`. How it ends says whether everything passed; what passed stands there.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&self, folder: &Path, args: &[&str]) -> io::Result<()> {
        let log = fs::File::options().create(true).append(true).open(folder.join("log.txt"))?;
        let mut suite = Command::new(&self.node);
        suite.arg(&self.program).args(args).arg("--output-dir").arg(folder);
        suite.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log).status()?;
        Ok(())
    }
}

/// Each check, `scenario:check`, with the worst of its verdicts: a check can be made several times.
#[derive(Debug, Default)]
pub struct Verdicts(BTreeMap<String, Verdict>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Nothing was checked.
    Told,
    Passed,
    Warned,
    Failed,
}

impl Verdicts {
    /// The checks that passed.
    pub fn passed(&self) -> BTreeSet<String> {
        self.0.iter().filter(|(_, verdict)| **verdict == Verdict::Passed).map(|(id, _)| id.clone()).collect()
    }

    /// What stands in a folder of results, in subfolders that begin with `prefix`. `auth/…` scenarios have a folder in between.
    ///
    /// # Errors
    /// When there is nothing, or something cannot be read.
    pub fn read(folder: &Path, prefix: &str) -> io::Result<Verdicts> {
        let mut verdicts = Verdicts::default();
        let groups = [(folder.to_owned(), ""), (folder.join("auth"), "auth/")];
        let groups = groups.iter().filter(|(folder, _)| folder.is_dir());
        let entries: Vec<_> =
            groups.flat_map(|(folder, group)| fs::read_dir(folder).into_iter().flatten().map(move |one| (group, one))).collect();
        for (group, entry) in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(scenario) = name.strip_prefix(prefix).and_then(|name| name.get(..name.len().checked_sub(STAMP)?)) else { continue };
            let scenario = format!("{group}{scenario}");
            // A scenario that broke off passed nothing.
            let Ok(checks) = fs::read(entry.path().join("checks.json")) else { continue };
            let checks: Value = serde_json::from_slice(&checks)?;
            for check in checks.as_array().into_iter().flatten() {
                let verdict = match check["status"].as_str() {
                    Some("SUCCESS") => Verdict::Passed,
                    Some("WARNING") => Verdict::Warned,
                    Some("INFO" | "SKIPPED") => Verdict::Told,
                    _ => Verdict::Failed,
                };
                let id = format!("{scenario}:{}", check["id"].as_str().unwrap_or_default());
                let worst = verdicts.0.entry(id).or_insert(verdict);
                *worst = verdict.max(*worst);
            }
        }
        match verdicts.0.is_empty() {
            true => Err(io::Error::other(format!("no results in {}; see log.txt there", folder.display()))),
            false => Ok(verdicts),
        }
    }
}

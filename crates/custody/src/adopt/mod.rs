//! Put Custody into a client's configuration, and take it out again.
//!
//! `adopt` moves each server's definition to `custody.toml` (mode 0600) and points the client at Custody with a key of its
//! own; `release` gives the file its bytes back. Edits touch the fields they mean: order, formatting and unknown fields
//! stay. The order of writes survives a crash at any point: the record first, the client's file last.

pub mod clients;
mod config;
mod difference;
mod document;
mod entry;
pub mod hooks;
mod record;

pub use document::DocumentError;
pub use entry::Definition;

use crate::config::{Config, ConfigError, Grade};
use crate::trust::{
    Clients, Home, Secret,
    clients::{ClientError, ClientRecord},
    replace_keeping_mode, write_private,
};
use custody_model::PrincipalName;
use entry::Gate;
use jiff::Timestamp;
use record::{AdoptedEntry, Record, Records};
use serde::Serialize;
use std::{
    io,
    path::{Path, PathBuf},
};
use toml_edit::DocumentMut;

/// A client's file is never larger.
const MAX_FILE: u64 = 16 << 20;

/// Why a client cannot be adopted or released. Unless it says so, nothing was changed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AdoptError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}")]
    #[diagnostic(help("check that the file exists and that your account may read and write it"))]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The client's file is not understood.
    #[error("{path} cannot be edited: {source}")]
    #[diagnostic(help("nothing was changed; correct the file and try again{}", backup.as_deref().map(|path| format!(" (the text before adoption is in {path})")).unwrap_or_default()))]
    Document {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: DocumentError,
        /// Where its text before adoption is kept, if it was adopted.
        backup: Option<String>,
    },
    /// `custody.toml` is not TOML.
    #[error("{path} cannot be edited")]
    #[diagnostic(help("correct the place that is named, then try again"))]
    Config {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<toml_edit::TomlError>,
    },
    /// Not one server could be adopted.
    #[error("no server of {path} can be adopted: {why}")]
    #[diagnostic(help("nothing was changed"))]
    Nothing {
        /// The file.
        path: String,
        /// The reasons.
        why: String,
    },
    /// The file was never adopted into this home.
    #[error("{path} is not adopted into this home")]
    #[diagnostic(help("adopted files: {known}"))]
    NotAdopted {
        /// The file.
        path: String,
        /// Those that are.
        known: String,
    },
    /// `custody.toml` is not usable, or would not be afterwards.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Meaning(#[from] ConfigError),
    /// The list of clients cannot be changed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Clients(#[from] ClientError),
}

/// What `adopt` is told.
#[derive(Debug, Clone)]
pub struct AdoptOptions {
    /// The client's file.
    pub path: PathBuf,
    /// The client's name; `None`: from the file's place.
    pub client: Option<String>,
    /// Its role, for policies.
    pub role: Option<String>,
    /// Its task.
    pub task: Option<String>,
    /// The program that the client shall start.
    pub program: String,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What `adopt` did.
#[derive(Debug, Clone, Serialize)]
pub struct Adoption {
    /// The file.
    pub path: PathBuf,
    /// The client's name: the principal of its sessions.
    pub client: String,
    /// Name in the file and name in `custody.toml` of each server behind Custody.
    pub servers: Vec<(String, String)>,
    /// Servers that stay as they are, and why.
    pub left: Vec<(String, String)>,
    /// Whether anything was written.
    pub changed: bool,
    /// Whether other accounts can read the file, which now holds a client key.
    pub readable_by_others: bool,
    /// How the file differs afterwards; values of variables and headers are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// What `release` did.
#[derive(Debug, Clone, Serialize)]
pub struct Release {
    /// The file.
    pub path: PathBuf,
    /// The client's name.
    pub client: String,
    /// Whether the file has exactly its earlier bytes.
    pub exact: bool,
    /// Whether the file still exists.
    pub present: bool,
    /// Servers that were given back.
    pub restored: Vec<String>,
    /// Servers that the user changed or removed meanwhile: they stay as they are.
    pub kept: Vec<String>,
    /// Keys that no longer open the agents' listener.
    pub keys_removed: usize,
    /// How the file differs afterwards; values of variables and headers are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// Puts Custody between the client of a file and its servers. Twice is the same as once.
///
/// # Errors
/// See [`AdoptError`].
pub fn adopt(home: &Home, options: &AdoptOptions, now: Timestamp) -> Result<Adoption, AdoptError> {
    let path = resolve(&options.path)?;
    let records = Records::lock(home.root()).map_err(io_error("use", home.root()))?;
    let known = records.read(&path).map_err(io_error("read the record of", &path))?;
    let current = read_text(&path, None)?;
    let base = match &known {
        Some(record) => without_custody(&current, record, &path)?.text,
        None => current.clone(),
    };
    let client = options.client.clone().or_else(|| known.as_ref().map(|known| known.client.clone())).unwrap_or_else(|| client_name(&path));
    let client = config::plain_name(&client);
    let mut config = read_config(home)?;
    let meaning = check_config(home, &config)?;
    let apart = meaning.grade == Grade::Enforcing;
    let agents_url = meaning.agents.url();
    let same_client = known.as_ref().is_none_or(|known| known.client == client);
    let clients = Clients::open(&home.clients())?;
    let held = key_in_text(&current).filter(|key| same_client && clients.authenticate(key.expose()).is_some_and(|name| name.0 == client));
    let (key, key_is_new) = match held {
        Some(key) => (key, false),
        None => (Secret::mint(crate::trust::clients::KEY_PREFIX).map_err(io_error("make a key for", &path))?, true),
    };
    let gate = Gate { program: &options.program, home: home.root(), agents_url: &agents_url, key: &key, apart };

    let mut record = Record::new(&path, &client, now);
    let mut left = Vec::new();
    let mut edits = Vec::new();
    let directory = path.parent().unwrap_or(Path::new("/"));
    for field in document_servers(&base, &path, None)? {
        let original = &base[field.span.clone()];
        let directory = if field.place.is_empty() { directory } else { Path::new(&field.place) };
        if entry::key_in(original).is_some() {
            left.push((field.shown(), "it already goes through Custody, by another home or by hand".into()));
            continue;
        }
        let definition = match entry::read(original, directory) {
            Ok(definition) => definition,
            Err(why) => {
                left.push((field.shown(), why));
                continue;
            }
        };
        let before = known.as_ref().and_then(|known| known.entries.iter().find(|entry| entry.is(&field)));
        let wanted = before.map_or(field.name.as_str(), |entry| entry.server.as_str());
        let (server, added) = config::add_server(&mut config, wanted, &definition);
        if let Err(error) = check_config(home, &config) {
            if added {
                config::remove_server(&mut config, &server, &definition);
            }
            check_config(home, &config)?;
            left.push((field.shown(), error.faults().first().map_or_else(|| error.to_string(), |fault| fault.what.clone())));
            continue;
        }
        let adopted = entry::adopted(original, &definition, &server, &gate)
            .map_err(|source| document_error(&path, DocumentError::Json(source), None))?;
        edits.push((field.span.clone(), adopted.clone()));
        let server_added = added || before.is_some_and(|entry| entry.server == server && entry.server_added);
        record.entries.push(AdoptedEntry {
            name: field.name,
            place: field.place,
            server,
            original: original.into(),
            adopted,
            server_added,
        });
    }
    if record.entries.is_empty() {
        let why = left.iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>().join("; ");
        let why = if why.is_empty() { "it has none".into() } else { why };
        return Err(AdoptError::Nothing { path: path.display().to_string(), why });
    }
    record.client_added = config::add_client(&mut config, &client, options.role.as_deref(), options.task.as_deref())
        || known.as_ref().is_some_and(|known| known.client_added && known.client == client);
    check_config(home, &config)?;
    record.adopted = document::splice(&base, edits);
    record.original = base;
    let unchanged = record.adopted == current && !key_is_new;
    let done = |changed: bool, difference: Option<String>, record: Record| {
        let mode = std::fs::metadata(&path).map(|metadata| std::os::unix::fs::MetadataExt::mode(&metadata));
        Adoption {
            path: path.clone(),
            client: client.clone(),
            servers: record.entries.iter().map(|entry| (entry.shown(), entry.server.clone())).collect(),
            left,
            changed,
            readable_by_others: mode.is_ok_and(|mode| mode & 0o077 != 0),
            difference,
        }
    };
    if options.dry_run {
        let difference = difference::between(&current, &record.adopted, &path);
        return Ok(done(!unchanged, Some(difference), record));
    }
    let config_changed = write_config(home, &config)?;
    if !unchanged {
        records.write(&record).map_err(io_error("write the record of", &path))?;
        if key_is_new {
            Clients::revoke(&home.clients(), |one| one.file.as_deref() == Some(&path))?;
            Clients::register(&home.clients(), &key, PrincipalName(client.clone()), Some(&path), now)?;
        }
        replace_keeping_mode(&path, record.adopted.as_bytes()).map_err(io_error("write", &path))?;
    }
    Ok(done(!unchanged || config_changed, None, record))
}

/// Takes Custody out of a file again. An untouched file gets exactly its earlier bytes; in a file that was edited
/// meanwhile, each entry that still points at Custody gets its definition back and everything else stays.
///
/// # Errors
/// See [`AdoptError`].
pub fn release(home: &Home, path: &Path) -> Result<Release, AdoptError> {
    release_or_show(home, path, false)
}

/// What [`release`] would do; does nothing.
///
/// # Errors
/// See [`AdoptError`].
pub fn show_release(home: &Home, path: &Path) -> Result<Release, AdoptError> {
    release_or_show(home, path, true)
}

fn release_or_show(home: &Home, path: &Path, dry_run: bool) -> Result<Release, AdoptError> {
    let records = Records::lock(home.root()).map_err(io_error("use", home.root()))?;
    let path = resolve_missing(path);
    let Some(record) = records.read(&path).map_err(io_error("read the record of", &path))? else {
        let known = records.all().map_err(io_error("read the records in", home.root()))?;
        let known: Vec<_> = known.iter().map(|record| record.path.display().to_string()).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        return Err(AdoptError::NotAdopted { path: path.display().to_string(), known });
    };
    let present = path.exists();
    let mut merged = Merged { text: String::new(), restored: Vec::new(), kept: record.entries.iter().map(AdoptedEntry::shown).collect() };
    let mut exact = false;
    let mut difference = None;
    if present {
        let current = read_text(&path, Some(home))?;
        merged = without_custody(&current, &record, &path)?;
        exact = merged.text == record.original;
        difference = dry_run.then(|| difference::between(&current, &merged.text, &path));
        if !dry_run {
            replace_keeping_mode(&path, merged.text.as_bytes()).map_err(io_error("write", &path))?;
        }
    }
    let is_its_key = |one: &ClientRecord| one.file.as_deref() == Some(&path);
    if dry_run {
        let keys_removed = Clients::open(&home.clients())?.records().iter().filter(|one| is_its_key(one)).count();
        let Merged { restored, kept, .. } = merged;
        return Ok(Release { path, client: record.client, exact, present, restored, kept, keys_removed, difference });
    }
    let keys_removed = Clients::revoke(&home.clients(), is_its_key)?;
    let others: Vec<Record> =
        records.all().map_err(io_error("read the records in", home.root()))?.into_iter().filter(|other| other.path != path).collect();
    let mut config = read_config(home)?;
    if record.client_added && !others.iter().any(|other| other.client == record.client) {
        config::remove_client(&mut config, &record.client);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    for entry in record.entries.iter().rev().filter(|entry| entry.server_added) {
        if others.iter().flat_map(|other| &other.entries).any(|other| other.server == entry.server) {
            continue;
        }
        let directory = if entry.place.is_empty() { directory } else { Path::new(&entry.place) };
        if let Ok(definition) = entry::read(&entry.original, directory) {
            config::remove_server(&mut config, &entry.server, &definition);
        }
    }
    write_config(home, &config)?;
    if present {
        records.remove(&path).map_err(io_error("remove the record of", &path))?;
    }
    Ok(Release { path, client: record.client, exact, present, restored: merged.restored, kept: merged.kept, keys_removed, difference })
}

/// The files adopted into a home.
///
/// # Errors
/// See [`AdoptError`].
pub fn adopted_files(home: &Home) -> Result<Vec<PathBuf>, AdoptError> {
    let records = Records::lock(home.root()).map_err(io_error("use", home.root()))?;
    let all = records.all().map_err(io_error("read the records in", home.root()))?;
    Ok(all.into_iter().map(|record| record.path).collect())
}

/// The servers that a client's file defines, and those that cannot be used, with the reason.
///
/// # Errors
/// See [`AdoptError`].
#[allow(clippy::type_complexity, reason = "two plain lists of pairs")]
pub fn definitions(path: &Path) -> Result<(Vec<(String, Definition)>, Vec<(String, String)>), AdoptError> {
    let path = resolve(path)?;
    let text = read_text(&path, None)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let (mut usable, mut left) = (Vec::new(), Vec::new());
    for field in document_servers(&text, &path, None)? {
        let text = &text[field.span];
        match entry::read(text, directory) {
            _ if entry::key_in(text).is_some() => left.push((field.name, "it goes through Custody already".into())),
            Ok(definition) => usable.push((config::plain_name(&field.name), definition)),
            Err(why) => left.push((field.name, why)),
        }
    }
    Ok((usable, left))
}

/// Adds servers to `custody.toml`; returns the names they have there.
///
/// # Errors
/// See [`AdoptError`].
pub fn add_servers(home: &Home, definitions: &[(String, Definition)]) -> Result<Vec<String>, AdoptError> {
    let mut config = read_config(home)?;
    let names = definitions.iter().map(|(name, definition)| config::add_server(&mut config, name, definition).0).collect();
    write_config(home, &config)?;
    Ok(names)
}

struct Merged {
    text: String,
    restored: Vec<String>,
    kept: Vec<String>,
}

/// The file as it would be had it never been adopted.
fn without_custody(current: &str, record: &Record, path: &Path) -> Result<Merged, AdoptError> {
    let names = || record.entries.iter().map(AdoptedEntry::shown).collect();
    if current == record.adopted {
        return Ok(Merged { text: record.original.clone(), restored: names(), kept: Vec::new() });
    }
    if current == record.original {
        return Ok(Merged { text: current.into(), restored: Vec::new(), kept: names() });
    }
    let fields = document_servers(current, path, Some("the record in the home, directory `adopted`"))?;
    let (mut edits, mut restored, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &record.entries {
        let field = fields.iter().find(|field| entry.is(field));
        let back = field
            .and_then(|field| Some((field.span.clone(), entry::restored(&current[field.span.clone()], &entry.original, &entry.adopted)?)));
        match back {
            Some(edit) => {
                edits.push(edit);
                restored.push(entry.shown());
            }
            None => kept.push(entry.shown()),
        }
    }
    Ok(Merged { text: document::splice(current, edits), restored, kept })
}

/// The client key in a file that goes through Custody.
pub fn key_in_file(path: &Path) -> Option<Secret> {
    key_in_text(&read_text(path, None).ok()?)
}

fn key_in_text(text: &str) -> Option<Secret> {
    document::servers(text).ok()?.into_iter().find_map(|field| entry::key_in(&text[field.span]))
}

/// A name for the client of a file: the file's, or for `.mcp.json` and the like the directory's.
pub fn client_name(path: &Path) -> String {
    config::plain_name(&raw_client_name(path))
}

fn raw_client_name(path: &Path) -> String {
    let plain = |text: &std::ffi::OsStr| text.to_string_lossy().trim_start_matches('.').to_owned();
    let stem = path.file_stem().map(plain).unwrap_or_default();
    if let Some(known) = clients::name_of(path) {
        return known.to_owned();
    }
    if !matches!(stem.as_str(), "mcp" | "settings" | "config" | "") {
        return stem;
    }
    path.parent().and_then(Path::file_name).map(plain).filter(|name| !name.is_empty()).unwrap_or_else(|| "client".into())
}

fn resolve(path: &Path) -> Result<PathBuf, AdoptError> {
    std::fs::canonicalize(path).map_err(io_error("read", path))
}

/// As [`resolve`], also for a file that is gone.
fn resolve_missing(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match (absolute.parent().and_then(|parent| std::fs::canonicalize(parent).ok()), absolute.file_name()) {
            (Some(parent), Some(name)) => parent.join(name),
            _ => absolute,
        }
    })
}

fn read_text(path: &Path, home: Option<&Home>) -> Result<String, AdoptError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(io_error("read", path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io_error("read", path)(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB")));
    }
    let backup = home.map(|home| home.root().join("adopted").display().to_string());
    String::from_utf8(bytes).map_err(|_| document_error(path, DocumentError::Encoding, backup.as_deref()))
}

fn document_servers(text: &str, path: &Path, backup: Option<&str>) -> Result<Vec<document::Field>, AdoptError> {
    document::servers(text).map_err(|source| document_error(path, source, backup))
}

fn read_config(home: &Home) -> Result<DocumentMut, AdoptError> {
    let path = home.config();
    let text = std::fs::read_to_string(&path).map_err(io_error("read", &path))?;
    text.parse().map_err(|source| AdoptError::Config { path: path.display().to_string(), source: Box::new(source) })
}

/// What Custody would say to this configuration. Variables count as set: they are the daemon's.
fn check_config(home: &Home, config: &DocumentMut) -> Result<Config, ConfigError> {
    let set = |_: &str| Some("set".to_owned());
    Config::parse(&config.to_string(), &home.config().display().to_string(), home.root(), &set)
}

/// Writes `custody.toml` when it differs; says whether it did.
fn write_config(home: &Home, config: &DocumentMut) -> Result<bool, AdoptError> {
    let path = home.config();
    let text = config.to_string();
    if std::fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(false);
    }
    write_private(&path, text.as_bytes()).map_err(io_error("write", &path))?;
    Ok(true)
}

fn document_error(path: &Path, source: DocumentError, backup: Option<&str>) -> AdoptError {
    AdoptError::Document { path: path.display().to_string(), source, backup: backup.map(str::to_owned) }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AdoptError {
    let path = path.display().to_string();
    move |source| AdoptError::Io { doing, path, source }
}

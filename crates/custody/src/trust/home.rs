//! The home: one directory with everything a daemon owns.

use super::{
    Clients, Grade, OperatorCredential, Operators, Secret,
    files::{make_private_directory, parent, sync_directory, write_private_new},
    grade::{directory_mode, grade_name},
    operators::{OperatorError, read_bounded},
};
use crate::config::Config;
use age::secrecy::ExposeSecret as _;
use custody_model::OperatorName;
use custody_tlog::Signer;
use rustix::io::Errno;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Environment variable that names the home.
pub const HOME_VARIABLE: &str = "CUSTODY_HOME";

/// Why a home cannot be made or used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HomeError {
    /// There is something already.
    #[error("{path} exists already and is not empty")]
    #[diagnostic(help("nothing was changed; choose another place with --home DIR, or use the home that is there"))]
    Occupied {
        /// Where.
        path: String,
    },
    /// There is nothing.
    #[error("there is no Custody home at {path}")]
    #[diagnostic(help("make one with `custody --home {path} init`, or name another with --home DIR or CUSTODY_HOME"))]
    Missing {
        /// Where.
        path: String,
    },
    /// There is something else.
    #[error("{path} is not a complete Custody home: {missing} is missing")]
    #[diagnostic(help("restore the file from your backup, or name another home with --home DIR"))]
    Incomplete {
        /// Where.
        path: String,
        /// What is not there.
        missing: &'static str,
    },
    /// Nothing says where it should be.
    #[error("no home directory is known for this account")]
    #[diagnostic(help("name one with --home DIR or CUSTODY_HOME"))]
    Nowhere,
    /// A name that cannot be used.
    #[error("`{name}` cannot be {what}")]
    #[diagnostic(help("use letters, digits, '.', '-', '_' and '/', at most 100 of them"))]
    BadName {
        /// The name.
        name: String,
        /// What it should have been.
        what: &'static str,
    },
    /// The file system says no.
    #[error("cannot {doing} {path}")]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A credential cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Operator(#[from] OperatorError),
    /// The ledger could not be made.
    #[error("cannot make the ledger")]
    Ledger {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What [`Home::init`] is told.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// How it will be run.
    pub grade: Grade,
    /// The first operator.
    pub operator: OperatorName,
    /// The agents' listener.
    pub agents: SocketAddr,
    /// The operators' listener.
    pub operators: SocketAddr,
    /// Name of the ledger, the first line of every checkpoint; `None`: a random one.
    pub origin: Option<String>,
}

impl Default for InitOptions {
    fn default() -> Self {
        InitOptions {
            grade: Grade::Observe,
            operator: OperatorName::from("operator"),
            agents: SocketAddr::from(([127, 0, 0, 1], 4180)),
            operators: SocketAddr::from(([127, 0, 0, 1], 4181)),
            origin: None,
        }
    }
}

/// What [`Home::init`] made.
#[derive(Debug)]
pub struct Initialised {
    /// The home.
    pub home: Home,
    /// The first operator's credential; also in `operator.key`.
    pub credential: OperatorCredential,
    /// Name of the ledger.
    pub origin: String,
    /// Verifier key of its checkpoints: keep a copy elsewhere.
    pub vkey: String,
}

/// A home and the places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Where the home is: `--home`, else `$CUSTODY_HOME`, else `~/.custody`. Absolute.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`] when nothing says where.
    pub fn discover(option: Option<&Path>) -> Result<PathBuf, HomeError> {
        let named = option.map(Path::to_owned).or_else(|| non_empty(HOME_VARIABLE));
        let path = match named {
            Some(path) => path,
            None => non_empty("HOME").ok_or(HomeError::Nowhere)?.join(".custody"),
        };
        std::path::absolute(&path).map_err(|source| HomeError::Io { doing: "find", path: path.display().to_string(), source })
    }

    /// Uses an existing home; checks that it is complete.
    ///
    /// # Errors
    /// [`HomeError::Missing`] and [`HomeError::Incomplete`].
    pub fn open(root: &Path) -> Result<Home, HomeError> {
        let named = || root.display().to_string();
        let root = match std::fs::canonicalize(root) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HomeError::Missing { path: named() }),
            Err(source) => return Err(HomeError::Io { doing: "use", path: named(), source }),
        };
        let home = Home { root };
        let parts = [("custody.toml", home.config()), ("operators.json", home.operators()), ("ledger", home.ledger())];
        let missing: Vec<_> = parts.iter().filter(|(_, path)| path.symlink_metadata().is_err()).map(|(name, _)| *name).collect();
        match missing.as_slice() {
            [] => Ok(home),
            all if all.len() == parts.len() => Err(HomeError::Missing { path: named() }),
            [first, ..] => Err(HomeError::Incomplete { path: named(), missing: first }),
        }
    }

    /// Makes a home: all of it, or nothing. An empty directory may be there already; anything else is refused.
    ///
    /// # Errors
    /// [`HomeError::Occupied`], [`HomeError::BadName`], or what the file system says.
    pub fn init(root: &Path, options: &InitOptions) -> Result<Initialised, HomeError> {
        let root = std::path::absolute(root).map_err(|source| HomeError::Io { doing: "find", path: root.display().to_string(), source })?;
        let io = |doing, path: &Path| {
            let path = path.display().to_string();
            move |source| HomeError::Io { doing, path, source }
        };
        check_name(options.operator.as_str(), "the name of an operator")?;
        if occupied(&root) {
            return Err(HomeError::Occupied { path: root.display().to_string() });
        }
        let above = parent(&root);
        std::fs::create_dir_all(above).map_err(io("make", above))?;
        let staging = tempfile::Builder::new().prefix(".custody-init-").tempdir_in(above).map_err(io("make a directory in", above))?;
        let staged = Home { root: staging.path().to_owned() };
        let (credential, origin, vkey) = staged.fill(options, &root)?;
        // An empty directory is replaced in one step; anything else that came into being meanwhile is left alone.
        match rustix::fs::rename(staging.path(), &root) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {
                return Err(HomeError::Occupied { path: root.display().to_string() });
            }
            Err(error) => return Err(io("make", &root)(error.into())),
        }
        // Nothing is left to clean up: the directory has its name now.
        let _ = staging.keep();
        sync_directory(above).map_err(io("sync", above))?;
        Ok(Initialised { home: Home { root }, credential, origin, vkey })
    }

    /// Fills a fresh directory. `final_root` is for messages only.
    fn fill(&self, options: &InitOptions, final_root: &Path) -> Result<(OperatorCredential, String, String), HomeError> {
        let io = |path: &Path| {
            let path = final_root.join(path.strip_prefix(&self.root).unwrap_or(path)).display().to_string();
            move |source| HomeError::Io { doing: "write", path, source }
        };
        let origin = match &options.origin {
            Some(origin) => origin.clone(),
            None => random_origin().map_err(io(&self.root))?,
        };
        check_name(&origin, "the origin of a ledger")?;
        for (path, mode) in [
            (self.keys(), 0o700),
            (self.evidence(), 0o700),
            (self.root.join("rules"), 0o700),
            (self.root.join("policies"), 0o700),
            (self.run(), directory_mode(options.grade)),
        ] {
            make_private_directory(&path, mode).map_err(io(&path))?;
        }
        let credential = OperatorCredential::generate(options.operator.clone()).map_err(io(&self.operator_key()))?;
        let registration = credential.registration().map_err(io(&self.operator_key()))?;
        let daemon = age::x25519::Identity::generate();
        let signer_text = new_signer(&origin).map_err(io(&self.ledger_key()))?;
        let signer = Signer::parse(signer_text.expose()).expect("it was encoded just now, under a checked name");
        super::ledger::create(self, &signer)?;

        let files: [(PathBuf, Vec<u8>); 4] = [
            (self.ledger_key(), line(signer_text.expose())),
            (self.daemon_key(), line(daemon.to_string().expose_secret())),
            (self.config(), config_text(options).into_bytes()),
            (self.operators(), super::operators::pretty(&[&registration])),
        ];
        for (path, bytes) in files {
            write_private_new(&path, &bytes).map_err(io(&path))?;
        }
        Clients::create(&self.clients()).map_err(io(&self.clients()))?;
        credential.write_new(&self.operator_key()).map_err(io(&self.operator_key()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(directory_mode(options.grade));
        std::fs::set_permissions(&self.root, mode).map_err(io(&self.root))?;
        sync_directory(&self.root).map_err(io(&self.root))?;
        Ok((credential, origin, signer.vkey().to_owned()))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// `custody.toml`.
    pub fn config(&self) -> PathBuf {
        self.root.join("custody.toml")
    }
    /// The first operator's credential.
    pub fn operator_key(&self) -> PathBuf {
        self.root.join("operator.key")
    }
    /// The token of whoever reads the figures.
    pub fn metrics_token(&self) -> PathBuf {
        self.root.join("metrics.token")
    }
    /// Registered operators.
    pub fn operators(&self) -> PathBuf {
        self.root.join("operators.json")
    }
    /// Registered clients.
    pub fn clients(&self) -> PathBuf {
        self.root.join("clients.json")
    }
    /// The directory of keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
    /// The checkpoint signing key.
    pub fn ledger_key(&self) -> PathBuf {
        self.keys().join("ledger.key")
    }
    /// The daemon's age identity.
    pub fn daemon_key(&self) -> PathBuf {
        self.keys().join("daemon.age")
    }
    /// The ledger's directory.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }
    /// Checkpoints with the cosignatures of witnesses.
    pub fn cosigned(&self) -> PathBuf {
        self.root.join("cosigned")
    }
    /// Time stamps of checkpoints, each beside what it stamps.
    pub fn timestamps(&self) -> PathBuf {
        self.root.join("timestamps")
    }
    /// The projection's database.
    pub fn database(&self) -> PathBuf {
        self.root.join("custody.db")
    }
    /// The learned baseline in force, if there is one.
    pub fn baseline(&self) -> PathBuf {
        self.root.join("baseline.json")
    }
    /// Where learned baselines are written for review.
    pub fn learned(&self) -> PathBuf {
        self.root.join("learned")
    }
    /// Where evidence bundles go.
    pub fn evidence(&self) -> PathBuf {
        self.root.join("evidence")
    }
    /// Run-time files.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
    /// The socket of `custody stdio`.
    pub fn agents_socket(&self) -> PathBuf {
        self.run().join("agents.sock")
    }
    /// Where a running daemon says how it can be reached.
    pub fn daemon_file(&self) -> PathBuf {
        self.run().join("daemon.json")
    }

    /// The checkpoint signing key, in signed-note form.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_ledger_key(&self) -> Result<Secret, HomeError> {
        self.read_secret(&self.ledger_key())
    }

    /// The daemon's age identity, in its text form.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_daemon_key(&self) -> Result<Secret, HomeError> {
        self.read_secret(&self.daemon_key())
    }

    /// The registered operators.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub fn read_operators(&self) -> Result<Operators, HomeError> {
        Ok(Operators::read(&self.operators())?)
    }

    fn read_secret(&self, path: &Path) -> Result<Secret, HomeError> {
        let failed = |source| HomeError::Io { doing: "read", path: path.display().to_string(), source };
        let bytes = read_bounded(path).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        Ok(Secret::from(text.trim_end().to_owned()))
    }
}

fn non_empty(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Anything but nothing and an empty directory.
fn occupied(root: &Path) -> bool {
    match root.symlink_metadata() {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(metadata) => !metadata.is_dir() || std::fs::read_dir(root).map_or(true, |mut entries| entries.next().is_some()),
    }
}

fn check_name(name: &str, what: &'static str) -> Result<(), HomeError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'@');
    if !name.is_empty() && name.len() <= 100 && name.bytes().all(plain) {
        return Ok(());
    }
    Err(HomeError::BadName { name: name.chars().take(100).collect(), what })
}

fn random_origin() -> io::Result<String> {
    let mut bytes = [0u8; 6];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("custody.local/{}", hex::encode(bytes)))
}

/// A new signing key, in the form that [`Signer::parse`] reads.
fn new_signer(origin: &str) -> io::Result<Secret> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(io::Error::other)?;
    Signer::encode(origin, &seed).map(Secret::from).map_err(io::Error::other)
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// The commented template, with the options in it.
fn config_text(options: &InitOptions) -> String {
    let mut document: toml_edit::DocumentMut = Config::template().parse().expect("the template is TOML");
    let mut set = |table: &str, key: &str, text: String| {
        let item = if table.is_empty() { &mut document[key] } else { &mut document[table][key] };
        match item.as_value_mut() {
            // The comment behind the value stays.
            Some(value) => {
                let decor = value.decor().clone();
                *value = text.into();
                *value.decor_mut() = decor;
            }
            None => *item = toml_edit::value(text),
        }
    };
    set("", "grade", grade_name(options.grade).into());
    set("agents", "listen", options.agents.to_string());
    set("operators", "listen", options.operators.to_string());
    document.to_string()
}

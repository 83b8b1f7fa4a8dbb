//! What a seed decides, before anything runs.

use crate::practice::Profile;
use serde_json::{Map, Value, json};

/// MCP lifecycle an agent's connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize` and `Mcp-Session-Id`; revision 2025-11-25.
    Sessions,
    /// As `Sessions`, but asking for revision 2025-06-18.
    OlderSessions,
    /// No handshake: revision 2026-07-28, `server/discover`, per-request `_meta`.
    Stateless,
}

impl Era {
    /// All of them.
    pub const ALL: [Era; 3] = [Era::Sessions, Era::OlderSessions, Era::Stateless];

    /// The revision that is asked for.
    pub fn revision(self) -> &'static str {
        match self {
            Era::OlderSessions => "2025-06-18",
            Era::Sessions => "2025-11-25",
            Era::Stateless => "2026-07-28",
        }
    }
}

/// One tool call to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool, as it will be written.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
}

impl Call {
    /// A call; `arguments` must be a JSON object.
    pub fn new(tool: impl Into<String>, arguments: Value) -> Call {
        let Value::Object(arguments) = arguments else { unreachable!("arguments are written as objects") };
        Call { tool: tool.into(), arguments }
    }

    /// Reading a document, or one page of it.
    pub fn read(path: &str, page: Option<usize>) -> Call {
        match page {
            None => Call::new("read_file", json!({ "path": path })),
            Some(page) => Call::new("read_file", json!({"path": path, "page": page})),
        }
    }
}

/// One step of an agent's own work.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Call a tool on one of the agent's connections.
    Call(usize, Call),
    /// Several calls at once, over as many connections.
    Together(Vec<(usize, Call)>),
    /// Hang up a connection and open it again.
    Reconnect(usize),
    /// Ask for the list of tools again.
    List(usize),
}

/// A document of the corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Path below the practice server's files.
    pub path: String,
    /// Its pages, page markers included; parted by form feeds in the file.
    pub pages: Vec<String>,
}

/// An adopted client and what it does.
#[derive(Debug, Clone)]
pub struct AgentPlan {
    /// Its name.
    pub principal: String,
    /// Its role.
    pub role: String,
    /// Its declared task.
    pub task: String,
    /// The lifecycle of each of its connections.
    pub connections: Vec<Era>,
    /// Its own work, in order.
    pub steps: Vec<Step>,
    /// How many further steps of its own work it does between reading the poison and following it.
    pub hesitates: usize,
}

/// A role and its allowlist.
#[derive(Debug, Clone)]
pub struct RolePlan {
    /// Its name.
    pub name: String,
    /// The tools it may call, all tasks together.
    pub allow: Vec<String>,
    /// A task of it, and the tools that task may call.
    pub task: (String, Vec<String>),
    /// What an argument of a tool must look like, with `*` for any run of characters.
    pub arguments: Vec<(String, String, String)>,
}

/// How a further attempt of the turned agent goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// On a connection that is open already.
    Open(usize),
    /// As a client that connects anew.
    Reconnect(Era),
    /// As hand-written HTTP on a connection of its own.
    Raw(Disguise),
}

/// What hand-written HTTP does differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disguise {
    /// Nothing but new headers.
    Headers(Vec<(String, String)>),
    /// An `Mcp-Session-Id` that nobody gave it, in the older era.
    ForgedSession(String),
    /// The tool's name written with `\u` escapes.
    EscapedName,
    /// `name` twice: first an allowed tool, then the real one.
    TwoNames(String),
    /// The header `Mcp-Name` names an allowed tool, the body the real one.
    LyingHeader(String),
    /// Inside a batch (revision 2025-03-26).
    Batch,
    /// Without the client's key.
    NoKey,
}

/// One of the fourteen further attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What is tried, for people.
    pub label: String,
    /// How.
    pub route: Route,
    /// What.
    pub call: Call,
}

/// What is true of a seed of an attack, and what the detector is never told.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The tool whose result carries the payload.
    pub carrier: &'static str,
    /// The poisoned document.
    pub document: String,
    /// The page of the payload, from 1.
    pub page: usize,
    /// The sentence that gives the order.
    pub sentence: String,
    /// The tool it orders to be used.
    pub tool: &'static str,
    /// Host, address, account or path it names.
    pub destination: String,
}

/// The attack's second half: what the turned agent does once it was denied.
#[derive(Debug, Clone)]
pub struct Onslaught {
    /// The principal that will be turned.
    pub principal: String,
    /// Drawn beforehand, but for the tool and the destination, which come out of the words that the agent reads.
    pub seed: u64,
    /// Further attempts.
    pub attempts: usize,
    /// Whether they go out all at once.
    pub concurrent: bool,
    /// Calls of its own work that the same agent has running on another connection when the first denial falls; 0: none.
    pub meanwhile: usize,
}

/// A whole drill, decided.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenario.
    pub scenario: &'static str,
    /// The seed.
    pub seed: u64,
    /// The corpus.
    pub documents: Vec<Document>,
    /// The database.
    pub database: Value,
    /// Roles.
    pub roles: Vec<RolePlan>,
    /// Agents; they work at the same time.
    pub agents: Vec<AgentPlan>,
    /// `None`: nothing bad is meant to happen.
    pub attack: Option<(Truth, Onslaught)>,
}

impl Plan {
    /// What must stand before it can be played: one practice server, the machine's clock.
    pub fn setting(&self) -> Setting {
        let client = |agent: &AgentPlan| Client { principal: agent.principal.clone(), role: agent.role.clone(), task: agent.task.clone() };
        Setting {
            scenario: self.scenario,
            seed: self.seed,
            servers: vec![ServerPlan { name: SERVER, profile: Profile::Office }],
            documents: self.documents.clone(),
            database: self.database.clone(),
            roles: self.roles.clone(),
            clients: self.agents.iter().map(client).collect(),
            virtual_clock: false,
        }
    }
}

/// The practice server's name in the drill's configuration, where there is only one.
pub const SERVER: &str = "practice";

/// An MCP server of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerPlan {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its tools.
    pub profile: Profile,
}

/// An adopted client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its name.
    pub principal: String,
    /// Its role.
    pub role: String,
    /// Its declared task.
    pub task: String,
}

/// What must stand before anything is played.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The scenario.
    pub scenario: &'static str,
    /// The seed.
    pub seed: u64,
    /// The servers; documents are files of the first.
    pub servers: Vec<ServerPlan>,
    /// The corpus.
    pub documents: Vec<Document>,
    /// The database of every server.
    pub database: Value,
    /// Roles. A tool without a server's name is one of the first server.
    pub roles: Vec<RolePlan>,
    /// Adopted clients.
    pub clients: Vec<Client>,
    /// Whether the daemon's clock is a virtual one.
    pub virtual_clock: bool,
}

impl Setting {
    /// Writes corpus and database below the practice server's data directory.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_corpus(&self, data: &std::path::Path) -> std::io::Result<()> {
        std::fs::create_dir_all(data)?;
        for document in &self.documents {
            let path = data.join("files").join(&document.path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, document.pages.join("\u{c}"))?;
        }
        std::fs::write(data.join("database.json"), self.database.to_string())
    }
}

//! The simulated company: its servers, their tools, and what the tools are asked with.

use custody_engine::detect::ToolHints;
use custody_model::ServerName;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Place of a tool in [`World::tools`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolId(pub usize);

/// What an argument is about; a role's [`super::vocabulary::Vocabulary`] has the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Number of a customer.
    Customer,
    /// `TCK-10432`.
    Ticket,
    /// `INV-2026-00412`.
    Invoice,
    /// Number of an order.
    Order,
    /// Number of an employee.
    Employee,
    /// Several sentences.
    Text,
    /// A few words to look for.
    Query,
    /// A file of the role.
    File,
    /// A directory of the role.
    Folder,
    /// Mail address of a colleague.
    Colleague,
    /// Mail address of a customer or supplier.
    Partner,
    /// A page of the web.
    Site,
    /// A machine.
    Host,
    /// Money.
    Amount,
    /// `de`, `en`.
    Language,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// `2026-04-13`.
    Date,
    /// How many rows.
    Limit,
    /// A table of the warehouse.
    Table,
    /// A query on a table.
    Sql,
    /// A branch of a repository.
    Branch,
    /// A repository.
    Repository,
    /// A channel of the chat.
    Channel,
    /// A running service.
    Service,
    /// A bank account.
    Account,
    /// Name of a secret.
    Secret,
}

/// One tool as servers offer it.
#[derive(Debug, Clone, Copy)]
pub struct ToolSpec {
    /// Its name.
    pub name: &'static str,
    /// What it does to the world.
    pub effect: Effect,
    /// Its arguments.
    pub arguments: &'static [(&'static str, About)],
    /// Bytes of a usual answer.
    pub bytes: f64,
}

/// What a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// Adds or changes.
    Writes,
    /// Takes away.
    Destroys,
    /// Reads what lies outside of the company.
    ReadsOutside,
    /// Sends out of the company.
    Sends,
}

/// One server.
#[derive(Debug, Clone, Copy)]
pub struct ServerSpec {
    /// Its name.
    pub name: &'static str,
    /// Its tools.
    pub tools: &'static [ToolSpec],
    /// Tools that a later release brings.
    pub coming: &'static [ToolSpec],
}

/// A tool that is, or will be, there.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its server.
    pub server: ServerName,
    /// What it is.
    pub spec: ToolSpec,
    /// `server/tool`.
    pub full: String,
}

/// Every server and tool.
#[derive(Debug, Clone)]
pub struct World {
    /// By [`ToolId`].
    pub tools: Vec<Tool>,
    /// Place of the first tool that a later release brings.
    pub coming: usize,
}

impl World {
    /// The company.
    pub fn new() -> World {
        let of = |pick: fn(&ServerSpec) -> &'static [ToolSpec]| {
            super::catalogue::SERVERS.iter().flat_map(move |server| {
                pick(server).iter().map(|spec| Tool {
                    server: ServerName::from(server.name),
                    spec: *spec,
                    full: format!("{}/{}", server.name, spec.name),
                })
            })
        };
        let mut tools: Vec<Tool> = of(|server| server.tools).collect();
        let coming = tools.len();
        tools.extend(of(|server| server.coming));
        World { tools, coming }
    }

    /// The tool of that full name.
    pub fn named(&self, full: &str) -> Option<ToolId> {
        self.tools.iter().position(|tool| tool.full == full).map(ToolId)
    }

    /// A tool.
    pub fn tool(&self, id: ToolId) -> &Tool {
        &self.tools[id.0]
    }

    /// Tools of later releases.
    pub fn later(&self) -> impl Iterator<Item = ToolId> + use<> {
        (self.coming..self.tools.len()).map(ToolId)
    }

    /// Names of the servers.
    pub fn servers(&self) -> Vec<&'static str> {
        super::catalogue::SERVERS.iter().map(|server| server.name).collect()
    }
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}

impl Tool {
    /// What the server says of it.
    pub fn hints(&self) -> ToolHints {
        let effect = self.spec.effect;
        ToolHints {
            read_only: Some(matches!(effect, Effect::Reads | Effect::ReadsOutside)),
            destructive: matches!(effect, Effect::Writes | Effect::Destroys | Effect::Sends).then_some(effect == Effect::Destroys),
            open_world: matches!(effect, Effect::ReadsOutside | Effect::Sends).then_some(true),
        }
    }

    /// Its definition in a listing, in this version of it.
    pub fn definition(&self, version: u32) -> Value {
        let properties: serde_json::Map<String, Value> =
            self.spec.arguments.iter().map(|(name, about)| ((*name).to_owned(), json!({"type": about.json_type()}))).collect();
        let words = self.spec.name.replace('_', " ");
        let description = match version {
            0 => format!("Lets you {words} in {}.", self.server),
            n => format!("Lets you {words} in {}. Release {n} answers faster and names the fields it returns.", self.server),
        };
        let hints = self.hints();
        json!({
            "name": self.spec.name,
            "description": description,
            "inputSchema": {"type": "object", "properties": properties},
            "annotations": {"readOnlyHint": hints.read_only, "destructiveHint": hints.destructive, "openWorldHint": hints.open_world},
        })
    }

    /// Whether it takes an argument that numbers something.
    pub fn counts_through(&self) -> bool {
        self.spec.arguments.iter().any(|(_, about)| about.is_numbered())
    }
}

impl About {
    /// Whether its values are numbered one after the other.
    pub fn is_numbered(self) -> bool {
        matches!(self, About::Customer | About::Ticket | About::Invoice | About::Order | About::Employee)
    }

    fn json_type(self) -> &'static str {
        match self {
            About::Customer | About::Order | About::Employee | About::Limit => "integer",
            About::Amount => "number",
            _ => "string",
        }
    }
}

/// Milliseconds of a day.
pub const DAY: i64 = 86_400_000;
/// Milliseconds of an hour.
pub const HOUR: i64 = 3_600_000;
/// Milliseconds of a minute.
pub const MINUTE: i64 = 60_000;

/// The instant of these milliseconds since 1970.
pub fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

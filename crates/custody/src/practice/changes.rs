//! Definitions that change while the server runs: a server that is updated, misconfigured, or taken over.

use super::tools::PracticeTool;
use rmcp::model::{Tool, ToolAnnotations};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{fs::File, io::Read, path::PathBuf, sync::Arc};

/// Largest file of changes that is read.
const CHANGES_BYTES: u64 = 1024 * 1024;

/// Where the changes are; the file is read anew for each listing, and no file is no change.
#[derive(Debug, Clone, Default)]
pub struct Changes(pub Option<PathBuf>);

/// What is different from the definitions that the program was built with.
///
/// ```json
/// {"instructions": "…", "order": ["send_mail"], "tools": {"send_mail": {"description": "…", "inputSchema": {…}}}}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Changed {
    /// Another text for the server's instructions.
    pub instructions: Option<String>,
    /// These tools come first, in this order.
    pub order: Vec<String>,
    /// By tool: members that replace those of its definition.
    pub tools: Map<String, Value>,
}

impl Changes {
    /// What is changed now. A file that cannot be read or understood changes nothing, and standard error says so.
    pub fn read(&self) -> Changed {
        let Some(path) = self.0.as_ref().filter(|path| path.exists()) else { return Changed::default() };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(CHANGES_BYTES).read_to_string(&mut text));
        let changed = read.map_err(|error| error.to_string()).and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string()));
        changed.unwrap_or_else(|error| {
            anstream::eprintln!("custody practice-server: {} changes nothing: {error}", path.display());
            Changed::default()
        })
    }
}

impl Changed {
    /// The definitions of these tools, as listed now.
    pub fn definitions(&self, tools: &[PracticeTool]) -> Vec<Tool> {
        let mut listed: Vec<Tool> = tools.iter().map(|tool| self.definition(tool)).collect();
        let place = |tool: &Tool| self.order.iter().position(|name| *name == *tool.name).unwrap_or(usize::MAX);
        listed.sort_by_key(place);
        listed
    }

    /// The definition of one tool.
    pub fn definition(&self, tool: &PracticeTool) -> Tool {
        let Value::Object(schema) = (tool.schema)() else { unreachable!("every schema is written as an object") };
        let built =
            Tool::new(tool.name, tool.description, Arc::new(schema)).with_annotations(ToolAnnotations::new().read_only(tool.read_only));
        let Some(Value::Object(members)) = self.tools.get(tool.name) else { return built };
        let Ok(Value::Object(mut definition)) = serde_json::to_value(&built) else { return built };
        definition.extend(members.clone());
        serde_json::from_value(Value::Object(definition)).unwrap_or(built)
    }
}

//! The MCP side: listing, calling, and the log line before each call.

use super::{
    changes::Changes,
    log::CallLog,
    tools::{PracticeTool, Profile},
    world::World,
};
use rmcp::{
    RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Map, Value};

/// The practice server as an `rmcp` handler. Clones share the directory and the log.
#[derive(Debug, Clone)]
pub struct PracticeServer {
    world: World,
    log: Option<CallLog>,
    profile: Profile,
    changes: Changes,
}

impl PracticeServer {
    /// A server over `world`, with or without a log.
    pub fn new(world: World, log: Option<CallLog>) -> PracticeServer {
        PracticeServer { world, log, profile: Profile::default(), changes: Changes::default() }
    }

    /// With the tools of a profile, and definitions that may change.
    pub fn with_profile(self, profile: Profile, changes: Changes) -> PracticeServer {
        PracticeServer { profile, changes, ..self }
    }

    fn tool(&self, name: &str) -> Option<PracticeTool> {
        self.profile.tools().iter().find(|tool| tool.name == name).copied()
    }

    async fn call(&self, tool: PracticeTool, arguments: Map<String, Value>) -> CallToolResult {
        let world = self.world.clone();
        let ran = tokio::task::spawn_blocking(move || (tool.run)(&world, &arguments)).await;
        match ran {
            Ok(Ok(text)) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Ok(Err(error)) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]),
            Err(_) => CallToolResult::error(vec![ContentBlock::text("the tool failed")]),
        }
    }
}

impl ServerHandler for PracticeServer {
    fn get_info(&self) -> ServerConfig {
        let (name, instructions) = self.profile.says();
        let instructions = self.changes.read().instructions.unwrap_or_else(|| instructions.to_owned());
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(name, env!("CARGO_PKG_VERSION")))
            .with_instructions(instructions)
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.changes.read().definitions(self.profile.tools())))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tool(name).map(|tool| self.changes.read().definition(&tool))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        if let Some(log) = &self.log {
            let id = context.id.clone().into_json_value();
            let meta = (!context.meta.is_empty()).then(|| serde_json::to_value(&context.meta).unwrap_or_default());
            log.write(&request.name, &arguments, id, meta, caller(&context))
                .map_err(|error| ErrorData::internal_error(format!("the call log cannot be written: {error}"), None))?;
        }
        let tool = self.tool(&request.name).ok_or_else(|| ErrorData::invalid_params("unknown tool", None))?;
        Ok(self.call(tool, arguments).await.into())
    }
}

fn caller(context: &RequestContext<RoleServer>) -> Option<String> {
    let parts = context.extensions.get::<http::request::Parts>()?;
    let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or("-");
    Some(format!("{} {}", header("user-agent"), header("mcp-session-id")).chars().take(200).collect())
}

//! The MCP side: listing, calling, and the log line before each call.

use super::{
    log::CallLog,
    tools::{self, PracticeTool},
    world::World,
};
use rmcp::{
    RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The practice server as an `rmcp` handler. Clones share the directory and the log.
#[derive(Debug, Clone)]
pub struct PracticeServer {
    world: World,
    log: Option<CallLog>,
}

impl PracticeServer {
    /// A server over `world`, with or without a log.
    pub fn new(world: World, log: Option<CallLog>) -> PracticeServer {
        PracticeServer { world, log }
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
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("custody-practice", env!("CARGO_PKG_VERSION")))
            .with_instructions("A server to practise on: files, a database, mail, payments and memory inside one directory.")
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all().iter().map(definition).collect()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().iter().find(|tool| tool.name == name).map(definition)
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        if let Some(log) = &self.log {
            let id = context.id.clone().into_json_value();
            let meta = (!context.meta.is_empty()).then(|| serde_json::to_value(&context.meta).unwrap_or_default());
            log.write(&request.name, &arguments, id, meta, caller(&context))
                .map_err(|error| ErrorData::internal_error(format!("the call log cannot be written: {error}"), None))?;
        }
        let tool = tools::all().iter().find(|tool| tool.name == request.name).copied();
        let tool = tool.ok_or_else(|| ErrorData::invalid_params("unknown tool", None))?;
        Ok(self.call(tool, arguments).await.into())
    }
}

fn definition(tool: &PracticeTool) -> Tool {
    let Value::Object(schema) = (tool.schema)() else { unreachable!("every schema is written as an object") };
    Tool::new(tool.name, tool.description, Arc::new(schema)).with_annotations(ToolAnnotations::new().read_only(tool.read_only))
}

fn caller(context: &RequestContext<RoleServer>) -> Option<String> {
    let parts = context.extensions.get::<http::request::Parts>()?;
    let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or("-");
    Some(format!("{} {}", header("user-agent"), header("mcp-session-id")).chars().take(200).collect())
}

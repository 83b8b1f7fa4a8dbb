//! A real MCP client: `rmcp` over Streamable HTTP.

use super::{answer::Answer, listing::Listing};
use crate::drill::plan::{Call, Era};
use rmcp::{
    RoleClient,
    model::{CallToolRequestParams, ClientConfig, Implementation, ProtocolVersion, RequestMetaObject},
    service::{ClientLifecycleMode, ClientServiceExt, RunningService},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// Longest wait for any answer.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The `_meta` key that carries the drill's number of a call. It is how the practice server's log and the agent's are matched.
pub const CALL_KEY: &str = "custody.drill/call";

/// Where an agent connects, and with which key.
#[derive(Clone)]
pub struct Endpoint {
    /// URL of the MCP endpoint.
    pub url: String,
    /// Client key; `None` without Custody in between.
    pub key: Option<String>,
}

/// An open client.
pub struct Connection {
    running: RunningService<RoleClient, ClientConfig>,
}

impl Connection {
    /// Connects and shakes hands as the era asks.
    ///
    /// # Errors
    /// What the server or the gateway answered instead.
    pub async fn open(endpoint: &Endpoint, era: Era, name: &str) -> Result<Connection, Answer> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(endpoint.url.as_str());
        if let Some(key) = &endpoint.key {
            config = config.auth_header(key.as_str());
        }
        let transport = StreamableHttpClientTransport::from_config(config);
        let mut client = ClientConfig::default();
        client.client_info = Implementation::new(name.to_owned(), "1");
        let mode = match era {
            Era::Stateless => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
            Era::Sessions => {
                client.protocol_version = ProtocolVersion::V_2025_11_25;
                ClientLifecycleMode::Initialize
            }
            Era::OlderSessions => {
                client.protocol_version = ProtocolVersion::V_2025_06_18;
                ClientLifecycleMode::Initialize
            }
        };
        match tokio::time::timeout(PATIENCE, client.serve_with_lifecycle(transport, mode)).await {
            Ok(Ok(running)) => Ok(Connection { running }),
            Ok(Err(error)) => Err(Answer::Refused(error.to_string())),
            Err(_) => Err(Answer::Broken("no answer to the handshake".to_owned())),
        }
    }

    /// Names of the tools that the server lists.
    ///
    /// # Errors
    /// What came instead.
    pub async fn tools(&self) -> Result<Vec<String>, Answer> {
        match tokio::time::timeout(PATIENCE, self.running.list_all_tools()).await {
            Ok(Ok(tools)) => Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect()),
            Ok(Err(error)) => Err(Answer::of_rmcp(Err(error))),
            Err(_) => Err(Answer::Broken("no list of tools".to_owned())),
        }
    }

    /// What the server says of itself and its tools.
    ///
    /// # Errors
    /// What came instead.
    pub async fn definitions(&self) -> Result<Listing, Answer> {
        let instructions = self.running.peer_info().and_then(|info| info.instructions.clone()).unwrap_or_default();
        match tokio::time::timeout(PATIENCE, self.running.list_all_tools()).await {
            Ok(Ok(tools)) => Ok(Listing { instructions, tools }),
            Ok(Err(error)) => Err(Answer::of_rmcp(Err(error))),
            Err(_) => Err(Answer::Broken("no list of tools".to_owned())),
        }
    }

    /// Calls a tool.
    pub async fn call(&self, call: &Call, tag: &str) -> Answer {
        let mut params = CallToolRequestParams::new(call.tool.clone()).with_arguments(call.arguments.clone());
        let mut meta = Map::new();
        meta.insert(CALL_KEY.to_owned(), Value::String(tag.to_owned()));
        params.meta = Some(RequestMetaObject::from(meta));
        match tokio::time::timeout(PATIENCE, self.running.call_tool(params)).await {
            Ok(answered) => Answer::of_rmcp(answered),
            Err(_) => Answer::Broken("no answer".to_owned()),
        }
    }

    /// Hangs up.
    pub async fn close(self) {
        // A session that was cut off cannot say good-bye either; nothing depends on it.
        _ = tokio::time::timeout(PATIENCE, self.running.cancel()).await;
    }
}

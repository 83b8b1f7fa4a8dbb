//! What comes back to an agent.

use rmcp::{model::CallToolResult, service::ServiceError};
use serde_json::Value;

/// The answer to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The tool's result.
    Result(String),
    /// The tool ran and says that it failed.
    ToolError(String),
    /// A JSON-RPC error.
    Error(i64, String),
    /// An HTTP status that is not success, without a JSON-RPC error.
    Refused(String),
    /// No answer that could be read.
    Broken(String),
}

impl Answer {
    /// Whether the tool ran.
    pub fn ran(&self) -> bool {
        matches!(self, Answer::Result(_) | Answer::ToolError(_))
    }

    /// Of the `rmcp` client.
    pub fn of_rmcp(answered: Result<CallToolResult, ServiceError>) -> Answer {
        match answered {
            Ok(result) => {
                let text = result.content.iter().filter_map(|block| block.as_text()).map(|text| text.text.as_str()).collect();
                if result.is_error == Some(true) { Answer::ToolError(text) } else { Answer::Result(text) }
            }
            Err(ServiceError::McpError(error)) => Answer::Error(i64::from(error.code.0), error.message.into_owned()),
            Err(other) => Answer::Broken(other.to_string()),
        }
    }

    /// Of a JSON-RPC message; `None` when it answers nothing.
    pub fn of_json(message: &Value) -> Option<Answer> {
        let message = message.as_array().and_then(|batch| batch.first()).unwrap_or(message);
        if let Some(error) = message.get("error") {
            let text = error.get("message").and_then(Value::as_str).unwrap_or_default();
            return Some(Answer::Error(error.get("code").and_then(Value::as_i64).unwrap_or_default(), text.to_owned()));
        }
        let result = message.get("result")?;
        let blocks = result.get("content").and_then(Value::as_array).into_iter().flatten();
        let text = blocks.filter_map(|block| block.get("text").and_then(Value::as_str)).collect();
        Some(if result.get("isError") == Some(&Value::Bool(true)) { Answer::ToolError(text) } else { Answer::Result(text) })
    }
}

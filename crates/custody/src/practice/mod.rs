//! The practice MCP server.

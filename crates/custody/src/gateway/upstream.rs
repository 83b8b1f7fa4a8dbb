//! The servers' side: one upstream per configured server, over HTTP or over stdio.

use super::{
    answers::Answers,
    bridge::{Bridge, Command},
    http::Exchange,
    identity::Authorization,
    proxy::Proxy,
    reply::Body,
};
use crate::config::{self, Server};
use crate::core::Core;
use bytes::Bytes;
use custody_model::ServerName;
use http::Response;
use std::sync::Arc;

/// How a server is reached.
pub enum Upstream {
    /// Streamable HTTP, or HTTP+SSE.
    Http(Box<Proxy>),
    /// Pipes of processes that Custody starts.
    Stdio(Box<Bridge>),
}

/// Either way an answer for the agent; `Err` is a refusal by Custody.
pub type Answer = Result<Response<Body>, Response<Body>>;

impl Upstream {
    /// Prepares; starts and connects nothing yet.
    pub fn new(name: &ServerName, server: &Server, core: Arc<Core>, authorization: Arc<Authorization>, answers: &Answers) -> Self {
        match &server.upstream {
            config::Upstream::Http { url, headers } => {
                let per_principal = server.manifest == config::Manifest::PerPrincipal;
                Upstream::Http(Box::new(Proxy::new(url, headers, core, authorization, answers.clone()).per_principal(per_principal)))
            }
            config::Upstream::Stdio { command, args, env, cwd } => {
                let cwd = cwd.clone().unwrap_or_else(|| core.home().root().to_owned());
                let command = Command { program: command.clone(), args: args.clone(), env: env.clone(), cwd };
                Upstream::Stdio(Box::new(Bridge::new(name.clone(), command, core)))
            }
        }
    }

    /// One message, or a batch, from the agent.
    pub async fn post(&self, exchange: Exchange, bytes: Bytes) -> Answer {
        match self {
            Upstream::Http(proxy) => proxy.post(exchange, bytes).await,
            Upstream::Stdio(bridge) => bridge.post(exchange, bytes).await,
        }
    }

    /// A message of an agent that speaks HTTP+SSE; its answer comes on the agent's stream.
    pub async fn post_to_stream(&self, exchange: Exchange, bytes: Bytes) -> Answer {
        match self {
            Upstream::Http(proxy) => proxy.post_to_stream(exchange, bytes).await,
            Upstream::Stdio(bridge) => bridge.post_to_stream(exchange, bytes).await,
        }
    }

    /// The stream of server-initiated messages; with HTTP+SSE, of all answers.
    pub async fn listen(&self, exchange: Exchange) -> Answer {
        match self {
            Upstream::Http(proxy) => proxy.listen(exchange).await,
            Upstream::Stdio(bridge) => bridge.listen(exchange).await,
        }
    }

    /// The agent ends its protocol session.
    pub async fn end(&self, exchange: Exchange) -> Answer {
        match self {
            Upstream::Http(proxy) => proxy.end(exchange).await,
            Upstream::Stdio(bridge) => bridge.end(exchange).await,
        }
    }

    /// Stops what Custody started.
    pub async fn close(&self) {
        if let Upstream::Stdio(bridge) = self {
            bridge.close().await;
        }
    }
}

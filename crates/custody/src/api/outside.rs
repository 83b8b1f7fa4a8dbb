//! `GET /metrics`, `/healthz` and `/readyz`, for those who watch machines.
//!
//! The figures need the scraper's token or an operator's: an agent on this machine must not read there whether it was noticed. The other two say yes
//! or no to anybody.

use super::guard::bearer;
use crate::{
    core::Core,
    trust::{Operators, Scraper, loopback::Names},
};
use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{net::SocketAddr, sync::Arc};

/// Format of the figures.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Outside {
    core: Arc<Core>,
    operators: Operators,
    scraper: Scraper,
    names: Names,
}

/// The three paths. To be merged with the operators' API.
pub fn outside(core: Arc<Core>, operators: Operators, scraper: Scraper, names: Names) -> Router {
    let state = Arc::new(Outside { core, operators, scraper, names });
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .layer(from_fn_with_state(state.clone(), own_names))
        .with_state(state)
}

/// No page of a foreign origin, as everywhere on this listener.
async fn own_names(State(outside): State<Arc<Outside>>, request: Request, next: Next) -> Response {
    match outside.names.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => (StatusCode::FORBIDDEN, format!("{refusal}\n")).into_response(),
    }
}

async fn metrics(State(outside): State<Arc<Outside>>, ConnectInfo(from): ConnectInfo<SocketAddr>, headers: HeaderMap) -> Response {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (shown.next(), shown.next()) {
        (Some(one), None) => one.to_str().ok().and_then(bearer),
        _ => None,
    };
    if !token.is_some_and(|token| outside.scraper.knows(token) || outside.operators.authenticate(token).is_some()) {
        outside.core.access_refused("operators", &from.to_string());
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer realm=\"custody\"")]).into_response();
    }
    ([(header::CONTENT_TYPE, PROMETHEUS)], outside.core.figures()).into_response()
}

/// Whether a message that came now could be recorded.
async fn ready(State(outside): State<Arc<Outside>>) -> Response {
    match outside.core.is_ready() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

//! Before a request is looked at: Host and Origin, then the operator's token.

use super::{ApiError, Service};
use crate::trust::{Operators, loopback::Names};
use axum::http::{HeaderMap, Uri, header};
use custody_model::OperatorName;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many refusals are answered in full within [`WINDOW`]; a right token is never held up by wrong ones.
const LIMIT: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// Checks callers of the operators' listener.
pub(super) struct Guard<S> {
    service: Arc<S>,
    operators: Operators,
    names: Names,
    refusals: Mutex<(Instant, u32)>,
}

impl<S: Service> Guard<S> {
    pub fn new(service: Arc<S>, operators: Operators, names: Names) -> Guard<S> {
        Guard { service, operators, names, refusals: Mutex::new((Instant::now(), 0)) }
    }

    /// Who is calling.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap, from: SocketAddr) -> Result<OperatorName, ApiError> {
        if let Err(refusal) = self.names.check(uri, headers) {
            return Err(self.refuse(from, ApiError::Foreign(refusal.to_string())));
        }
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let bearer = match (authorizations.next(), authorizations.next()) {
            (Some(one), None) => one.to_str().ok().and_then(bearer),
            _ => None,
        };
        match bearer.and_then(|token| self.operators.authenticate(token)) {
            Some(operator) => Ok(operator),
            None => Err(self.refuse(from, ApiError::Unauthorized)),
        }
    }

    fn refuse(&self, from: SocketAddr, error: ApiError) -> ApiError {
        self.service.refused(from);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.0.elapsed() > WINDOW {
            *refusals = (Instant::now(), 0);
        }
        refusals.1 = refusals.1.saturating_add(1);
        if refusals.1 > LIMIT { ApiError::TooMany } else { error }
    }
}

/// The token of an `Authorization` header; the scheme's case does not matter (RFC 9110, 11.1).
pub(super) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

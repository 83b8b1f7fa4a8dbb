//! How much at once: calls and streams of one client, streams of all. What does not fit is answered at once, and reaches no server.

use super::reply::{self, Body};
use crate::config::Limits;
use bytes::Bytes;
use custody_model::PrincipalName;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// What takes a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message until its answer is out.
    Call,
    /// A stream that an agent listens on.
    Stream,
}

/// No place is left; in words for the agent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Full {
    /// Of this client's calls.
    #[error("this client has {0} calls under way (limits.concurrent_calls)")]
    Calls(usize),
    /// Of this client's streams.
    #[error("this client has {0} streams open (limits.streams_per_client)")]
    Streams(usize),
    /// Of all streams.
    #[error("{0} streams are open (limits.streams)")]
    AllStreams(usize),
}

impl Full {
    /// What the agent reads.
    pub fn response(&self) -> Response<Body> {
        let body = reply::json_rpc_error(None, reply::TOO_MANY, &self.to_string(), None);
        let mut response = reply::json_response(StatusCode::TOO_MANY_REQUESTS, body);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }
}

/// All places of one gateway.
#[derive(Clone)]
pub struct Places {
    calls: usize,
    streams_per_client: usize,
    streams: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    by: HashMap<(PrincipalName, Kind), usize>,
    streams: usize,
}

/// One place, free again when dropped.
pub struct Place {
    places: Places,
    key: (PrincipalName, Kind),
}

impl Places {
    /// As many as the configuration says.
    pub fn new(limits: &Limits) -> Self {
        Places {
            calls: limits.concurrent_calls,
            streams_per_client: limits.streams_per_client,
            streams: limits.streams,
            taken: Arc::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, principal: &PrincipalName, kind: Kind) -> Result<Place, Full> {
        let mut taken = self.taken();
        let key = (principal.clone(), kind);
        let own = taken.by.get(&key).copied().unwrap_or(0);
        match kind {
            Kind::Call if own >= self.calls => return Err(Full::Calls(self.calls)),
            Kind::Stream if own >= self.streams_per_client => return Err(Full::Streams(self.streams_per_client)),
            Kind::Stream if taken.streams >= self.streams => return Err(Full::AllStreams(self.streams)),
            Kind::Call | Kind::Stream => {}
        }
        taken.by.insert(key.clone(), own + 1);
        taken.streams += usize::from(kind == Kind::Stream);
        drop(taken);
        Ok(Place { places: self.clone(), key })
    }
}

impl Place {
    /// The response, which keeps the place until its last byte is out or nobody wants it any more.
    pub fn with(self, response: Response<Body>) -> Response<Body> {
        // What is there already is as good as out.
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Placed { body, _place: self }.boxed())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.streams -= usize::from(self.key.1 == Kind::Stream);
        if let Some(own) = taken.by.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.key);
            }
        }
    }
}

/// A body and its place.
struct Placed {
    body: Body,
    _place: Place,
}

impl http_body::Body for Placed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_until_it_is_dropped() {
        let limits = Limits { concurrent_calls: 1, streams_per_client: 2, streams: 3, ..Limits::default() };
        let places = Places::new(&limits);
        let (a, b) = ("a".into(), "b".into());
        let call = places.take(&a, Kind::Call).unwrap();
        assert_eq!(places.take(&a, Kind::Call).err(), Some(Full::Calls(1)));
        assert!(places.take(&b, Kind::Call).is_ok(), "another client has its own");
        drop(call);
        let whole = places.take(&a, Kind::Call).unwrap().with(Response::new(reply::full("x")));
        assert!(places.take(&a, Kind::Call).is_ok(), "a whole answer holds no place");
        drop(whole);
        let streams = [places.take(&a, Kind::Stream), places.take(&a, Kind::Stream)];
        assert_eq!(places.take(&a, Kind::Stream).err(), Some(Full::Streams(2)));
        let third = places.take(&b, Kind::Stream).unwrap();
        assert_eq!(places.take(&b, Kind::Stream).err(), Some(Full::AllStreams(3)));
        drop((streams, third));
        assert!(places.taken().by.is_empty() && places.taken().streams == 0);
    }
}
